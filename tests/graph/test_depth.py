"""Nothing is recursive: a flow may be as deep as it is long."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chains import chain, pure, step
from strategies import Card, Crate, Point, Shelf, Stamp

import cascade
from cascade.graph.build import build
from cascade.graph.identity import digests, shape, value_digest
from cascade.graph.nested import Template, compile_nested
from cascade.graph.nodes import Graph
from cascade.graph.pictures.render import Format, render
from cascade.planning.layout import lay_out
from cascade.planning.solve import solve

LONG = 100_000
# More than Python's stack holds, for what is tried in many variants.
DEEP = 1_500


@cascade.task(mode="inline")
def count(x: int = 0) -> int:
    return x + 1


CHAINS: dict[str, Callable[[Any], Any]] = {
    "argument": step,
    "keyword": lambda value: step(y=value),
    "list": lambda value: step([value]),
    "record": lambda value: step(Crate({"k": (value,)})),
    "pure": pure,
    "condition": lambda value: step(1).run_if(value),
    "predecessor": lambda value: step(1).after(value),
    "amount": lambda value: step(1).with_constraints(gpu=value),
    "column": lambda value: step.map(x=value),
    "item of a column": lambda value: step.map(x=[value]),
    "selector": lambda value: cascade.Router(value, {0: step()}),
    "route": lambda value: cascade.Router(0, {0: value}),
    "default": lambda value: cascade.Router(0, {}, default=value),
    "call of a route": lambda value: step(cascade.Router(0, {0: value})),
    "policy": lambda value: step(value).with_retry(2).with_timeout(3),
    "gathered": lambda value: cascade.gather(value, value),
    "sequence": lambda value: (
        cascade.sequence([value, step()]) if isinstance(value, cascade.LazyResult) else value
    ),
}
NESTS: dict[str, Callable[[Any], Any]] = {
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "dict": lambda value: {"k": value},
    "attrs": Crate,
    "attrs with dict": Shelf,
    "dataclass": Card,
    "frozen dataclass": Stamp,
    "named tuple": Point,
    "mixed": lambda value: [Crate({"k": (value, 1)}), 2],
}
every_chain = pytest.mark.parametrize("link", CHAINS.values(), ids=CHAINS)
every_nest = pytest.mark.parametrize("wrap", NESTS.values(), ids=NESTS)
every_format = pytest.mark.parametrize("format", ["mermaid", "dot", "text", "json"])


# -- a hundred thousand calls ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_graph() -> Iterator[Graph]:
    yield build(chain(LONG, step))
    gc.collect()


def test_a_long_chain_can_be_built(long_graph: Graph) -> None:
    assert len(long_graph.nodes) == LONG + 1


def test_a_long_chain_can_be_planned(long_graph: Graph) -> None:
    assert len(solve(long_graph).levels) == LONG + 1


def test_a_long_chain_can_be_laid_out(long_graph: Graph) -> None:
    *_, _ = lay_out(long_graph)


def test_a_long_chain_has_digests(long_graph: Graph) -> None:
    assert len({digest for _, digest in digests(long_graph, {})}) == LONG + 1


def test_a_long_chain_has_a_shape(long_graph: Graph) -> None:
    assert len(shape(long_graph)) == 16


@pytest.mark.slow
@every_format
def test_a_long_chain_can_be_rendered(long_graph: Graph, format: Format) -> None:
    levels = [[index] for index in range(len(long_graph.nodes))]
    assert f"step#{LONG}" in render(long_graph, levels, format).replace("#35;", "#")


def test_a_long_chain_has_a_short_repr() -> None:
    assert len(repr(chain(LONG, step))) < 200


def test_a_long_chain_can_be_run() -> None:
    assert cascade.run_sync(chain(LONG - 1, count, count())) == LONG


@pytest.mark.slow
def test_a_long_sequence_can_be_run() -> None:
    assert cascade.run_sync(cascade.sequence(count(number) for number in range(10_000))) == 10_000


def test_a_long_pipeline_can_be_run() -> None:
    assert cascade.run_sync(cascade.pipeline(0, [count] * 10_000)) == 10_000


@pytest.mark.slow
@every_chain
def test_a_long_chain_can_be_dropped(link: Callable[[Any], Any]) -> None:
    value = chain(LONG, link)
    del value
    gc.collect()


def test_a_long_line_of_copies_can_be_dropped() -> None:
    value = chain(LONG, lambda lazy: lazy.with_timeout(2))
    del value
    gc.collect()


def test_a_long_line_of_copies_can_be_built() -> None:
    original = step()
    assert len(build([original, chain(LONG, lambda lazy: lazy.with_timeout(2), original)]).nodes) == 1


@pytest.mark.slow
def test_a_graph_of_a_long_chain_can_be_dropped() -> None:
    graph = build(chain(LONG, lambda value: step([value])))
    del graph
    gc.collect()


# -- deep in every way -----------------------------------------------------------------------------------------


@pytest.fixture(params=[*CHAINS])
def deep(request: pytest.FixtureRequest) -> Any:
    """A chain that is deeper than Python's stack."""
    return chain(DEEP, CHAINS[request.param])


def test_a_deep_chain_can_be_built_and_planned(deep: Any) -> None:
    assert solve(build(deep)).levels


def test_a_deep_chain_can_be_laid_out(deep: Any) -> None:
    *_, _ = lay_out(build(deep))


def test_a_deep_chain_has_digests(deep: Any) -> None:
    assert all(isinstance(digest, bytes) for _, digest in digests(build(deep), {}))


def test_a_deep_chain_has_a_shape(deep: Any) -> None:
    assert shape(build(deep))


def test_a_deep_chain_can_be_rendered(deep: Any) -> None:
    assert cascade.visualize(deep)


def test_a_deep_chain_in_a_set_can_be_built(deep: Any) -> None:
    assert build({deep, 1}).nodes


def test_the_repr_of_a_call_of_a_deep_chain_is_short(deep: Any) -> None:
    assert len(repr(step(deep))) < 2000


# -- deep containers -------------------------------------------------------------------------------------------


@every_nest
def test_a_deep_container_can_be_filled(wrap: Callable[[Any], Any]) -> None:
    found = compile_nested(chain(10 * DEEP, wrap, step()))
    assert isinstance(found, Template)
    assert found.fill([7]) is not None


@every_nest
def test_plain_data_may_be_deep(wrap: Callable[[Any], Any]) -> None:
    assert compile_nested(chain(10 * DEEP, wrap, 1)) is None


@every_nest
def test_a_call_of_a_deep_container_can_be_dropped(wrap: Callable[[Any], Any]) -> None:
    value = step(chain(LONG, wrap, step()))
    del value
    gc.collect()


@every_nest
def test_a_deep_container_has_a_hash(wrap: Callable[[Any], Any]) -> None:
    assert value_digest(chain(DEEP, wrap, 1), "value")


@every_nest
def test_a_call_of_a_deep_container_has_a_digest(wrap: Callable[[Any], Any]) -> None:
    found = dict(digests(build(step(chain(DEEP, wrap, step()))), {}))
    assert isinstance(found[1], bytes)


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        value = value[0]
        depth += 1
    return depth


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda value: value, id="target"),
        pytest.param(step, id="argument"),
        pytest.param(lambda value: cascade.Router(0, {0: value}), id="route"),
        pytest.param(pure, id="argument of a pure task"),
        pytest.param(lambda value: pure(value).run_if(value), id="condition of a pure task"),
    ],
)
@pytest.mark.parametrize("core", [lambda: 1, step], ids=["plain", "call"])
def test_a_flow_with_a_deep_container_can_be_run(place: Callable[[Any], Any], core: Callable[[], Any]) -> None:
    value = cascade.run_sync(place(chain(DEEP * 10, lambda value: [value], core())))
    assert _depth(value) == DEEP * 10


def test_a_deep_container_may_be_the_result_of_a_task() -> None:
    made = cascade.task(mode="inline")(lambda: chain(LONG, lambda value: [value], 1))
    assert _depth(cascade.run_sync(made())) == LONG


def test_many_nested_calls_of_a_pure_task_are_compared() -> None:
    assert len(build([chain(DEEP, pure, pure(1)), chain(DEEP, pure, pure(1))]).nodes) == DEEP + 1
