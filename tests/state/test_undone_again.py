"""What is done, undone and done again, in one execution after another."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest

import cascade
from cascade.runtime.durability.records import Batch, Entry, Opening
from cascade.state import InMemoryStateBackend
from cascade.testing.faults import LoseStore
from cascade.testing.faulty_store import FaultyStore
from state.cleared import cleared
from state.stores import StoreUnderTest

# What a service has been asked for, by the key of the request; requests with a key that it knows change nothing.
SERVED: dict[str, str] = {}
# Its bookings, by the key that they were made with.
BOOKED: dict[str, str] = {}
FAILING: set[str] = set()
HELD: list[anyio.Event] = []
nothing_has_run = cleared(SERVED, BOOKED, FAILING, HELD)


@cascade.task(version="1")
async def book(what: str, *_: Any) -> str:
    key = cascade.current().idempotency_key
    if key not in SERVED:
        SERVED[key] = what
        BOOKED[key] = what
    return key


@cascade.task(version="1")
async def cancel(booking: str) -> None:
    key = cascade.current().idempotency_key
    if key not in SERVED:
        SERVED[key] = f"no {BOOKED.pop(booking, booking)}"


@cascade.task(version="1")
async def finish(*_: Any) -> str:
    if HELD:
        HELD[0].set()
        await anyio.sleep_forever()
    if FAILING:
        raise ValueError("finish is failing")
    return "done"


@cascade.task(version="1")
async def turn(left: int, *given: Any) -> Any:
    return turn(left - 1, book(f"turn {left}").with_undo(cancel)) if left else finish(*given)


def trip() -> Any:
    hotel = book("hotel").with_undo(cancel)
    return finish(hotel, book.partial().map(what=["bus", "train"]).with_undo(cancel).after(hotel))


FLOWS = {"calls": (trip, ["bus", "hotel", "train"]), "loop": (lambda: turn(2), ["turn 1", "turn 2"])}


@pytest.mark.parametrize("name", FLOWS)
async def test_a_service_that_knows_repeated_requests_has_each_booking_once_in_the_end(
    name: str, any_store: StoreUnderTest, schedule: Any
) -> None:
    flow, booked = FLOWS[name]
    settings: Any = {"state": any_store.state, "run_id": "trip", "schedule": schedule}
    FAILING.add("finish")
    for _ in range(3):
        with pytest.raises(ValueError, match="finish is failing"):
            await cascade.run(flow(), **settings)
        assert not BOOKED
    FAILING.clear()
    assert await cascade.run(flow(), **settings) == "done"
    assert sorted(BOOKED.values()) == booked


async def test_a_run_that_begins_anew_still_knows_how_often_it_was_undone(store: StoreUnderTest) -> None:
    settings: Any = {"state": store.state, "run_id": "trip", "on_finished": "rerun"}
    FAILING.add("finish")
    with pytest.raises(ValueError, match="finish is failing"):
        await cascade.run(trip(), **settings)
    FAILING.clear()
    assert await cascade.run(trip(), **settings) == "done"
    BOOKED.clear()
    HELD.append(anyio.Event())
    async with anyio.create_task_group() as group:  # begins anew, and is cancelled: what it has booked is undone
        group.start_soon(lambda: cascade.run(trip(), **settings))
        await HELD[0].wait()
        group.cancel_scope.cancel()
    HELD.clear()
    known = set(SERVED)
    assert await cascade.run(trip(), **settings) == "done"
    assert sorted(SERVED[key] for key in set(SERVED) - known) == ["bus", "hotel", "train"]


@pytest.mark.parametrize("name", FLOWS)
async def test_whenever_a_store_ends_that_finishes_an_undo_no_key_is_used_again(name: str, schedule: Any) -> None:
    flow, booked = FLOWS[name]
    settings: Any = {"run_id": "trip", "schedule": schedule}
    for at in itertools.count(1):
        SERVED.clear()
        BOOKED.clear()
        struck: list[str] = []
        inner = InMemoryStateBackend("trip")
        ends = FaultyStore(inner, LoseStore(at), struck.append, struck.clear)
        FAILING.add("finish")
        with pytest.raises(ValueError, match="finish is failing"):
            await cascade.run(flow(), state=lambda _, inner=inner: inner, **settings)
        with pytest.raises((ValueError, cascade.StateError), match=r"finish is failing|store"):
            await cascade.run(flow(), state=lambda _, ends=ends: ends, **settings)
        FAILING.clear()
        assert await cascade.run(flow(), state=lambda _, inner=inner: inner, **settings) == "done"
        assert sorted(BOOKED.values()) == booked, at
        if not struck:
            assert at > 5
            return


async def test_clearing_keeps_how_often_nodes_were_undone(store: StoreUnderTest) -> None:
    backend = store.open("trip")
    await backend.begin(Opening(is_new=False, flow=["a"], flow_digest=b"flow", params={}))
    await backend.write(
        Batch([Entry("a", 1), Entry("~undo:1", 1), Entry("~undone:1", 1), Entry("~undone", {"a": 1})])
    )
    await backend.clear()
    assert await backend.get_results(["a", "~undo:1", "~undone:1", "~undone"]) == {"~undone": {"a": 1}}
    await backend.aclose()
    again = store.open("trip")
    past = await again.begin(Opening(is_new=False, flow=["a"], flow_digest=b"flow", params={}))
    assert past.nodes == ["~undone"]
    await again.aclose()
