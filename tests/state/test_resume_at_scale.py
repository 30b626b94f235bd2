"""Resuming very many nodes: the event loop goes on meanwhile, and twice the nodes are twice the work."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import pytest
from life import turns_beside

import cascade
from cascade.model.errors import StateError
from cascade.runtime.durability.records import Record
from cascade.runtime.durability.recovery import PORTION
from cascade.runtime.foundation.fairness import paced_dict, paced_list, portions
from cascade.state import InMemoryStateBackend
from state.cleared import cleared
from state.stores import StoreUnderTest

RAN: Counter[str] = Counter()
nothing_has_run = cleared(RAN)


@cascade.task(mode="inline")
def work(value: Any) -> Any:
    RAN["work"] += 1
    return 1


@cascade.task(mode="inline")
def last(value: Any) -> int:
    RAN["last"] += 1
    if RAN["fail"]:
        raise ValueError("no luck")
    return 7


@cascade.task(mode="inline")
def no() -> bool:
    return False


def chain(size: int) -> Any:
    value = work(0)
    for _ in range(size - 1):
        value = work(value)
    return last(value)


def wide(size: int) -> Any:
    return last([work(number) for number in range(size)])


def skipped(size: int) -> Any:
    """Beside the others, one that is skipped and has very many sources, one of which it may hand on."""
    sources = [work(number) for number in range(size)]
    left_out = work(0).run_if(no())
    # Which is skipped, and so recorded, before the last one fails.
    return last(sources).after(cascade.settled(left_out)), work([*sources]).after(left_out)


class Store(InMemoryStateBackend):
    """Says what it is asked for, and has values that cannot be read."""

    unreadable = False

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.asked: list[int] = []
        self.read = 0

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        self.asked.append(len(node_ids))
        return await super().recall(node_ids)

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        wanted = list(node_ids)
        self.asked.append(len(wanted))
        self.read += len(wanted)
        if self.unreadable and wanted:
            raise StateError("cannot be read")
        return await super().get_results(wanted)

    async def get_readable_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        wanted = list(node_ids)
        self.asked.append(len(wanted))
        self.read += len(wanted)
        return {} if self.unreadable else await super().get_results(wanted)


async def cut_short(flow: Any, store: Store) -> None:
    RAN["fail"] = 1
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run(flow, state=lambda _: store, run_id="night", **EAGERLY)
    RAN.clear()
    store.asked.clear()
    store.read = 0


# Without a stage for each link of a chain, and a write after each.
EAGERLY: Any = {"schedule": "eager", "durability": "exit"}
SHAPES = {"chain": chain, "wide": wide, "skipped": skipped}
VALUES = (7, (7, None))
every_shape = pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)


@every_shape
async def test_a_store_is_asked_in_portions_and_for_no_value_that_nobody_needs(make: Any) -> None:
    size = PORTION + 100
    store = Store("night")
    await cut_short(make(size), store)
    assert await cascade.run(make(size), state=lambda _: store, run_id="night", **EAGERLY) in VALUES
    assert RAN == {"last": 1}
    assert max(store.asked) <= PORTION
    assert store.read == (1 if make is chain else size)


@every_shape
async def test_what_cannot_be_read_runs_again_and_each_value_is_asked_for_once(make: Any) -> None:
    size = PORTION + 100
    store = Store("night")
    await cut_short(make(size), store)
    store.unreadable = True
    settings: Any = {"state": lambda _: store, "run_id": "night", "on_change": "recompute", **EAGERLY}
    assert await cascade.run(make(size), **settings) in VALUES
    assert RAN["work"] == size
    assert store.read == size
    assert len(store.asked) < 40


async def test_a_value_in_the_middle_that_cannot_be_read_makes_no_other_run_again() -> None:
    class Gap(Store):
        async def get_readable_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
            found = await super().get_readable_results(node_ids)
            return {name: value for name, value in found.items() if name not in ("work#8", "work#9")}

    store = Gap("night")
    flow = last([chain_of_ten := work(0)] + [chain_of_ten := work(chain_of_ten) for _ in range(9)])
    await cut_short(flow, store)
    settings: Any = {"state": lambda _: store, "run_id": "night", "on_change": "recompute", **EAGERLY}
    assert await cascade.run(flow, **settings) == 7
    assert RAN == {"last": 1, "work": 2}


async def test_records_that_the_store_has_lost_run_again(durable: StoreUnderTest) -> None:
    RAN["fail"] = 1
    flow = chain(5)
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run(flow, state=durable.state, run_id="night")
    backend = durable.open("night")
    await backend.forget(["work#4", "work#5"])
    await backend.aclose()
    RAN.clear()
    assert await cascade.run(flow, state=durable.state, run_id="night") == 7
    assert RAN == {"work": 2, "last": 1}


async def _effort(make: Any, size: int, *, unreadable: bool) -> int:
    """Function calls that resuming takes: a measure that does not depend on the machine."""
    store = Store("night")
    await cut_short(make(size), store)
    store.unreadable = unreadable
    flow = make(size)
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    settings: Any = {"state": lambda _: store, "run_id": "night", **EAGERLY}
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await cascade.run(flow, on_change="recompute", **settings)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("unreadable", [False, True], ids=["readable", "unreadable"])
@every_shape
async def test_twice_the_nodes_are_twice_the_work(make: Any, unreadable: bool) -> None:
    small = await _effort(make, 200, unreadable=unreadable)
    large = await _effort(make, 400, unreadable=unreadable)
    assert large < 2.6 * small


# -- work in slices ---------------------------------------------------------------------------------------------


async def test_lists_and_dicts_are_made_of_all_but_none() -> None:
    assert await paced_list(iter([1, None, 2, 0])) == [1, 2, 0]
    assert await paced_dict(iter([("a", 1), None, ("b", None), ("a", 2)])) == {"a": 2, "b": None}
    assert [*portions([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert [*portions([], 2)] == []


@pytest.mark.parametrize("made", [paced_list, paced_dict])
async def test_other_tasks_have_their_turn_while_a_long_one_is_made(made: Any) -> None:
    # Nothing is found in the second half, which takes as long.
    items = ((number, number) if number < 50_000 else None for number in range(100_000))
    assert await turns_beside(partial(made, items)) > 5
