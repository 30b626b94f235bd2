"""The public random flows: what is in them, and that Hypothesis is needed for them alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import find, given, settings
from oracle import interpret

import cascade.testing
from cascade.testing import RandomFlow, flows, simulate
from cascade.testing.descriptions import Ask, Call, Choice, Fail, Turns, all_nodes, parts

WITHIN = settings(max_examples=3000, database=None)


@pytest.mark.parametrize(
    "has",
    [
        lambda call: call.mode == "thread",
        lambda call: call.column == [],
        lambda call: call.column and call.mode == "thread",
        lambda call: call.conditions and call.on_skip == "skip",
        lambda call: call.after,
        lambda call: call.style == "partial",
        lambda call: call.style == "pipeline",
        lambda call: call.timeout and call.pause > call.timeout,
        lambda call: 0 < call.flaky < call.attempts,
        lambda call: any(type(amount) is int for amount in call.claims.values()),
        lambda call: parts(list(call.claims.values())),
        lambda call: call.is_cached,
        lambda call: call.injects == ("run", "task"),
        lambda call: call.swallows and call.pause,
        lambda call: isinstance(call.body, Turns),
        lambda call: isinstance(call.body, Fail),
        lambda call: isinstance(call.body, Ask),
    ],
)
def test_flows_have_in_them(has: object) -> None:
    assert callable(has)
    find(
        flows(),
        lambda flow: any(isinstance(node, Call) and has(node) for node in all_nodes(flow.description)),
        settings=WITHIN,
    )


def test_flows_have_choices_in_them() -> None:
    find(
        flows(),
        lambda flow: any(isinstance(node, Choice) for node in all_nodes(flow.description)),
        settings=WITHIN,
    )


@given(flow=flows(policies=False, most=4))
def test_without_policies_nothing_is_said(flow: RandomFlow) -> None:
    plain = Call("", Fail())
    for node in all_nodes(flow.description):
        if isinstance(node, Call):
            assert (node.timeout, node.attempts, node.claims, node.injects) == (None, 1, {}, plain.injects)


@given(flow=flows(most=5))
def test_a_flow_can_be_built_any_number_of_times(flow: RandomFlow) -> None:
    settings = {**flow.settings, "on_error": "continue"}
    outcomes = [simulate(flow.build(), **settings) for _ in range(2)]

    assert str(outcomes[0].trace) == str(outcomes[1].trace)
    assert bool(outcomes[0].error) == bool(interpret(flow.description).errors)


def test_a_flow_shows_what_it_does() -> None:
    lines = repr(RandomFlow([Call("a", Turns(2), ("x",), timeout=1.0), Choice(0, {0: "y"}, name="b")]))

    assert lines.splitlines()[1:] == [
        "target: [a, b]",
        "a = inline Turns(count=2) of ('x',), timeout=1.0",
        "b = by 0 of {0: 'y'}",
    ]


def test_testing_works_without_hypothesis_and_says_what_flows_needs() -> None:
    text = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import cascade.testing\n"
        "try:\n    cascade.testing.flows\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "cascade.testing.flows needs the 'hypothesis' library; install cascade[hypothesis]\n"


def test_what_is_not_there_is_said_as_usual() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = getattr(cascade.testing, "nothing")  # noqa: B009 - mypy knows that it is not there
