"""How urgent nodes are: by the longest chain of work behind them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

import cascade
from cascade.graph.build import build
from cascade.graph.nested import finish
from cascade.planning.ranks import rank_steps


@cascade.task
def short(*_: object) -> None: ...


@cascade.task
def long(*_: object) -> None: ...


def ranks(flow: object, **durations: float) -> dict[str, float]:
    graph = build(flow)
    found = finish(rank_steps(graph, durations))
    return {node.name: found[node.index] for node in graph.nodes}


def test_without_durations_a_rank_is_the_number_of_nodes_to_the_end() -> None:
    first = short()
    assert ranks([long(short(first)), short(first)]) == {"short": 3, "short#2": 2, "long": 1, "short#3": 1}


def test_durations_that_are_known_count_and_others_are_as_long_as_usual() -> None:
    assert ranks(long(short(long())), long=4.0) == {"long": 12.0, "short": 8.0, "long#2": 4.0}
    assert ranks(long(short()), long=4.0, short=2.0) == {"short": 6.0, "long": 4.0}


def test_a_task_that_takes_no_time_still_has_a_rank() -> None:
    found = ranks(long(short()), long=0.0, short=0.0)
    assert found["short"] > found["long"] > 0


def test_routers_take_no_time() -> None:
    flow = cascade.Router(short(), {None: long()})
    assert ranks(flow) == {"short": 1, "long": 1, "router": 0}


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=30), st.floats(0, 10))
def test_a_rank_is_above_those_of_all_that_follows(sources: list[list[int]], seconds: float) -> None:
    calls: list[cascade.LazyResult[None]] = []
    for number, given_sources in enumerate(sources):
        task = long if number % 3 else short
        calls.append(task(*[calls[source % number] for source in given_sources if number]))
    graph = build(calls)
    found = finish(rank_steps(graph, {"long": seconds}))
    for node in graph.nodes:
        assert all(found[node.index] < found[source] for source in node.sources)
    assert min(found) > 0


def test_what_a_node_took_counts_before_its_cost_and_that_before_the_mean_of_its_task() -> None:
    flow = [long(short().with_cost(5.0)), short().with_cost(7.0), short(), long()]
    graph = build(flow)
    names = [node.name for node in graph.nodes]
    assert names == ["short", "long", "short#2", "short#3", "long#2"]
    found = finish(rank_steps(graph, {"short": 3.0}, [1.0, 2.0, -1.0, math.nan, math.inf]))
    assert found == [3.0, 2.0, 7.0, 3.0, 3.0]


def test_without_a_mean_of_tasks_that_of_the_nodes_that_ran_counts_and_costs_do_not() -> None:
    flow = [short(), short(), short().with_cost(100.0), long()]
    assert finish(rank_steps(build(flow), {}, [1.0, 3.0, -1.0, -1.0])) == [1.0, 3.0, 100.0, 2.0]
    assert ranks(flow) == {"short": 1.0, "short#2": 1.0, "short#3": 100.0, "long": 1.0}
