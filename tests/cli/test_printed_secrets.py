"""Secrets on the command line: nothing that is printed or recorded holds one, and resuming asks for them again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Command, Outcome, assert_is_a_mistake, command_with
from leaks import texts_in_sqlite

SECRET, KEY, PASSWORD = "hunter2-of-the-day", "swordfish-and-chips", "MQPASSWORD"

FLOWS = """
import os
import cascade

@cascade.task
def use(token: str, limit: int) -> str:
    if os.path.exists("broken"):
        error = ValueError(f"refused: {token}")
        error.add_note(f"asked with {token}")
        raise error
    return f"r-{token} {limit}"

@cascade.task
def sign(key: str) -> str:
    return key[::-1]

@cascade.task
def grow() -> object:
    return use(cascade.Param("late", secret=True), 1)

token = cascade.Param("token", secret=True)
flow = use(token, cascade.Param("limit", 3))
signed = [sign(cascade.Env("CASCADE_TEST_KEY", secret=True)), use(token, 1)]
growing = grow()
numbered = use(cascade.Param("token", type=int, secret=True), cascade.Param("limit", 3))
"""
STATE = ("--state", "sqlite:///runs.db")
# Nobody listens there: the run goes on without.
CONTROL = ("--control", f"mqtt://bob:{PASSWORD}@127.0.0.1:9/x")


call = command_with(FLOWS)


def assert_tells_nothing(*outcomes: Outcome) -> None:
    """Neither what was printed nor what is recorded holds a secret."""
    shown = "".join(outcome.out + outcome.err for outcome in outcomes)
    if Path("runs.db").exists():
        shown += texts_in_sqlite(Path("runs.db"))
    for secret in (SECRET, KEY, PASSWORD):
        assert secret not in shown


@pytest.mark.parametrize("log", ["human", "json", "none"])
@pytest.mark.parametrize("is_broken", [False, True])
@pytest.mark.parametrize("given", [("-p", f"token={SECRET}"), ("--token", SECRET), (f"--token={SECRET}",)])
def test_nothing_that_is_printed_or_recorded_holds_a_secret(
    call: Command, log: str, is_broken: bool, given: tuple[str, ...]
) -> None:
    if is_broken:
        Path("broken").touch()
    ran = call("run", "flows.py:flow", *given, *STATE, "--run-id", "night", "--log", log)
    shown = [call("runs", *STATE), call("runs", *STATE, "--format", "json")]
    shown += [call("show", "night", *STATE), call("show", "night", *STATE, "--format", "json")]

    assert ran.status == int(is_broken)
    assert "***" in ran.out + ran.err
    assert_tells_nothing(ran, *shown)
    assert json.loads(shown[3].out)["params"] == {"token": "***", "limit": "3"}


def test_a_traceback_and_the_notes_of_a_user_are_printed_without_secrets(call: Command) -> None:
    Path("broken").touch()
    plain = call("run", "flows.py:flow", "--token", SECRET, "--log", "none")
    whole = call("run", "flows.py:flow", "--token", SECRET, "--log", "none", "--traceback")

    assert "asked with ***" in plain.err
    assert "ValueError: refused: ***" in whole.err
    assert "Traceback" in whole.err
    assert_tells_nothing(plain, whole)


def test_the_value_of_the_flow_is_printed_without_secrets(call: Command) -> None:
    assert call("run", "flows.py:flow", "--token", SECRET, "--log", "none").out == "r-*** 3\n"


def test_a_secret_of_a_later_flow_is_not_recorded_either(call: Command) -> None:
    ran = call("run", "flows.py:growing", "-p", f"late={SECRET}", *STATE, "--run-id", "night", "--log", "json")
    asked = call("resume", "night", *STATE)
    resumed = call("resume", "night", *STATE, "-p", f"late={SECRET}", "--log", "none")

    assert ran.status == 0
    assert_is_a_mistake(asked, "'night'", "-p late=VALUE")
    assert resumed.out == "r-*** 1\n"
    assert_tells_nothing(ran, asked, resumed)


def test_resuming_asks_for_a_secret_by_its_option(call: Command) -> None:
    Path("broken").touch()
    failed = call("run", "flows.py:flow", "--token", SECRET, "--limit", "-4", *STATE, "--run-id", "night")
    Path("broken").unlink()
    asked = call("resume", "night", *STATE, "--log", "none")
    resumed = call("resume", "night", *STATE, "-p", f"token={SECRET}", "--log", "none")

    assert failed.status == 1
    assert_is_a_mistake(asked, "'night'", "-p token=VALUE")
    assert (resumed.status, resumed.out) == (0, "r-*** -4\n")
    assert_tells_nothing(failed, asked, resumed)


def test_resuming_asks_for_a_secret_of_the_environment_by_its_name(
    call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_TEST_KEY", KEY)
    words = ("run", "flows.py:signed", "-p", f"token={SECRET}", *STATE, "--run-id", "night", "--log", "human")
    Path("broken").touch()
    ran = call(*words)
    Path("broken").unlink()
    monkeypatch.delenv("CASCADE_TEST_KEY")
    asked = call("resume", "night", *STATE, "-p", f"token={SECRET}")
    monkeypatch.setenv("CASCADE_TEST_KEY", KEY)
    resumed = call("resume", "night", *STATE, "-p", f"token={SECRET}", "--log", "none")

    assert ran.status == 1
    assert_is_a_mistake(asked, "missing environment variable 'CASCADE_TEST_KEY'")
    assert resumed.status == 0
    assert_tells_nothing(ran, asked, resumed)


@pytest.mark.needs("paho")
def test_the_password_of_a_url_is_neither_printed_nor_recorded_and_asked_for_again(call: Command) -> None:
    words = ("run", "flows.py:flow", "--token", SECRET, *STATE, *CONTROL, "--run-id", "night", "--log", "human")
    Path("broken").touch()
    ran = call(*words)
    Path("broken").unlink()
    listed = call("runs", *STATE, "--format", "json")
    asked = call("resume", "night", *STATE, "-p", f"token={SECRET}")
    resumed = call("resume", "night", *STATE, "-p", f"token={SECRET}", *CONTROL, "--log", "none")

    assert ran.status == 1
    assert_is_a_mistake(asked, "--control mqtt://***@127.0.0.1:9/x")
    assert (resumed.status, resumed.out) == (0, "r-*** 3\n")
    assert_tells_nothing(ran, listed, asked, resumed)


def test_other_options_are_kept_and_given_again(call: Command) -> None:
    Path("broken").touch()
    options = ("--schedule", "eager", "--resources", "gpu=1", "--resources", "cpu=2", "--max-threads", "3")
    call("run", "flows.py:flow", *options, "--token", SECRET, *STATE, "--run-id", "night", "--log", "none")
    [run] = json.loads(call("runs", *STATE, "--format", "json").out)

    assert json.loads(run["origin"])["arguments"] == [
        "run", "flows.py:flow", "--schedule", "eager", "--resources", "gpu=1", "--resources", "cpu=2",
        "--max-threads", "3", "--log", "none",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", SECRET], "-p takes NAME=VALUE, not ***"),
        (["--tokn", SECRET], "unrecognized arguments: --tokn ***"),
        ([f"--tokn={SECRET}"], "unrecognized arguments: --tokn "),
        (["--token", "", SECRET], "unrecognized arguments: ***"),
        (["--token", SECRET, "--limit", SECRET], "'limit' must be int"),
        (["--token", SECRET, "-p", f"tokn={SECRET}"], "unknown parameter 'tokn' (did you mean 'token'?"),
    ],
)
def test_a_mistake_is_told_without_a_secret(call: Command, words: list[str], said: str) -> None:
    outcome = call("run", "flows.py:flow", *words)

    assert_is_a_mistake(outcome, said)
    assert_tells_nothing(outcome)


def test_a_bad_secret_is_told_without_it(call: Command) -> None:
    outcome = call("run", "flows.py:numbered", "--token", SECRET)

    assert_is_a_mistake(outcome, "'token' must be int", "it is secret, so it is not shown")
    assert_tells_nothing(outcome)


@pytest.mark.parametrize("command", [("runs",), ("show", "night"), ("resume", "night"), ("run", "flows.py:flow")])
@pytest.mark.parametrize(
    "state", [f"redis//:{PASSWORD}@host", f"ftp://bob:{PASSWORD}@host", f"sqlite:///gone/x.db?password={PASSWORD}"]
)
def test_a_state_url_that_cannot_be_used_is_told_without_its_password(
    call: Command, command: tuple[str, ...], state: str
) -> None:
    given = ("--token", "x") if command[0] == "run" else ()
    outcome = call(*command, *given, "--state", state)

    assert outcome.status == 2
    assert_tells_nothing(outcome)


def test_a_run_that_is_not_there_is_told_without_a_password(call: Command) -> None:
    call("run", "flows.py:flow", "--token", "x", "--state", f"sqlite:///{PASSWORD}@runs.db", "--log", "none")
    outcome = call("show", "night", "--state", f"sqlite:///{PASSWORD}@runs.db")

    assert_is_a_mistake(outcome, "there is no run 'night'", "sqlite:///***@runs.db")


@pytest.mark.parametrize("command", [("control", "status"), ("watch",)])
@pytest.mark.parametrize("url", [f"amqp://bob:{PASSWORD}@host", f"mqtt://host:x?token={PASSWORD}"])
def test_a_control_url_that_means_nothing_is_told_without_its_password(
    call: Command, command: tuple[str, ...], url: str
) -> None:
    outcome = call(*command, "--via", url)

    assert outcome.status == 2
    assert_tells_nothing(outcome)
