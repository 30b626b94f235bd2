"""From lazies to a graph: which nodes there are, and what each needs."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labels import label
from strategies import Card, Crate, Itinerary, itineraries

import cascade
from cascade.graph import build as building
from cascade.graph.build import build
from cascade.graph.nodes import Graph, Junction
from cascade.testing import record_events


@cascade.task(mode="inline")
def one(x: Any = None, y: Any = None) -> Any:
    return x if y is None else (x, y)


@cascade.task(mode="inline")
def every(first: Any, *rest: Any, key: Any = None, **more: Any) -> Any:
    return (first, *rest)


def edges(flow: Any) -> list[tuple[int, int, str, str]]:
    return [(edge.source, edge.target, edge.kind.value, edge.label) for edge in build(flow).edges()]


# -- universal -------------------------------------------------------------------------------------------------


@given(itineraries())
def test_what_a_node_needs_has_a_smaller_number(itinerary: Itinerary) -> None:
    for node in build(itinerary.target()).nodes:
        assert all(source < node.index for source in node.sources)


@given(itineraries())
def test_nodes_stand_at_their_numbers(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    assert [node.index for node in graph.nodes] == list(range(len(graph.nodes)))


@given(itineraries())
def test_consumers_mirror_sources(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    forward = {(source, node.index) for node in graph.nodes for source in node.sources}
    backward = [(index, consumer) for index, consumers in enumerate(graph.consumers) for consumer in consumers]
    assert (set(backward), len(backward)) == (forward, len(forward))


# Literals, and how far back the call stands that is given.
given_arguments = st.lists(st.none() | st.integers(0, 8), min_size=1, max_size=5)


@given(st.lists(st.tuples(given_arguments, st.sampled_from(["", "key", "retry"])), min_size=1, max_size=12))
def test_a_plain_call_is_the_node_that_any_other_would_be(calls: list[tuple[list[int | None], str]]) -> None:
    lazies: list[Any] = []
    for given_args, said in calls:
        args = ["literal" if back is None else ([0, *lazies])[-1 - back :][0] for back in given_args]
        call = every(*args, **({"key": 1} if said == "key" else {}))
        lazies.append(call.with_retry(2) if said == "retry" else call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building._Builder, "_visit_plain", lambda *_: False)
        general = build(lazies)
    quick = build(lazies)
    assert not any(isinstance(row, cascade.LazyResult) for row in general.rows)
    assert [general.name(index) for index in range(len(general.rows))] == [node.name for node in quick.nodes]
    assert [*quick.ordinals] == [*general.ordinals]
    assert quick.sources == general.sources
    assert [*map(list, quick.consumers)] == [*map(list, general.consumers)]
    assert [*quick.edges()] == [*general.edges()]
    for index, row in enumerate(quick.rows):
        if isinstance(row, cascade.LazyResult):
            made, kept = quick.node(index), general.node(index)
            assert attrs.astuple(made, recurse=False) == attrs.astuple(kept, recurse=False)


@given(itineraries())
def test_edges_say_why_each_source_is_needed(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    explained = {(edge.source, edge.target) for edge in graph.edges()}
    assert explained == {(source, node.index) for node in graph.nodes for source in node.sources}


@given(itineraries())
def test_only_what_the_target_needs_is_in_the_graph(itinerary: Itinerary) -> None:
    graph = build(itinerary.target())
    needed = set(graph.members)
    for node in reversed(graph.nodes):
        if node.index in needed:
            needed.update(node.sources)
    assert needed == set(range(len(graph.nodes)))


@given(itineraries())
def test_each_call_is_one_node(itinerary: Itinerary) -> None:
    graph = build(itinerary.lazies())
    assert len(list(graph.calls())) == len(itinerary.stops)


# -- edges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        pytest.param(one(one()), [(0, 1, "data", "x")], id="argument"),
        pytest.param(one(y=one()), [(0, 1, "data", "y")], id="keyword"),
        pytest.param(one([{1: (one(),)}]), [(0, 1, "data", "x")], id="nested"),
        pytest.param(one(one(), one()), [(0, 2, "data", "x"), (1, 2, "data", "y")], id="two"),
        pytest.param(one.map(x=one()), [(0, 1, "data", "x")], id="column"),
        pytest.param(
            one.map(x=[one(), one()]), [(0, 2, "data", "x"), (1, 2, "data", "x")], id="items of a column"
        ),
        pytest.param(one().run_if(one()), [(0, 1, "condition", "")], id="condition"),
        pytest.param(one().run_if([one()]), [(0, 1, "condition", "")], id="nested condition"),
        pytest.param(one().after(one()), [(0, 1, "sequence", "")], id="predecessor"),
        pytest.param(one().with_constraints(gpu=one()), [(0, 1, "claim", "gpu")], id="amount"),
        pytest.param(cascade.Router(one(), {1: 2}), [(0, 1, "selector", "")], id="selector"),
        pytest.param(cascade.Router(1, {"k": one()}), [(0, 1, "route", "'k'")], id="route"),
        pytest.param(cascade.Router(1, {}, default=one()), [(0, 1, "route", "default")], id="default"),
        pytest.param(every(1, 2, one()), [(0, 1, "data", "rest")], id="further argument"),
        pytest.param(every(1, 2, 3, one()), [(0, 1, "data", "rest")], id="argument beyond all parameters"),
        pytest.param(every(1, other=one()), [(0, 1, "data", "other")], id="further keyword"),
    ],
)
def test_an_edge_says_what_it_is_for(flow: Any, expected: list[tuple[int, int, str, str]]) -> None:
    assert edges(flow) == expected


def test_a_default_claim_of_the_task_is_an_edge_too() -> None:
    needs = one()
    claiming = cascade.task(constraints={"gpu": needs})(one.func)
    assert edges(claiming()) == [(0, 1, "claim", "gpu")]


def test_one_source_may_be_needed_for_many_reasons() -> None:
    source = one()
    flow = one(source, source).run_if(source).after(source).with_constraints(gpu=source)
    assert {kind for _, _, kind, _ in edges(flow)} == {"data", "condition", "sequence", "claim"}


def test_a_source_that_is_needed_twice_counts_once() -> None:
    source = one()
    assert build(one(source, source)).consumers == [(1,), ()]


def test_a_lazy_used_in_many_places_is_one_node() -> None:
    shared = one()
    assert len(build([one(shared), one([shared]), one.map(x=[shared]), {"k": shared}]).nodes) == 4


def test_a_router_used_in_many_places_is_one_node() -> None:
    router = cascade.Router(1, {1: one()})
    assert (
        len([node for node in build([one(router), one([router]), router]).nodes if isinstance(node, Junction)])
        == 1
    )


# -- one call is one node --------------------------------------------------------------------------------------


def test_two_calls_of_an_impure_task_are_two_nodes() -> None:
    assert len(build([one(1), one(1)]).nodes) == 2


async def test_an_impure_task_that_is_called_twice_runs_twice(schedule: Any) -> None:
    ran: list[int] = []

    @cascade.task(mode="inline")
    def note(number: int) -> None:
        ran.append(number)

    await cascade.run([note(1), note(1)], schedule=schedule)
    assert ran == [1, 1]


async def test_a_call_with_many_consumers_runs_once(schedule: Any) -> None:
    engine = cascade.Engine(schedule=schedule)
    shared = one(1)
    with record_events(engine) as recorded:
        await engine.run([one(shared), one([shared]), shared])
        assert len(recorded.of(cascade.TaskExecutionFinished)) == 3


# -- targets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param([one(1), one(2)], [1, 2], id="list"),
        pytest.param((one(1), 5), (1, 5), id="tuple"),
        pytest.param({one(1), 5}, {1, 5}, id="set"),
        pytest.param(frozenset([one(1)]), frozenset([1]), id="frozenset"),
        pytest.param({"a": one(1), "b": [one(2)]}, {"a": 1, "b": [2]}, id="dict"),
        pytest.param(Crate(one(1)), Crate(1), id="attrs"),
        pytest.param(Card(one(1), [one(2)]), Card(1, [2]), id="dataclass"),
        pytest.param([[[one(1)]], one.map(x=[1, 2])], [[[1]], [1, 2]], id="nested, with a map"),
        pytest.param([cascade.Router(1, {1: one(3)})], [3], id="router"),
        pytest.param([None, False, one(0)], [None, False, 0], id="nothing"),
    ],
)
async def test_a_container_of_lazies_gives_the_same_container(schedule: Any, target: Any, expected: Any) -> None:
    assert await cascade.run(target, schedule=schedule) == expected


@pytest.mark.parametrize("value", [5, None, "text", [1, [2]], {"a": 1}, (), Crate(1), object(), [one]], ids=label)
async def test_running_a_plain_value_gives_the_very_object(value: Any) -> None:
    assert await cascade.run(value) is value


async def test_one_lazy_in_many_places_of_a_target_runs_once() -> None:
    made: list[object] = []

    @cascade.task(mode="inline")
    def make() -> object:
        made.append(object())
        return made[-1]

    shared = make()
    assert await cascade.run([shared, {"k": shared}]) == [made[0], {"k": made[0]}]


def _members(graph: Graph) -> list[str]:
    return [graph.nodes[index].name for index in graph.members]


def test_each_lazy_in_a_target_is_a_member_once() -> None:
    shared = one()
    assert _members(build([shared, [shared, one(shared)]])) == ["one", "one#2"]


async def test_each_member_is_judged_as_a_target_of_its_own(schedule: Any) -> None:
    with pytest.raises(cascade.DependencyMissingError, match="'one#2'"):
        await cascade.run([one(1), one(2).run_if(False)], schedule=schedule)


# -- what has no meaning ---------------------------------------------------------------------------------------


def _through_a_list() -> Any:
    items: list[Any] = []
    items.append(one(one(items)))
    return items[0]


def _through_a_router() -> Any:
    routes: dict[Any, Any] = {1: 1}
    router: Any = cascade.Router(1, routes)
    routes[2] = one(router)
    return router


def _through_order() -> Any:
    first = one()
    last = one(one(first))
    return [last, first.after(last)]


def _through_order_unseen_at_first() -> Any:
    first = one()
    middle, last = one(first), one()
    return [middle.after(last), last.after(first.after(middle))]


def _through_a_condition() -> Any:
    first = one()
    return [one(first), first.run_if(one(first))]


def _through_an_amount() -> Any:
    first = one()
    return one(first.with_constraints(gpu=one(first)), first)


def _to_itself() -> Any:
    call = one()
    return call.after(call)


def _through_a_column() -> Any:
    column: list[Any] = []
    mapped = one.map(x=column)
    column.append(one(mapped))
    return mapped


CYCLES = [
    _through_a_list, _through_a_router, _through_order, _through_order_unseen_at_first, _through_a_condition,
    _through_an_amount, _to_itself, _through_a_column,
]  # fmt: skip


@pytest.mark.parametrize("make", CYCLES, ids=lambda make: make.__name__.strip("_"))
def test_a_cycle_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(cascade.GraphError, match="cycle"):
        build(make())


@pytest.mark.parametrize("make", CYCLES, ids=lambda make: make.__name__.strip("_"))
async def test_a_cycle_is_refused_before_anything_runs(make: Callable[[], Any]) -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        with pytest.raises(cascade.GraphError):
            await engine.run([one(), make()])
        assert recorded.of(cascade.NodeEvent) == []


def test_a_cycle_is_told_by_the_names_in_it() -> None:
    a, b = (cascade.task(name=name)(one.func) for name in ("alpha", "beta"))
    first = a()
    with pytest.raises(cascade.GraphError, match=r"alpha needs beta needs alpha|beta needs alpha needs beta"):
        build(one(first.after(b(first))))


def test_a_long_cycle_is_told_in_short() -> None:
    first = one()
    last = first
    for _ in range(5000):
        last = one(last)
    with pytest.raises(cascade.GraphError) as caught:
        build(first.after(last))
    assert len(str(caught.value)) < 500


def test_an_unknown_placeholder_is_refused() -> None:
    from cascade.model.placeholders import Placeholder  # nothing else needs it

    with pytest.raises(TypeError, match="placeholder"):
        build(one([Placeholder()]))


def test_a_call_that_stands_in_one_argument_twice_is_one_source() -> None:
    given = one()
    assert build(every([given, given], given)).nodes[1].sources == (0,)


# -- what is kept ----------------------------------------------------------------------------------------------


def tracked() -> int:
    """The objects that a full garbage collection walks; one of them makes tuples of numbers leave."""
    gc.collect()
    gc.collect()
    return len(gc.get_objects())


def test_collections_walk_one_object_for_each_plain_call_and_none_for_its_node() -> None:
    width, layers = 100, 20
    empty = tracked()
    layer: list[Any] = [one(number) for number in range(width)]
    for _ in range(layers - 1):
        layer = [one(layer[place], layer[place - 1]) for place in range(width)]
    defined = tracked()
    graph = build(layer)
    built = tracked()
    nodes = width * layers
    assert len(graph.rows) == nodes
    assert defined - empty < 1.05 * nodes
    assert built - defined < 0.05 * nodes
