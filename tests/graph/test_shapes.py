"""Flows of one shape share a graph; flows that differ in more than literals do not."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade
import cascade.runtime.run.preparation as preparation
from cascade.graph.build import build, build_steps
from cascade.graph.nested import Hold, finish
from cascade.graph.nodes import Graph, Node
from cascade.graph.shapes import Shapes, Sketch, emptied, sketch_steps
from cascade.graph.slots import Nested


@cascade.task
def one(*values: Any, **named: Any) -> Any:
    return values, named


@cascade.task
async def two(*values: Any) -> Any:
    return values


@cascade.task(timeout=3.0)
def patient(*values: Any) -> Any:
    return values


@cascade.task(pure=True)
def pure(value: Any) -> Any:
    return value


@cascade.task(constraints={"gpu": one(1)})
def hungry(*values: Any) -> Any:
    return values


def sketch(flow: Any) -> Sketch | None:
    return finish(sketch_steps(flow, Hold()))


# -- random flows, described so that they can be made twice ------------------------------------------------------


@attrs.frozen
class Plan:
    """A call: of which task, and for each argument ``None`` for a literal or the numbers of earlier calls."""

    task: cascade.Task[Any, Any]
    args: tuple[int | tuple[int, ...] | None, ...]
    is_retried: bool
    in_tuple: bool


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    """Calls, each of which may use those before it."""
    found: list[Plan] = []
    for number in range(draw(st.integers(1, 7))):
        before = st.integers(0, number - 1) if number else st.nothing()
        several = st.lists(before, min_size=1, max_size=3).map(tuple) if number else st.nothing()
        args = draw(st.lists(st.one_of(before, several, st.none()), max_size=3))
        task = draw(st.sampled_from([one, two, patient]))
        found.append(Plan(task, tuple(args), draw(st.integers(0, 5)) == 0, draw(st.booleans())))
    return found


def made(described: list[Plan], literal: Any) -> Any:
    """The flow, with *literal* wherever no call is."""
    calls: list[Any] = []
    for plan in described:
        args: list[Any] = []
        for source in plan.args:
            if isinstance(source, tuple):
                several = [calls[number] for number in source]
                args.append(tuple(several) if plan.in_tuple else several)
            else:
                args.append(literal if source is None else calls[source])
        call = plan.task(*args)
        calls.append(call.with_retry(3) if plan.is_retried else call)
    return calls[-1]


def outline(graph: Graph) -> list[Any]:
    """All of a graph but its calls."""
    return [
        (n.index, n.name, n.task, n.sources, n.data, n.terms, operands(n.patches), operands(n.named))
        for n in graph.nodes
        if isinstance(n, Node)
    ]


def operands(patches: Any) -> list[Any]:
    return [(key, operand.operands if isinstance(operand, Nested) else operand) for key, operand in patches]


@given(described=plans())
def test_flows_that_differ_in_literals_have_one_shape_and_one_graph(described: list[Plan]) -> None:
    first, second = made(described, 1), made(described, [object()])
    graph, fresh = build(first), build(second)
    sketched, again = sketch(first), sketch(second)
    assert sketched is not None
    assert again is not None
    assert again.shape == sketched.shape
    assert sketched.fits(graph)
    emptied(graph)
    again.fill(graph)
    assert outline(graph) == outline(fresh)
    assert [node.call for node in graph.calls()] == [node.call for node in fresh.calls()]


@given(described=plans(), other=plans())
def test_flows_with_other_graphs_have_other_shapes(described: list[Plan], other: list[Plan]) -> None:
    first, second = made(described, 1), made(other, 1)
    sketched, again = sketch(first), sketch(second)
    assert sketched is not None
    assert again is not None
    if sketched.shape == again.shape:
        assert outline(build(first)) == outline(build(second))


def test_what_is_done_with_the_calls_is_part_of_the_shape() -> None:
    a, b = one(1), two(1)
    flows = [
        one(a, b), one(b, a), two(a, b), one([a, b]), one((a, b)), one([b, a]), one(a, [b]), one(a), one(a, a),
        one([a, a]), one([a]), one(x=a), one(y=a), one(1, a), one(a).with_retry(2), one(a).with_retry(3),
        one(a).with_timeout(3), patient(a), one(one(a)),
    ]  # fmt: skip
    shapes = [found.shape for flow in flows if (found := sketch(flow)) is not None]
    assert len(set(shapes)) == len(flows)


@pytest.mark.parametrize(
    "flow",
    [
        [one(1)],
        cascade.Router(one(1), {1: one(2)}),
        one(cascade.Param("x")),
        one(cascade.inject("db")),
        one({"k": one(1)}),
        one([one(1), 2]),
        one([[one(1)]]),
        one(pure(1)),
        one.map(x=[1]),
        one(one.map(x=[1])),
        one(1).run_if(one(2)),
        one(1).after(one(2)),
        one(1).with_constraints(gpu=1),
        hungry(1),
        one(one(1).with_retry(2).with_retry(3), 1).with_cache(None),
    ],
    ids=lambda flow: repr(flow)[:50],
)
def test_what_is_not_simple_has_no_shape(flow: Any) -> None:
    assert sketch(flow) is None


def test_copies_of_one_call_have_no_shape_as_they_are_merged() -> None:
    call = one(1)
    assert sketch(two(call, call.with_retry(2))) is None
    assert sketch(two(call.with_retry(2), call)) is None
    assert sketch(two(call.with_timeout(2), call.with_retry(2))) is None
    assert sketch(two(call.with_timeout(2).with_retry(2))) is not None


async def test_plain_data_that_contains_itself_may_be_given_in_a_flow_that_comes_up_too(schedule: Any) -> None:
    circle: list[Any] = [1]
    circle.append(circle)

    @cascade.task(mode="inline")
    def count(n: int) -> Any:
        return count(n - 1) if n else one(circle)

    @cascade.task(mode="inline")
    def carry(n: int, carried: Any = None) -> Any:
        return carry(n - 1, circle) if n else carried

    @cascade.task
    async def twice(n: int) -> Any:
        return two(one(n), one(circle))

    assert sketch(one([circle, one(1)])) is None
    ((given,), _) = await cascade.run(count(3), schedule=schedule)
    assert given is circle
    assert await cascade.run(carry(3), schedule=schedule) is circle
    (values,) = await cascade.run([twice(1)], schedule=schedule)
    assert values[1][0][0] is circle


async def test_a_container_of_calls_that_contains_itself_is_refused_in_a_flow_that_comes_up_too(
    schedule: Any,
) -> None:
    circle: list[Any] = [one(1)]
    circle.append(circle)

    @cascade.task(mode="inline")
    def count(n: int) -> Any:
        return count(n - 1) if n else one(circle)

    assert sketch(one(circle)) is None
    with pytest.raises(cascade.GraphError, match="a list contains itself"):
        await cascade.run(count(3), schedule=schedule)


def test_a_cycle_has_no_shape_and_is_left_to_building() -> None:
    inside: list[Any] = []
    call = one(inside)
    inside.append(two(call))
    assert sketch(call) is None


def test_the_least_recently_used_shape_goes_first() -> None:
    shapes = Shapes[str](most=2)
    shapes.put(1, "one")
    shapes.put(2, "two")
    assert shapes.take(1) == "one"
    assert shapes.take(1) is None
    shapes.put(1, "one")
    shapes.put(3, "three")
    assert [shapes.take(number) for number in (1, 2, 3)] == ["one", None, "three"]


# -- in runs -----------------------------------------------------------------------------------------------------


@cascade.task(mode="inline")
def ping(n: int, parts: list[int]) -> Any:
    return pong(n - 1, [one_more(n), one_more(n + 1)]) if n else parts


@cascade.task
async def pong(n: int, parts: list[int]) -> Any:
    return ping(n - 1, [one_more(part) for part in parts]) if n else parts


@cascade.task(retry=cascade.Retry(2))
def one_more(n: int) -> int:
    return n + 1


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The flows that are built from here on."""
    found: list[Any] = []

    def noted(target: Any, hold: Hold) -> Any:
        found.append(target)
        return original(target, hold)

    original = build_steps
    monkeypatch.setattr(preparation, "build_steps", noted)
    return found


async def test_turns_of_one_shape_are_built_once_with_policies_and_in_mutual_recursion(
    built: list[Any], schedule: Any
) -> None:
    assert await cascade.run(ping(20, []), schedule=schedule) == [4, 5]
    # The first call, and one turn of each of the two shapes.
    assert len(built) == 3


async def test_flows_of_one_shape_that_run_at_the_same_time_have_graphs_of_their_own(schedule: Any) -> None:
    @cascade.task
    async def part(n: int) -> Any:
        return two(two(n), [two(n + 1)])

    assert await cascade.run([part(n) for n in range(20)], schedule=schedule) == [
        ((n,), [(n + 1,)]) for n in range(20)
    ]


class Heavy:
    """An argument that can be watched going away."""


async def test_arguments_of_a_turn_are_let_go_before_the_next_but_one(schedule: Any) -> None:
    seen: list[weakref.ref[Heavy]] = []
    alive: list[int] = []

    @cascade.task(mode="inline")
    def turn(n: int, heavy: Any, _: Any) -> Any:
        del heavy
        gc.collect()
        alive.append(sum(ref() is not None for ref in seen))
        fresh = Heavy()
        seen.append(weakref.ref(fresh))
        return turn(n - 1, fresh, [one_more(n)]) if n else "end"

    assert await cascade.run(turn(6, None, None), schedule=schedule) == "end"
    assert max(alive) <= 1
