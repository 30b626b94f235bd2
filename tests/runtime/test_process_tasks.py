"""Tasks that run in worker processes."""

from __future__ import annotations

import asyncio
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import process_tasks
import pytest
from life import joined, until

import cascade
from cascade.adapters.executors.far_errors import FarError


async def test_process_tasks_run_in_another_process() -> None:
    assert await cascade.run(process_tasks.pid()) != os.getpid()


async def test_arguments_and_results_go_to_the_process_and_back(schedule: Any) -> None:
    flow = process_tasks.add(process_tasks.add(1, 2), 3)
    assert await cascade.run(flow, schedule=schedule) == 6


async def test_a_process_does_not_see_the_callers_context_variables() -> None:
    process_tasks.seen_by_caller.set("here")
    assert await cascade.run(process_tasks.variable()) == "unset"


async def test_what_a_process_task_raises_comes_with_its_message_and_its_place() -> None:
    with pytest.raises(ValueError, match=r"^far away") as caught:
        await cascade.run(process_tasks.fails("far away"))
    notes = "\n".join(caught.value.__notes__)
    assert "process_tasks.py" in notes
    assert "node 'fails'" in notes


async def test_a_process_task_that_exits_ends_the_run_and_not_this_process() -> None:
    with pytest.raises(SystemExit) as caught:
        await cascade.run(process_tasks.exits(3))
    assert caught.value.code == 3


async def test_a_process_that_dies_is_an_error_worth_another_attempt(tmp_path: Path) -> None:
    flow = process_tasks.dies_unless(str(tmp_path / "marker")).with_retry(2)
    assert await cascade.run(flow) == "survived"


async def test_a_process_that_dies_is_named_with_its_task(tmp_path: Path) -> None:
    with pytest.raises(anyio.BrokenWorkerProcess, match="worker process of 'dies_unless' died") as caught:
        await cascade.run(process_tasks.dies_unless(str(tmp_path / "marker")))
    assert "memory" in str(caught.value)


async def test_a_process_that_answers_nonsense_is_said_to() -> None:
    with pytest.raises(anyio.BrokenWorkerProcess, match=r"'babbles'.*file descriptor 1"):
        await cascade.run(process_tasks.babbles())


# -- exceptions -------------------------------------------------------------------------------------------------


async def test_an_exception_that_does_not_unpickle_arrives_as_what_it_is() -> None:
    with pytest.raises(process_tasks.ApiError) as caught:
        await cascade.run(process_tasks.refused(418))
    assert str(caught.value) == "418: refused"
    assert (caught.value.code, caught.value.body) == (418, "refused")
    assert "in the worker process:\n" in caught.value.__notes__[0]
    assert "process_tasks.py" in caught.value.__notes__[0]


async def test_retries_match_an_exception_that_does_not_unpickle(tmp_path: Path) -> None:
    flow = process_tasks.refused_unless(str(tmp_path / "marker"))
    assert await cascade.run(flow.with_retry(2, on=(process_tasks.ApiError,))) == "accepted"


async def test_an_exception_that_cannot_be_rebuilt_is_named_with_the_remedy() -> None:
    with pytest.raises(RuntimeError, match=r"'raises_local' raised LocalError: local text.*__reduce__") as caught:
        await cascade.run(process_tasks.raises_local())
    assert "process_tasks.py" in caught.value.__notes__[0]


def arrived(error: Exception) -> BaseException:
    """*error* as it is after its way from one process to another."""
    far = pickle.loads(pickle.dumps(FarError.of(error)))
    assert isinstance(far, FarError)
    return far.near("work")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("plain"),
        ImportError("none", name="module"),
        FileNotFoundError(2, "no such file", "f"),
        cascade.TaskTimeoutError("n", 1),
        process_tasks.ApiError(1, "b"),
        process_tasks.CodeError(2),
        process_tasks.RefusedFileError(13, path="p"),
        process_tasks.LockedError(3),
        process_tasks.UnpicklableArgumentError(),
        process_tasks.SlotError(field="f"),
        ExceptionGroup("group", [process_tasks.ApiError(4, "b")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_keep_type_and_text_on_their_way(error: Exception) -> None:
    near = arrived(error)
    assert type(near) is type(error)
    assert str(near) == str(error)


def test_an_exception_whose_text_is_another_each_time_keeps_its_type() -> None:
    assert type(arrived(ValueError(process_tasks.Picklable()))) is ValueError


def test_exceptions_keep_their_fields_on_their_way() -> None:
    refused = arrived(process_tasks.RefusedFileError(13, path="p"))
    assert isinstance(refused, process_tasks.RefusedFileError)
    assert (refused.errno, refused.filename) == (13, "p")
    slotted = arrived(process_tasks.SlotError(field="f"))
    assert isinstance(slotted, process_tasks.SlotError)
    assert slotted.field == "f"
    locked = arrived(process_tasks.LockedError(3))
    assert isinstance(locked, process_tasks.LockedError)
    assert locked.code == 3
    assert not hasattr(locked, "lock")  # cannot be pickled


def test_an_exception_of_a_group_keeps_its_fields() -> None:
    group = arrived(ExceptionGroup("group", [process_tasks.ApiError(4, "b")]))
    assert isinstance(group, ExceptionGroup)
    (inner,) = group.exceptions
    assert isinstance(inner, process_tasks.ApiError)
    assert inner.body == "b"


def test_an_exception_may_say_what_stands_in_for_it() -> None:
    error = process_tasks.local_error(__reduce__=lambda self: (process_tasks.StandIn, self.args))
    near = arrived(error)
    assert type(near) is process_tasks.StandIn
    assert str(near) == "local text"


@pytest.mark.parametrize(
    "error",
    [process_tasks.local_error(), process_tasks.local_error(__reduce__=lambda _: (str, ("no exception",)))],
    ids=["local", "no exception"],
)
def test_what_does_not_arrive_as_an_exception_is_described(error: Exception) -> None:
    near = arrived(error)
    assert type(near) is RuntimeError
    assert "'work' raised LocalError: local text" in str(near)


def test_an_exception_that_only_the_worker_can_unpickle_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    far = FarError.of(process_tasks.ApiError(1, "b"))
    monkeypatch.delattr(process_tasks, "ApiError")
    near = far.near("work")
    assert type(near) is RuntimeError
    assert "'work' raised ApiError: 1: b" in str(near)


# -- scripts ----------------------------------------------------------------------------------------------------

SCRIPT = """
import dataclasses
import sys

import cascade


@dataclasses.dataclass
class Point:
    x: int


class OddError(Exception):
    def __init__(self, point: Point, *, why: str) -> None:
        super().__init__(why)
        self.point = point


@cascade.task(mode="process")
def moved(point: Point) -> Point:
    return Point(point.x + 1)


@cascade.task(mode="process")
def fails(point: Point) -> None:
    raise OddError(point, why="odd")


if __name__ == "__main__":
    sys.modules.pop("__mp_main__", None)  # there if anything, say a coverage tool, has imported multiprocessing
    backend = sys.argv[1]
    assert cascade.run_sync(moved(moved(Point(1))), backend=backend) == Point(3)
    try:
        cascade.run_sync(fails(Point(1)), backend=backend)
    except OddError as error:
        assert error.point == Point(1)
        print("done")
"""


# It fails where it is loaded by a worker process.
BROKEN_SCRIPT = """
import sys

import anyio
import cascade

if __name__ != "__main__":
    raise LookupError("only as a script")


@cascade.task(mode="process")
def works() -> None: ...


try:
    cascade.run_sync(works(), backend=sys.argv[1])
except anyio.BrokenWorkerProcess as error:
    print(error)
"""


def output_of_script(text: str, folder: Path, backend: str) -> str:
    script = folder / "script.py"
    script.write_text(text)
    done = subprocess.run([sys.executable, script, backend], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else done.stderr


def test_classes_of_a_script_go_to_the_process_and_back(backend_name: str, tmp_path: Path) -> None:
    assert output_of_script(SCRIPT, tmp_path, backend_name) == "done\n"


def test_a_process_that_cannot_start_says_why(backend_name: str, tmp_path: Path) -> None:
    told = output_of_script(BROKEN_SCRIPT, tmp_path, backend_name)
    assert told.startswith("the worker process of 'works': ")
    assert "LookupError: only as a script" in told


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(process_tasks.takes(process_tasks.Unpicklable()), id="argument"),
        pytest.param(process_tasks.gives_unpicklable(), id="result"),
    ],
)
async def test_what_cannot_be_pickled_fails_the_task(flow: cascade.LazyResult[Any]) -> None:
    with pytest.raises(Exception, match="stays at home"):
        await cascade.run(flow)


async def test_a_process_task_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(process_tasks.never_ends(str(tmp_path / "pid")).with_timeout(0.05))


async def test_starting_a_process_counts_to_no_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(0.5)  # a slow interpreter\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert await cascade.run(process_tasks.add(1, 2).with_timeout(0.4)) == 3


async def test_cancelling_kills_the_process(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, process_tasks.never_ends(str(marker)))
        await until(marker.exists, patience=10**9)
        group.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)


def locally() -> Any:
    @cascade.task(mode="process")
    def hidden() -> None: ...

    return hidden


@pytest.mark.parametrize(
    "hidden", [locally(), cascade.task(mode="process")(lambda: None)], ids=["local function", "lambda"]
)
async def test_a_function_that_processes_cannot_import_is_refused_before_anything_runs(hidden: Any) -> None:
    started: list[None] = []

    @cascade.task
    async def starts() -> None:
        started.append(None)

    with pytest.raises(cascade.GraphError, match="process"):
        await cascade.run(joined(starts(), hidden()))
    assert started == []


async def test_a_checkpoint_in_a_process_lets_the_task_go_on() -> None:
    assert await cascade.run(process_tasks.asks_at_a_checkpoint()) == "went on"


async def test_a_process_task_can_ask_where_it_is() -> None:
    assert await cascade.run(process_tasks.asks_where_it_is()) == ("asks_where_it_is", 1)


async def test_a_process_task_can_ask_how_long_it_has() -> None:
    asks = process_tasks.asks_how_long_it_has
    unlimited, limited = await cascade.run([asks(), asks().with_timeout(500)])
    assert unlimited == math.inf
    assert 0 < limited < 500


@pytest.mark.needs("trio")
def test_the_same_engine_uses_processes_on_one_loop_after_another() -> None:
    engine = cascade.Engine()
    assert asyncio.run(engine.run(process_tasks.add(1, 2))) == 3
    assert anyio.run(engine.run, process_tasks.add(3, 4), backend="trio") == 7
