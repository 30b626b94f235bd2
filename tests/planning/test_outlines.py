"""How long nodes took, by the outline of their flow."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade
from cascade.graph.build import build
from cascade.graph.nested import finish
from cascade.planning.node_durations import UNKNOWN, NodeDurations, outline_steps


@cascade.task
def one(*_: object) -> None: ...


@cascade.task
def other(*_: object) -> None: ...


def outline(flow: object) -> bytes:
    return finish(outline_steps(build(flow)))


@pytest.mark.parametrize(
    "alike",
    [
        pytest.param([other(one("b")), one(2)], id="other values"),
        pytest.param([other(one(1).with_cost(3).with_retry(2)), one()], id="other policies"),
    ],
)
def test_values_and_policies_are_no_part_of_an_outline(alike: Any) -> None:
    assert outline(alike) == outline([other(one("a")), one(1)])


@pytest.mark.parametrize(
    "unlike",
    [
        pytest.param([other(one("a")), other(1)], id="another task"),
        pytest.param([other(one("a")), one(1), one(2)], id="one more"),
        pytest.param([other(one("a"))], id="one less"),
        pytest.param((lambda first: [other(first), one(first)])(one("a")), id="another edge"),
    ],
)
def test_tasks_and_edges_are(unlike: Any) -> None:
    assert outline(unlike) != outline([other(one("a")), one(1)])


def test_a_map_is_another_thing_than_a_call() -> None:
    @cascade.task
    def of(x: int) -> int:
        return x

    assert outline(of(1)) != outline(of.map(x=[1]))


def test_an_outline_is_the_same_in_every_process() -> None:
    def function(*_: object) -> None: ...

    function.__module__ = "somewhere"
    task = cascade.task(name="task")(function)
    assert outline([task(task()), task()]).hex() == "4e632165ed0a1e8b0069cfc0621a8208"


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=30))
def test_flows_of_the_same_edges_have_one_outline_and_with_one_more_another(sources: list[list[int]]) -> None:
    def flow(edges: list[list[int]]) -> list[cascade.LazyResult[None]]:
        calls: list[cascade.LazyResult[None]] = []
        for number, some in enumerate(edges):
            calls.append(one(*[calls[source % number] for source in some if number]))
        return calls

    graph = build(flow(sources))
    assert outline(flow(sources)) == finish(outline_steps(graph))
    longer = build(flow([*sources, [0]]))
    assert finish(outline_steps(longer)) != finish(outline_steps(graph))


def test_the_last_run_counts_for_half() -> None:
    known = NodeDurations.none(b"flow", 2)
    assert list(known.seconds) == [UNKNOWN, UNKNOWN]
    known.learn(0, 4.0)
    assert list(known.seconds) == [4.0, UNKNOWN]
    known.learn(0, 8.0)
    assert list(known.seconds) == [6.0, UNKNOWN]


def test_what_another_process_saw_is_taken_over_unless_this_one_has_seen_the_flow() -> None:
    seen = NodeDurations.none(b"flow", 3)
    seen.learn(1, 2.5)
    other_process = NodeDurations.none(b"flow", 3)
    other_process.recall(seen.packed())
    assert list(other_process.seconds) == [UNKNOWN, 2.5, UNKNOWN]
    seen.learn(1, 2.5)
    seen.recall(array("f", [9.0, 9.0, 9.0]).tobytes())
    assert list(seen.seconds) == [UNKNOWN, 2.5, UNKNOWN]


@pytest.mark.parametrize("packed", [b"", b"abc", b"x" * 8, b"x" * 13, b"x" * 16])
def test_what_is_not_about_as_many_nodes_is_ignored(packed: bytes) -> None:
    known = NodeDurations.none(b"flow", 3)
    known.recall(packed)
    assert list(known.seconds) == [UNKNOWN] * 3
