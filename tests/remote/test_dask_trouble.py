"""What goes wrong with a dask cluster: its processes are killed, stopped, missing, or not like this one."""

from __future__ import annotations

import gc
import re
import signal
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio import to_thread
from clusters import DaskCluster, dask_cluster
from real_time import look_until
from remote_tasks import add, dies_at, large, pid_for, place, size_of, sizes_of, stubborn, work_until_stopped

import cascade
from cascade.executors import DaskExecutor
from cascade.testing import record_events

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow
# What happens is dask's, and takes seconds: most tests ask one event loop, these in turn.
ON_BOTH = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
ON_TRIO = pytest.mark.parametrize("anyio_backend", ["trio"])

StartWorkers = Callable[..., None]


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler without workers."""
    with dask_cluster(tmp_path_factory.mktemp("dask"), workers=0) as made:
        yield made


@pytest.fixture
def cluster(scheduler: DaskCluster) -> Iterator[DaskCluster]:
    """A scheduler, to which each test adds the workers that it needs; they end with the test."""
    yield scheduler
    for worker in scheduler.workers:
        worker.kill()
        worker.wait()
    scheduler.workers.clear()


async def there_is(path: Path) -> None:
    """Wait until a task on a worker has made *path*."""
    assert await to_thread.run_sync(look_until, path.exists, 60)


# -- workers -----------------------------------------------------------------------------------------------------


@ON_BOTH
async def test_who_waits_without_any_worker_is_cancelled_at_once(cluster: DaskCluster) -> None:
    async with cascade.start(add(1), executor=cluster.url) as run:
        await anyio.wait_all_tasks_blocked()
        begun = anyio.current_time()
        run.cancel()
    assert anyio.current_time() - begun < 2


@ON_TRIO
async def test_a_worker_that_comes_late_is_used(cluster: DaskCluster) -> None:
    async with cascade.start(add(1, 2), executor=cluster.url) as run:
        cluster.add_worker()
        assert await run.result() == 3


@ON_BOTH
async def test_a_call_fails_with_its_worker(cluster: DaskCluster, tmp_path: Path) -> None:
    cluster.add_worker()
    with pytest.raises(cascade.WorkerLost, match="it ended while the call ran there"):
        async with cascade.start(work_until_stopped(str(tmp_path)), executor=cluster.url) as run:
            await there_is(tmp_path / "work-begun")
            cluster.workers[0].kill()
            await run.result()


@ON_TRIO
async def test_what_waited_for_a_dead_worker_runs_on_another_though_it_has_no_retry(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    cluster.add_worker()
    with distributed.Client(cluster.address, set_as_default=False) as client:
        executor = DaskExecutor(client)
        first = work_until_stopped(str(tmp_path), most=0.5).with_retry(2, on=(cascade.WorkerLost,))
        async with cascade.start(first, executor=executor) as one:
            await there_is(tmp_path / "work-begun")
            async with cascade.start(place(), executor=executor) as other:
                assert await to_thread.run_sync(look_until, lambda: len(client.futures) == 2)
                cluster.workers[0].kill()
                cluster.add_worker()
                pid, _ = await other.result()
            assert (await one.result(), pid) == ("worked", cluster.workers[1].pid)


@pytest.mark.parametrize(("fatal", "calls"), [(0, 2), (2, 3)], ids=["once", "and again"])
@ON_BOTH
async def test_a_value_that_died_with_its_worker_is_made_again(
    cluster: DaskCluster, tmp_path: Path, fatal: int, calls: int
) -> None:
    """dask makes it again by itself; if it cannot, the call that needs it has not begun, and the engine does."""
    cluster.add_worker()
    executor = DaskExecutor(cluster.address)

    @cascade.task
    def kill_it(_: int) -> str:
        cluster.workers[0].kill()
        assert look_until(lambda: executor.slots == 0)  # the scheduler has noticed
        cluster.add_worker(is_reborn=True)
        return "killed"

    value = dies_at(str(tmp_path), fatal, 100_000)
    flow = sizes_of([value, kill_it(size_of(value))])
    assert await cascade.run(flow, executor=executor) == [100_000, 6]
    assert (tmp_path / f"called-{calls}").exists()
    assert not (tmp_path / f"called-{calls + 1}").exists()


@pytest.mark.parametrize("size", [1, 100_000])
@ON_BOTH
async def test_a_worker_that_dies_with_the_answer_is_lost_if_dask_has_none_in_its_place(
    cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """dask makes the call again by itself, within one attempt of the engine, and that kills the next worker."""
    cluster.add_worker()
    with distributed.Client(cluster.address, set_as_default=False) as client:
        gather = client.gather

        def gather_from_the_dead(*args: Any, **options: Any) -> Any:
            if cluster.workers[0].poll() is None:
                cluster.workers[0].kill()
                cluster.workers[0].wait()
                cluster.add_worker()
            return gather(*args, **options)

        monkeypatch.setattr(client, "gather", gather_from_the_dead)
        flow = sizes_of([dies_at(str(tmp_path), 2, size).with_timeout(60)])
        with pytest.raises(cascade.WorkerLost, match="it ended while the call ran there"):
            await cascade.run(flow, executor=DaskExecutor(client))


@ON_BOTH
async def test_the_next_attempt_waits_for_one_that_ignores_its_timeout(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    cluster.add_worker()
    cluster.add_worker()
    call = stubborn(str(tmp_path / "words"), 1.0).with_timeout(0.2).with_retry(2)
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(call, executor=cluster.url)

    assert (tmp_path / "words").read_text().split() == ["begun", "ended"] * 2


@ON_TRIO
async def test_two_runs_share_a_cluster(cluster: DaskCluster) -> None:
    cluster.add_worker()
    found = {}

    async def one(start: int) -> None:
        found[start] = await cascade.run(add.map(one=range(start, start + 20)), executor=cluster.url)

    async with anyio.create_task_group() as nursery:
        nursery.start_soon(one, 0)
        nursery.start_soon(one, 100)
    assert found == {start: [number + 1 for number in range(start, start + 20)] for start in (0, 100)}


# -- claims ------------------------------------------------------------------------------------------------------


@ON_ASYNCIO
async def test_a_claim_is_one_of_the_worker_too(cluster: DaskCluster, tmp_path: Path) -> None:
    cluster.add_worker(threads=2)
    executor = DaskExecutor(cluster.address, remote_resources={"gpu": "GPU"})
    words = tmp_path / "words"
    calls = [stubborn(str(words), 0.2).with_constraints(gpu=1) for _ in range(2)]
    await cascade.run(calls, executor=executor, system_resources={"gpu": 2})

    assert words.read_text().split() == ["begun", "ended"] * 2


# -- what is not as it should be there ---------------------------------------------------------------------------


def imposed(folder: Path, code: str) -> str:
    """A folder whose *code* is run when a Python that finds it starts; for ``PYTHONPATH``."""
    (folder / "sitecustomize.py").write_text(dedent(code))
    return str(folder)


OTHER_VERSION = """
    import importlib.metadata
    version = importlib.metadata.version
    importlib.metadata.version = lambda name: "0.0.1" if name == "cascade-anyio" else version(name)
"""
NOT_INSTALLED = """
    import sys
    class Finder:
        def find_spec(self, name, *_):
            if name == "cascade":
                raise ModuleNotFoundError(f"No module named {name!r}")
    sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (OTHER_VERSION, r"worker '.*' has cascade 0\.0\.1, and this process has [^\n]*"),
        (NOT_INSTALLED, r"the dask cluster cannot run a call: [^\n]*No module named 'cascade'[^\n]*"),
    ],
    ids=["another version", "not installed"],
)
@ON_TRIO
async def test_a_worker_without_this_cascade_says_so_in_a_line(
    cluster: DaskCluster, tmp_path: Path, code: str, message: str
) -> None:
    cluster.add_worker(first_on_path=imposed(tmp_path, code))
    with pytest.raises(cascade.GraphError) as caught:
        await cascade.run(add(1), executor=cluster.url)
    assert re.fullmatch(message, str(caught.value))


@ON_ASYNCIO
async def test_code_that_a_worker_cannot_import_is_named_in_a_line(
    cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_worker()
    (tmp_path / "only_here.py").write_text(
        'import cascade\n\n@cascade.task(mode="remote")\ndef away():\n    return 1\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    only_here: Any = __import__("only_here")
    with pytest.raises(cascade.GraphError) as caught:
        await cascade.run(only_here.away(), executor=cluster.url)
    assert re.fullmatch(r"'away' cannot run [^\n]*No module named 'only_here'[^\n]*", str(caught.value))


# -- nothing is left ---------------------------------------------------------------------------------------------


@ON_TRIO
async def test_a_run_leaves_nothing_on_the_cluster_of_a_client_that_stays_open(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    cluster.add_worker()
    flow = [size_of(large(100_000)), add.map(one=range(10))]
    with distributed.Client(cluster.address, set_as_default=False) as client:
        executor = DaskExecutor(client)
        assert await cascade.run(flow, executor=executor) == [100_000, [*range(1, 11)]]
        async with cascade.start(work_until_stopped(str(tmp_path)), executor=executor) as run:
            await there_is(tmp_path / "work-begun")
            run.cancel()
        assert client.status == "running"
        assert not client.futures
        assert await to_thread.run_sync(look_until, lambda: not _tasks_of(client))


@ON_BOTH
async def test_many_items_leave_nothing_here_and_each_worker_gets_its_share(cluster: DaskCluster) -> None:
    """Twenty megabytes of arguments go there; what stays here for each item is its result and its node."""
    cluster.add_worker()
    cluster.add_worker()
    size = 20_000
    texts = [f"{number:01000d}" for number in range(size)]
    executor = DaskExecutor(cluster.address)
    async with cascade.Engine(executor=executor) as engine:
        assert await to_thread.run_sync(look_until, lambda: executor.slots == 2)
        await engine.run(pid_for.map(text=texts[:2_000]))
        gc.collect()
        tracemalloc.start()
        try:
            places: Counter[int] = Counter(await engine.run(pid_for.map(text=texts)))
            gc.collect()
            left, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert set(places) == {worker.pid for worker in cluster.workers}
    assert min(places.values()) > size / 4
    assert left < 2_000_000
    assert peak < size * 1_000


@ON_BOTH
@pytest.mark.parametrize(
    "client", [SimpleNamespace(), SimpleNamespace(scheduler_comm=None), SimpleNamespace(scheduler_comm=object())]
)
async def test_a_dask_that_keeps_no_log_of_what_it_has_sent_is_as_good(client: Any) -> None:
    from cascade.adapters.remote.dask.batch import Batch
    from cascade.adapters.remote.dask.under_way import UnderWay

    async def lost(ran: Coroutine[Any, Any, Any]) -> Any:
        ran.close()
        raise ConnectionError("the scheduler is gone")

    connection: Any = SimpleNamespace(batches=UnderWay(client), client=client, unless_lost=lost)
    with pytest.raises(ConnectionError, match="the scheduler is gone"):
        await Batch(connection, "key", ("", ""), b"", [], {}, lambda *_: None).run()
    assert not connection.batches.on_start


def _tasks_of(client: Any) -> list[str]:
    found: list[str] = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
    return found


# -- the scheduler -----------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster for one test, with a worker."""
    with dask_cluster(tmp_path, workers=1, allowed_failures=3) as made:
        yield made


@pytest.mark.parametrize(("anyio_backend", "blow"), [("asyncio", signal.SIGKILL), ("trio", signal.SIGSTOP)])
async def test_a_scheduler_that_is_gone_or_silent_is_given_up(
    own: DaskCluster, tmp_path: Path, blow: signal.Signals
) -> None:
    assert own.scheduler is not None
    with pytest.raises(ConnectionError, match=r"the dask scheduler at tcp://.* is gone or does not answer"):
        async with cascade.start(work_until_stopped(str(tmp_path)), executor=own.url) as run:
            await there_is(tmp_path / "work-begun")
            own.scheduler.send_signal(blow)
            begun = anyio.current_time()
            await run.result()
    assert anyio.current_time() - begun < 12


@ON_TRIO
async def test_a_scheduler_that_is_not_there_is_no_reason_to_wait() -> None:
    begun = anyio.current_time()
    with pytest.raises(ConnectionError, match=r"the dask scheduler at .* cannot be reached: [^\n]*$"):
        await cascade.run(add(1), executor="dask://127.0.0.1:9")
    assert anyio.current_time() - begun < 12


@ON_ASYNCIO
async def test_a_cluster_that_runs_calls_again_by_itself_is_warned_of(own: DaskCluster) -> None:
    engine = cascade.Engine(executor=own.url)
    with record_events(engine) as events:
        assert await engine.run(add(1, 2)) == 3
    (warning,) = events.of(cascade.EngineWarning)
    assert warning.code == "cluster-reruns"
    assert "up to 3 times" in warning.message
