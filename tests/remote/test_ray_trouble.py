"""Ray: what is its own, and what goes wrong with a cluster of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from clusters import IMPORTABLE, RAY_SETTINGS, RayHead, ray_head, shared_ray
from real_time import look_until
from remote_tasks import add, large, size_of, stubborn

import cascade
from cascade.executors import AttemptInfo, KeptValue, RayExecutor, RemoteCall, Stayed, ValuesLost

pytestmark = [pytest.mark.ray, pytest.mark.needs("ray")]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    """A head node, started as users start one."""
    with ray_head(tmp_path_factory.mktemp("ray")) as made:
        yield made


FLOWS = """
import time
from pathlib import Path

import cascade
from remote_tasks import add, dies_at, fail, large, size_of, sizes_of, work_until_stopped

here = Path(__file__).parent


@cascade.task
def until_killed(_: int) -> str:
    (here / "made").touch()
    while not (here / "killed").exists():
        time.sleep(0.05)
    return "killed"


(here / "calls").mkdir(exist_ok=True)
value = dies_at(str(here / "calls"), 0, 200_000)
losing = sizes_of([value, until_killed(size_of(value))])

sums = [add.map(one=range(20)), size_of(large(200_000))]
failing = fail(3)
working = work_until_stopped(str(Path(__file__).parent), most=60.0)
"""


def start(folder: Path, flow: str, *words: str) -> subprocess.Popen[str]:
    """Start ``cascade run`` on a flow of FLOWS, in a process of its own: a process has one connection to Ray."""
    (folder / "flows.py").write_text(FLOWS)
    return subprocess.Popen(
        [sys.executable, "-m", "cascade", "run", f"flows.py:{flow}", "--log", "none", *words],
        cwd=folder, env={**os.environ, **RAY_SETTINGS, "PYTHONPATH": IMPORTABLE},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip


def test_a_flow_runs_by_the_client_port_of_a_head_node(head: RayHead, tmp_path: Path, backend_name: str) -> None:
    with start(tmp_path, "sums", "--executor", head.url, "--backend", backend_name) as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (0, f"{[[*range(1, 21)], 200_000]}\n"), err


def test_a_head_node_that_is_gone_is_given_up(tmp_path: Path) -> None:
    with (
        ray_head(tmp_path) as own,
        start(tmp_path, "working", "--executor", own.url, "--backend", "trio") as process,
    ):
        try:
            assert look_until((tmp_path / "work-begun").exists, 60)
            own.kill()
            begun = time.monotonic()
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "the Ray cluster is gone, or does not answer" in err
    assert "Traceback" not in err
    assert time.monotonic() - begun < 25  # ten seconds to notice, and what Ray takes to let the process end


def test_a_value_that_is_lost_with_its_node_is_made_again(tmp_path: Path, backend_name: str) -> None:
    """The head node runs no calls; the value is made on a second node, and again on a third."""
    with ray_head(tmp_path, cpus=0) as own:
        node = own.add_node()
        with start(tmp_path, "losing", "--executor", own.url, "--backend", backend_name) as process:
            try:
                assert look_until(lambda: (tmp_path / "made").exists() or process.poll() is not None, 180)
                assert process.poll() is None, process.communicate()
                own.end(node)
                own.add_node()
                (tmp_path / "killed").touch()
                out, err = process.communicate(timeout=100)
            finally:
                process.kill()
    assert (process.returncode, out) == (0, "[200000, 6]\n"), err
    assert sorted(path.name for path in (tmp_path / "calls").iterdir()) == ["called-1", "called-2"]


def test_a_head_node_that_is_not_there_is_no_reason_to_wait(tmp_path: Path) -> None:
    with start(tmp_path, "sums", "--executor", "ray://127.0.0.1:9") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the Ray cluster at 'ray://127.0.0.1:9' cannot be reached: ConnectionRefusedError" in err


async def test_a_process_that_is_connected_gets_no_other_connection(head: RayHead) -> None:
    shared_ray()
    with pytest.raises(RuntimeError, match="this process is connected to Ray already"):
        await cascade.run(add(1), executor=head.url)


async def test_a_claim_is_one_of_the_node_too(tmp_path: Path) -> None:
    shared_ray()
    executor = RayExecutor(remote_resources={"lamp": "LAMP"})
    words = tmp_path / "words"
    calls = [stubborn(str(words), 0.1).with_constraints(lamp=1) for _ in range(2)]
    await cascade.run(calls, executor=executor, system_resources={"lamp": 2})

    assert words.read_text().split() == ["begun", "ended"] * 2


async def test_who_waits_for_what_no_node_has_is_cancelled_at_once() -> None:
    shared_ray()
    executor = RayExecutor(remote_resources={"lamp": "LAMP"})
    call = add(1).with_constraints(lamp=9)
    async with cascade.start(call, executor=executor, system_resources={"lamp": 9}) as run:
        await anyio.wait_all_tasks_blocked()
        begun = anyio.current_time()
        run.cancel()
    assert anyio.current_time() - begun < 2


async def test_a_value_that_is_gone_is_said_to_be_lost() -> None:
    shared_ray()
    started: list[Any] = []
    executor = RayExecutor()
    await executor.open()
    try:
        about = AttemptInfo("run", "large", 1, (), 0)
        (stayed,) = await executor.execute_many(
            [RemoteCall(large, (200_000,), {}, about)], [True], lambda *_: None
        )
        assert isinstance(stayed, Stayed)
        handle: Any = stayed.handle
        executor.drop([handle])
        value = KeptValue(handle, stayed.size, stayed.worker)
        with pytest.raises(ValuesLost) as caught:
            await executor.execute_many(
                [RemoteCall(size_of, (value,), {}, about)], [False], lambda *start: started.append(start)
            )
        assert caught.value.values == (value,)
        assert started == []
    finally:
        await executor.aclose()


async def test_two_runs_share_a_cluster() -> None:
    shared_ray()
    found = {}

    async def one(start: int) -> None:
        found[start] = await cascade.run(add.map(one=range(start, start + 20)), executor=RayExecutor())

    async with anyio.create_task_group() as nursery:
        nursery.start_soon(one, 0)
        nursery.start_soon(one, 100)
    assert found == {start: [number + 1 for number in range(start, start + 20)] for start in (0, 100)}
