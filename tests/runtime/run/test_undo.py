"""What a run that fails or is cancelled has done is undone, the last first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from state.cleared import cleared
from undone_tasks import (
    DONE,
    UNDONE,
    book,
    book_in_thread,
    book_inline,
    boom,
    cancel,
    cancel_elsewhere,
    cancel_in_thread,
    cancel_inline,
    cannot,
)

import cascade
from cascade.testing import record_events

AGENCY, DESK = cascade.inject("agency"), cascade.inject("desk")
nothing_is_done = cleared(DONE, UNDONE)


@pytest.fixture(params=["stages", "eager"])
def schedule(request: pytest.FixtureRequest) -> Any:
    return request.param


async def fails(flow: Any, **settings: Any) -> BaseException:
    """What a run of *flow* raises."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # whatever it is, the test looks at it
        await cascade.run(flow, **settings)
    return caught.value


@pytest.mark.parametrize("do", [book, book_in_thread, book_inline])
@pytest.mark.parametrize("undo", [cancel, cancel_in_thread, cancel_inline])
async def test_what_has_succeeded_is_undone_when_another_node_fails(do: Any, undo: Any, schedule: Any) -> None:
    error = await fails(boom(do("hotel").with_undo(undo)), schedule=schedule)
    assert isinstance(error, ValueError)
    assert UNDONE == ["hotel booked"]


async def test_the_last_success_is_undone_first(schedule: Any) -> None:
    first = book(1).with_undo(cancel)
    second = book(2, first).with_undo(cancel_in_thread)
    third = book(3, second).with_undo(cancel_inline)
    await fails(boom(third), schedule=schedule)
    assert UNDONE == ["3 booked", "2 booked", "1 booked"]


async def test_nothing_is_undone_if_the_run_succeeds(schedule: Any) -> None:
    assert await cascade.run(book(1).with_undo(cancel), schedule=schedule) == "1 booked"
    assert UNDONE == []


async def test_a_node_that_failed_or_has_no_undo_is_not_undone() -> None:
    await fails(boom(book(1)).with_undo(cancel))
    assert UNDONE == []


async def test_with_undo_none_takes_it_back() -> None:
    await fails(boom(book(1).with_undo(cancel).with_undo(None)))
    assert UNDONE == []


async def test_each_item_of_a_map_that_has_succeeded_is_undone(schedule: Any) -> None:
    @cascade.task
    async def reserve(seat: int) -> int:
        if seat == 3:
            raise ValueError("no such seat")
        return seat

    await fails(reserve.map(seat=[1, 2, 3, 4]).with_concurrency(1).with_undo(cancel), schedule=schedule)
    assert UNDONE == [2, 1]


async def test_all_items_of_a_map_are_undone_the_last_first(schedule: Any) -> None:
    await fails(boom(book.map(what=[1, 2, 3]).with_concurrency(1).with_undo(cancel)), schedule=schedule)
    assert UNDONE == ["3 booked", "2 booked", "1 booked"]


async def test_nodes_of_all_turns_of_a_loop_are_undone(schedule: Any) -> None:
    @cascade.task
    async def turn(left: int, _: Any = None) -> Any:
        if not left:
            raise ValueError("the end")
        return turn(left - 1, book(left).with_undo(cancel))

    await fails(turn(3), schedule=schedule)
    assert UNDONE == ["1 booked", "2 booked", "3 booked"]


async def test_nodes_of_flows_that_nodes_return_are_undone_before_those_around_them(schedule: Any) -> None:
    @cascade.task
    async def trip() -> Any:
        return book("flight", book("hotel").with_undo(cancel)).with_undo(cancel)

    await fails(boom(trip().with_undo(cancel_inline)), schedule=schedule)
    assert UNDONE == ["flight booked", "flight booked", "hotel booked"]


async def test_a_flow_that_failed_in_place_of_a_node_is_undone_and_the_node_is_not() -> None:
    @cascade.task
    async def trip() -> Any:
        return boom(book("hotel").with_undo(cancel))

    await fails(book(trip().with_undo(cancel_inline)))
    assert UNDONE == ["hotel booked"]


async def test_a_run_that_is_cancelled_from_outside_is_undone(schedule: Any) -> None:
    waiting = anyio.Event()

    @cascade.task
    async def wait(_: Any) -> None:
        waiting.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: cascade.run(wait(book(1).with_undo(cancel)), schedule=schedule))
        await waiting.wait()
        group.cancel_scope.cancel()
    assert UNDONE == ["1 booked"]


async def test_a_run_that_is_cancelled_by_its_handle_is_undone() -> None:
    @cascade.task
    async def wait(_: Any) -> None:
        await anyio.sleep_forever()

    async with cascade.start(wait(book(1).with_undo(cancel))) as run:
        async with run.subscribe(cascade.TaskExecutionStarted) as events:
            async for event in events:
                if isinstance(event, cascade.NodeEvent) and event.task_name == "wait":
                    break
        run.cancel()
    assert run.status().state == "Cancelled"
    assert UNDONE == ["1 booked"]


async def test_on_error_continue_undoes_at_the_end() -> None:
    @cascade.task
    async def later(_: Any) -> Any:
        assert UNDONE == []
        return "later"

    failing, going_on = boom(), later(book(1).with_undo(cancel)).with_undo(cancel)
    error = await fails([failing, going_on], on_error="continue")
    assert isinstance(error, cascade.RunFailed)
    assert UNDONE == ["later", "1 booked"]


async def test_a_drained_run_is_not_undone() -> None:
    started, go_on = anyio.Event(), anyio.Event()

    @cascade.task
    async def wait(_: Any) -> None:
        started.set()
        await go_on.wait()

    async with cascade.start(book(2, wait(book(1).with_undo(cancel)))) as run:
        await started.wait()
        run.drain()
        go_on.set()
    assert run.status().state == "Drained"
    assert UNDONE == []


async def test_a_value_from_a_cache_is_not_undone() -> None:
    cache = cascade.cache.InputCache(cascade.cache.MemoryCacheStore())
    booked = book(1).with_cache(cache).with_undo(cancel)
    await cascade.run(booked)
    await fails(boom(booked))
    assert (DONE, UNDONE) == ([1], [])


async def test_a_nested_run_undoes_what_it_has_done_itself() -> None:
    @cascade.task
    async def around() -> str:
        with pytest.raises(ValueError, match="boom"):
            await cascade.run(boom(book("inside").with_undo(cancel)))
        return "went on"

    assert await cascade.run(around()) == "went on"
    assert UNDONE == ["inside booked"]


# -- undos that fail, retry, or take their time ----------------------------------------------------------------


async def test_an_undo_that_fails_joins_the_failures_and_stops_no_other(schedule: Any) -> None:
    first = book(1).with_undo(cancel)
    second = book(2, first).with_undo(cannot)
    third = book(3, second).with_undo(cancel)
    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as events, pytest.raises(ValueError, match="boom") as caught:
        await engine.run(boom(third))
    assert UNDONE == ["3 booked", ("tried", "2 booked"), "1 booked"]
    (finished,) = events.of(cascade.RunFinished)
    assert finished.failures == ("ValueError: boom", "OSError: 2 booked cannot be cancelled")
    notes = "\n".join(caught.value.__notes__)
    assert "undo of 'book#2'" in notes
    assert "not undone: 'book#2'" in notes


async def test_the_policies_of_the_undo_task_hold() -> None:
    tries: list[int] = []

    @cascade.task(retry=cascade.Retry(max_attempts=3))
    async def flaky(_: Any) -> None:
        tries.append(cascade.current().attempt)
        if len(tries) < 3:
            raise OSError("not yet")

    @cascade.task(timeout=0.01)
    async def slow(_: Any) -> None:
        await anyio.sleep_forever()

    engine = cascade.Engine()
    with record_events(engine) as events, pytest.raises(ValueError, match="boom"):
        await engine.run(boom(book(1).with_undo(flaky), book(2).with_undo(slow)))
    assert tries == [1, 2, 3]
    (finished,) = events.of(cascade.RunFinished)
    assert [text.partition(":")[0] for text in finished.failures] == ["ValueError", "TaskTimeoutError"]


async def test_an_undo_runs_in_a_worker_process() -> None:
    engine = cascade.Engine()
    with record_events(engine) as events, pytest.raises(ValueError, match="boom"):
        await engine.run(boom(book(1).with_undo(cancel_elsewhere)))
    assert [event.status for event in events.of(cascade.UndoFinished)] == ["Succeeded"]


async def test_a_cancellation_does_not_reach_an_undo() -> None:
    undoing, go_on = anyio.Event(), anyio.Event()

    @cascade.task
    async def slowly(booking: Any) -> None:
        undoing.set()
        await go_on.wait()
        UNDONE.append(booking)

    async with anyio.create_task_group() as group:
        group.start_soon(fails, boom(book(1).with_undo(slowly)))
        await undoing.wait()
        group.cancel_scope.cancel()
        go_on.set()
    assert UNDONE == ["1 booked"]


async def test_an_undo_may_be_a_flow() -> None:
    @cascade.task
    async def cancel_both(booking: Any) -> Any:
        return cancel(book("cancellation", cancel.map(booking=[booking, "the rest"])))

    await fails(boom(book(1).with_undo(cancel_both)))
    assert UNDONE == ["1 booked", "the rest", "cancellation booked"]


async def test_a_partial_and_a_method_can_undo() -> None:
    @cascade.task
    async def refund(booking: Any, reason: str) -> None:
        UNDONE.append((booking, reason))

    class Agency:
        @cascade.task
        async def cancel(self, booking: Any) -> None:
            UNDONE.append((booking, type(self).__name__))

    first = book(1).with_undo(refund.partial(reason="failed"))
    await fails(boom(book(2, first).with_undo(Agency().cancel)))
    assert UNDONE == [("2 booked", "Agency"), ("1 booked", "failed")]


# -- resources -------------------------------------------------------------------------------------------------


async def test_resources_are_open_while_nodes_are_undone() -> None:
    seen: list[str] = []

    @cascade.resource
    async def agency() -> AsyncIterator[str]:
        seen.append("opened")
        yield "agency"
        seen.append("closed")

    @cascade.resource(scope="task")
    def desk() -> Iterator[str]:
        yield "desk"

    @cascade.task
    async def undo(booking: Any, agency: Any = AGENCY, desk: Any = DESK) -> None:
        seen.append(f"{booking} at {agency}, {desk}")

    await fails(boom(book(1).with_undo(undo)), providers=[agency, desk])
    assert seen[:2] == ["opened", "1 booked at agency, desk"]


async def test_a_missing_resource_of_an_undo_is_found_before_anything_runs() -> None:
    @cascade.task
    async def undo(booking: Any, agency: Any = AGENCY) -> None: ...

    error = await fails(book(1).with_undo(undo))
    assert isinstance(error, cascade.ResourceNotFoundError)
    assert DONE == []


# -- telling of it ---------------------------------------------------------------------------------------------


async def test_events_tell_of_undos_and_of_none_of_their_nodes() -> None:
    engine = cascade.Engine()
    with record_events(engine) as events, pytest.raises(ValueError, match="boom"):
        await engine.run(boom(book(1).with_undo(cancel)))
    names = events.names()
    assert names[names.index("UndoStarted") :] == ["UndoStarted", "UndoFinished", "RunFinished"]
    (started,), (finished,) = events.of(cascade.UndoStarted), events.of(cascade.UndoFinished)
    assert (started.task_id, started.task_name, started.undo) == ("book", "book", "cancel")
    assert (finished.status, finished.error) == ("Succeeded", None)
    assert {event.task_id for event in events.of(cascade.TaskExecutionStarted)} == {"book", "boom"}


async def test_status_and_explain_say_what_is_being_undone() -> None:
    undoing, go_on = anyio.Event(), anyio.Event()

    @cascade.task
    async def slowly(_: Any) -> None:
        undoing.set()
        await go_on.wait()

    with pytest.raises(ValueError, match="boom"):
        async with cascade.start(book(3, boom(book(2, book(1).with_undo(cancel)).with_undo(slowly)))) as run:
            await undoing.wait()
            assert run.status().state == "Running"
            assert run.status().undoing == ("book#2", "book")
            assert [str(line) for line in run.explain()] == [
                "book#2: is being undone, by 'slowly'",
                "book: waits to be undone, after 1 other, by 'cancel'",
            ]
            go_on.set()
    assert run.status().undoing == ()


async def test_the_idempotency_key_of_an_undo_is_its_own_in_each_turn() -> None:
    keys: list[str] = []

    @cascade.task
    async def undo(_: Any) -> None:
        keys.append(cascade.current().idempotency_key)

    @cascade.task
    async def turn(left: int, _: Any = None) -> Any:
        return turn(left - 1, book(left).with_undo(undo)) if left else boom()

    await fails(turn(2))
    assert len(set(keys)) == 2


# -- what cannot be an undo ------------------------------------------------------------------------------------


@pytest.mark.parametrize("undo", [print, "cancel", cancel("called")])
def test_only_a_task_can_undo(undo: Any) -> None:
    with pytest.raises(TypeError, match="with_undo takes a task"):
        book(1).with_undo(undo)


def test_an_undo_takes_one_argument() -> None:
    @cascade.task
    async def two(a: Any, b: Any) -> None: ...

    with pytest.raises(TypeError, match="two"):
        book(1).with_undo(two)


def test_the_names_of_records_of_undos_are_no_names_of_tasks() -> None:
    with pytest.raises(ValueError, match="~undo"):
        cascade.task(name="~undo:1")(print)


def test_two_copies_that_name_different_undos_contradict_each_other() -> None:
    booked = book(1)
    with pytest.raises(cascade.GraphError, match="undo"):
        cascade.plan([booked.with_undo(cancel), booked.with_undo(cannot)])
