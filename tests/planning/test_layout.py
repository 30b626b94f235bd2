"""What running a graph starts from: who waits for how many, who is needed, and who is certain to run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from named_tasks import named
from strategies import Itinerary, itineraries

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.graph.build import build
from cascade.graph.nested import finish
from cascade.graph.nodes import EdgeKind, Graph, Junction, Node
from cascade.planning.layout import Layout, certain_nodes, lay_out
from cascade.planning.solve import gated_nodes
from cascade.testing import record_events

A, B, C, D = (named(name) for name in "abcd")


def laid_out(graph: Graph) -> Layout:
    steps = lay_out(graph)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            layout: Layout = stop.value
            return layout


def names(graph: Graph, indices: Any) -> list[str]:
    return [graph.nodes[index].name for index in sorted(indices)]


# -- universal -------------------------------------------------------------------------------------------------


@given(itineraries())
def test_a_call_waits_for_its_sources_and_for_a_router_that_must_want_it(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    layout = laid_out(graph)
    for node in graph.nodes:
        if isinstance(node, Node):
            assert layout.pending[node.index] == len(node.sources) + (node.index in layout.gated)


@given(itineraries())
def test_consumers_are_counted_once_each_and_being_a_target_counts_as_one(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    expected = [
        len({edge.target for edge in graph.edges() if edge.source == node.index}) + (node.index in graph.members)
        for node in graph.nodes
    ]
    assert laid_out(graph).uses == expected


@given(itineraries())
def test_what_has_gates_is_gated(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    gated = finish(gated_nodes(graph))
    assert laid_out(graph).gated == {index for index, is_gated in enumerate(gated) if is_gated}


@given(itineraries())
def test_the_selectors_of_a_router_are_the_calls_that_give_its_key(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    expected = {
        node.index: {
            edge.source for edge in graph.edges() if edge.target == node.index and edge.kind is EdgeKind.SELECTOR
        }
        for node in graph.nodes
        if isinstance(node, Junction)
    }
    assert dict(laid_out(graph).selectors) == expected


@given(itineraries())
def test_calls_are_counted_without_routers(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    assert laid_out(graph).calls == len(list(graph.calls()))


@given(itineraries())
def test_what_is_certain_depends_on_nothing_that_is_not(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    certain = finish(certain_nodes(graph))
    for node in graph.calls():
        if certain[node.index]:
            assert all(certain[source] for source in node.sources)


def test_laying_out_leaves_the_graph_as_it_was() -> None:
    graph = build([B(A()), A()])
    before = [tuple(consumers) for consumers in graph.consumers]
    laid_out(graph)
    assert [tuple(consumers) for consumers in graph.consumers] == before


# -- plain calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "is_plain"),
    [
        pytest.param(A(1), True, id="inline"),
        pytest.param(named("t", mode="thread")(), True, id="thread"),
        pytest.param(named("v", pure=True, version="1")(), True, id="pure"),
        pytest.param(A().with_retry(2), False, id="retry"),
        pytest.param(A().with_timeout(2), False, id="timeout"),
        pytest.param(A().with_constraints(gpu=1), False, id="claim"),
        pytest.param(A().with_cache(InputCache(MemoryCacheStore())), False, id="cache"),
        pytest.param(A().run_if(True), False, id="condition"),
        pytest.param(A().after(B()), False, id="order"),
        pytest.param(A.map(x=[1]), False, id="map"),
        pytest.param(named("r", retry=cascade.Retry())(), False, id="default retry"),
        pytest.param(named("d", timeout=1)(), False, id="default timeout"),
        pytest.param(named("c", constraints={"gpu": 1})(), False, id="default claim"),
        pytest.param(named("p", mode="process")(), False, id="process"),
        pytest.param(named("l", mode="thread", abandon_on_cancel=True)(), False, id="a thread that may be left"),
    ],
)
def test_a_call_is_plain_if_nothing_is_said_about_how_it_runs(flow: Any, is_plain: bool) -> None:
    assert bool(laid_out(build(flow)).places[-1]) is is_plain


def test_an_async_call_that_wants_a_task_of_its_own_is_not_plain() -> None:
    @cascade.task(mode="task")
    async def own() -> None: ...

    assert not laid_out(build(own())).places[0]


# -- gates and tails -------------------------------------------------------------------------------------------

SHARED = C()


@pytest.mark.parametrize(
    ("flow", "gated"),
    [
        pytest.param(B(A()), [], id="no router"),
        pytest.param(cascade.Router(A(), {1: B(C()), 2: D()}), ["b", "c", "d"], id="routes and what they need"),
        pytest.param([cascade.Router(A(), {1: B(SHARED)}), SHARED], ["b"], id="needed by the target too"),
        pytest.param([cascade.Router(A(), {1: B(SHARED)}), D(SHARED)], ["b"], id="needed by another call too"),
        pytest.param(cascade.Router(SHARED, {1: SHARED, 2: B()}), ["b"], id="selector that is a route"),
        pytest.param(
            cascade.Router(A(), {1: cascade.Router(B(), {1: C()})}), ["b", "c", "router"], id="router as route"
        ),
        pytest.param(D(cascade.Router(A(), {1: B()})), ["b"], id="router as argument"),
        pytest.param(D().run_if(cascade.Router(A(), {1: B()})), ["b"], id="router as condition"),
    ],
)
def test_what_only_routers_need_is_gated(flow: Any, gated: list[str]) -> None:
    graph = build(flow)
    assert sorted(names(graph, laid_out(graph).gated)) == gated


def _route_of_two_uses(use: Callable[[Any], Any]) -> Any:
    route = A()
    return cascade.Router(use(route), {1: route})


@pytest.mark.parametrize(
    ("flow", "tails"),
    [
        pytest.param(B(A()), ["b"], id="target"),
        pytest.param([A(), B()], [], id="members of a container"),
        pytest.param(5, [], id="value"),
        pytest.param(cascade.Router(A(), {1: B(), 2: C()}), ["b", "c", "router"], id="routes of a target"),
        pytest.param(cascade.Router(A(), {1: [B()]}), ["router"], id="container as route"),
        pytest.param(
            cascade.Router(A(), {1: cascade.Router(1, {1: B()})}), ["b", "router", "router#2"], id="nested routers"
        ),
        pytest.param(A.map(x=[1]), ["a"], id="map"),
        pytest.param(_route_of_two_uses(B), ["router"], id="route that a call needs too"),
        pytest.param(_route_of_two_uses(lambda route: route), ["router"], id="route that is the selector too"),
    ],
)
def test_the_tails_are_the_nodes_whose_value_is_the_flows_own(flow: Any, tails: list[str]) -> None:
    graph = build(flow)
    assert sorted(names(graph, laid_out(graph).tails)) == tails


# -- certain to run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "is_certain"),
    [
        pytest.param(A(), True, id="call"),
        pytest.param(B(A()), True, id="call of a call"),
        pytest.param(A().with_retry(2).with_timeout(1), True, id="policies"),
        pytest.param(A.map(x=[1]), True, id="map"),
        pytest.param(A().after(B()), True, id="order"),
        pytest.param(A().run_if(B()), False, id="condition"),
        pytest.param(A().run_if(True), False, id="plain condition"),
        pytest.param(A().with_cache(InputCache(MemoryCacheStore())), True, id="cache"),
        pytest.param(B(A().run_if(C())), False, id="call of what has a condition"),
        pytest.param(B().after(A().run_if(C())), False, id="order after what has a condition"),
        pytest.param(B(cascade.Router(A(), {1: C()})), False, id="call of a router"),
    ],
)
def test_a_call_is_certain_to_run_if_only_a_failure_can_prevent_it(flow: Any, is_certain: bool) -> None:
    assert bool(finish(certain_nodes(build(flow)))[-1]) is is_certain


def test_a_route_is_not_certain_to_run() -> None:
    graph = build(cascade.Router(A(), {1: B(C())}))
    certain = finish(certain_nodes(graph))
    assert names(graph, [index for index, is_certain in enumerate(certain) if is_certain]) == ["a"]


TOO_MUCH = A().with_constraints(gpu=5)


async def test_a_claim_that_never_fits_is_refused_before_anything_runs(schedule: Any) -> None:
    engine = cascade.Engine(system_resources={"gpu": 4}, schedule=schedule)
    with record_events(engine) as recorded:
        with pytest.raises(cascade.CapacityError, match="exceeds total system capacity"):
            await engine.run([B(), C(B()).after(TOO_MUCH)])
        assert recorded.of(cascade.NodeEvent) == []


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param([B(1), cascade.gather(A(cascade.Router(1, {1: 1, 2: TOO_MUCH})))], id="route"),
        pytest.param(cascade.Router(1, {1: B(1), 2: B(TOO_MUCH)}), id="behind a route"),
        pytest.param(cascade.sequence([TOO_MUCH.run_if(False), B(1)]), id="condition"),
    ],
)
async def test_a_claim_that_never_fits_is_no_matter_where_it_is_not_made(schedule: Any, flow: Any) -> None:
    await cascade.run(flow, system_resources={"gpu": 4}, schedule=schedule)
