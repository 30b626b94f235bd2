"""Single calls: everything that a task can be told holds for a remote one too."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from life import until
from remote_tasks import (
    CustomError,
    add,
    chooses,
    fail,
    flaky,
    here,
    here_async,
    left,
    place,
    stubborn,
    takes_anything,
    total,
    unpicklable,
    who,
    work_until_stopped,
)

import cascade
from cascade.executors import RemoteExecutor
from cascade.testing import record_events


def names_in(folder: Path) -> set[str]:
    """What tasks have left in *folder*."""
    return {path.name for path in folder.iterdir()}


async def has_begun(run: cascade.Run[Any], folder: Path) -> None:
    """Wait until a worker has begun to work, which it notes in *folder* after the start mark."""
    with anyio.fail_after(20):
        async with run.subscribe(cascade.TaskExecutionStarted) as events:
            async for event in events:
                if isinstance(event, cascade.NodeEvent) and event.task_name == "work_until_stopped":
                    break
        await until((folder / "work-begun").exists, patience=10**9)


async def test_a_remote_task_runs_on_a_worker_and_the_others_stay(remote: RemoteExecutor) -> None:
    (pid, thread), mine, (async_pid, value) = await cascade.run(
        [place(), here(), here_async(add(1, 2))], executor=remote
    )

    assert (pid, thread) != (os.getpid(), "MainThread")
    assert mine == async_pid == os.getpid()
    assert value == 3


async def test_a_failed_attempt_is_made_again(remote: RemoteExecutor, tmp_path: Path) -> None:
    assert await cascade.run(flaky(str(tmp_path), 2).with_retry(3), executor=remote) == 3


async def test_attempts_that_are_used_up_raise_the_last_error(remote: RemoteExecutor, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="attempt 2"):
        await cascade.run(flaky(str(tmp_path), 5).with_retry(2), executor=remote)


async def test_an_error_comes_back_with_its_class_its_attributes_and_the_traceback(remote: RemoteExecutor) -> None:
    with pytest.raises(CustomError) as caught:
        await cascade.run(fail(7), executor=remote)

    assert (caught.value.code, caught.value.hint) == (7, "look there")
    notes = "\n".join(caught.value.__notes__)
    assert "raise CustomError(code" in notes
    assert "on worker" in notes


async def test_a_late_attempt_raises_and_stops_at_its_next_checkpoint(
    remote: RemoteExecutor, tmp_path: Path
) -> None:
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(work_until_stopped(str(tmp_path)).with_timeout(0.1), executor=remote)

    # Joined: when the run has ended, the function has too.
    assert len(names_in(tmp_path)) == 2


async def test_the_next_attempt_waits_for_one_that_ignores_its_timeout(
    remote: RemoteExecutor, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"

    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(stubborn(str(notes), 0.6).with_timeout(0.05).with_retry(2), executor=remote)

    assert notes.read_text() == "begun ended begun ended "


async def test_a_cancelled_run_stops_its_call_and_waits_for_it(remote: RemoteExecutor, tmp_path: Path) -> None:
    async with cascade.start(work_until_stopped(str(tmp_path)), executor=remote) as run:
        await has_begun(run, tmp_path)
        run.cancel()

    assert len(names_in(tmp_path)) == 2


async def test_a_cancelled_node_stops_while_the_run_goes_on(remote: RemoteExecutor, tmp_path: Path) -> None:
    flow = [work_until_stopped(str(tmp_path)).or_else("stopped", on=(cascade.TaskCancelledError,)), add(1)]

    async with cascade.start(flow, executor=remote) as run:
        await has_begun(run, tmp_path)
        run.cancel_node("work_until_stopped")
        assert await run.result() == ["stopped", 2]
    assert len(names_in(tmp_path)) == 2


async def test_a_first_failure_stops_the_other_calls(remote: RemoteExecutor, tmp_path: Path) -> None:
    begun = anyio.Event()

    @cascade.task
    async def fail_here() -> None:
        await begun.wait()
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        async with cascade.start([work_until_stopped(str(tmp_path)), fail_here()], executor=remote) as run:
            await has_begun(run, tmp_path)
            begun.set()
            await run.result()

    assert len(names_in(tmp_path)) == 2


async def test_a_task_knows_its_attempt(remote: RemoteExecutor) -> None:
    assert await cascade.run(who(), executor=remote, run_id="r") == ("r", "who", 1, "r/who")


async def test_a_task_knows_how_much_time_is_left(remote: RemoteExecutor) -> None:
    assert 5 < await cascade.run(left().with_timeout(10), executor=remote) <= 10


async def test_an_argument_that_cannot_be_sent_is_named(remote: RemoteExecutor) -> None:
    with pytest.raises(TypeError, match="argument 'thing' of 'takes_anything' cannot be sent"):
        await cascade.run(takes_anything(threading.Lock()), executor=remote)


async def test_a_result_that_cannot_be_sent_is_named(remote: RemoteExecutor) -> None:
    with pytest.raises(TypeError, match="the result of 'unpicklable' cannot leave"):
        await cascade.run(unpicklable(), executor=remote)


async def test_a_returned_call_runs_in_the_place_of_the_node(remote: RemoteExecutor) -> None:
    assert await cascade.run(total([chooses(1), chooses(2)]), executor=remote) == 23


@pytest.mark.needs("cloudpickle")  # its functions have no importable names
async def test_a_function_without_an_importable_name_travels_with_its_code(remote: RemoteExecutor) -> None:
    factor = 3

    @cascade.task(mode="remote")
    def triple(number: int) -> int:
        return factor * number

    assert await cascade.run(triple(14), executor=remote) == 42


async def test_events_name_the_worker(remote: RemoteExecutor, tmp_path: Path) -> None:
    engine = cascade.Engine(executor=remote)
    with record_events(engine) as seen:
        stream = engine.subscribe(cascade.AttemptStarted)
        await engine.run([flaky(str(tmp_path), 1).with_retry(2), here()])
        again = stream.receive_nowait()
    stream.close()

    workers = {
        (type(event).__name__, event.task_name): event.worker
        for event in seen.of(cascade.NodeEvent)
        if hasattr(event, "worker")
    }
    assert workers["TaskExecutionStarted", "here"] is workers["TaskExecutionFinished", "here"] is None
    assert workers["TaskExecutionStarted", "flaky"]
    assert isinstance(again, cascade.AttemptStarted)
    assert again.worker == workers["TaskExecutionFinished", "flaky"]


async def test_records_name_the_worker_of_calls_that_succeeded(remote: RemoteExecutor, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    engine = cascade.Engine(executor=remote, state=state)
    with record_events(engine) as seen:
        await engine.run([add(1), add(2).with_retry(2)], run_id="watched")
    await engine.run([add(1), add.map(one=[2, 3])], run_id="silent")

    known = {event.task_id: event.worker for event in seen.of(cascade.TaskExecutionFinished)}
    watched = (await cascade.api.recorded_run(state, "watched")).nodes
    assert {node.node_id: node.worker for node in watched} == known
    silent = (await cascade.api.recorded_run(state, "silent")).nodes
    assert [node.node_id for node in silent if not node.worker] == ["add#2"]  # the map, whose items ran


async def test_claims_and_limits_hold(remote: RemoteExecutor) -> None:
    calls = [add(number).with_constraints(gpu=1) for number in range(4)]
    running = most = 0

    async def count(events: Any) -> None:
        nonlocal running, most
        async for event in events:
            running += isinstance(event, cascade.TaskExecutionStarted)
            running -= isinstance(event, cascade.TaskExecutionFinished)
            most = max(most, running)

    values = await cascade.run(calls, executor=remote, system_resources={"gpu": 1}, observers=[count])

    assert (values, most) == ([1, 2, 3, 4], 1)


async def test_a_paused_run_hands_nothing_over(remote: RemoteExecutor) -> None:
    async with cascade.start([add(number).with_retry(2) for number in range(20)], executor=remote) as run:
        await run.pause()
        begun = run.status().counts
        await anyio.wait_all_tasks_blocked()
        left = run.status().counts
        await run.resume()
        assert await run.result() == list(range(1, 21))

    assert begun.get("running", 0) >= left.get("running", 0)
    assert left.get("succeeded", 0) < 20


async def test_a_recorded_outcome_is_used_again(remote: RemoteExecutor, tmp_path: Path) -> None:
    marks, state = tmp_path / "marks", f"sqlite:///{tmp_path}/runs.db"
    marks.mkdir()
    sum_up = total([flaky(str(marks), 0), add(1)])

    for _ in range(2):
        with pytest.raises(CustomError):
            await cascade.run([sum_up, fail(1).after(sum_up)], executor=remote, state=state, run_id="a")

    assert len(names_in(marks)) == 1


async def test_a_race_stops_the_losers(remote: RemoteExecutor, tmp_path: Path) -> None:
    value = await cascade.run(cascade.race(work_until_stopped(str(tmp_path)), add(1)), executor=remote)

    assert value == 2
    assert names_in(tmp_path) != {"work-begun"}  # it has stopped, if it has begun


async def test_a_fallback_takes_the_place_of_a_failure(remote: RemoteExecutor) -> None:
    assert await cascade.run(fail(1).or_else(add(1)), executor=remote) == 2
    assert isinstance(await cascade.run(cascade.settled(fail(2)), executor=remote), cascade.Failed)


async def test_items_of_a_map_are_remote_too(remote: RemoteExecutor) -> None:
    flow = total(add.map(one=list(range(30))))

    assert await cascade.run(flow, executor=remote) == sum(range(1, 31))
