"""``cascade run --report``, ``cascade report`` and ``cascade graph -o``: pictures and pages in files."""

from __future__ import annotations

import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_line import Command, assert_is_a_mistake, command_with

FLOWS = """
import cascade

@cascade.task
def fetch(url: str, token: str = "") -> str:
    if url == "b":
        raise ValueError(f"no page for {token}")
    return url

@cascade.task
def count(pages: object) -> int:
    return 3

@cascade.task
def say(token: str) -> str:
    print("found", token)
    print(token[:6], end="")
    print(token[6:])
    return "a"

says = count(say(cascade.Param("token", secret=True)))
flow = count(fetch.map(url=["a", "c"]))
fails = count(fetch("b", cascade.Param("token", secret=True)))
"""

command = command_with(FLOWS)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_writes_its_report(command: Command, backend: str) -> None:
    pytest.importorskip(backend)

    outcome = command("run", "flows.py:flow", "--report", "run.html", "--log", "none", "--backend", backend)

    assert (outcome.status, outcome.out, outcome.err) == (0, "3\n", "cascade: the report is in run.html\n")
    assert 'data-node="fetch"' in Path("run.html").read_text()
    assert stat.S_IMODE(Path("run.html").stat().st_mode) == 0o600


def test_a_run_that_fails_has_a_report_too_which_shows_no_secret(command: Command) -> None:
    outcome = command("run", "flows.py:fails", "-p", "token=tok-3f9a7c51", "--report", "run.html", "--log", "none")

    assert outcome.status == 1
    html = Path("run.html").read_text()
    assert "no page for ***" in html
    assert "3f9a7c51" not in html


def test_a_recorded_run_has_a_report(command: Command) -> None:
    state = ("--state", "sqlite:///runs.db")
    command("run", "flows.py:flow", *state, "--run-id", "nightly", "--log", "none")

    plain = command("report", "nightly", *state, "-o", "plain.html")
    drawn = command("report", "nightly", *state, "-o", "drawn.html", "--flow", "flows.py:fails")

    assert (plain.status, plain.err) == (0, "cascade: the report is in plain.html\n")
    assert (drawn.status, drawn.err) == (0, "cascade: the report is in drawn.html\n")
    assert "run nightly" in Path("plain.html").read_text()
    assert 'data-node="fetch"' in Path("plain.html").read_text()
    assert ">map<" in Path("plain.html").read_text()
    assert ">map<" not in Path("drawn.html").read_text()  # the flow that is given counts


def test_reports_show_what_was_captured_without_secrets(command: Command) -> None:
    state = ("--state", "sqlite:///runs.db")
    words = ("-p", "token=tok-3f9a7c51", *state, "--run-id", "nightly", "--log", "none", "--capture")
    assert command("run", "flows.py:says", *words, "--report", "live.html").status == 0

    outcome = command("report", "nightly", *state, "-o", "run.html")

    assert outcome.status == 0
    for html in (Path("live.html").read_text(), Path("run.html").read_text()):
        assert '"text":"found ***\\n***\\n"' in html
        for part in ("tok-3f", "9a7c51"):
            assert part not in html + outcome.out + outcome.err


def test_a_report_that_cannot_be_written_is_told_before_anything_runs(command: Command) -> None:
    assert_is_a_mistake(command("run", "flows.py:flow", "--report", "no/run.html"), "--report", "no/run.html")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nightly", "--state", "sqlite:///runs.db"], ["-o"]),
        (["nightly", "-o", "run.html"], ["--state"]),
        (["other", "--state", "sqlite:///runs.db", "-o", "run.html"], ["runs.db"]),
        (["nightly", "--state", "sqlite:///runs.db", "-o", "run.html", "--flow", "flows.py:none"], ["'none'"]),
    ],
)
def test_a_mistake_for_report_is_one_clear_line(command: Command, arguments: list[str], words: list[str]) -> None:
    assert_is_a_mistake(command("report", *arguments), *words)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("flow.svg", "<svg"), ("flow.mmd", "flowchart TD"), ("flow.DOT", "digraph"), ("flow.json", "{"),
        ("flow.txt", "stage 0"),
    ],
)  # fmt: skip
def test_the_name_of_a_file_says_what_is_drawn(command: Command, name: str, start: str) -> None:
    outcome = command("graph", "flows.py:flow", "-o", name)

    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert Path(name).read_text().startswith(start)


def test_a_format_that_is_said_counts_whatever_the_name(command: Command) -> None:
    command("graph", "flows.py:flow", "--output", "flow.xml", "--format", "svg")

    assert ElementTree.fromstring(Path("flow.xml").read_text()).get("role") == "img"


@pytest.mark.parametrize(
    ("name", "words"), [("flow.png", [".svg", "--format"]), ("no/flow.svg", ["cannot write 'no/flow.svg'"])]
)
def test_a_picture_that_cannot_be_written_is_a_mistake(command: Command, name: str, words: list[str]) -> None:
    assert_is_a_mistake(command("graph", "flows.py:flow", "-o", name), *words)
