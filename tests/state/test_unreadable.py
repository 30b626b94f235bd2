"""Values that the store has and nobody can read, and values that nobody can write."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

import cascade
from state.cleared import cleared
from state.stores import StoreUnderTest

RAN: Counter[str] = Counter()
STOP: set[str] = set()
nothing_has_run = cleared(RAN, STOP)


def refuse() -> None:
    raise RuntimeError("cannot be loaded")


class Unreadable:
    """Pickles, and that is all."""

    def __reduce__(self) -> Any:
        return refuse, ()


class Leaves:
    """Ends the process that pickles it, if that lets it."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        raise self.kind


@cascade.task
async def source() -> int:
    RAN["source"] += 1
    return 1


@cascade.task
async def make(_: Any) -> Any:
    RAN["make"] += 1
    return Unreadable()


@cascade.task
async def use(*_: Any) -> int:
    RAN["use"] += 1
    if STOP:
        raise ValueError("stopped")
    return 1


@cascade.task
async def spin(n: int, thing: Any) -> Any:
    RAN["spin"] += 1
    if n == 3 and STOP:
        raise ValueError("stopped")
    return n if n == 5 else spin(n + 1, thing)


async def test_a_result_that_cannot_be_read_is_named_and_can_be_computed_again(durable: StoreUnderTest) -> None:
    STOP.add("use")
    flow = use(make(source()), source())
    settings: Any = {"state": durable.state, "run_id": "night"}
    with pytest.raises(ValueError, match="stopped"):
        await cascade.run(flow, **settings)
    RAN.clear()
    STOP.clear()
    with pytest.raises(cascade.StateError, match=r"'make' of run 'night'.*cannot be loaded.*on_change=.recompute"):
        await cascade.run(flow, **settings)
    assert RAN == {}
    # Nothing but what cannot be read runs again; and it gets the value of what is upstream of it.
    assert await cascade.run(flow, on_change="recompute", **settings) == 1
    assert RAN == {"make": 1, "use": 1}


async def test_a_finished_run_whose_result_cannot_be_read_can_be_run_again(durable: StoreUnderTest) -> None:
    settings: Any = {"state": durable.state, "run_id": "night"}
    await cascade.run(make(1), **settings)
    with pytest.raises(cascade.StateError, match="cannot read the result of run 'night'"):
        await cascade.run(make(1), **settings)
    assert isinstance(await cascade.run(make(1), on_finished="rerun", **settings), Unreadable)
    assert isinstance(await cascade.run(make(1), on_change="recompute", **settings), Unreadable)
    assert RAN == {"make": 3}


async def test_a_loop_that_cannot_be_read_can_begin_anew(durable: StoreUnderTest) -> None:
    STOP.add("spin")
    flow = spin(1, cascade.Param("thing", type=object))
    settings: Any = {"state": durable.state, "run_id": "night"}
    with pytest.raises(ValueError, match="stopped"):
        await cascade.run(flow, {"thing": Unreadable()}, **settings)
    STOP.clear()
    with pytest.raises(cascade.StateError, match="cannot read the loop of run 'night'"):
        await cascade.run(flow, {"thing": Unreadable()}, **settings)
    RAN.clear()
    assert await cascade.run(flow, {"thing": Unreadable()}, on_change="recompute", **settings) == 5
    assert RAN == {"spin": 5}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_a_value_that_exits_while_it_is_pickled_ends_the_run_and_gives_up_its_lease(
    durable: StoreUnderTest, kind: type[BaseException]
) -> None:
    @cascade.task(version="1")
    async def leave() -> Any:
        return Leaves(kind)

    for _ in range(2):
        with anyio.fail_after(60), pytest.raises(kind):
            await cascade.run(use(leave()), state=durable.state, run_id="night")


async def test_a_plain_part_of_the_target_that_has_changed_is_not_returned_from_the_record(
    store: StoreUnderTest,
) -> None:
    for value in (1, 2, None):
        assert await cascade.run([value, source()], state=store.state, run_id="night") == [value, 1]
    assert RAN == {"source": 1}
    for value in (1, 2):
        given = await cascade.run(cascade.Param("n", type=int), {"n": value}, state=store.state, run_id="day")
        assert given == value
