"""From a graph to stages: each node in the first stage after all that it needs."""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any

import attrs
import pytest
from hypothesis import given
from named_tasks import named, step
from strategies import PLAIN_LINKS, Itinerary, itineraries

import cascade
from cascade.graph.build import build
from cascade.graph.nested import PAUSE_EVERY, finish
from cascade.graph.nodes import EdgeKind, Graph, Junction
from cascade.planning.solve import Plan, check_plan, gated_nodes, solve
from cascade.testing import record_events

A, B, C, D, E = (named(name) for name in "abcde")


def stage_of(plan: Plan) -> dict[int, int]:
    return {index: number for number, level in enumerate(plan.levels) for index in level}


# -- universal -------------------------------------------------------------------------------------------------


@given(itineraries())
def test_each_call_is_in_exactly_one_stage(itinerary: Itinerary) -> None:
    plan = solve(build(itinerary.target()))
    placed = [index for level in plan.levels for index in level]
    assert sorted(placed) == [node.index for node in plan.graph.calls()]


@given(itineraries())
def test_every_edge_between_calls_leads_to_a_later_stage(itinerary: Itinerary) -> None:
    plan = solve(build(itinerary.target()))
    stages = stage_of(plan)
    for edge in plan.graph.edges():
        if edge.source in stages and edge.target in stages:
            assert stages[edge.source] < stages[edge.target]


def _behind(graph: Graph, index: int) -> set[int]:
    """The calls that *index* needs, those that routers in between may choose included."""
    found: set[int] = set()
    pending = list(graph.nodes[index].sources)
    while pending:
        source = pending.pop()
        if isinstance(graph.nodes[source], Junction):
            pending.extend(graph.nodes[source].sources)
        else:
            found.add(source)
    return found


@given(itineraries())
def test_what_a_router_may_give_is_in_an_earlier_stage_than_what_gets_it(itinerary: Itinerary) -> None:
    plan = solve(build(itinerary.target()))
    stages = stage_of(plan)
    for index, stage in stages.items():
        assert all(stages[source] < stage for source in _behind(plan.graph, index))


@given(itineraries(PLAIN_LINKS))
def test_a_call_is_in_the_first_stage_that_it_can_be_in(itinerary: Itinerary) -> None:
    plan = solve(build(itinerary.target()))
    stages = stage_of(plan)
    for node in plan.graph.nodes:
        assert stages[node.index] == max((stages[source] + 1 for source in node.sources), default=0)


@given(itineraries())
def test_no_stage_is_empty(itinerary: Itinerary) -> None:
    assert all(solve(build(itinerary.target())).levels)


@given(itineraries())
def test_the_plan_of_the_solver_passes_its_check(itinerary: Itinerary) -> None:
    check_plan(solve(build(itinerary.target())))


@given(itineraries())
def test_a_node_is_gated_if_every_path_to_the_target_takes_a_route(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    free = set(graph.members)
    for node in reversed(graph.nodes):
        if node.index in free:
            free.update(
                edge.source
                for edge in graph.edges()
                if edge.target == node.index and edge.kind is not EdgeKind.ROUTE
            )
    assert {index for index, is_gated in enumerate(finish(gated_nodes(graph))) if not is_gated} == free


@given(itineraries())
def test_a_gated_call_is_planned_after_a_selector_that_does_not_need_it(itinerary: Itinerary) -> None:
    """Of two routers that may each need the other's selector, neither can be first."""
    plan = solve(build(itinerary.target()))
    stages = stage_of(plan)
    routers = [node for node in plan.graph.nodes if isinstance(node, Junction)]
    if len(routers) != 1:
        return
    (router,) = routers
    selectors = {e.source for e in plan.graph.edges() if e.target == router.index and e.kind is EdgeKind.SELECTOR}
    for index, is_gated in enumerate(finish(gated_nodes(plan.graph))):
        if is_gated:
            assert all(stages[selector] < stages[index] for selector in selectors)


# -- stages ----------------------------------------------------------------------------------------------------


def _diamond() -> Any:
    top = A()
    return D(B(top), C(top))


def _route_that_takes_its_selector() -> Any:
    selector = C(B())
    return cascade.Router(1, {0: A(), 1: cascade.Router(selector, {1: D(selector)})})


@pytest.mark.parametrize(
    ("flow", "stages"),
    [
        pytest.param(5, (), id="plain value"),
        pytest.param([], (), id="empty container"),
        pytest.param(cascade.Param("p"), (), id="param"),
        pytest.param(A(), (("a",),), id="one call"),
        pytest.param([A(), B()], (("a", "b"),), id="two calls"),
        pytest.param(B(A()), (("a",), ("b",)), id="chain"),
        pytest.param(_diamond(), (("a",), ("b", "c"), ("d",)), id="diamond"),
        pytest.param(D(C(B(A())), y=E()), (("a", "e"), ("b",), ("c",), ("d",)), id="short and long branch"),
        pytest.param(B().after(A()), (("a",), ("b",)), id="order"),
        pytest.param(B().run_if(A()), (("a",), ("b",)), id="condition"),
        pytest.param(B().with_constraints(gpu=A()), (("a",), ("b",)), id="amount"),
        pytest.param(B.map(x=A()), (("a",), ("b",)), id="column"),
        pytest.param([A(), B(C())], (("a", "c"), ("b",)), id="as early as can be"),
        pytest.param(cascade.Router(A(), {1: B(), 2: C(D())}), (("a",), ("b", "d"), ("c",)), id="routes"),
        pytest.param(E(cascade.Router(A(), {1: B()})), (("a",), ("b",), ("e",)), id="call of a route"),
        pytest.param(cascade.Router(1, {1: B(), 2: C()}), (("b", "c"),), id="routes of a plain selector"),
        pytest.param(
            cascade.Router(A(), {1: cascade.Router(B(), {1: C()})}),
            (("a",), ("b",), ("c",)),
            id="route of a route",
        ),
        pytest.param(
            cascade.Router(cascade.Router(A(), {1: B()}), {1: C()}), (("a",), ("b",), ("c",)), id="routed selector"
        ),
        pytest.param(_route_that_takes_its_selector(), (("a", "b"), ("c",), ("d",)), id="route with its selector"),
    ],
)
def test_the_stages_are(flow: Any, stages: tuple[tuple[str, ...], ...]) -> None:
    assert cascade.plan(flow).stages == stages


def test_a_call_of_very_many_is_in_a_stage_after_the_last_of_them() -> None:
    deep = A(A(A()))
    graph = build(A([deep, *[B() for _ in range(3 * PAUSE_EVERY)]]))
    assert [len(level) for level in solve(graph).levels] == [3 * PAUSE_EVERY + 1, 1, 1, 1]


def test_a_route_that_is_needed_anyway_does_not_wait_for_the_selector() -> None:
    route = B()
    assert cascade.plan([cascade.Router(A(), {1: route}), C(route)]).stages == (("a", "b"), ("c",))


def test_two_routers_that_wait_for_each_other_can_be_planned() -> None:
    first, second = A(), B()
    flow = [cascade.Router(first, {1: second, 2: 1}), cascade.Router(second, {1: first, 2: 1})]
    assert sorted(index for level in cascade.plan(flow).levels for index in level) == [0, 1]


def test_a_plan_needs_no_event_loop_and_runs_nothing() -> None:
    ran: list[int] = []
    cascade.plan(cascade.task(ran.append)(1))
    assert ran == []


def test_a_plan_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        cascade.plan(A()).levels = ()  # type: ignore[misc]  # that it is refused is the point


# -- solvers of others -----------------------------------------------------------------------------------------


def _one_by_one(graph: Graph) -> Plan:
    return Plan(graph, tuple((node.index,) for node in graph.calls()))


async def test_a_run_may_use_another_solver(schedule: Any) -> None:
    flow = cascade.gather(step(1), step(step(2)), cascade.Router(step("a"), {"a": step(3), "b": step(4)}))
    assert await cascade.run(flow, solver=_one_by_one, schedule=schedule) == (1, 2, 3)


async def test_a_solver_may_sort_the_nodes_themselves(schedule: Any) -> None:
    def sort(graph: Any) -> Any:
        sorter: TopologicalSorter[Any] = TopologicalSorter()
        for node in graph.nodes:
            sorter.add(node, *[graph.nodes[source] for source in node.sources])
        done = [node for node in sorter.static_order() if node in graph.calls()]
        return Plan(graph, tuple((graph.nodes.index(node),) for node in done))

    flow = step(step(1), step(2).after(step(3)))
    assert await cascade.run(flow, solver=sort, schedule=schedule) == await cascade.run(flow)


async def test_a_solver_that_returns_no_plan_is_named() -> None:
    solver: Any = repr
    with pytest.raises(TypeError, match="a solver returns a Plan of the graph, not "):
        await cascade.run([1], solver=solver)


async def test_stages_are_those_of_the_solver() -> None:
    engine = cascade.Engine(solver=_one_by_one)
    with record_events(engine) as recorded:
        await engine.run([step(1), step(2), step(3)])
        assert [event.size for event in recorded.of(cascade.StageStarted)] == [1, 1, 1]


BAD_PLANS: list[tuple[str, Callable[[Graph], tuple[tuple[int, ...], ...]]]] = [
    ("a call is missing", lambda graph: ((0,),)),
    ("a call occurs twice", lambda graph: ((0,), (0, 1), (2,))),
    ("a call is with what it needs", lambda graph: ((0, 1), (2,))),
    ("a call is before what it needs", lambda graph: ((1,), (0,), (2,))),
    ("nothing is planned", lambda graph: ()),
    ("a call that is not there", lambda graph: ((0,), (1,), (2,), (3,))),
]


@pytest.mark.parametrize("levels", [levels for _, levels in BAD_PLANS], ids=[name for name, _ in BAD_PLANS])
async def test_a_plan_that_cannot_be_run_is_refused_before_anything_runs(levels: Callable[[Graph], Any]) -> None:
    ran: list[int] = []

    @cascade.task(mode="inline")
    def note(x: Any = None) -> None:
        ran.append(1)

    with pytest.raises(cascade.GraphError, match="solver"):
        await cascade.run(note(note(note())), solver=lambda graph: Plan(graph, levels(graph)))
    assert ran == []


async def test_a_plan_that_puts_a_routed_call_too_early_is_refused() -> None:
    flow = E(cascade.Router(A(), {1: B()}))
    with pytest.raises(cascade.GraphError, match="solver"):
        await cascade.run(flow, solver=lambda graph: Plan(graph, ((0,), (1, 3))))
