"""The handle of a run: cancelling it, looking at it, listening to it, waiting for it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from life import Log, finished, forever, just, raising, turns, unfinished, until
from unshowable import MuteError

import cascade
from cascade.testing import record_events

# -- cancelling ------------------------------------------------------------------------------------------------


async def test_cancel_ends_the_run_and_the_block_in_silence() -> None:
    log = Log()
    async with cascade.start(log.waits("a")) as run:
        await until(log.has("a starts"))
        run.cancel()
    assert log.lines == ["a starts", "a is cancelled"]
    assert run.status().state == "Cancelled"


async def test_cancel_returns_at_once_and_may_be_repeated() -> None:
    log = Log()
    async with cascade.start(log.waits("a")) as run:
        await until(log.has("a starts"))
        run.cancel()
        assert log.lines == ["a starts"]
        run.cancel()


async def test_cancel_before_the_first_await_runs_nothing() -> None:
    log, engine = Log(), cascade.Engine()
    with record_events(engine) as recorded:
        async with engine.start([log.waits("a"), log.waits("b")]) as run:
            run.cancel()
    assert log.lines == []
    assert finished(recorded).status == "Cancelled"
    assert finished(recorded).counts["pending"] == 2


async def test_result_raises_run_cancelled_after_cancel() -> None:
    async with cascade.start(forever(), run_id="nightly") as run:
        await turns(3)
        run.cancel()
        with pytest.raises(cascade.RunCancelled, match="nightly") as caught:
            await run.result()
    assert caught.value.run_id == "nightly"


async def test_run_cancelled_leaves_the_block_if_nobody_catches_it() -> None:
    with pytest.raises(cascade.RunCancelled):
        async with cascade.start(forever()) as run:
            await turns(3)
            run.cancel()
            await run.result()


async def test_cancel_after_the_end_changes_nothing() -> None:
    async with cascade.start(just(1)) as run:
        assert await run.result() == 1
        run.cancel()
        assert await run.result() == 1
    assert run.status().state == "Succeeded"


async def test_a_failure_before_the_cancellation_is_what_result_raises() -> None:
    log = Log()

    @cascade.task
    async def lingers() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            log.lines.append("lingers")
            with anyio.CancelScope(shield=True):
                await until(log.has("cancelled"))

    @cascade.task
    async def fails() -> None:
        await until(log.has("starts"))
        raise ValueError("bad")

    async with cascade.start([lingers(), fails()]) as run:
        await until(log.has("lingers"))
        run.cancel()
        log.lines.append("cancelled")
        with pytest.raises(ValueError, match="bad"):
            await run.result()


async def test_cancelling_the_scope_around_the_block_cancels_the_run() -> None:
    log = Log()
    with anyio.CancelScope() as scope:
        async with cascade.start(log.waits("a")):
            await until(log.has("a starts"))
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert log.lines == ["a starts", "a is cancelled"]


async def test_a_scope_inside_the_block_does_not_touch_the_run() -> None:
    async with cascade.start(takes_turns()) as run:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await run.result()
        assert await run.result() == "done"


@cascade.task
async def takes_turns() -> str:
    await turns(20)
    return "done"


async def test_a_node_may_cancel_its_own_run() -> None:
    handles: list[cascade.Run] = []
    log = Log()

    @cascade.task
    async def cancels() -> None:
        handles[0].cancel()
        await log.waits.func("after")

    async with cascade.start([cancels(), log.waits("sibling")]) as run:
        handles.append(run)
    assert run.status().state == "Cancelled"
    assert "after is cancelled" in log.lines


async def test_every_node_that_began_has_ended_when_a_handle_cancelled_the_run() -> None:
    log, engine = Log(), cascade.Engine()
    flow = [log.waits("a"), log.waits.map(name=["b", "c"]), just(log.waits("d"))]
    with record_events(engine) as recorded:
        async with engine.start(flow) as run:
            await until(log.has("a starts", "b starts", "c starts", "d starts"))
            run.cancel()
    assert unfinished(recorded) == set()


# -- looking ---------------------------------------------------------------------------------------------------


async def test_status_counts_all_nodes_before_anything_has_happened() -> None:
    async with cascade.start([just(1), just(just(2))]) as run:
        assert run.status().state == "Running"
        assert run.status().counts["pending"] == 3


async def test_status_tells_what_runs_and_what_has_ended(schedule: Any) -> None:
    log = Log()
    flow = [log.waits("a", just(1)), log.waits("b", just(2)), just(log.waits("c", just(3)))]
    async with cascade.start(flow, schedule=schedule) as run:
        await until(log.has("a starts", "b starts", "c starts"))
        status = run.status()
        assert set(status.running) == {"waits", "waits#2", "waits#3"}
        assert status.counts["succeeded"] == 3
        run.cancel()
    assert run.status().running == ()


@pytest.mark.parametrize(("flow", "state"), [(just(1), "Succeeded"), (raising(ValueError("bad")), "Failed")])
async def test_status_tells_how_the_run_ended(flow: Any, state: str) -> None:
    async with cascade.start(flow) as run:
        await until(lambda: run.status().state != "Running")
        assert run.status().state == state
        if state == "Failed":
            with pytest.raises(ValueError, match="bad"):
                await run.result()
    assert run.status().failures == (() if state == "Succeeded" else ("ValueError: bad",))


async def test_status_is_a_snapshot() -> None:
    async with cascade.start(just(1)) as run:
        before = run.status()
        await run.result()
        assert before.state == "Running"
        with pytest.raises(AttributeError):
            before.state = "Failed"  # type: ignore[misc]  # frozen


async def test_status_copes_with_errors_that_cannot_be_shown() -> None:
    async with cascade.start(raising(MuteError())) as run:
        with pytest.raises(MuteError):
            await run.result()
        assert len(run.status().failures) == 1


async def test_explain_names_what_keeps_a_node(schedule: Any) -> None:
    log = Log()
    flow = [just(log.waits("a")), *[log.waits(name).with_constraints(gpu=1) for name in "bc"]]
    settings: dict[str, Any] = {"schedule": schedule, "system_resources": {"gpu": 1}}
    async with cascade.start(flow, **settings) as run:
        await until(lambda: len(log.lines) == 2 and len(run.explain()) == 2)
        words = {entry.node_id: " ".join(entry.blockers) for entry in run.explain()}
        assert "'waits'" in words.pop("just")
        (why,) = words.values()
        assert "gpu" in why
        run.cancel()


async def test_explain_has_nothing_to_say_of_what_runs_or_has_ended() -> None:
    log = Log()
    async with cascade.start([just(1), log.waits("a")]) as run:
        await until(log.has("a starts"))
        await turns(5)
        assert run.explain() == ()
        run.cancel()
    assert run.explain() == ()


async def test_a_run_shows_its_id_and_state() -> None:
    async with cascade.start(just(1), run_id="nightly") as run:
        assert repr(run) == "<Run 'nightly': Running>"
    assert repr(run) == "<Run 'nightly': Succeeded>"


# -- listening -------------------------------------------------------------------------------------------------


async def test_a_subscription_before_the_first_await_sees_everything(schedule: Any) -> None:
    async with cascade.start(just(just(1)), schedule=schedule) as run:
        with record_events(run) as recorded:
            await run.result()
    assert recorded.names()[0] == "RunStarted"
    assert recorded.names()[-1] == "RunFinished"
    assert recorded.names().count("TaskExecutionStarted") == 2
    assert [event.seq for event in recorded.events] == list(range(1, len(recorded.events) + 1))


async def test_a_subscription_before_the_first_await_sees_a_run_that_is_cancelled_at_once() -> None:
    async with cascade.start(just(1)) as run:
        with record_events(run) as recorded:
            run.cancel()
            await until(lambda: run.status().state != "Running")
    assert recorded.names()[-1] == "RunFinished"


async def test_a_subscription_after_the_end_is_empty() -> None:
    async with cascade.start(just(1)) as run:
        await run.result()
        async with run.subscribe() as events:
            assert [event async for event in events] == []


async def test_a_subscription_hears_of_its_own_run_only() -> None:
    async with cascade.Engine() as engine, engine.start(takes_turns(), run_id="mine") as run:
        with record_events(run) as recorded:
            await engine.run(just(1), run_id="other")
            await run.result()
    assert {event.run_id for event in recorded.events} == {"mine"}


# -- waiting ---------------------------------------------------------------------------------------------------


async def test_cancelling_who_waits_for_the_result_leaves_the_run_alone() -> None:
    async with cascade.start(takes_turns()) as run:
        async with anyio.create_task_group() as group:
            group.start_soon(run.result)
            await turns(2)
            group.cancel_scope.cancel()
        assert await run.result() == "done"


async def test_many_may_wait_for_the_result() -> None:
    results: list[str] = []

    async def wait(run: cascade.Run) -> None:
        results.append(await run.result())

    async with cascade.start(takes_turns()) as run, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait, run)
    assert results == ["done"] * 3
