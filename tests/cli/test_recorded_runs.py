"""``cascade runs`` with filters, ``prune``, ``verify`` and ``export``; ``resume --wait``; signals in ``show``."""

from __future__ import annotations

import json
import sqlite3
import stat
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Command, assert_is_a_mistake, command_with

from cascade.adapters.state.ownership import Owner

FLOWS = """
import cascade

@cascade.task
def work(n: int) -> int:
    if n < 0:
        raise ValueError("no luck")
    return n

flow = work(cascade.Param("n", 1))
asked = work(cascade.signal("answer", int))
"""
STATE = ("--state", "sqlite:///runs.db")
DAY = 86_400

call = command_with(FLOWS)


def put(statement: str, *values: object) -> None:
    """Change the file as nobody else does."""
    with closing(sqlite3.connect("runs.db")) as file, file:
        file.execute(statement, values)


@pytest.fixture
def several(call: Command) -> None:
    """Runs of the last days: ``one``, ``two`` which failed, and ``three``; and ``asked``, which is suspended."""
    for age, (run_id, n) in enumerate((("three", 3), ("two", -2), ("one", 1))):
        call("run", "flows.py:flow", *STATE, "--run-id", run_id, "-p", f"n={n}", "--log", "none")
        moment = time.time() - (age + 0.5) * DAY
        put("UPDATE runs SET created = ?, updated = ?, finished = ? WHERE run_id = ?", *[moment] * 3, run_id)
    call("run", "flows.py:asked", *STATE, "--run-id", "asked", "--when-idle", "suspend", "--log", "none")
    old = time.time() - 100 * DAY
    put("UPDATE runs SET created = ?, updated = ?, finished = ? WHERE run_id = 'asked'", old, old, old)


def listed(call: Command, *words: str) -> list[str]:
    """The runs that are listed."""
    return [run["run_id"] for run in json.loads(call("runs", *STATE, *words, "--format", "json").out)]


def test_runs_are_chosen_by_status_age_date_and_number(call: Command, several: None) -> None:
    assert listed(call) == ["three", "two", "one", "asked"]
    assert listed(call, "--status", "failed") == ["two"]
    assert listed(call, "--status", "failed", "--status", "suspended") == ["two", "asked"]
    assert listed(call, "--since", "1d") == ["three"]
    assert listed(call, "--since", "48h", "--limit", "1") == ["three"]
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 5 * DAY))
    assert listed(call, "--since", day) == ["three", "two", "one"]
    nothing = call("runs", *STATE, "--status", "running")
    assert (nothing.status, nothing.out) == (0, "")
    assert "none of 4 runs" in nothing.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "soon"), "an age such as 12h"),
        (("--limit", "-1"), "a whole number from 0"),
        (("prune",), "say which"),
        (("prune", "--older-than", "30"), "an age such as 30d"),
        (("--limit", "3", "prune", "--keep", "1"), "--since and --limit are for the list"),
        (("--status", "odd"), "invalid choice"),
    ],
)
def test_what_has_no_meaning_is_one_clear_line(
    call: Command, several: None, words: tuple[str, ...], said: str
) -> None:
    assert_is_a_mistake(call("runs", *STATE, *words), said)
    assert_is_a_mistake(call("runs", *words))
    assert listed(call) == ["three", "two", "one", "asked"]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("--older-than", "2d"), ["three", "two", "asked"]),
        (("--keep", "1"), ["three", "asked"]),
        (("--keep", "1", "--older-than", "2d"), ["three", "two", "asked"]),
        (("--status", "failed"), ["three", "one", "asked"]),
        (("--status", "suspended", "--older-than", "30d"), ["three", "two", "one"]),
        (("--keep", "5"), ["three", "two", "one", "asked"]),
    ],
)
def test_runs_are_pruned(call: Command, several: None, words: tuple[str, ...], left: list[str]) -> None:
    check_pruning(call, words, left)


@pytest.mark.parametrize(
    ("words", "left"), [(("--keep", "1"), ["one", "asked"]), (("--keep", "2"), ["three", "one", "asked"])]
)
def test_the_runs_that_are_kept_are_those_which_were_written_last(
    call: Command, several: None, words: tuple[str, ...], left: list[str]
) -> None:
    put("UPDATE runs SET updated = ?, finished = ? WHERE run_id = 'one'", time.time(), time.time())  # resumed
    check_pruning(call, words, left)


@pytest.mark.parametrize("version", [1, 99])
@pytest.mark.parametrize("words", [("prune", "--keep", "0"), ("verify",), ("export", "one", "-o", "one.json")])
def test_a_file_of_another_format_is_left_as_it_is(
    call: Command, several: None, words: tuple[str, ...], version: int
) -> None:
    put(f"PRAGMA user_version = {version}")
    assert_is_a_mistake(call("runs", *words, *STATE), f"it has format {version}, and this one reads 2")
    put("PRAGMA user_version = 2")
    assert len(listed(call)) == 4
    assert not Path("one.json").exists()


def check_pruning(call: Command, words: tuple[str, ...], left: list[str]) -> None:
    """See that pruning with *words* leaves the runs *left*."""
    dry = call("runs", "prune", *STATE, *words, "--dry-run")
    assert f"{4 - len(left)} run" in dry.err
    assert len(listed(call)) == 4
    done = call("runs", "prune", *STATE, *words)
    assert done.status == 0
    assert done.out.startswith(f"{4 - len(left)} run")
    assert listed(call) == left
    numbers = "SELECT id FROM runs"
    with closing(sqlite3.connect("runs.db")) as file:
        for table in ("nodes", "events", "details", "signals"):
            orphans = file.execute(f"SELECT count(*) FROM {table} WHERE run NOT IN ({numbers})").fetchone()
            assert orphans == (0,)


def test_a_status_before_the_action_counts(call: Command, several: None) -> None:
    call("runs", *STATE, "--status", "failed", "prune", "--keep", "0")
    assert listed(call) == ["three", "one", "asked"]


def test_pruning_gives_the_room_back(call: Command, several: None) -> None:
    put("UPDATE nodes SET value = zeroblob(1000000) WHERE run = (SELECT id FROM runs WHERE run_id = 'one')")
    before = Path("runs.db").stat().st_size
    assert "it had 1.0 MB" in call("runs", "prune", *STATE, "--older-than", "2d").out
    assert Path("runs.db").stat().st_size < before - 900_000


def test_a_run_that_is_executed_or_was_written_since_is_not_pruned(call: Command, several: None) -> None:
    owner = Owner.here()
    try:
        put("UPDATE runs SET owner = ?, lease_until = ? WHERE run_id = 'one'", owner.written(), time.time() + 20)
        call("runs", "prune", *STATE, "--older-than", "2d")
        assert "one" in listed(call)
    finally:
        owner.release()
    call("runs", "prune", *STATE, "--older-than", "2d")
    assert "one" not in listed(call)


def test_verifying_finds_what_cannot_be_read(call: Command, several: None) -> None:
    fine = call("runs", "verify", *STATE)
    assert (fine.status, fine.out) == (0, "4 runs in sqlite:///runs.db: all that is recorded can be read\n")
    put("UPDATE nodes SET value = x'8004' WHERE run = (SELECT id FROM runs WHERE run_id = 'one')")
    put("UPDATE nodes SET digest = 'x' WHERE run = (SELECT id FROM runs WHERE run_id = 'three')")
    put("UPDATE runs SET params = '5', result = x'80' WHERE run_id = 'three'")
    put("UPDATE details SET detail = '{'")
    bad = call("runs", "verify", *STATE)
    assert bad.status == 1
    for words in (
        "run one: node work: its value cannot be read",
        "run three: node work: its digest cannot be read",
        "run three: its result cannot be read",
        "run three: its record is damaged (params)",
        "run two: node work: its record is damaged (detail)",
    ):
        assert words in bad.out
    assert len(bad.out.splitlines()) == 5
    assert "--on-change recompute" in bad.err


def test_a_run_is_exported(call: Command, several: None) -> None:
    exported = call("runs", "export", "two", *STATE).out
    assert json.loads(exported)["nodes"][0]["detail"]["arguments"] == [["n", "-2"]]
    assert json.loads(call("runs", "export", "one", *STATE).out)["nodes"][0]["worker"]
    assert call("runs", "export", "two", *STATE, "-o", "two.json").out == ""
    assert Path("two.json").read_text() == exported
    assert_is_a_mistake(
        call("runs", "export", "two", *STATE, "-o", "no/where.json"), "cannot write 'no/where.json'"
    )
    assert_is_a_mistake(call("runs", "export", "five", *STATE), "there is no run 'five'")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such links and modes")
def test_an_export_is_for_its_owner_and_replaces_no_link(call: Command, several: None) -> None:
    Path("latest.json").symlink_to("two.json")
    assert call("runs", "export", "two", *STATE, "-o", "latest.json").status == 0
    assert Path("latest.json").is_symlink()
    assert stat.S_IMODE(Path("two.json").stat().st_mode) == 0o600
    assert json.loads(Path("two.json").read_text())["run_id"] == "two"


def test_accepted_signals_are_shown(call: Command, several: None) -> None:
    assert "signals" not in call("show", "asked", *STATE).out
    call("send", "asked", "answer", "42", *STATE)
    assert "signals answer=42 (accepted 20" in call("show", "asked", *STATE).out
    put("UPDATE runs SET params = ?", json.dumps({"token": "***"}))
    assert "signals answer (accepted 20" in call("show", "asked", *STATE).out


def test_resuming_waits_for_another_machine_if_it_is_told_to(call: Command, several: None) -> None:
    import attrs

    there = attrs.evolve(Owner.here(), host="moon/1", boot="of the moon")
    lease = there.written(), time.time() + 20
    put("UPDATE runs SET status = 'running', owner = ?, lease_until = ? WHERE run_id = 'one'", *lease)
    refused = call("resume", "one", *STATE, "--log", "none")
    assert_is_a_mistake(refused, "is being executed by process", "on moon", "--wait")
    free = threading.Timer(0.5, put, ["UPDATE runs SET owner = NULL, lease_until = 0 WHERE run_id = 'one'"])
    free.start()
    outcome = call("resume", "one", *STATE, "--log", "none", "--wait")
    free.join()
    assert (outcome.status, outcome.out) == (0, "1\n")
    assert "cascade: waiting: run 'one' is being executed by process" in outcome.err
