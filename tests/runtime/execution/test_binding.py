"""The truth table of `judge`: why a node is skipped, and what its consumers get in its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import cascade
from cascade.graph.build import build
from cascade.graph.nodes import Graph, MapNode, Node
from cascade.model.skip_reasons import SkipReason
from cascade.planning.layout import lay_out
from cascade.runtime.execution.binding import Skip, amounts, arguments, columns, judge
from cascade.runtime.frame.frame import Frame


@cascade.task(mode="inline")
def source(name: str) -> Any:
    return name


@cascade.task(mode="inline")
def step(*data: Any, **more: Any) -> Any:
    return data, more


# How something upstream may have ended.
SETTLED = ("true", "false", "passed", "gone", "failed", "behind a failure")
FAILURES = ("failed", "behind a failure")
SKIPS = ("passed", "gone")


def frame_of(graph: Graph, ended: dict[str, str]) -> Frame:
    """A frame in which every source has ended as *ended* says."""
    steps = lay_out(graph)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            frame = Frame.begin(graph, stop.value, {}, "")
            break
    for node in graph.calls():
        if node.task is source:
            settle(frame, node.index, ended[node.call.args[0]])
    return frame


def settle(frame: Frame, index: int, how: str) -> None:
    """End a node."""
    match how:
        case "true" | "false":
            frame.succeed(index, how == "true")
        case "passed":
            frame.skip(index, SkipReason.CONDITION_FALSE, ("passed",))
        case "gone":
            frame.skip(index, SkipReason.CONDITION_FALSE, None)
        case "failed":
            frame.fail(index, ValueError("failed"))
        case "behind a failure":
            frame.skip(index, SkipReason.UPSTREAM_FAILED, None)


def judged(flow: Any, ended: dict[str, str]) -> Skip | None:
    """What is said of the last call of *flow*."""
    graph = build(flow)
    frame = frame_of(graph, ended)
    *_, node = (node for node in graph.calls() if node.task is step)
    return judge(frame, node)


@attrs.frozen
class Row:
    """How the node's condition, predecessor, router, argument and amount ended; ``None`` where it has none."""

    condition: str | None
    predecessor: str | None
    router: str | None
    argument: str | None
    amount: str | None

    def flow(self) -> Any:
        """A step with them."""
        data: list[Any] = []
        if self.argument is not None:
            data.append(source("argument"))
        if self.router is not None:
            data.append(cascade.Router("k", {"k": source("router")}))
        lazy = step(*data)
        if self.amount is not None:
            lazy = lazy.with_constraints(gpu=source("amount"))
        if self.condition is not None:
            lazy = lazy.run_if(source("condition"))
        if self.predecessor is not None:
            lazy = lazy.after(source("predecessor"))
        return lazy

    def reason(self) -> str | None:
        """What the contract says, in its order."""
        everything = (self.condition, self.predecessor, self.router, self.argument, self.amount)
        if any(how in FAILURES for how in everything):
            return "UpstreamFailed"
        if self.condition == "false":
            return "ConditionFalse"
        if self.condition in SKIPS:
            return "UpstreamSkipped_Condition"
        if self.predecessor in SKIPS:
            return "UpstreamSkipped_Sequence"
        if self.router in SKIPS:
            return "UpstreamSkipped_Route"
        if self.argument == "gone" or self.amount in SKIPS:
            return "UpstreamSkipped_Data"
        return None


def table() -> Iterator[Row]:
    """Every combination, with two kinds of failure only where they stand alone."""
    every = (None, *SETTLED)
    for row in itertools.starmap(Row, itertools.product(every, every, every, every, every)):
        failed = [how for how in attrs.astuple(row) if how in FAILURES]
        if len(failed) < 2:
            yield row


def test_the_first_reason_that_applies_is_given() -> None:
    wrong = []
    for row in table():
        skip = judged(row.flow(), attrs.asdict(row))
        found = None if skip is None else skip.reason.value
        if found != row.reason():
            wrong.append((row, found, row.reason()))
    assert wrong == []


def test_of_several_conditions_a_false_one_comes_before_a_skipped_one() -> None:
    for order in itertools.permutations(["a", "b", "c"]):
        flow = step()
        for name in order:
            flow = flow.run_if(source(name))
        skip = judged(flow, {"a": "gone", "b": "false", "c": "true"})
        assert skip == Skip(SkipReason.CONDITION_FALSE)


def test_a_failure_comes_before_whatever_a_condition_says() -> None:
    flow = step().run_if(source("a")).run_if(source("b"))
    assert judged(flow, {"a": "false", "b": "failed"}) == Skip(SkipReason.UPSTREAM_FAILED)


def test_a_condition_that_is_a_plain_value_counts() -> None:
    assert judged(step(1).run_if(0), {}) == Skip(SkipReason.CONDITION_FALSE)
    assert judged(step(1).run_if([0]), {}) is None


# -- what passes through ---------------------------------------------------------------------------------------


def skipped_by_condition(lazy: Any) -> Any:
    return lazy.run_if(False)


def skipped_by_skipped_condition(lazy: Any) -> Any:
    return lazy.run_if(source("gone"))


def skipped_by_sequence(lazy: Any) -> Any:
    return lazy.after(source("gone"))


WAYS = [skipped_by_condition, skipped_by_skipped_condition, skipped_by_sequence]
ENDED = {"a": "true", "b": "false", "gone": "gone", "passed": "passed", "failed": "failed"}


@pytest.mark.parametrize("skipped", WAYS)
@pytest.mark.parametrize(
    ("lazy", "passed"),
    [
        (lambda: step(source("a")), (True,)),
        (lambda: step(source("b")), (False,)),
        (lambda: step(1, source("a"), "text"), (True,)),
        (lambda: step(more=source("a")), (True,)),
        (lambda: step([{"k": source("a")}]), (True,)),
        (lambda: step.partial(more=1).map(other=source("a")), (True,)),
        (lambda: step(source("passed")), ("passed",)),
        (lambda: step(cascade.Router("k", {"k": source("a"), "other": source("b")})), (True,)),
        (lambda: step(cascade.Router("k", {"k": cascade.Router(0, {0: source("a")})})), (True,)),
        (lambda: step(source("a")).with_constraints(gpu=source("b")), (True,)),
        (lambda: step(source("a")).run_if(source("b")), (True,)),
        (lambda: step(source("a")).after(source("b")), (True,)),
        (lambda: step(), None),
        (lambda: step(1), None),
        (lambda: step(source("a"), source("b")), None),
        (lambda: step([source("a"), source("b")]), None),
        (lambda: step(source("gone")), None),
        (lambda: step(source("gone"), source("a")), None),
        (lambda: step(cascade.Router("k", {"k": source("passed")})), None),
        (lambda: step(source("a"), cascade.Router("k", {"k": source("b")})), None),
        (lambda: step().with_constraints(gpu=source("a")), None),
        (lambda: step().run_if(source("a")), None),
        (lambda: step().after(source("a")), None),
    ],
)
def test_a_skipped_step_hands_on_the_value_of_its_sole_upstream_call(skipped: Any, lazy: Any, passed: Any) -> None:
    skip = judged(skipped(lazy()), ENDED)
    assert skip is not None
    assert skip.passed == passed


@pytest.mark.parametrize("skipped", WAYS)
def test_a_call_that_stands_twice_in_the_arguments_is_one(skipped: Any) -> None:
    a = source("a")
    router = cascade.Router("k", {"k": a, "other": source("b")})
    for lazy in (step(a, a), step(a, more=[a]), step(a, router), step(router, [router])):
        skip = judged(skipped(lazy), ENDED)
        assert skip is not None
        assert skip.passed == (True,)


@pytest.mark.parametrize(
    ("with_router", "without"),
    [
        (lambda a, b: step(cascade.Router("k", {"k": [a, b]})), lambda a, b: step([a, b])),
        (lambda a, b: step(cascade.Router("k", {"k": 7})), lambda a, b: step(7)),
        (lambda a, b: step(a, cascade.Router("k", {"k": 7})), lambda a, b: step(a, 7)),
        (lambda a, b: step(a, cascade.Router("k", {"k": [a]})), lambda a, b: step(a, [a])),
    ],
    ids=["[a, b]", "a plain value", "a call, and a plain value", "a call, and [that call]"],
)
def test_a_router_argument_counts_as_its_chosen_route_for_what_passes_through(
    with_router: Any, without: Any
) -> None:
    a, b = source("a"), source("b")
    assert judged(with_router(a, b).run_if(False), ENDED) == judged(without(a, b).run_if(False), ENDED)


@pytest.mark.parametrize("skipped", WAYS)
def test_nothing_passes_through_a_step_that_says_so(skipped: Any) -> None:
    lazy = skipped(step(source("a")).run_if(True)).run_if(True, on_skip="skip")
    skip = judged(lazy, ENDED)
    assert skip is not None
    assert skip.passed is None


def test_nothing_passes_through_a_step_that_was_skipped_for_its_data() -> None:
    lazy = step(source("a")).with_constraints(gpu=source("gone"))
    assert judged(lazy, ENDED) == Skip(SkipReason.UPSTREAM_DATA)


@pytest.mark.parametrize("lazy", [step(source("failed")), step(source("a")).after(source("failed"))])
def test_nothing_passes_through_a_step_behind_a_failure(lazy: Any) -> None:
    assert judged(lazy.run_if(False), ENDED) == Skip(SkipReason.UPSTREAM_FAILED)


# -- arguments -------------------------------------------------------------------------------------------------


def last_step(graph: Graph) -> Node:
    *_, node = (node for node in graph.calls() if node.task is step)
    return node


def test_a_node_that_is_not_skipped_gets_what_stands_upstream() -> None:
    a = source("a")
    graph = build(step(a, [1, {"k": a}], cascade.Router("k", {"k": source("b")}), more=(source("passed"), 2)))
    frame = frame_of(graph, ENDED)
    node = last_step(graph)
    assert judge(frame, node) is None
    assert arguments(frame, node) == ((True, [1, {"k": True}], False), {"more": ("passed", 2)})


def test_literal_arguments_are_bound_as_they_are() -> None:
    literal = [1, {"k": 2}]
    graph = build(step(literal, more=literal))
    args, kwargs = arguments(frame_of(graph, {}), last_step(graph))
    assert args[0] is literal
    assert kwargs["more"] is literal


def test_columns_of_a_map_have_a_value_for_each_item_as_of_now() -> None:
    letters = ["k", "l"]
    graph = build(step.partial(fixed=source("a")).map(x=[source("b"), 2], y=(3, 4), z=cascade.Param("letters")))
    node = last_step(graph)
    assert isinstance(node, MapNode)
    frame = frame_of(graph, ENDED)
    frame.inputs = {"param:letters": letters}
    found = columns(frame, node)
    letters.append("m")
    assert {name: list(values) for name, values in found.items()} == {
        "x": [False, 2],
        "y": [3, 4],
        "z": ["k", "l"],
    }
    assert arguments(frame, node) == ((), {"fixed": True})


def test_amounts_are_bound_exactly() -> None:
    graph = build(step().with_constraints(gpu=0.1, memory=source("a")))
    frame = frame_of(graph, {"a": "true"})
    frame.values[0] = 3
    assert {name: float(amount) for name, amount in amounts(frame, last_step(graph)).items()} == {
        "gpu": 0.1,
        "memory": 3,
    }


@pytest.mark.parametrize("amount", [-1, float("nan"), "two", True, None])
def test_an_amount_that_is_no_amount_is_a_value_error(amount: Any) -> None:
    graph = build(step().with_constraints(gpu=source("a")))
    frame = frame_of(graph, {"a": "true"})
    frame.values[0] = amount
    with pytest.raises(ValueError, match="gpu"):
        amounts(frame, last_step(graph))
