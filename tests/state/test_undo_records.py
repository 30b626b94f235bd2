"""What was undone, and what is still to be undone, is known to whoever goes on with the run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import cascade
from cascade.api import recorded_run
from cascade.state import InMemoryStateBackend
from cascade.testing import record_events
from cascade.testing.faults import LoseStore
from cascade.testing.faulty_store import FaultyStore
from state.cleared import cleared
from state.stores import StoreUnderTest

# Done and not undone, by idempotency key; what was called; what fails; what a turn waits for.
WORLD: set[str] = set()
CALLED: list[str] = []
FAILING: set[str] = set()
HELD: dict[str, anyio.Event] = {}
nothing_has_run = cleared(WORLD, CALLED, FAILING, HELD)


@cascade.task
async def book(what: str, *_: Any) -> str:
    CALLED.append(f"book {what}")
    key = f"{what}: {cascade.current().idempotency_key}"
    WORLD.add(key)
    return key


@cascade.task
async def cancel(key: str) -> None:
    what = key.partition(":")[0]
    CALLED.append(f"cancel {what}")
    if f"cancel {what}" in FAILING:
        raise OSError(f"{what} cannot be cancelled")
    WORLD.discard(key)


@cascade.task
async def other_cancel(key: str) -> None:
    CALLED.append(f"{key} is cancelled otherwise")


@cascade.task
async def look(what: str, *_: Any) -> str:
    CALLED.append(f"look {what}")
    return what


@cascade.task
async def finish(*given: Any) -> Any:
    CALLED.append("finish")
    if "finish" in FAILING:
        raise ValueError("finish is failing")
    return given


@cascade.task
async def turn(left: int, *given: Any) -> Any:
    return turn(left - 1, book(f"turn {left}").with_undo(cancel)) if left else finish(*given)


@cascade.task
async def wait_in_turn(left: int, _: Any) -> None:
    if left == 2:
        HELD["started"].set()
        await HELD["go_on"].wait()


@cascade.task
async def again(left: int, *given: Any) -> Any:
    booked = book(f"turn {left}").with_undo(cancel)
    return again(left - 1, wait_in_turn(left, booked)) if left else finish(*given)


@cascade.task
async def tour() -> Any:
    return [book("inner").with_undo(cancel), look("inner")]


def legs(first: str = "before") -> list[Any]:
    """Two bookings, one after the other, with something before, between and after that has no undo."""
    before = look(first)
    hotel = book("hotel", before).with_undo(cancel)
    flight = book("flight", look("between", hotel)).with_undo(cancel)
    return [look("after", flight), hotel]


def trip(first: str = "before") -> Any:
    return finish(*legs(first))


def everything() -> Any:
    """What fails comes last: what was done and not recorded is done again before that, and so is known."""
    return finish(*legs(), book.map(what=["seat 1", "seat 2"]).with_undo(cancel), tour())


FLOWS: dict[str, Callable[[], Any]] = {
    "trip": trip,
    "everything": everything,
    "loop": lambda: turn(3),
}
BOOKED = {"trip": 2, "everything": 5, "loop": 3}


async def run(flow: Any, state: Any, **settings: Any) -> Any:
    CALLED.clear()
    return await cascade.run(flow, state=state, run_id="night", **settings)


async def fails(flow: Any, state: Any, **settings: Any) -> BaseException:
    with pytest.raises(Exception, match=r"failing|cannot be") as caught:
        await run(flow, state, **settings)
    return caught.value


async def left_in_undo(flow: Any, store: StoreUnderTest, what: str) -> None:
    """A run that fails, and ends before *what* is undone."""
    FAILING.update(("finish", f"cancel {what}"))
    await fails(flow, store.state)
    FAILING.clear()


# -- after an undo that is complete ------------------------------------------------------------------------------


async def test_what_was_undone_runs_again_with_all_that_depends_on_it(store: StoreUnderTest) -> None:
    FAILING.add("finish")
    await fails(trip(), store.state)
    assert CALLED[-2:] == ["cancel flight", "cancel hotel"]
    assert not WORLD
    FAILING.clear()
    await run(trip(), store.state)
    assert CALLED == ["book hotel", "look between", "book flight", "look after", "finish"]
    assert sorted(WORLD) == ["flight: night/book#2~1", "hotel: night/book~1"]


@pytest.mark.parametrize("name", FLOWS)
async def test_every_store_goes_on_after_an_undo(name: str, any_store: StoreUnderTest, schedule: Any) -> None:
    FAILING.add("finish")
    for _ in range(2):
        await fails(FLOWS[name](), any_store.state, schedule=schedule)
        assert not WORLD
    FAILING.clear()
    await run(FLOWS[name](), any_store.state, schedule=schedule)
    assert len(WORLD) == BOOKED[name]
    before = set(WORLD)
    await run(FLOWS[name](), any_store.state, schedule=schedule)
    assert before == WORLD


async def test_a_run_that_has_succeeded_is_not_undone_any_more(store: StoreUnderTest) -> None:
    await run(finish(book("hotel").with_undo(cancel)), store.state)
    FAILING.add("finish")
    await fails(finish(book("hotel").with_undo(cancel), 5), store.state, on_change="recompute")
    assert CALLED == ["finish"]
    assert len(WORLD) == 1


# -- across executions -------------------------------------------------------------------------------------------


async def test_what_an_earlier_execution_has_done_is_undone_too(any_store: StoreUnderTest, schedule: Any) -> None:
    started, go_on = anyio.Event(), anyio.Event()

    @cascade.task
    async def wait(_: Any) -> None:
        started.set()
        await go_on.wait()

    flow = finish(book("flight", wait(book("hotel").with_undo(cancel))).with_undo(cancel))
    async with cascade.start(flow, state=any_store.state, run_id="night", schedule=schedule) as live:
        await started.wait()
        live.drain()
        go_on.set()
    assert len(WORLD) == 1
    FAILING.add("finish")
    await fails(flow, any_store.state, schedule=schedule)
    assert CALLED == ["book flight", "finish", "cancel flight", "cancel hotel"]
    assert not WORLD


@pytest.mark.parametrize(
    ("first", "then", "undone"),
    [(None, cancel, []), (cancel, other_cancel, ["cancel hotel"]), (cancel, None, ["cancel hotel"])],
    ids=["added", "changed", "taken away"],
)
async def test_a_call_that_has_run_has_the_undo_that_it_was_recorded_with(
    first: Any, then: Any, undone: list[str], store: StoreUnderTest, schedule: Any
) -> None:
    def flow(undo: Any) -> Any:
        return finish(book("hotel").with_undo(undo), cascade.signal("go", int))

    with pytest.raises(cascade.RunSuspended):
        await run(flow(first), store.state, schedule=schedule, when_idle="suspend")
    assert CALLED == ["book hotel"]  # and it is not undone: the run goes on
    FAILING.add("finish")
    async with cascade.start(flow(then), state=store.state, run_id="night", schedule=schedule) as live:
        await live.send("go", 1)
        with pytest.raises(ValueError, match="failing"):
            await live.result()
    assert ["book hotel", "finish", *undone] == CALLED


async def test_a_resumed_run_finishes_the_undo_before_anything_else(any_store: StoreUnderTest) -> None:
    await left_in_undo(trip(), any_store, "hotel")
    assert len(WORLD) == 1
    await run(trip(), any_store.state)
    assert CALLED[0] == "cancel hotel"
    assert "cancel flight" not in CALLED
    assert len(WORLD) == 2


async def test_an_undo_that_was_finished_by_a_resumed_run_says_nothing_of_later_ones(
    any_store: StoreUnderTest,
) -> None:
    flow = finish(wait_in_turn(2, legs()))
    HELD.update(started=anyio.Event(), go_on=anyio.Event())
    HELD["go_on"].set()
    FAILING.update(("finish", "cancel hotel", "cancel flight"))
    await fails(flow, any_store.state)  # both are left to the next execution
    FAILING.clear()
    HELD.update(started=anyio.Event(), go_on=anyio.Event())
    async with cascade.start(flow, state=any_store.state, run_id="night") as live:
        await HELD["started"].wait()
        live.drain()
        HELD["go_on"].set()
    assert len(WORLD) == 2
    FAILING.add("finish")
    await fails(flow, any_store.state)
    assert CALLED[-2:] == ["cancel flight", "cancel hotel"]
    assert not WORLD


async def test_what_an_earlier_execution_did_in_a_loop_is_undone_too(store: StoreUnderTest) -> None:
    HELD.update(started=anyio.Event(), go_on=anyio.Event())
    settings: Any = {"loop_record": (1, 100.0), "run_id": "night"}
    async with cascade.start(again(4), state=store.state, **settings) as live:
        await HELD["started"].wait()
        live.drain()
        HELD["go_on"].set()
    assert sorted(key.partition(":")[0] for key in WORLD) == ["turn 2", "turn 3", "turn 4"]
    FAILING.add("finish")
    await fails(again(4), store.state, loop_record=(1, 100.0))
    assert CALLED[:2] == ["book turn 1", "finish"]
    assert not WORLD


async def test_an_undo_that_failed_is_tried_again_and_its_node_does_not_run(store: StoreUnderTest) -> None:
    FAILING.update(("finish", "cancel flight"))
    await fails(trip(), store.state)
    assert len(WORLD) == 1
    error = await fails(trip(), store.state)
    assert isinstance(error, OSError)
    assert CALLED == ["cancel flight"]
    FAILING.clear()
    await run(trip(), store.state)
    assert CALLED[:2] == ["cancel flight", "book hotel"]


async def test_a_value_that_cannot_be_stored_is_undone_at_once_and_never_later(durable: StoreUnderTest) -> None:
    @cascade.task
    async def opened() -> Any:
        WORLD.add("opened")
        return (n for n in range(3))

    @cascade.task
    async def close(_: Any) -> None:
        WORLD.discard("opened")

    engine = cascade.Engine(state=durable.state)
    FAILING.add("finish")
    with record_events(engine) as events, pytest.raises(ValueError, match="failing"):
        await engine.run(finish(opened().with_undo(close)), run_id="night")
    assert not WORLD
    warned = " ".join(event.message for event in events.of(cascade.EngineWarning))
    assert "the undo of 'opened' is not durable" in warned


async def test_a_store_that_has_failed_keeps_what_was_done(schedule: Any) -> None:
    inner = InMemoryStateBackend("night")
    lost = FaultyStore(inner, LoseStore(at=2), lambda _: None, lambda: None)
    with pytest.raises(cascade.StateError) as caught:
        await run(trip(), lambda _: lost, durability="task", schedule=schedule)
    assert not any(call.startswith("cancel") for call in CALLED)
    assert "a resumed run goes on from what is recorded" in "\n".join(caught.value.__notes__)


async def test_a_changed_flow_finishes_the_undo_too(store: StoreUnderTest) -> None:
    await left_in_undo(trip(), store, "hotel")
    with pytest.raises(cascade.FlowChangedError):
        await run(trip("earlier"), store.state)
    await run(trip("earlier"), store.state, on_change="recompute")
    assert CALLED[0] == "cancel hotel"
    assert len(WORLD) == 2


async def test_a_forked_run_takes_nothing_of_a_run_that_was_being_undone(store: StoreUnderTest) -> None:
    await left_in_undo(trip(), store, "hotel")
    await run(trip("earlier"), store.state, on_change="fork")
    assert "cancel hotel" not in CALLED
    assert CALLED[0] == "look earlier"


# -- what is shown of it -----------------------------------------------------------------------------------------


async def test_the_history_tells_undos_from_nodes(durable: StoreUnderTest) -> None:
    FAILING.update(("finish", "cancel flight"))
    await fails(trip(), durable.state)
    record = await recorded_run(durable.state, "night")
    assert {node.node_id for node in record.nodes} == {
        "look", "book", "look#2", "book#2", "look#3", "finish",
    }  # fmt: skip
    assert sum(record.counts.values()) == 6
    assert [(undo.node_id, undo.undo, undo.status) for undo in record.undos] == [
        ("book", "cancel", "undone"),
        ("book#2", "cancel", "failed"),
    ]
    assert record.undos[1].error == "OSError: flight cannot be cancelled"


async def test_records_of_undos_do_not_count_as_nodes(store: StoreUnderTest) -> None:
    FAILING.add("finish")
    engine = cascade.Engine(state=store.state)
    with record_events(engine) as events, pytest.raises(ValueError, match="failing"):
        await engine.run(trip(), run_id="night")
    assert sum(event.count for event in events.of(cascade.StateRecorded)) == 5
    FAILING.clear()
    with record_events(engine) as events:
        await engine.run(trip(), run_id="night")
    (resumed,) = events.of(cascade.RunResumed)
    assert (resumed.recorded, resumed.by_task) == (1, {"look": 1})


# -- a store that ends at each operation -------------------------------------------------------------------------


class EndsAt:
    """In the place of a fault: from one operation on, of whatever kind, none reaches the store."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def check(self) -> None:
        self.count += 1
        if self.count >= self.at:
            raise ConnectionError("the process ends here, as far as the store can tell")

    def strikes_now(self) -> bool:
        return False


def ending(inner: InMemoryStateBackend, at: int) -> Any:
    store: Any = FaultyStore(inner, LoseStore(at=1), lambda _: None, lambda: None)
    store._fault = EndsAt(at)
    return store


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("fails_then", [True, False])
@pytest.mark.parametrize(
    ("name", "durability", "schedule"),
    [("trip", "task", "stages"), ("everything", "stage", "eager"), ("loop", "stage", "stages")],
)
async def test_whenever_the_store_ends_a_later_execution_undoes_all_that_is_recorded(
    name: str, fails_then: bool, durability: Any, schedule: Any
) -> None:
    settings: Any = {"durability": durability, "schedule": schedule, "loop_record": (2, 100.0)}
    for at in itertools.count(1):
        WORLD.clear()
        FAILING.add("finish")
        inner = InMemoryStateBackend("night")
        # First a run that fails, then one that finishes its undo: the store ends somewhere in one of them.
        store = ending(inner, at)
        for _ in range(2):
            with pytest.raises(Exception, match=r"failing|store|records"):
                await run(FLOWS[name](), lambda _, store=store: store, **settings)
        has_ended = store._fault.count >= at
        if fails_then:
            with pytest.raises(ValueError, match="failing"):
                await run(FLOWS[name](), lambda _, inner=inner: inner, **settings)
            assert not WORLD, at
        else:
            FAILING.clear()
            await run(FLOWS[name](), lambda _, inner=inner: inner, **settings)
            assert len({key.partition(":")[0] for key in WORLD}) == BOOKED[name], at
            assert len(WORLD) == BOOKED[name], at
        if not has_ended:
            assert at > 5
            return
