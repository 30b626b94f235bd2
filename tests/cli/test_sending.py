"""``cascade send`` and ``--when-idle suspend``: signals by way of the store."""

from __future__ import annotations

import pytest
from command_line import Command, assert_is_a_mistake, command_with

FLOWS = """
import cascade

@cascade.task
def ship(n: int, *rest: object) -> int:
    print("shipped")
    return n

@cascade.task
def build() -> int:
    return 1

flow = ship(cascade.signal("n", int), build())
"""

call = command_with(FLOWS)
STATE = ("--state", "sqlite:///runs.db")


def suspended(call: Command) -> None:
    """Run the flow until it is suspended."""
    words = ("flows.py:flow", *STATE, "--run-id", "r", "--log", "none", "--when-idle", "suspend")
    outcome = call("run", *words)
    assert outcome.status == 75
    assert outcome.err == (
        "cascade: suspended; it waits for signal 'n'; it goes on with: "
        "cascade resume r --state sqlite:///runs.db\n"
    )
    assert outcome.out == ""


def test_a_suspended_run_is_listed_as_such_and_goes_on(call: Command) -> None:
    suspended(call)
    assert "r    suspended" in call("runs", *STATE).out
    assert "error   it waits for signal 'n'" in call("show", "r", *STATE).out
    assert call("resume", "r", *STATE, "--log", "none").status == 75
    assert call("send", "r", "n", "4", *STATE).status == 0
    resumed = call("resume", "r", *STATE, "--log", "none")
    assert (resumed.status, resumed.out) == (0, "shipped\n4\n")
    shown = call("show", "r", *STATE).out.splitlines()
    assert sorted(line.split()[0] for line in shown[-3:]) == ["build", "n", "ship"]
    assert all(line.split()[1] == "succeeded" for line in shown[-3:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("r", "n", "four"), ("signal 'n' must be int", "not 'four'")),
        (("r", "m", "4"), ("run 'r' has no signal 'm'; it has: 'n'",)),
        (("other", "n", "4"), ("there is no run 'other'",)),
    ],
)
def test_what_is_refused_is_one_clear_line_and_changes_nothing(
    call: Command, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    suspended(call)
    assert_is_a_mistake(call("send", *words, *STATE), *said)
    assert call("send", "r", "n", "5", *STATE).status == 0


def test_another_value_is_refused_and_the_same_is_not(call: Command) -> None:
    suspended(call)
    assert call("send", "r", "n", "4", *STATE).status == 0
    assert call("send", "r", "n", "4", *STATE).status == 0
    assert_is_a_mistake(call("send", "r", "n", "5", *STATE), "signal 'n' of run 'r' is 4 already, and cannot be 5")


def test_suspending_without_a_state_is_a_mistake(call: Command) -> None:
    assert_is_a_mistake(call("run", "flows.py:flow", "--when-idle", "suspend"), "needs a state")


def test_signals_are_sent_to_one_run(call: Command) -> None:
    assert_is_a_mistake(call("control", "send", "global", "n", "4"), "run:ID, not 'global'")
