"""What a full buffer does: "block" holds attempts and loses nothing, "drop" counts and says so."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from plain_tasks import step
from strategies_runtime import event, last, rest, skipped

import cascade
from cascade.runtime.admission.claims import Holdings


async def test_what_does_not_fit_is_counted_and_reported_when_there_is_room_again() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(buffer=2, policy="drop") as stream:
        for seq in range(1, 6):
            bus.publish(event(seq))
        await stream.receive()
        await stream.receive()
        bus.publish(event(6))
        notice = await stream.receive()
        assert isinstance(notice, cascade.EventsDropped)
        assert notice.count == 3
        assert await stream.receive() == event(6)
        assert stream.statistics().dropped == 3


async def test_each_notice_counts_from_the_one_before() -> None:
    bus = cascade.EventBus()
    counts = []
    async with bus.subscribe(buffer=1, policy="drop") as stream:
        for number in (2, 3):
            for seq in range(number + 1):
                bus.publish(event(seq))
            await stream.receive()
            bus.publish(event(9))
            notice = await stream.receive()
            assert isinstance(notice, cascade.EventsDropped)
            counts.append(notice.count)
            assert await stream.receive() == event(9)
    assert counts == [2, 3]


async def test_what_was_dropped_is_reported_before_the_last_event() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(buffer=1, policy="drop") as stream:
        for seq in (1, 2, 3):
            bus.publish(event(seq))
        bus.publish(last(4))
        bus.close()
        first, notice, final = await rest(stream)
    assert first == event(1)
    assert isinstance(notice, cascade.EventsDropped)
    assert notice.count == 2
    assert isinstance(final, cascade.RunFinished)


async def test_what_was_dropped_is_reported_to_a_subscriber_of_a_few_kinds_too() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(cascade.TaskSkipped, buffer=1, policy="drop") as stream:
        for seq in (1, 2, 3):
            bus.publish(skipped(seq))
        bus.publish(last(4))
        bus.close()
        found = await rest(stream)
    assert [e.count for e in found if isinstance(e, cascade.EventsDropped)] == [2]


async def test_numbers_increase_for_a_reader_from_whom_events_were_dropped() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(buffer=1, policy="drop") as stream:
        for seq in (1, 2, 3):
            bus.publish(event(seq))
        bus.publish(last(4))
        bus.close()
        numbers = [e.seq for e in await rest(stream)]
    assert numbers == sorted(set(numbers))


async def test_a_drop_subscriber_holds_nothing_up(schedule: Any) -> None:
    async with cascade.start(step(step(step("x"))), schedule=schedule) as run:
        stream = run.subscribe(buffer=1, policy="drop")
        with anyio.fail_after(60):
            assert await run.result() == "x"
    stream.close()


async def test_no_attempt_starts_while_a_block_subscriber_has_a_full_buffer(schedule: Any) -> None:
    ran: list[str] = []

    @cascade.task
    async def note(name: str) -> None:
        ran.append(name)

    async with (
        cascade.start(note("x"), schedule=schedule) as run,
        run.subscribe(cascade.RunStarted, buffer=1) as one,
    ):
        await anyio.wait_all_tasks_blocked()
        assert ran == []
        await one.receive()
        await run.result()
        assert ran == ["x"]


async def test_a_full_subscriber_on_the_engine_s_bus_holds_every_run() -> None:
    ran: list[str] = []

    @cascade.task
    async def note(name: str) -> None:
        ran.append(name)

    async with (
        cascade.Engine() as engine,
        engine.subscribe(cascade.RunStarted, buffer=1) as stream,
        anyio.create_task_group() as group,
    ):
        for name in "ab":
            group.start_soon(engine.run, note(name))
        await anyio.wait_all_tasks_blocked()
        assert ran == []
        await stream.receive()
        await stream.receive()
    assert sorted(ran) == ["a", "b"]


async def test_events_of_attempts_that_run_already_are_delivered_beyond_the_buffer() -> None:
    may_end = anyio.Event()

    @cascade.task
    async def wait() -> None:
        await may_end.wait()

    kinds = (cascade.NodeEvent, cascade.RunFinished)
    async with cascade.start([wait(), wait(), wait()]) as run, run.subscribe(*kinds, buffer=3) as stream:
        await anyio.wait_all_tasks_blocked()
        may_end.set()
        await run.result()
        names = [type(e).__name__ for e in await rest(stream)]
    assert names == ["TaskExecutionStarted"] * 3 + ["TaskExecutionFinished"] * 3 + ["RunFinished"]


async def test_a_block_subscriber_loses_nothing_however_slow_it_reads(schedule: Any) -> None:
    async with (
        cascade.start(step.map(value=range(50)), schedule=schedule) as run,
        run.subscribe(buffer=1) as stream,
    ):
        numbers = []
        async for e in stream:
            numbers.append(e.seq)
            await anyio.wait_all_tasks_blocked() if len(numbers) < 5 else None
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) >= 100


async def test_explain_names_a_subscriber_that_does_not_read(schedule: Any) -> None:
    async with cascade.start(step(), schedule=schedule) as run, run.subscribe(cascade.RunStarted, buffer=1):
        await anyio.wait_all_tasks_blocked()
        (explanation,) = run.explain()
        run.cancel()
    assert explanation.node_id == "step"
    assert "RunStarted" in explanation.blockers[0]
    assert "unread" in explanation.blockers[0]


async def test_a_full_subscriber_that_leaves_frees_the_run(schedule: Any) -> None:
    async with cascade.start(step("x"), schedule=schedule) as run:
        async with run.subscribe(cascade.RunStarted, buffer=1):
            await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(60):
            assert await run.result() == "x"


async def test_waiting_for_a_subscriber_is_not_an_event_for_it_to_read() -> None:
    async with cascade.start(step()) as run, run.subscribe(cascade.RunStarted, cascade.TaskBlocked, buffer=1) as s:
        await anyio.wait_all_tasks_blocked()
        assert s.statistics().unread == 1
        run.cancel()


async def test_a_retry_waits_for_a_full_subscriber_too() -> None:
    attempts: list[int] = []

    @cascade.task
    async def fragile() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError

    async with (
        cascade.start(fragile().with_retry(2)) as run,
        run.subscribe(cascade.TaskRetrying, buffer=1) as stream,
    ):
        await anyio.wait_all_tasks_blocked()
        assert len(attempts) == 1
        await stream.receive()
        await run.result()
    assert len(attempts) == 2


async def test_a_stream_says_where_it_stands() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(cascade.TaskSkipped, buffer=3) as stream:
        bus.publish(skipped())
        assert repr(stream) == "<EventStream of TaskSkipped: 1 of 3 unread, block>"


async def test_receiving_without_waiting_raises_what_a_stream_raises() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe() as stream:
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()
        bus.close()
        with pytest.raises(anyio.EndOfStream):
            stream.receive_nowait()


async def test_who_gets_only_the_ends_of_runs_is_not_told_of_nodes() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(cascade.RunFinished):
        assert bus.is_silent()
        async with bus.subscribe(cascade.RunFinished, cascade.TaskSkipped):
            assert not bus.is_silent()


async def test_who_gets_only_the_ends_of_runs_holds_attempts_back_when_full() -> None:
    begun: list[int] = []

    @cascade.task(mode="inline")
    def begins(number: int) -> None:
        begun.append(number)

    async with cascade.Engine() as engine, engine.subscribe(cascade.RunFinished, buffer=1) as ends:
        await engine.run(begins(1))
        async with engine.start([begins(2), begins(3)]) as run:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert begun == [1]
            await ends.receive()
            await run.result()
    assert begun == [1, 2, 3]


async def test_room_for_one_event_is_not_room_for_all_who_wait(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @cascade.task
    async def item(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number

    claims = 0
    take = Holdings.take

    def counted(*args: Any) -> Any:
        nonlocal claims
        claims += 1
        return take(*args)

    monkeypatch.setattr(Holdings, "take", counted)
    seen = 0
    async with cascade.Engine(schedule=schedule) as engine, anyio.create_task_group() as group:

        async def read() -> None:
            nonlocal seen
            async with engine.subscribe(buffer=8) as events:
                group.start_soon(engine.run, item.map(number=range(200)).with_concurrency(40))
                async for event in events:
                    seen += 1
                    if isinstance(event, cascade.RunFinished):
                        return

        group.start_soon(read)
    assert seen > 400
    assert claims < 4 * 200  # not forty for each of them
