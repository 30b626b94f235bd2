"""What a run that is resumed tells of nodes that had ended before: their numbers are those of the run before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cascade
from cascade.adapters.observers.tally import KINDS, Tally
from state.stores import StoreUnderTest, minimal_store


@cascade.task(version="1")
async def names() -> list[int]:
    return [1, 2, 3, 4]


@cascade.task(version="1")
async def odd(x: int) -> int:
    if x % 2:
        raise ValueError(x)
    return x


@cascade.task(version="1")
async def same(x: Any = 0) -> Any:
    return x


@cascade.task(version="1")
async def unwanted() -> None: ...


@cascade.task(version="1")
async def grows(xs: list[int]) -> Any:
    return odd.map(x=xs).with_errors("collect")


@cascade.task(version="1")
async def last(*_: Any) -> str:
    return "done"


async def tallied(flow: Any, **settings: Any) -> Tally:
    """How a run is counted by what shows progress."""
    tally = Tally()

    async def follow(events: Any) -> None:
        async for event in events:
            tally.hear(event, event.timestamp)

    follow.kinds = KINDS  # type: ignore[attr-defined]  # as observers name what they want
    try:
        await cascade.run(flow, observers=[follow], **settings)
    except ValueError:
        assert tally.status == "failed"
    return tally


def ends_of(tally: Tally) -> dict[str, tuple[int, int, int, int]]:
    """By task: nodes that have ended, all nodes, handled failures, skipped nodes."""
    return {
        name: (task.ended, task.total, task.counts["handled"], task.counts["skipped"])
        for name, task in tally.tasks.items()
    }


async def counted_thrice(make: Callable[[Any], Any], store: StoreUnderTest, schedule: Any) -> list[Tally]:
    """The tallies of a run that fails at its last node, is resumed, and is run again once it has finished."""
    broken = [True]

    @cascade.task(version="1")
    async def end(value: Any) -> Any:
        if broken:
            raise ValueError("not yet")
        return value

    settings = {"state": store.state, "run_id": "one", "schedule": schedule}
    flow = end(make(last))
    failed = await tallied(flow, **settings)
    broken.clear()
    return [failed, await tallied(flow, **settings), await tallied(flow, **settings)]


async def test_nodes_count_as_they_ended_before(store: StoreUnderTest, schedule: Any) -> None:
    def make(last: Any) -> Any:
        maps = [odd.map(x=given).with_errors("collect") for given in (range(6), names())]
        return last(*maps, same(1).or_else(unwanted()), cascade.settled(same(2).run_if(same(0))), grows([1, 2, 3]))

    failed, resumed, finished = await counted_thrice(make, store, schedule)
    expected = {
        "names": (1, 1, 0, 0),
        "odd": (13, 13, 7, 0),
        "same": (3, 3, 0, 1),
        "unwanted": (1, 1, 0, 1),
        "grows": (1, 1, 0, 0),
        "last": (1, 1, 0, 0),
        "end": (1, 1, 0, 0),
    }
    assert ends_of(failed) == ends_of(resumed) == ends_of(finished) == expected
    assert not resumed.is_open
    # What had failed before took no time now, so it says nothing about how long the others will take.
    assert [resumed.tasks["odd"].ran, finished.tasks["odd"].ran, failed.tasks["odd"].ran] == [0, 0, 13]


async def test_in_a_store_that_lists_no_nodes_they_count_too(schedule: Any) -> None:
    def make(last: Any) -> Any:
        return last(same.map(x=[1, 2]), same(1), cascade.settled(same(2).run_if(same(0))), grows([1, 2, 3]))

    failed, resumed, _ = await counted_thrice(make, minimal_store(), schedule)
    assert ends_of(failed)["same"] == (5, 5, 0, 1)
    # How many items a map had, such a store does not know.
    assert ends_of(resumed)["same"] == (4, 4, 0, 1)
    assert resumed.ended == resumed.total == 7


async def test_what_is_decided_anew_counts_once(store: StoreUnderTest, schedule: Any) -> None:
    def make(last: Any) -> Any:
        return last(cascade.settled(odd(1)), same(2), odd(3).or_else(same(4)))

    expected = {"odd": (2, 2, 2, 0), "same": (2, 2, 0, 0), "last": (1, 1, 0, 0), "end": (1, 1, 0, 0)}
    failed, resumed, finished = await counted_thrice(make, store, schedule)
    assert ends_of(failed) == ends_of(resumed) == ends_of(finished) == expected
    assert (resumed.tasks["odd"].ran, resumed.tasks["last"].ran) == (2, 1)


async def test_what_is_undone_or_has_changed_counts_once(store: StoreUnderTest, schedule: Any) -> None:
    def flow(first: int, items: int, *, is_broken: bool) -> Any:
        @cascade.task(version=f"{is_broken}")
        async def end(*_: Any) -> None:
            if is_broken:
                raise ValueError

        return end(odd.map(x=range(items)).with_errors("collect"), same(first).with_undo(last))

    settings: dict[str, Any] = {"state": store.state, "run_id": "one", "schedule": schedule}
    failed = await tallied(flow(1, 6, is_broken=True), **settings)
    resumed = await tallied(flow(2, 4, is_broken=False), on_change="recompute", **settings)
    assert ends_of(failed) == {"odd": (6, 6, 3, 0), "same": (1, 1, 0, 0), "end": (1, 1, 0, 0)}
    assert (failed.tasks["same"].counts["undone"], resumed.tasks["same"].ran) == (1, 1)
    assert ends_of(resumed) == {"odd": (4, 4, 2, 0), "same": (1, 1, 0, 0), "end": (1, 1, 0, 0)}
