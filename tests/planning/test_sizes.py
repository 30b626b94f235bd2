"""How many nodes of each task there will be, as far as that is known before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import cascade
from cascade.graph.build import build
from cascade.graph.nested import finish
from cascade.graph.nodes import Junction, MapNode
from cascade.planning.layout import lay_out
from cascade.planning.sizes import Sizes, by_task, sizes_of
from cascade.testing import RandomFlow, flows


@cascade.task
def fetch(x: Any = None) -> Any:
    return x


@cascade.task
def parse(x: Any = None, y: Any = None) -> Any:
    return x


class Odd(list[int]):
    """A list that does not say how long it is."""

    def __len__(self) -> int:
        raise RuntimeError


def sizes(flow: Any, **inputs: Any) -> Sizes:
    """The sizes of *flow*."""
    graph = build(flow)
    given = {f"param:{name}": value for name, value in inputs.items()}
    return sizes_of(graph, finish(lay_out(graph)), given)


@pytest.mark.parametrize(
    ("flow", "calls", "maps"),
    [
        (5, {}, {}),
        (parse(fetch(1), fetch(2)), {"fetch": 2, "parse": 1}, {}),
        (parse.map(x=range(7)), {"parse": 0}, {"parse": {"parse": 7}}),
        (parse.map(x=[]), {"parse": 0}, {"parse": {"parse": 0}}),
        (parse.map(x=fetch()), {"fetch": 1, "parse": 0}, {"parse": {"parse": None}}),
        (parse.map(x=fetch(), y=[1, 2]), {"fetch": 1, "parse": 0}, {"parse": {"parse": 2}}),
        (
            parse.map(x=fetch.map(x=[1, 2])),
            {"fetch": 0, "parse": 0},
            {"fetch": {"fetch": 2}, "parse": {"parse": 2}},
        ),
        (parse.map(x=cascade.Param("rows", default=[1])), {"parse": 0}, {"parse": {"parse": 3}}),
        (parse.map(x=cascade.Param("number", default=[1])), {"parse": 0}, {"parse": {"parse": None}}),
        (parse.map(x=cascade.Param("odd", default=[1])), {"parse": 0}, {"parse": {"parse": None}}),
        (parse.map(x=[fetch(), 2]), {"fetch": 1, "parse": 0}, {"parse": {"parse": None}}),
        ([cascade.Router(fetch(), {1: parse(), 2: parse(2)})] * 2, {"fetch": 1, "parse": 2}, {}),
        ([cascade.task(name="router")(fetch.func)(), cascade.Router(1, {1: 2})], {"router": 1}, {}),
    ],
    ids=["value", "calls", "map", "empty", "unknown", "either", "map of map", "param", "number", "odd", "nested",
         "router", "task called router"],
)  # fmt: skip
def test_calls_and_items_are_counted_by_task(flow: Any, calls: dict[str, int], maps: dict[str, Any]) -> None:
    found = sizes(flow, rows=[1, 2, 3], number=5, odd=Odd())

    assert (found.calls, found.maps) == (calls, maps)


@given(flow=flows(policies=False))
def test_every_node_but_routers_is_counted_once(flow: RandomFlow) -> None:
    graph = build(flow.build())
    found = sizes_of(graph, finish(lay_out(graph)), {})

    maps = {node.name for node in graph.nodes if isinstance(node, MapNode)}
    assert sum(found.calls.values()) + len(maps) == sum(not isinstance(node, Junction) for node in graph.nodes)
    assert {name for group in found.maps.values() for name in group} == maps


def test_records_are_counted_by_task_and_maps_by_their_items() -> None:
    names = [
        "fetch",
        "fetch#2",
        "fetch#10",
        "parse",
        "parse[0]",
        "parse[1]",
        "parse#2[17]",
        "grow/fetch#3",
        "a#b",
        "#1",
    ]

    assert finish(by_task(names, {"parse"})) == {"fetch": 4, "parse": 3, "a#b": 1, "#1": 1}
