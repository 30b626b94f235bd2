"""Tasks that run in worker processes."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import carried
import process_tasks
import pytest
import real_time
from life import joined, until

import cascade

pytestmark = pytest.mark.loop

Run = Callable[..., Any]


def test_process_tasks_run_in_another_process(run: Run) -> None:
    assert run(process_tasks.pid()) != os.getpid()


@pytest.mark.parametrize("schedule", ["stages", pytest.param("eager", marks=pytest.mark.slow)])
async def test_arguments_and_results_go_to_the_process_and_back(schedule: Any) -> None:
    flow = process_tasks.add(process_tasks.add(1, 2), 3)
    assert await cascade.run(flow, schedule=schedule) == 6


def test_what_a_process_task_raises_comes_with_its_message_and_its_place(run: Run) -> None:
    with pytest.raises(ValueError, match=r"^far away") as caught:
        run(process_tasks.fails("far away"))
    notes = "\n".join(caught.value.__notes__)
    assert "process_tasks.py" in notes
    assert "node 'fails'" in notes


async def test_a_process_task_that_exits_ends_the_run_and_not_this_process() -> None:
    with pytest.raises(SystemExit) as caught:
        await cascade.run(process_tasks.exits(3))
    assert caught.value.code == 3


def test_a_process_that_dies_is_an_error_worth_another_attempt(run: Run, tmp_path: Path) -> None:
    flow = process_tasks.dies_unless(str(tmp_path / "marker")).with_retry(2)
    assert run(flow) == "survived"


def test_a_process_that_dies_is_named_with_its_task(run: Run, tmp_path: Path) -> None:
    told = "^the worker process of 'dies_unless' exited with status 1, as by os._exit, in the middle of the task; "
    with pytest.raises(anyio.BrokenWorkerProcess, match=told):
        run(process_tasks.dies_unless(str(tmp_path / "marker")))


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGKILL, "killed by SIGKILL, as by the system when memory runs out"),
        (signal.SIGSEGV, "by SIGSEGV,"),
    ],
)
def test_a_process_that_is_killed_is_said_to(run: Run, number: int, told: str) -> None:
    with pytest.raises(anyio.BrokenWorkerProcess, match=told):
        run(process_tasks.kills_itself(number))


@pytest.mark.slow
def test_a_process_that_closes_what_it_does_not_know_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.adapters.executors.worker.GRACE", 0.01)
    with pytest.raises(anyio.BrokenWorkerProcess, match="closed the channel"):
        run(process_tasks.closes_everything())
    assert run(process_tasks.add(1, 2)) == 3


def test_a_process_that_dies_between_two_tasks_is_replaced(run: Run) -> None:
    first = run(process_tasks.pid())
    os.kill(first, signal.SIGKILL)
    while Path(f"/proc/{first}/stat").read_text().split()[2] != "Z":
        os.sched_yield()
    assert run(process_tasks.pid()) != first


# -- exceptions -------------------------------------------------------------------------------------------------


def test_an_exception_that_does_not_unpickle_arrives_as_what_it_is(run: Run) -> None:
    with pytest.raises(process_tasks.ApiError) as caught:
        run(process_tasks.refused(418))
    assert str(caught.value) == "418: refused"
    assert (caught.value.code, caught.value.body) == (418, "refused")
    assert "in the worker process:\n" in caught.value.__notes__[0]
    assert "process_tasks.py" in caught.value.__notes__[0]
    assert "calls.py" not in caught.value.__notes__[0]  # which is ours


def test_retries_match_an_exception_that_does_not_unpickle(run: Run, tmp_path: Path) -> None:
    flow = process_tasks.refused_unless(str(tmp_path / "marker"))
    assert run(flow.with_retry(2, on=(process_tasks.ApiError,))) == "accepted"


def test_an_exception_of_a_local_class_arrives_or_is_described(run: Run) -> None:
    """The first with cloudpickle, the second without."""
    with pytest.raises(Exception, match="local text") as caught:
        run(process_tasks.raises_local())
    assert type(caught.value).__name__ == "LocalError" or "__reduce__" in str(caught.value)
    assert "process_tasks.py" in caught.value.__notes__[0]


# -- what cannot travel ---------------------------------------------------------------------------------------


def told(run: Run, flow: cascade.LazyResult[Any], kind: type[Exception] = TypeError) -> str:
    """The only line of the error that running *flow* fails with; the worker goes on to make other calls."""
    before = run(process_tasks.pid())
    with pytest.raises(kind) as caught:
        run(flow)
    assert run(process_tasks.pid()) == before
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_an_argument_that_cannot_be_pickled_is_named(run: Run) -> None:
    message = told(run, process_tasks.takes(carried.Unpicklable()))
    assert message.startswith("argument 'value' of 'takes' cannot be sent to another process: TypeError: stays at")
    assert "thread" in message


def test_a_result_that_cannot_be_pickled_is_named(run: Run) -> None:
    message = told(run, process_tasks.gives_unpicklable())
    assert message.startswith(
        "the result of 'gives_unpicklable' cannot leave its process: TypeError: stays at home"
    )


def test_an_argument_that_cannot_be_unpickled_is_named(run: Run) -> None:
    message = told(run, process_tasks.takes_several(0, 1, carried.Unreadable(), key=3))
    assert message.startswith(
        "argument 'others[2]' of 'takes_several' cannot be read in the other process: ValueErr"
    )


def test_arguments_that_can_be_unpickled_alone_and_not_together_are_named_together(run: Run) -> None:
    flow = process_tasks.takes_several(process_tasks.Single(), process_tasks.Single())
    assert (told(run, flow)).startswith("the arguments of 'takes_several' cannot be read in the other process: ")


def test_a_result_that_cannot_be_unpickled_is_named(run: Run) -> None:
    message = told(run, process_tasks.gives_unreadable())
    assert message.startswith(
        "the result of 'gives_unreadable' cannot be read in this process: ValueError: does not"
    )


def test_a_function_that_the_process_does_not_find_is_named(run: Run, tmp_path: Path) -> None:
    module = types.ModuleType("only_here")
    exec(process_tasks.ONLY_HERE, vars(module))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "only_here", module)
        message = told(run, module.lonely(), cascade.GraphError)
    assert message.startswith(
        "'lonely' cannot run in another process, which cannot get only_here.lonely: ModuleNot"
    )


def locally() -> Any:
    factor = 3

    @cascade.task(mode="process")
    def hidden(x: int = 1) -> int:
        return factor * x

    return hidden


@pytest.mark.needs("cloudpickle")
def test_a_local_function_runs_in_a_process(run: Run) -> None:
    assert run(locally()(2)) == 6
    assert run(cascade.task(mode="process", name="anonymous")(lambda x: x + 1)(2)) == 3


@pytest.mark.needs("cloudpickle")
def test_local_functions_and_classes_go_to_the_process_and_back(run: Run) -> None:
    class Point: ...

    assert run(process_tasks.calls(lambda x: x + 1, 1)) == 2
    assert type(run(process_tasks.calls(lambda point: point, Point()))) is Point
    assert (run(process_tasks.gives_local_function(2)))(3) == 5


@pytest.mark.usefixtures("without_cloudpickle")
@pytest.mark.parametrize(
    "hidden", [locally(), cascade.task(mode="process")(lambda: None)], ids=["local function", "lambda"]
)
async def test_without_cloudpickle_a_local_function_is_refused_before_anything_runs(hidden: Any) -> None:
    started: list[None] = []

    @cascade.task
    async def starts() -> None:
        started.append(None)

    with pytest.raises(cascade.GraphError, match=r"cannot run in a worker process.*cascade-anyio\[process\]"):
        await cascade.run(joined(starts(), hidden()))
    assert started == []


# -- its time --------------------------------------------------------------------------------------------------


async def test_a_process_task_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(process_tasks.never_ends(str(tmp_path / "pid")).with_timeout(0.05))


async def test_starting_a_process_counts_to_no_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "from real_time import hold_thread; hold_thread(0.5)  # a slow interpreter\n"
    (tmp_path / "sitecustomize.py").write_text(slow)
    path = [str(tmp_path), str(Path(real_time.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    # A loaded machine may make the call itself late; each attempt has a new process to wait for.
    assert await cascade.run(process_tasks.add(1, 2).with_timeout(0.4).with_retry(5)) == 3


async def test_cancelling_kills_the_process(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, process_tasks.never_ends(str(marker)))
        await until(marker.exists, patience=10**9)
        group.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)


# -- where it is ------------------------------------------------------------------------------------------------


def test_a_checkpoint_in_a_process_lets_the_task_go_on(run: Run) -> None:
    assert run(process_tasks.asks_at_a_checkpoint()) == "went on"


def test_a_process_task_can_ask_where_it_is(run: Run) -> None:
    assert run(process_tasks.asks_where_it_is()) == ("asks_where_it_is", 1)


def test_a_process_task_can_ask_how_long_it_has(run: Run) -> None:
    asks = process_tasks.asks_how_long_it_has
    unlimited, limited = run([asks(), asks().with_timeout(500)])
    assert unlimited == math.inf
    assert 0 < limited < 500


@pytest.mark.needs("trio")
def test_the_same_engine_uses_processes_on_one_loop_after_another() -> None:
    engine = cascade.Engine()
    assert asyncio.run(engine.run(process_tasks.add(1, 2))) == 3
    assert anyio.run(engine.run, process_tasks.add(3, 4), backend="trio") == 7


def test_an_idempotency_key_is_that_of_the_node_in_its_run(run: Run) -> None:
    key = process_tasks.asks_for_its_key
    first, second = run([key(), key()], run_id="nightly")
    assert (first, second) == ("nightly/asks_for_its_key", "nightly/asks_for_its_key#2")


def test_the_time_that_is_left_is_counted_from_the_start_of_the_attempt(run: Run) -> None:
    left = run(process_tasks.asks_how_long_it_has(bytes(50_000_000)).with_timeout(500))
    assert left < 500


def test_what_is_left_of_a_task_is_in_no_task(run: Run) -> None:
    run(process_tasks.keeps_its_context())
    with pytest.raises(RuntimeError, match="code that runs in a task"):
        run(process_tasks.asks_in_what_was_kept())


@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.needs("trio"))])
def test_a_flow_can_be_run_inside_a_process_task(run: Run, backend: str) -> None:
    assert run(process_tasks.runs_a_flow(3, backend)) == (6, 6, 6)


def test_a_process_task_may_return_a_call(run: Run) -> None:
    assert run(process_tasks.counts_down(3)) == "done"


# -- context variables ------------------------------------------------------------------------------------------


@contextmanager
def setting(variable: ContextVar[Any], value: object) -> Iterator[None]:
    """In the block, *variable* is *value*."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def test_context_variables_of_the_caller_are_set_in_the_process(run: Run) -> None:
    with setting(process_tasks.seen_by_caller, "here"):
        assert run(process_tasks.variable()) == "here"


def test_each_run_has_the_context_variables_of_its_caller(run: Run) -> None:
    for value in ("first", "second"):
        with setting(process_tasks.seen_by_caller, value):
            assert run(process_tasks.variable()) == value
    assert run(process_tasks.variable()) == "unset"


def test_what_a_process_task_sets_is_gone_afterwards(run: Run) -> None:
    with setting(process_tasks.seen_by_caller, "here"):
        assert run(process_tasks.sets_variable("elsewhere")) == "elsewhere"
        assert run(process_tasks.variable()) == "here"
        assert process_tasks.seen_by_caller.get() == "here"


def test_an_unset_variable_says_why_it_could_not_be_sent(run: Run) -> None:
    with setting(process_tasks.of_any_kind, carried.Unpicklable()), pytest.raises(LookupError) as caught:
        run(process_tasks.any_kind())
    assert any("'of_any_kind'" in note and "stays at home" in note for note in caught.value.__notes__)
