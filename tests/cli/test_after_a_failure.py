"""The two-minute test: from what the command line says alone, a reader finds what failed, why, and goes on."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from command_line import Command, Outcome, assert_is_a_mistake, command_with
from leaks import texts_in_sqlite

from cascade.cli.recorded.failed import _place

FLOWS = """
import json
import logging
import os
import cascade

@cascade.task(retry=cascade.Retry(max_attempts=2))
def clean(row: str, table: str, token: str) -> int:
    print("cleaning", row)
    logging.getLogger("nightly").error("%s with %s", row, token)
    if os.path.exists("broken") and row in ("row 17", "row 143"):
        raise ValueError(f"{row} has no date; {token} was of no use")
    return 1

@cascade.task
async def count(cleaned: list[int]) -> int:
    return sum(cleaned)

@cascade.task
async def publish(count: int) -> int:
    raise ValueError("nowhere to publish")

rows = [f"row {number}" for number in range(200)]
@cascade.task
async def number(text: str) -> int:
    return json.loads(text)

misread = number("12 pieces")
try_one = clean("row 17", "orders", "").or_else(0)
fails = publish(try_one)
token = cascade.Param("token", secret=True)
flow = count(clean.partial(table="orders", token=token).map(row=rows))
"""
SECRET = "hunter2-of-the-day"
STATE = ("--state", "sqlite:///runs.db")

call = command_with(FLOWS)


@pytest.fixture
def failed(call: Command) -> Outcome:
    """A nightly run of 200 items that has failed in two."""
    Path("broken").touch()
    outcome = call(
        "run", "flows.py:flow", *STATE, "--run-id", "nightly", "--on-error", "continue", "--log", "none",
        "--token", SECRET, "--capture",
    )  # fmt: skip
    assert outcome.status == 1
    return outcome


def commands_in(text: str) -> list[list[str]]:
    """The command lines that a text names."""
    return [shlex.split(found) for found in re.findall(r"(?<!\S)cascade ((?:show|resume) .*)", text)]


def test_from_the_texts_alone_a_reader_finds_what_failed_and_goes_on(call: Command, failed: Outcome) -> None:
    # The failure says where to look, and how to go on.
    look, go_on = commands_in(failed.err)
    assert look == ["show", "nightly", "--failed", *STATE]
    assert go_on == ["resume", "nightly", *STATE]

    # Which, why, with which inputs, how long each took, and where in the code.
    shown = call(*look).out
    assert shown.splitlines()[0].endswith("; 2 of 202 recorded nodes failed, and 1 because of these")
    assert "3 failed" in call("runs", *STATE).out
    # Who looks at all nodes first does not have to look for those that failed.
    listed = call("show", "nightly", *STATE)
    assert "3 failed" in listed.out.partition("NODE")[0]
    assert commands_in(listed.err) == [look]
    for row in (17, 143):
        [block] = [part for part in shown.split("\n\n") if part.startswith(f"clean[{row}] failed after ")]
        head, error, called, place = block.splitlines()
        took = r"\d+(\.\d+)? m?s, 2 attempts, begun \d\d:\d\d:\d\d"
        assert re.fullmatch(rf"clean\[{row}\] failed after {took}", head)
        assert error == f"  ValueError: row {row} has no date; *** was of no use"
        assert called == f"  called with row='row {row}', table='orders', token=***"
        assert re.fullmatch(r'  File ".*/flows\.py", line \d+, in clean: raise ValueError\(.*', place)
    assert "clean failed because clean[17] did" in shown or "clean failed because clean[143] did" in shown

    # All of one.
    one, again = commands_in(shown)
    assert again == go_on
    whole = call(*one).out
    assert "attempt 1 took " in whole
    assert "attempt 2 took " in whole
    assert "Traceback (most recent call last):" in whole
    [log] = commands_in(whole)
    number = one[2].removeprefix("clean[").removesuffix("]")
    assert call(*log).out.count(f"cleaning row {number}\n") == 2
    assert call(*log).out.count(f"ERROR nightly: row {number} with ***\n") == 2

    # And on: only what had failed runs again, and the secret is asked for.
    assert "What has succeeded is kept and does not run again" in " ".join(call("resume", "--help").out.split())
    Path("broken").unlink()
    assert_is_a_mistake(call(*go_on), "-p token=VALUE")
    resumed = call(*go_on, "-p", f"token={SECRET}", "--log", "none")
    assert resumed.status == 0
    assert resumed.out.splitlines()[-1] == "200"
    assert resumed.out.count("cleaning") == 2


def test_no_output_has_a_secret(call: Command, failed: Outcome) -> None:
    node = ("nightly", "clean[17]", *STATE)
    json_form = ("--format", "json", *STATE)
    commands = (
        ("show", "nightly", *STATE), ("show", "nightly", "--failed", *STATE), ("show", *node),
        ("show", *node, "--log"), ("show", *node, "--format", "json"), ("show", "nightly", "--failed", *json_form),
        ("show", "nightly", *json_form), ("runs", *STATE), ("runs", *json_form), ("runs", "verify", *STATE),
        ("runs", "export", "nightly", *STATE), ("resume", "nightly", *STATE),
    )  # fmt: skip
    outputs = [call(*words) for words in commands]
    # What tasks print themselves, on the way through, is theirs.
    shown = "".join(outcome.out + outcome.err for outcome in outputs) + failed.err.replace(f"with {SECRET}", "")
    assert "***" in shown
    assert SECRET not in shown
    assert SECRET not in texts_in_sqlite(Path("runs.db"))
    call("report", "nightly", *STATE, "-o", "nightly.html")
    assert "of no use" in (html := Path("nightly.html").read_text())
    assert SECRET not in html


def test_a_node_is_shown_by_id_and_a_wrong_one_with_those_like_it(call: Command, failed: Outcome) -> None:
    fine = call("show", "nightly", "clean[16]", *STATE).out
    assert re.search(r"^where   (event loop|thread \d+ of process \d+)$", fine, re.MULTILINE)
    assert "status  succeeded" in fine
    assert re.search(r"^begun   \d{4}-", fine, re.MULTILINE)
    because = call("show", "nightly", "clean", *STATE)
    assert re.search(r"because clean\[(17|143)\] failed", because.out)
    assert commands_in(because.err)
    assert_is_a_mistake(
        call("show", "nightly", "clean[900]", *STATE), "no record of a node 'clean[900]'", "clean["
    )
    assert_is_a_mistake(call("show", "nightly", "--log", *STATE), "say which")
    for words, said in (
        (
            ("clean[17]", "--failed"),
            "--failed is about a run, and 'clean[17]' is one node of it; leave one of them out",
        ),
        (("clean[17]", "--log", "--failed"), "leave one of them out"),
        (("clean[17]", "--log", "--format", "json"), "--log shows text; leave out --format json"),
    ):
        assert_is_a_mistake(call("show", "nightly", *words, *STATE), said)
    found = json.loads(call("show", "nightly", "clean[17]", "--format", "json", *STATE).out)
    assert found["detail"]["arguments"][0] == ["row", "'row 17'"]
    nodes = json.loads(call("show", "nightly", "--failed", "--format", "json", *STATE).out)["nodes"]
    assert {node["node_id"] for node in nodes} == {"clean", "clean[17]", "clean[143]"}


def test_a_failure_that_was_handled_is_said_to_be(call: Command) -> None:
    Path("broken").touch()
    assert call("run", "flows.py:try_one", *STATE, "--run-id", "fine", "--log", "none").status == 0
    shown = call("show", "fine", "--failed", *STATE).out
    assert re.search(r"; 1 of 1 recorded node failed, which was handled$", shown.splitlines()[0])
    assert "\nclean failed (handled: the run does not fail by it) after " in shown
    facts = call("show", "fine", "clean", *STATE).out.splitlines()
    assert ["handled", "the run does not fail by it"] in [fact.split(maxsplit=1) for fact in facts]
    listed = call("runs", *STATE).out.splitlines()[1]
    assert re.search(r"  \d+, 1 failed \(handled\)  ", listed)
    (row,) = [line for line in call("show", "fine", *STATE).out.splitlines() if line.startswith("clean ")]
    assert row.split("  ")[1:3] == ["failed (handled)", "2"]


def test_failures_that_the_run_fails_by_are_shown_before_handled_ones(call: Command) -> None:
    Path("broken").touch()
    assert call("run", "flows.py:fails", *STATE, "--run-id", "bad", "--log", "none").status == 1
    shown = call("show", "bad", "--failed", *STATE).out
    assert re.search(r"; 2 of \d+ recorded nodes failed, 1 of these handled$", shown.splitlines()[0])
    assert shown.index("\npublish failed after") < shown.index("\nclean failed (handled")
    assert "cascade show bad publish " in shown


def test_the_line_of_code_is_that_of_the_flow_and_not_of_a_library_that_it_calls(call: Command) -> None:
    call("run", "flows.py:misread", *STATE, "--run-id", "misread", "--log", "none")
    shown = call("show", "misread", "--failed", *STATE).out

    assert shown.splitlines()[0].endswith("; 1 of 1 recorded node failed")
    assert re.search(
        r'^  File ".*/flows\.py", line \d+, in number: return json\.loads\(text\)$', shown, re.MULTILINE
    )


@pytest.mark.parametrize(
    "library",
    [
        "/usr/lib/python3.11/json/decoder.py", "/usr/lib/python3/dist-packages/yaml/reader.py", "<frozen runpy>",
        "/home/me/.venv/lib/python3.13t/site-packages/pandas/io.py", "C:\\Python312\\Lib\\json\\decoder.py",
    ],
)  # fmt: skip
def test_what_is_a_library_is_told_by_its_path(library: str) -> None:
    own = '  File "/home/me/lib/flows.py", line 3, in work\n    return parsed(text)\n'
    inner = f'  File "{library}", line 9, in inner\n    raise ValueError\n'

    assert _place(own + inner) == 'File "/home/me/lib/flows.py", line 3, in work: return parsed(text)'
    assert _place(inner) == f'File "{library}", line 9, in inner: raise ValueError'


def test_of_a_run_without_failures_that_is_said(call: Command) -> None:
    call("run", "flows.py:flow", *STATE, "--run-id", "fine", "--log", "none", "--token", SECRET)
    assert "none of 202 recorded nodes failed" in call("show", "fine", "--failed", *STATE).out
    nothing = call("show", "fine", "clean[3]", "--log", *STATE)
    assert nothing.out == ""
    assert "cascade run --capture" in nothing.err


def test_without_a_state_nothing_is_said_of_it_and_capturing_is_a_mistake(call: Command) -> None:
    Path("broken").touch()
    outcome = call("run", "flows.py:flow", "--log", "none", "--token", SECRET)
    assert "cascade show" not in outcome.err
    assert_is_a_mistake(call("run", "flows.py:flow", "--capture", "--token", SECRET), "--state URL")
