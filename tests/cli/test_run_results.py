"""``cascade run``: what it prints, and with which status it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from command_line import Command, Outcome, cascade_process, command_with, environment, write

FLOWS = """
import cascade

@cascade.task
def one() -> int:
    return 1

@cascade.task
def nothing() -> None:
    return None

@cascade.task
def text() -> str:
    return "a b"

@cascade.task
def fails() -> None:
    raise ZeroDivisionError("first trouble")

@cascade.task
async def fails_too() -> None:
    raise RuntimeError("second trouble")

@cascade.task
def raises(name: str) -> None:
    raise {"value": ValueError, "type": TypeError, "graph": cascade.GraphError, "key": KeyError}[name]("trouble")

@cascade.task
def leaves(code: object) -> None:
    raise SystemExit(code)

plain = one()
none = nothing()
words = text()
bad = fails()
raising_value, raising_type, raising_graph, raising_key = map(raises, ["value", "type", "graph", "key"])
many_bad = [fails() for _ in range(30)]

@cascade.task
def speaks() -> None:
    raise RuntimeError("first line\\nsecond line \\x1b[2J\\n")

@cascade.task
def raises_group() -> None:
    raise ExceptionGroup("words", [ValueError("one"), KeyError("two")])

wordy, grouped = speaks(), raises_group()
partly_bad = [fails(), text().after(one())]
both_bad = [fails(), fails_too(), one()]
leaving_0, leaving_3, leaving_words, leaving_none = leaves(0), leaves(3), leaves("words"), leaves(None)
skipped = one().run_if(False)
"""


command = command_with(FLOWS)


# -- results ----------------------------------------------------------------------------------------------------


def test_the_result_is_printed(command: Command) -> None:
    assert command("run", "flows.py:words", "--log", "none") == Outcome(0, "a b\n", "")


def test_a_result_of_none_prints_nothing(command: Command) -> None:
    assert command("run", "flows.py:none", "--log", "none") == Outcome(0, "", "")


def test_an_installed_command_does_the_same(command: Command) -> None:
    outcome = cascade_process("run", "flows.py:words", "--log", "none")

    assert outcome == command("run", "flows.py:words", "--log", "none")


@pytest.mark.parametrize(
    ("target", "encoding"), [("unprintable", "utf-8"), ("snowman", "ascii"), ("surrogate", "utf-8")]
)
def test_a_result_that_cannot_be_printed_is_no_traceback_of_ours(
    command: Command, target: str, encoding: str
) -> None:
    text = r"""
    import cascade

    class Unprintable:
        def __str__(self):
            raise RuntimeError("cannot be shown")
        __repr__ = __str__

    @cascade.task
    def give(value): return value

    unprintable, snowman, surrogate = give(Unprintable()), give("\u2603"), give("\udc80")
    """
    write("odd.py", text)

    outcome = cascade_process(
        "run", f"odd.py:{target}", "--log", "none", env=environment(PYTHONIOENCODING=encoding)
    )

    assert "Traceback" not in outcome.err
    assert len(outcome.err.splitlines()) <= 1


@pytest.mark.parametrize(("target", "kind"), [("given", "Unprintable"), ("listed", "list"), ("mute", "Mute")])
@pytest.mark.parametrize("log", ["human", "none"])
def test_a_result_that_cannot_be_shown_is_named_by_its_type_and_no_failure(
    command: Command, target: str, kind: str, log: str
) -> None:
    text = """
    import cascade

    class Unprintable:
        def __repr__(self):
            raise RuntimeError("no words")

    class Mute:
        def __str__(self):
            raise RuntimeError("no words")

    @cascade.task
    def give(value): return value

    given, listed, mute = give(Unprintable()), give([Unprintable()]), give(Mute())
    """
    write("odd.py", text)

    outcome = command("run", f"odd.py:{target}", "--log", log)

    last = outcome.err.splitlines()[-1]
    assert (outcome.status, outcome.out) == (0, "")
    assert last == f"cascade: the result, of type {kind}, cannot be shown: RuntimeError: no words"


@pytest.mark.parametrize("arguments", [("run", "flows.py:plain", "--log", "none"), ("graph", "flows.py:plain")])
def test_a_reader_that_has_gone_is_no_traceback_of_ours(command: Command, arguments: tuple[str, ...]) -> None:
    read, write_end = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cascade", *arguments],
            env=environment(),
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        os.close(write_end)

    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


# -- logs -------------------------------------------------------------------------------------------------------


def test_what_happens_is_told_on_stderr_and_the_result_on_stdout(command: Command) -> None:
    outcome = command("run", "flows.py:words", "--run-id", "r1")

    assert outcome.out == "a b\n"
    for words in ("run r1 started", "text started", "text succeeded", "run r1 succeeded"):
        assert words in outcome.err


def test_log_human_is_the_default(command: Command) -> None:
    by_default = command("run", "flows.py:plain")
    asked_for = command("run", "flows.py:plain", "--log", "human")

    assert len(by_default.err.splitlines()) == len(asked_for.err.splitlines()) > 0


def test_log_json_writes_nothing_but_records_to_stdout(command: Command, backend_name: str) -> None:
    outcome = command("run", "flows.py:words", "--log", "json", "--backend", backend_name)

    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [record["type"] for record in records] == [
        "RunStarted",
        "StageStarted",
        "TaskExecutionStarted",
        "TaskExecutionFinished",
        "StageFinished",
        "RunFinished",
    ]
    assert records[3]["result_preview"] == "'a b'"
    assert outcome.err == ""


def test_log_json_of_a_failing_flow_ends_with_its_last_event(command: Command) -> None:
    outcome = command("run", "flows.py:bad", "--log", "json")

    last = json.loads(outcome.out.splitlines()[-1])
    assert (last["type"], last["status"], last["error"]) == (
        "RunFinished",
        "Failed",
        "ZeroDivisionError: first trouble",
    )
    assert outcome.status == 1


def test_log_progress_draws_on_stderr(command: Command) -> None:
    pytest.importorskip("rich")
    outcome = command("run", "flows.py:words", "--log", "progress")

    assert outcome.out == "a b\n"
    assert re.fullmatch(r"\d\d:\d\d:\d\d run .* succeeded after .*: 1 done\n", outcome.err)


def test_log_none_says_nothing(command: Command) -> None:
    assert command("run", "flows.py:words", "--log", "none").err == ""


# -- failures ---------------------------------------------------------------------------------------------------


def test_a_failing_flow_is_reported_with_task_and_node(command: Command, backend_name: str) -> None:
    outcome = command("run", "flows.py:bad", "--log", "none", "--run-id", "r1", "--backend", backend_name)

    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        "cascade: fails failed: ZeroDivisionError: first trouble",
        "  raised by task 'fails' (node 'fails', attempt 1 of 1) in run 'r1'",
    ]


def test_the_traceback_of_a_task_is_shown_on_request(command: Command) -> None:
    outcome = command("run", "flows.py:bad", "--log", "none", "--traceback")

    assert outcome.status == 1
    assert 'raise ZeroDivisionError("first trouble")' in outcome.err


@pytest.mark.parametrize("target", ["raising_value", "raising_type", "raising_graph", "raising_key"])
def test_what_a_task_raises_is_a_failure_and_no_mistake_of_the_user(
    command: Command, backend_name: str, target: str
) -> None:
    outcome = command("run", f"flows.py:{target}", "--log", "none", "--backend", backend_name)

    assert outcome.status == 1
    assert "'raises'" in outcome.err


@pytest.mark.parametrize(("on_error", "goes_on"), [("first", False), ("group", False), ("continue", True)])
def test_what_does_not_depend_on_a_failure_runs_on_request(command: Command, on_error: str, goes_on: bool) -> None:
    outcome = command("run", "flows.py:partly_bad", "--log", "json", "--on-error", on_error)

    assert ('"task_id":"text"' in outcome.out) is goes_on
    assert outcome.status == 1


def test_a_skipped_target_fails(command: Command) -> None:
    outcome = command("run", "flows.py:skipped", "--log", "none")

    assert outcome.status == 1
    assert "was skipped (Reason: ConditionFalse)" in outcome.err


@pytest.mark.parametrize("on_error", ["group", "continue"])
def test_failures_are_raised_together_on_request(command: Command, on_error: str) -> None:
    outcome = command("run", "flows.py:both_bad", "--log", "none", "--on-error", on_error)

    assert outcome.status == 1
    first, *others = outcome.err.splitlines()
    assert re.fullmatch(r"cascade: [12] of the tasks of run '.*' failed", first)
    assert re.search(r"^  fails(_too)? failed: \w+: (first|second) trouble$", "\n".join(others), re.MULTILINE)


def test_all_failures_are_named(command: Command) -> None:
    outcome = command("run", "flows.py:both_bad", "--log", "none", "--on-error", "continue", "--run-id", "r1")

    first, *others = outcome.err.splitlines()
    assert first == "cascade: 2 of the tasks of run 'r1' failed"
    assert sorted(others) == sorted(
        [
            "  fails failed: ZeroDivisionError: first trouble",
            "    raised by task 'fails' (node 'fails', attempt 1 of 1) in run 'r1'",
            "  fails_too failed: RuntimeError: second trouble",
            "    raised by task 'fails_too' (node 'fails_too', attempt 1 of 1) in run 'r1'",
        ]
    )


def test_of_very_many_failures_the_first_are_named(command: Command) -> None:
    outcome = command("run", "flows.py:many_bad", "--log", "none", "--on-error", "continue")

    lines = outcome.err.splitlines()
    assert "30 of the tasks of run" in lines[0]
    assert len(lines) == 1 + 20 * 2 + 1
    assert lines[-1] == "  and 10 more"


def test_a_failure_at_the_same_time_is_named_too(command: Command) -> None:
    text = """
    import anyio
    import cascade

    waits = anyio.Event()

    @cascade.task
    async def cleans_up() -> None:
        try:
            waits.set()
            await anyio.sleep_forever()
        finally:
            raise OSError("cannot clean up")

    @cascade.task
    async def fails() -> None:
        await waits.wait()
        raise ValueError("trouble")

    flow = [cleans_up(), fails()]
    """
    write("together.py", text)
    outcome = command("run", "together.py:flow", "--log", "none", "--run-id", "r1")

    assert outcome.err.splitlines() == [
        "cascade: fails failed: ValueError: trouble",
        "  raised by task 'fails' (node 'fails', attempt 1 of 1) in run 'r1'",
        "  1 other failure of this run: cleans_up: OSError: cannot clean up (all in RunFinished.failures)",
    ]


def test_the_first_line_of_a_message_is_the_line_of_the_failure(command: Command) -> None:
    outcome = command("run", "flows.py:wordy", "--log", "none", "--run-id", "r1")

    assert outcome.err.splitlines() == [
        "cascade: speaks failed: RuntimeError: first line",
        r"  second line \x1b[2J",
        "  raised by task 'speaks' (node 'speaks', attempt 1 of 1) in run 'r1'",
    ]


def test_the_parts_of_a_group_that_a_task_raises_are_named(command: Command) -> None:
    outcome = command("run", "flows.py:grouped", "--log", "none")

    assert outcome.err.splitlines()[0] == "cascade: raises_group failed: ExceptionGroup: words (2 sub-exceptions)"
    assert "  ValueError: one" in outcome.err.splitlines()
    assert "  KeyError: 'two'" in outcome.err.splitlines()


def test_a_traceback_is_shown_without_what_could_steer_the_terminal(command: Command) -> None:
    outcome = command("run", "flows.py:wordy", "--log", "none", "--traceback")

    lines = outcome.err.splitlines()
    assert lines[0] == "cascade: speaks failed: RuntimeError: first line"
    assert lines[1] == "Traceback (most recent call last):"
    assert r"second line \x1b[2J" in lines
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize("target", ["leaving_0", "leaving_3", "leaving_words", "leaving_none"])
def test_a_task_that_raises_system_exit_has_failed(command: Command, target: str) -> None:
    outcome = command("run", f"flows.py:{target}", "--log", "none")

    assert outcome.status == 1
    assert outcome.err.startswith("cascade: leaves failed: SystemExit")
