"""The public random flows: what is in them, and that Hypothesis is needed for them alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis.vendor.pretty import pretty
from oracle import meanings

import cascade.testing
from cascade.testing import RandomFlow, flows, simulate
from cascade.testing.building import Held
from cascade.testing.descriptions import (
    Ask,
    Call,
    Choice,
    Ended,
    Fail,
    Fallback,
    Node,
    Pause,
    Race,
    Signalled,
    Terms,
    Turns,
    all_nodes,
    parts,
)

FEATURES: dict[str, Callable[[Call], object]] = {
    "a thread": lambda call: call.terms.mode == "thread",
    "an empty map": lambda call: call.column == [],
    "a map in threads": lambda call: call.column and call.terms.mode == "thread",
    "a condition": lambda call: call.conditions and call.on_skip == "skip",
    "an order": lambda call: call.after,
    "a partial": lambda call: call.terms.style == "partial",
    "a pipeline": lambda call: call.terms.style == "pipeline",
    "a timeout": lambda call: (
        call.terms.timeout and call.terms.pause and call.terms.pause.seconds > call.terms.timeout
    ),
    "a retry that helps": lambda call: 0 < call.terms.flaky < call.terms.attempts,
    "a claim": lambda call: any(type(amount) is int for amount in call.terms.claims.values()),
    "a computed claim": lambda call: parts(list(call.terms.claims.values())),
    "a cache": lambda call: call.terms.is_cached,
    "resources": lambda call: call.terms.injects == ("run", "task"),
    "a swallowed cancellation": lambda call: call.terms.pause and call.terms.pause.swallows,
    "a loop": lambda call: isinstance(call.body, Turns),
    "a failure": lambda call: isinstance(call.body, Fail),
    "a flow of its own": lambda call: isinstance(call.body, Ask),
    "collected failures": lambda call: call.collects,
    "a signal": lambda call: is_signal(call, lambda signal: signal.moment is not None),
    "a signal with a default": lambda call: is_signal(
        call, lambda signal: signal.moment is None and signal.default is not ...
    ),
    "a signal that fails": lambda call: is_signal(
        call, lambda signal: signal.moment is None and signal.default is ...
    ),
    "a signal with a condition": lambda call: call.conditions and is_signal(call),
    "a signal after a call": lambda call: call.after and is_signal(call),
}


def is_signal(call: Call, is_so: Callable[[Signalled], bool] = lambda _: True) -> bool:
    """Whether *call* is a signal of which *is_so* holds."""
    return isinstance(call.body, Signalled) and is_so(call.body)


# What may stand in a race.
CONTESTANTS: dict[str, Callable[[Node], object]] = {
    "a signal in a race": lambda node: isinstance(node, Call) and is_signal(node),
    "a map in a race": lambda node: isinstance(node, Call) and node.column,
    "a failing call in a race": lambda node: isinstance(node, Call) and node.body == Fail(),
    "a call that may be skipped in a race": lambda node: isinstance(node, Call) and node.conditions,
    "a race in a race": lambda node: isinstance(node, Race),
    "a fallback in a race": lambda node: isinstance(node, Fallback),
}


@pytest.mark.slow
def test_flows_have_everything_in_them_that_a_flow_can_say() -> None:
    missing = {*FEATURES, *CONTESTANTS, "a choice", "an outcome", "of a race", "a fallback", "for a race"}

    @settings(max_examples=600, database=None, derandomize=True)
    @given(flow=flows())
    def look(flow: RandomFlow) -> None:
        for node in all_nodes(flow.description):
            if isinstance(node, Choice):
                missing.discard("a choice")
            elif isinstance(node, Ended):
                missing.difference_update(["an outcome", *(["of a race"] if isinstance(node.of, Race) else [])])
            elif isinstance(node, Fallback):
                missing.difference_update(
                    ["a fallback", *(["for a race"] if isinstance(node.tried, Race) else [])]
                )
            elif isinstance(node, Race):
                found = [name for name, has in CONTESTANTS.items() if any(map(has, node.contestants))]
                missing.difference_update(found)
            else:
                missing.difference_update([name for name, has in FEATURES.items() if has(node)])

    look()
    assert missing == set()


@given(flow=flows(policies=False, most=4))
def test_without_policies_nothing_is_said(flow: RandomFlow) -> None:
    plain = Call("", Fail())
    for node in all_nodes(flow.description):
        if isinstance(node, Call):
            assert (node.terms.timeout, node.terms.attempts, node.terms.claims) == (None, 1, {})
            assert node.terms.injects == plain.terms.injects


@given(flow=flows(most=1))
def test_a_flow_has_at_least_a_node(flow: RandomFlow) -> None:
    assert all_nodes(flow.description)


def test_a_flow_of_no_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="most=0 should be 1 or more"):
        flows(most=0)


@given(flow=flows(most=5))
def test_a_flow_can_be_built_any_number_of_times(flow: RandomFlow) -> None:
    settings = {**flow.settings, "signals": flow.signals, "on_error": "continue"}
    outcomes = [simulate(flow.build(), **settings) for _ in range(2)]

    assert str(outcomes[0].trace) == str(outcomes[1].trace)
    assert bool(outcomes[0].error) in {bool(meaning.errors) for meaning in meanings(flow.description)}


def test_a_flow_shows_what_it_does() -> None:
    call = Call("a", Turns(2), ("x",), terms=Terms(timeout=1.0, pause=Pause(0.5)))
    signal = Call("s", Signalled(1, None, 5.0))
    lines = repr(RandomFlow([call, Choice(0, {0: "y"}, name="b"), Race((call, signal), "r")]))

    assert lines.splitlines()[1:] == [
        "target: [a, b, r]",
        "a = inline Turns(count=2) of ('x',), pause=Pause(seconds=0.5, swallows=False), timeout=1.0",
        "b = by 0 of {0: 'y'}",
        "r = the first of (a, s)",
        "s = Signalled(value=1, moment=None, timeout=5.0, default=Ellipsis)",
    ]


def test_what_is_to_be_sent_is_known_of_each_signal() -> None:
    sent, unsent = Call("a", Signalled(1, 2.0, 5.0)), Call("b", Signalled(1, None, 5.0))
    assert RandomFlow([sent, unsent]).signals == {"a": (2.0, 1)}


def test_a_flow_is_shown_by_hypothesis_in_few_words() -> None:
    call, choice = Call("a", Turns(2), ("x",)), Choice(0, {0: "y"}, name="b")
    assert pretty([call, choice]) == "[a, b]"


def test_what_resources_give_shows_no_address() -> None:
    assert repr(Held("run")) == "<held by the run>"


def test_that_a_module_is_missing_which_is_not_hypothesis_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cascade.testing.strategies")
    monkeypatch.setitem(sys.modules, "cascade.testing.descriptions", None)
    with pytest.raises(ModuleNotFoundError, match=r"cascade\.testing\.descriptions"):
        _ = cascade.testing.flows


def test_testing_works_without_hypothesis_and_says_what_flows_needs() -> None:
    text = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import cascade.testing\n"
        "try:\n    cascade.testing.flows\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)

    assert (
        done.stdout == "cascade.testing.flows needs the 'hypothesis' library; install cascade-anyio[hypothesis]\n"
    )


def test_what_is_not_there_is_said_as_usual() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = getattr(cascade.testing, "nothing")  # noqa: B009 - mypy knows that it is not there
