"""Turns of many nodes mean the same whether they are made in code, in lanes, or node by node."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Literal

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ways import assert_all_ways_agree

import cascade
from cascade.testing.building import called

How = Literal[
    "plain", "waits", "flow", "list", "text", "iterator", "coroutine", "scope", "group", "data", "asks", "fails"
]
Mode = Literal["async", "thread", "inline"]

_seen: ContextVar[int] = ContextVar("seen", default=0)


@attrs.frozen
class Shape:
    """What the turns of a loop look like.

    Attributes:
        mode: Where their nodes run.
        parts: For each of the first nodes, what is special about it.
        pairs: For each of the next nodes, which two of those it takes.
        is_given_twice: Whether the target is given one of them twice.
        keyword: Whether the target is given the second list by its name.
    """

    mode: Mode
    parts: tuple[How, ...]
    pairs: tuple[tuple[int, int], ...]
    is_given_twice: bool
    keyword: bool


def wrote(name: str, number: int) -> None:
    """Note that the function of a node has been called; no other node has left anything in its context."""
    assert _seen.get() == 0, f"{name} sees what another node has set"
    _seen.set(number + 1)
    if heard := called.get():
        here = cascade.current()
        heard(f"{here.node_id} {here.idempotency_key.partition('/')[2]} {number}")


def result_of(number: int, how: How) -> Any:
    """What a node gives that does not wait."""
    if how == "fails":
        raise LookupError(f"in turn {number}")
    if how == "flow":
        return inner(number)
    given: dict[str, Any] = {
        "list": [inner(number), number],
        "text": "x" * number,
        "iterator": iter(range(number % 5)),
        "data": {"number": [number, {"deep": (number,)}]},
    }
    return given.get(how, number)


@cascade.task(mode="inline")
def inner(number: int) -> int:
    """A flow in place of a value."""
    return number


async def waited(number: int, how: How) -> Any:
    """The same, for async functions, which may wait."""
    if how == "waits":
        await anyio.sleep(0.01 * (number % 3))  # a task that takes a while, some of them longer than others
    if how == "scope":
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
    if how == "group":
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
    return result_of(number, how)


def small(value: Any) -> Any:
    """Something short that shows a value; reads iterators."""
    if isinstance(value, (str, dict)):
        return len(value)
    return tuple(map(small, value)) if hasattr(value, "__iter__") else value


class Wide:
    """A loop whose turns have the shapes of *plan*, one after the other, again and again."""

    def __init__(self, plan: list[Shape], turns: int) -> None:
        self.plan, self.turns = plan, turns
        self.tasks = {mode: self._tasks(mode) for mode in {shape.mode for shape in plan}}

    def _tasks(self, mode: Mode) -> tuple[Any, Any, Any]:
        def part(number: int, how: How) -> Any:
            wrote("part", number)
            return waited(number, how) if how == "coroutine" else result_of(number, how)

        def pair(one: Any, two: Any) -> Any:
            wrote("pair", 1)
            return small(one), small(two)

        def turn(number: int, so_far: Any, singles: Any, *, pairs: Any = ()) -> Any:
            wrote("turn", number)
            so_far = (*so_far[-2:], small(singles), small(pairs))
            return self.call(number + 1, so_far)

        async def async_part(number: int, how: How) -> Any:
            wrote("part", number)
            return await waited(number, how)

        async def async_pair(one: Any, two: Any) -> Any:
            return pair(one, two)

        async def async_turn(number: int, so_far: Any, singles: Any, *, pairs: Any = ()) -> Any:
            return turn(number, so_far, singles, pairs=pairs)

        if mode == "async":
            return cascade.task(async_part), cascade.task(async_pair), cascade.task(async_turn)
        made = cascade.task(mode=mode)
        return made(part), made(pair), made(turn)

    def call(self, number: int, so_far: tuple[Any, ...] = ()) -> Any:
        """What the turn before *number* returns."""
        if number == self.turns:
            return so_far
        shape = self.plan[number % len(self.plan)]
        part, pair, turn = self.tasks[shape.mode]
        # An item fails late, when turns are made in code.
        hows = ["plain" if how == "fails" and number < self.turns - 2 else how for how in shape.parts]
        singles = [part(number, how) for how in hows]
        pairs = [pair(singles[one % len(singles)], singles[two % len(singles)]) for one, two in shape.pairs]
        if shape.is_given_twice:
            singles.append(singles[0])
        if shape.keyword:
            return turn(number, so_far, singles, pairs=pairs)
        return turn(number, so_far, (*singles, *pairs))


hows = st.sampled_from(
    [*["plain"] * 12, "waits", "flow", "list", "text", "iterator", "coroutine", "scope", "group", "data", "fails"]
)
shapes = st.builds(
    Shape,
    st.sampled_from(["async", "thread", "inline"]),
    st.lists(hows, min_size=1, max_size=5).map(tuple),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(plan=st.lists(shapes, min_size=1, max_size=3), turns=st.integers(1, 14))
def test_a_random_loop_of_many_nodes_means_the_same_in_each_way(
    plan: list[Shape], turns: int, backend: str
) -> None:
    loop = Wide(plan, turns)
    assert_all_ways_agree(lambda: loop.call(0), backend, on_error="continue")
