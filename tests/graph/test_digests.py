"""Digests change with anything that can change a value, and with nothing else; shapes only with the topology."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import HOLES, Blueprint, Crate, Itinerary, Stop, atoms, blueprints, holes_of, itineraries, realise

import cascade
from cascade.graph.build import build
from cascade.graph.canonical import NotDigestibleError
from cascade.graph.code import code_digest
from cascade.graph.identity import digests, shape
from cascade.graph.identity.calls import Digester, Parameters
from cascade.graph.identity.flows import _Digests
from cascade.graph.nested import finish
from cascade.graph.nodes import MapNode, Node
from cascade.graph.slots import sources_of


@cascade.task
def fetch(x: Any = None, y: Any = 2, *, z: Any = 3) -> Any:
    return x


@cascade.task
def parse(x: Any = None, y: Any = 2, *, z: Any = 3) -> Any:
    return x


@cascade.task
def every(*xs: Any, **more: Any) -> Any:
    return xs


INPUTS: dict[str, object] = {"param:p": 1, "param:q": 1, "env:A": "a"}
E = cascade.Env("A")
P = cascade.Param("p")


def all_digests(flow: Any, inputs: dict[str, object] | None = None) -> list[Any]:
    return [found for _, found in digests(build(flow), inputs or INPUTS)]


def digest(flow: Any, inputs: dict[str, object] | None = None) -> bytes:
    """The digest of the last node of a flow."""
    found = all_digests(flow, inputs)[-1]
    assert isinstance(found, bytes)
    return found


# -- what changes a digest -------------------------------------------------------------------------------------

Keyed = cascade.Router
CHANGES: list[Any] = [
    pytest.param(fetch(1), parse(1), id="task"),
    pytest.param(fetch(1), fetch(2), id="argument"),
    pytest.param(fetch(1), fetch(True), id="type of an argument"),
    pytest.param(fetch(1, 2), fetch(2, 1), id="order of arguments"),
    pytest.param(fetch(x=1), fetch(y=1), id="name of an argument"),
    pytest.param(fetch(z=1), fetch(z=2), id="keyword"),
    pytest.param(every(1), every(1, 1), id="number of arguments"),
    pytest.param(every(1, 2), every((1, 2)), id="arguments or a tuple of them"),
    pytest.param(every(a=1), every(b=1), id="name of a further keyword"),
    pytest.param(every(1, a=2), every(1, 2), id="further keyword or argument"),
    pytest.param(every(1, more=2), every(1, 2), id="further keyword of the catcher's name or argument"),
    pytest.param(fetch(fetch(1)), fetch(fetch(2)), id="upstream argument"),
    pytest.param(fetch(fetch(1)), fetch(parse(1)), id="upstream task"),
    pytest.param(fetch(fetch(fetch(1))), fetch(fetch(fetch(2))), id="far upstream"),
    pytest.param(fetch(fetch(1)), fetch(fetch), id="call or task"),
    pytest.param(fetch([fetch(1)]), fetch((fetch(1),)), id="container around a call"),
    pytest.param(fetch([fetch(1), 2]), fetch([2, fetch(1)]), id="place in a container"),
    pytest.param(fetch([fetch(1), 2]), fetch([fetch(1), 3]), id="literal beside a call"),
    pytest.param(fetch({"a": fetch(1)}), fetch({"b": fetch(1)}), id="key of a call"),
    pytest.param(fetch({"a": fetch(1), "b": 1}), fetch({"a": fetch(1), "b": 2}), id="literal under another key"),
    pytest.param(fetch(Crate(fetch(1))), fetch(Crate(fetch(1), "x")), id="field beside a call"),
    pytest.param(fetch(Crate(fetch(1))), fetch([fetch(1)]), id="class around a call"),
    pytest.param(fetch({fetch(1)}), fetch({fetch(2)}), id="call in a set"),
    pytest.param(fetch([fetch(1), fetch(2)]), fetch([fetch(2), fetch(1)]), id="order of calls"),
    pytest.param(every(fetch(1), fetch(1)), every(fetch(1)), id="one call or two"),
    pytest.param(fetch(E), fetch("A"), id="variable or its name"),
    pytest.param(fetch(cascade.inject("a")), fetch(cascade.inject("b")), id="injection"),
    pytest.param(fetch(cascade.inject("a")), fetch("a"), id="injection or its name"),
    pytest.param(fetch([cascade.inject("a")]), fetch([cascade.inject("b")]), id="nested injection"),
    pytest.param(fetch.map(x=[1]), fetch([1]), id="map or call"),
    pytest.param(fetch.map(x=[1]), fetch.map(x=[2]), id="column"),
    pytest.param(fetch.map(x=[1]), fetch.map(x=[1, 1]), id="length of a column"),
    pytest.param(fetch.map(x=[1]), fetch.map(y=[1]), id="name of a column"),
    pytest.param(fetch.map(x=[1], y=[2]), fetch.map(x=[2], y=[1]), id="columns exchanged"),
    pytest.param(fetch.map(x=fetch([1])), fetch.map(x=parse([1])), id="upstream of a column"),
    pytest.param(fetch.partial(y=[1]).map(x=[1]), fetch.map(x=[1], y=[1]), id="fixed or mapped"),
    pytest.param(fetch.partial(y=1).map(x=[1]), fetch.partial(y=2).map(x=[1]), id="fixed argument of a map"),
    pytest.param(Keyed(1, {1: fetch(1)}), Keyed(2, {1: fetch(1), 2: fetch(1)}), id="selector and routes"),
    pytest.param(Keyed(1, {1: 5}), Keyed(2, {1: 5}), id="literal selector"),
    pytest.param(Keyed(fetch(1), {1: 5}), Keyed(fetch(2), {1: 5}), id="selector"),
    pytest.param(Keyed(1, {1: fetch(1)}), Keyed(1, {1: fetch(2)}), id="route"),
    pytest.param(Keyed(1, {1: 5}), Keyed(1, {1: 6}), id="literal route"),
    pytest.param(Keyed(1, {1: 5}), Keyed(1, {True: 5}), id="type of a key"),
    pytest.param(Keyed(1, {"x": 5}), Keyed(1, {"y": 5}), id="key"),
    pytest.param(Keyed(1, {"x" * 50 + "a": 5}), Keyed(1, {"x" * 50 + "b": 5}), id="end of a long key"),
    pytest.param(Keyed(1, {1: 5, 2: 6}), Keyed(1, {1: 6, 2: 5}), id="routes exchanged"),
    pytest.param(Keyed(1, {1: 5}), Keyed(1, {1: 5}, default=6), id="default"),
    pytest.param(Keyed(1, {1: 5}, default=6), Keyed(1, {1: 5}, default=7), id="value of the default"),
    pytest.param(Keyed(1, {1: 5}, default=6), Keyed(1, {1: 5, "default": 6}), id="default or a key of that name"),
    pytest.param(fetch(Keyed(1, {1: 5})), fetch(Keyed(1, {1: 6})), id="router upstream"),
    pytest.param(fetch(1), fetch(1).run_if(True), id="a condition"),
    pytest.param(fetch(1).run_if(parse(1)), fetch(1).run_if(parse(2)), id="what a condition is made of"),
]


@pytest.mark.parametrize(("first", "second"), CHANGES)
def test_a_digest_changes_with(first: Any, second: Any) -> None:
    assert digest(first) != digest(second)


@pytest.mark.parametrize("key", ["param:p", "env:A"])
@pytest.mark.parametrize("flow", [every(P, E), every([P, E]), every({P, E}), fetch.partial(z=P).map(x=[E])])
def test_a_digest_changes_with_the_value_of_an_input(flow: Any, key: str) -> None:
    assert digest(flow, INPUTS) != digest(flow, {**INPUTS, key: "changed"})


@given(blueprints(), atoms(), atoms(), st.integers(0, HOLES - 1))
def test_a_digest_changes_with_any_leaf_of_an_argument(blueprint: Blueprint, a: Any, b: Any, place: int) -> None:
    assume(place in holes_of(blueprint) and repr(a) != repr(b))
    assume(a.__hash__ is not None and b.__hash__ is not None)
    lazies: list[Any] = [fetch(number) for number in range(HOLES)]
    first, second = (every(realise(blueprint, [*lazies[:place], leaf, *lazies[place + 1 :]])) for leaf in (a, b))
    assume(repr(first.args) != repr(second.args))
    assert digest(first) != digest(second)


@given(itineraries(), st.data())
def test_a_change_changes_the_digests_of_what_gets_data_from_it_or_is_decided_by_it_and_no_others(
    itinerary: Itinerary, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(itinerary.stops) - 1))
    changed = Stop(999, itinerary.stops[place].links)
    stops = (*itinerary.stops[:place], changed, *itinerary.stops[place + 1 :])
    before = all_digests(itinerary.lazies())
    graph = build(Itinerary(stops, 1).lazies())
    after = [found for _, found in digests(graph, INPUTS)]
    expected: set[int] = set()
    for node in graph.nodes:
        feeding = _feeding(node) if isinstance(node, Node) else set(node.sources)
        if expected.intersection(feeding) or (isinstance(node, Node) and _literal(node) == 999):
            expected.add(node.index)
    assert {index for index, one in enumerate(after) if one != before[index]} == expected


def _feeding(node: Node) -> set[int]:
    return {*node.data, *(source for condition in node.terms.conditions for source in sources_of(condition))}


def _literal(node: Node) -> Any:
    """The literal of a stop, as :mod:`strategies` puts it into its call."""
    return node.call.kwargs["extra"][0] if isinstance(node, MapNode) else node.call.args[0]


# -- what does not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(fetch(1, 2), fetch(x=1, y=2), id="position or name"),
        pytest.param(fetch(x=1, y=2), fetch(y=2, x=1), id="order of keywords"),
        pytest.param(fetch(1), fetch(1, 2), id="default left out or given"),
        pytest.param(every(a=1, b=2), every(b=2, a=1), id="order of further keywords"),
        pytest.param(fetch({"a": 1, "b": 2}), fetch({"b": 2, "a": 1}), id="order of a dict"),
        pytest.param(fetch(1), fetch(1).with_retry(5), id="retry"),
        pytest.param(fetch(1), fetch(1).with_timeout(5), id="timeout"),
        pytest.param(fetch(1), fetch(1).with_constraints(gpu=1), id="claim"),
        pytest.param(fetch.map(x=[1]), fetch.map(x=[1]).with_concurrency(1), id="concurrency"),
        pytest.param(fetch.map(x=[1], y=[2]), fetch.map(y=[2], x=[1]), id="order of columns"),
    ],
)
def test_a_digest_does_not_change_with(first: Any, second: Any) -> None:
    assert digest(first) == digest(second)


@pytest.mark.parametrize("call", [
    fetch(1), fetch(1, 2), fetch(x=1), fetch(1, z=3), fetch(1, z=4), fetch([1], y={"a": 1}), fetch(fetch(1), 2),
    fetch(2, fetch(1)), every(), every(1, fetch(2), 3), every(1, a=2, b=3), fetch(fetch), fetch(None),
])  # fmt: skip
def test_a_plain_call_has_the_digest_that_any_call_has(call: Any) -> None:
    graph = build(call)
    made = _Digests(graph, INPUTS)
    finish(made.steps())
    assert not made.errors
    node = graph.nodes[-1]
    assert isinstance(node, Node)
    digester = Digester(made.known.__getitem__, lambda _: b"")
    assert finish(digester.call(node, Parameters(node.task, code_digest(node.task)))) == made.known[-1]


# Leaves that are equal, or look alike, and are not the same; each written as often as it may come up.
_ALIKE = [
    0, False, 0.0, -0.0, 0j, 1, True, 1.0, "1", b"1", "", b"", None, ..., -1, 2**70, float("inf"), "x" * 11,
    b"x" * 11, "x" * 65, b"x" * 65, "\ud800", "n\0", datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC),
    Path("1"), (), (1,), (True,), ((1,),), [1], [[1]], {1: 1}, {1: True}, fetch, parse, fetch(1), fetch(True),
    parse(1),
]  # fmt: skip
_leaves = st.sampled_from(_ALIKE) | st.integers() | st.floats() | st.text() | st.binary()


def general_digests(flow: Any) -> list[bytes]:
    """The digests that the general form alone gives."""
    made = _Digests(build(flow), INPUTS)
    for index, row in enumerate(made.graph.rows):
        made.known.append(finish(made._digest(index, row)))
    return made.known


@given(st.lists(_leaves, max_size=6), st.dictionaries(st.sampled_from(["y", "a", "b", "xs"]), _leaves, max_size=3))
def test_every_way_to_a_digest_gives_the_same_bytes(args: list[Any], kwargs: dict[str, Any]) -> None:
    # The first call of a task takes the general form in any case.
    flow = [
        every(),
        fetch(),
        every(*args, **kwargs),
        every(*args),
        fetch(*args[:2], z=kwargs.get("a", 3)),
        fetch(*args[:2]),
    ]
    assert all_digests(flow) == general_digests(flow)


@given(_leaves, _leaves, _leaves)
def test_a_call_has_one_digest_by_position_and_by_keyword(x: Any, y: Any, z: Any) -> None:
    made = [fetch(x, y, z=z), fetch(x, y=y, z=z), fetch(x=x, y=y, z=z), fetch(z=z, y=y, x=x)]
    assert len({digest(call) for call in made}) == 1


def test_no_two_leaves_give_one_digest() -> None:
    values = [*_ALIKE, float("nan"), complex("nan")]
    makes: list[Callable[[Any], Any]] = [
        fetch, lambda value: fetch(x=value), lambda value: fetch(fetch(0), value), lambda value: every(1, value, 2)
    ]  # fmt: skip
    for make in makes:
        assert len({digest(make(value)) for value in values}) == len(values)


@pytest.mark.parametrize("make", [lambda: float("nan"), lambda: -float("nan"), lambda: float("inf") * 0])
def test_nan_is_one_value_however_it_comes_about(make: Callable[[], float]) -> None:
    assert digest(fetch(make())) == digest(fetch(float("nan"))) != digest(fetch(None))


def test_a_digest_is_one_hash_of_parts_with_their_lengths() -> None:
    # What records were written with: another layout needs another format of state files.
    def framed(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(8, "little") + part for part in parts)

    def hashed(*parts: bytes) -> bytes:
        return hashlib.blake2b(framed(*parts), digest_size=16).digest()

    code = code_digest(every)
    source = hashed(b"call", code, b"*0", b"i\x07\0\0\0")
    call = hashed(b"call", code, b"**name", b"T", b"*0", source, b"*1", b"u\x01\0\0\0a")
    assert all_digests(every(every(7), "a", name=True)) == [source, call]


def test_the_place_in_the_graph_is_not_part_of_a_digest() -> None:
    assert all_digests([fetch(0), fetch(1)])[-1] == digest(fetch(1))


def test_two_calls_of_equal_content_have_one_digest() -> None:
    first, second = all_digests([fetch(1), fetch(1)])
    assert first == second


@pytest.mark.parametrize(
    "argument",
    [
        pytest.param([cascade.Env("A"), cascade.Env("A")], id="variable"),
        pytest.param([cascade.inject("a"), (cascade.inject("a"),)], id="injection"),
        pytest.param([cascade.Param("p"), cascade.Param("p")], id="param"),
    ],
)
def test_an_input_that_is_written_twice_is_no_obstacle(argument: Any) -> None:
    assert digest(fetch(argument)) == digest(fetch(argument))


# -- what has none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "path"),
    [
        (fetch(object()), "x"),
        (fetch(1, {"k": [object()]}), "y['k'][0]"),
        (fetch(z=object()), "z"),
        (fetch([fetch(1), object()]), "x[1]"),
        (every(1, object()), "xs"),
    ],
)
def test_an_argument_without_a_digest_is_named(flow: Any, path: str) -> None:
    found = all_digests(flow)[-1]
    assert isinstance(found, NotDigestibleError)
    assert found.path.startswith(path)


def test_a_node_without_a_digest_leaves_others_theirs() -> None:
    found = all_digests([fetch(object()), fetch(1)])
    assert [type(one) for one in found] == [NotDigestibleError, bytes]


class Strange:
    """Without canonical hash."""


@pytest.mark.parametrize("default", [Strange(), cascade.Router(1, {1: fetch(1)}), fetch(1)])
def test_a_default_without_a_digest_is_no_obstacle_to_giving_an_argument(default: Any) -> None:
    @cascade.task
    def optional(x: Any = default) -> Any:
        return x

    assert digest(optional(1)) == digest(optional(x=1)) != digest(optional(2))


def test_what_depends_on_a_node_without_a_digest_has_one() -> None:
    assert isinstance(all_digests(fetch(fetch(object())))[-1], bytes)


# -- shape -----------------------------------------------------------------------------------------------------

Make = Callable[[Any], Any]
LITERALS: list[Any] = [1, 2, "text", None, [1, 2], {"a": 1}, object()]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(fetch, id="argument"),
        pytest.param(lambda value: fetch(y=value), id="keyword"),
        pytest.param(lambda value: fetch(fetch(value)), id="upstream"),
        pytest.param(lambda value: fetch([fetch(1), value]), id="beside a call"),
        pytest.param(lambda value: fetch(1).run_if(value), id="condition"),
        pytest.param(lambda value: [fetch(1), value], id="target"),
        pytest.param(lambda value: Keyed(value, {1: fetch(1)}), id="selector"),
        pytest.param(lambda value: Keyed(1, {1: value, 2: fetch(1)}), id="route"),
    ],
)
def test_a_shape_is_blind_to_literals(make: Make) -> None:
    assert len({shape(build(make(value))) for value in LITERALS}) == 1


@pytest.mark.parametrize("make", [lambda n: fetch(1).with_constraints(gpu=n), lambda n: fetch.map(x=range(n))])
def test_a_shape_is_blind_to_amounts_and_columns(make: Make) -> None:
    assert shape(build(make(1))) == shape(build(make(2)))


A = fetch(1)
SHAPES: list[Any] = [
    fetch(1), parse(1), fetch(1, 1), fetch(x=1), fetch(A), fetch(x=A), fetch(1, A), fetch([A]), fetch((A,)),
    fetch([[A]]), fetch([A, fetch(1)]), fetch([fetch(A)]), fetch(1).run_if(A), fetch(1).after(A),
    fetch(1).with_constraints(gpu=A), fetch(1).with_constraints(cpu=A), fetch(1).with_constraints(gpu=1),
    fetch(1).run_if(True), fetch(1).with_retry(2), fetch(1).with_timeout(2), fetch(P), fetch(E),
    fetch(cascade.Env("B")), fetch(cascade.inject("a")), fetch.map(x=[1]), fetch.map(y=[1]), fetch.map(x=A),
    Keyed(A, {1: 1}), Keyed(1, {1: A}),
    Keyed(1, {2: A}), Keyed(1, {}, default=A), [A], (A,), [A, fetch(1)], every(A, A), every(A, fetch(1)), 5,
    fetch(1).run_if(A, on_skip="skip"), fetch.map(x=A).with_concurrency(2),
]  # fmt: skip


def test_flows_of_different_topology_have_different_shapes() -> None:
    shapes = [shape(build(flow)) for flow in SHAPES]
    assert [SHAPES[place] for place, one in enumerate(shapes) if one in shapes[:place]] == []


@given(itineraries(), st.lists(st.integers(), min_size=12, max_size=12))
def test_flows_that_differ_in_literals_have_one_shape(itinerary: Itinerary, literals: list[int]) -> None:
    stops = [Stop(literal, stop.links) for literal, stop in zip(literals, itinerary.stops, strict=False)]
    assert shape(build(Itinerary(tuple(stops), itinerary.targets).target())) == shape(build(itinerary.target()))
