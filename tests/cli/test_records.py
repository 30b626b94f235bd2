"""``cascade runs``, ``cascade show`` and ``cascade resume``."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Command, Outcome, assert_is_a_mistake, command_with, write

FLOWS = """
import os
import cascade

@cascade.task
async def fetch(n: int) -> int:
    with open("ran.txt", "a") as log:
        log.write("fetch\\n")
    return n

@cascade.task
async def check(n: int) -> int:
    if os.path.exists("broken"):
        raise ValueError("the part is broken")
    return n + 1

@cascade.task
async def is_on() -> bool:
    return False

@cascade.task(retry=cascade.Retry(max_attempts=3, delay=0.01))
async def try_often(n: int) -> int:
    raise ValueError(f"attempt {cascade.current().attempt}")

@cascade.task
async def put_back(n: int) -> None:
    if os.path.exists("broken") and n == 2:
        raise OSError("it is stuck")

trying = try_often(fetch(1))
july = check(fetch(1).with_name("july"))
undone = check(fetch(fetch(1).with_undo(put_back)).with_undo(put_back))
stuck = check(fetch(fetch(2).with_undo(put_back)).with_undo(put_back))
flow = check(fetch(cascade.Param("size", type=int)))
skips = check(check(fetch(2)).run_if(is_on()))
"""


call = command_with(FLOWS)


STATE = ("--state", "sqlite:///runs.db")


@pytest.mark.parametrize("begun", [(), ("--traceback",)])
@pytest.mark.parametrize("resumed", [(), ("--traceback",)])
def test_a_resumed_run_shows_the_traceback_of_a_failure_if_that_is_asked_for_then(
    call: Command, begun: tuple[str, ...], resumed: tuple[str, ...]
) -> None:
    Path("broken").touch()
    call("run", "flows.py:flow", "-p", "size=5", *STATE, "--run-id", "night", "--log", "none", *begun)

    outcome = call("resume", "night", *STATE, "--log", "none", *resumed)

    assert outcome.status == 1
    assert ('raise ValueError("the part is broken")' in outcome.err) == bool(resumed)


def test_a_run_that_failed_is_shown_and_resumed(call: Command) -> None:
    Path("broken").touch()
    failed = call("run", "flows.py:flow", "-p", "size=5", *STATE, "--run-id", "night", "--log", "none")
    assert failed.status == 1
    listed = call("runs", *STATE)
    assert listed.status == 0
    head, line = listed.out.splitlines()
    assert head.split() == ["RUN", "STATUS", "BEGUN", "TOOK", "NODES", "FLOW"]
    assert line.startswith("night  failed")
    assert "  2, 1 failed  " in line
    assert line.endswith("  check")
    shown = call("show", "night", *STATE)
    assert "error   ValueError: the part is broken" in shown.out
    assert "params  size=5" in shown.out
    [fetch, check] = shown.out.splitlines()[-2:]
    assert fetch.split()[:3] == ["fetch", "succeeded", "1"]
    assert check.split()[:3] == ["check", "failed", "1"]
    assert check.endswith("ValueError: the part is broken")
    Path("broken").unlink()
    resumed = call("resume", "night", *STATE, "--log", "none")
    assert (resumed.status, resumed.out) == (0, "6\n")
    assert Path("ran.txt").read_text() == "fetch\n"
    again = call("resume", "night", *STATE, "--log", "none")
    assert (again.status, again.out) == (0, "6\n")


def test_what_was_undone_is_shown(call: Command) -> None:
    Path("broken").touch()
    call("run", "flows.py:undone", *STATE, "--run-id", "night", "--log", "none")
    table = call("show", "night", *STATE).out.split("\n\n")[2].splitlines()
    assert [row.split() for row in table] == [
        ["UNDO", "OF", "BY", "STATE"],
        ["fetch", "put_back", "undone"],
        ["fetch#2", "put_back", "undone"],
    ]
    call("run", "flows.py:stuck", *STATE, "--run-id", "other", "--log", "none")
    assert "put_back  failed  OSError: it is stuck" in call("show", "other", *STATE).out
    undos = json.loads(call("show", "other", *STATE, "--format", "json").out)["undos"]
    assert [(undo["node_id"], undo["undo"], undo["status"]) for undo in undos] == [
        ("fetch", "put_back", "failed"),
        ("fetch#2", "put_back", "failed"),
    ]
    assert "~undo" not in call("show", "other", *STATE).out


def test_attempts_durations_and_errors_of_nodes_are_shown(call: Command) -> None:
    assert call("run", "flows.py:trying", *STATE, "--run-id", "night", "--log", "none").status == 1
    table = call("show", "night", *STATE).out.partition("\n\n")[2].splitlines()
    assert table[0].split() == ["NODE", "STATE", "ATTEMPTS", "TOOK"]
    rows = {row.split()[0]: row.split()[1:] for row in table[1:]}
    assert rows["fetch"][:2] == ["succeeded", "1"]
    state, attempts, took, unit, *error = rows["try_often"]
    assert (state, attempts, unit, " ".join(error)) == ("failed", "3", "ms", "ValueError: attempt 3")
    assert int(took) >= 20
    nodes = json.loads(call("show", "night", *STATE, "--format", "json").out)["nodes"]
    [node] = [node for node in nodes if node["node_id"] == "try_often"]
    assert (node["status"], node["attempts"], node["error"]) == ("failed", 3, "ValueError: attempt 3")
    assert node["duration"] >= 0.02


def test_labels_are_shown_beside_ids(call: Command) -> None:
    assert call("run", "flows.py:july", *STATE, "--run-id", "night", "--log", "none").status == 0
    table = call("show", "night", *STATE).out.partition("\n\n")[2].splitlines()
    assert [line.split("  ")[0] for line in table[1:]] == ["fetch (july)", "check"]
    nodes = json.loads(call("show", "night", *STATE, "--format", "json").out)["nodes"]
    assert [node["label"] for node in nodes] == ["july", None]


def test_a_run_is_resumed_where_it_was_started(
    call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("broken").touch()
    call("run", "flows.py:flow", "--size", "5", *STATE, "--run-id", "night", "--log", "none")
    Path("broken").unlink()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    resumed = call("resume", "night", "--state", "sqlite:///../runs.db", "--log", "none")
    assert (resumed.status, resumed.out) == (0, "6\n")
    assert (tmp_path / "ran.txt").read_text() == "fetch\n"


def test_a_run_whose_folder_is_gone_cannot_be_resumed(
    call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "once"
    folder.mkdir()
    (tmp_path / "flows.py").rename(folder / "flows.py")
    monkeypatch.chdir(folder)
    state = f"sqlite:///{tmp_path}/runs.db"
    assert call("run", "flows.py:skips", "--state", state, "--run-id", "night", "--log", "none").status == 0
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(folder)
    outcome = call("resume", "night", "--state", state)
    assert_is_a_mistake(outcome, f"run 'night' was started in {str(folder)!r}", "No such file or directory")


def test_records_are_shown_as_json(call: Command) -> None:
    call("run", "flows.py:skips", *STATE, "--run-id", "night", "--log", "none")
    [run] = json.loads(call("runs", *STATE, "--format", "json").out)
    assert run["run_id"] == "night"
    assert run["counts"] == {"skipped": 1, "succeeded": 3}
    assert "nodes" not in run
    shown = json.loads(call("show", "night", *STATE, "--format", "json").out)
    nodes = {node["node_id"]: node for node in shown["nodes"]}
    assert set(nodes) == {"fetch", "check", "is_on", "check#2"}
    assert nodes["check"]["reason"] == "ConditionFalse"
    assert nodes["fetch"]["attempts"] == 1
    assert nodes["fetch"]["duration"] >= 0


def test_how_often_a_run_was_resumed_is_said(call: Command) -> None:
    Path("broken").touch()
    shown = []
    for _ in range(3):
        call("run", "flows.py:flow", "-p", "size=5", *STATE, "--run-id", "night", "--log", "none")
        shown.append(call("show", "night", *STATE).out)

    begun = [re.search(r"^begun   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(.*)$", text, re.MULTILINE) for text in shown]
    assert [found and found[1] for found in begun] == ["", ", resumed 1 time since", ", resumed 2 times since"]
    assert ["including the time until it was resumed" in text for text in shown] == [False, True, True]


def test_why_a_node_was_skipped_is_said_in_words(call: Command) -> None:
    told = call("run", "flows.py:skips", *STATE, "--run-id", "night").err
    shown = call("show", "night", *STATE).out

    assert "  check skipped: its condition (run_if) was false (ConditionFalse)" in told
    assert re.search(r"check +skipped +its condition \(run_if\) was false \(ConditionFalse\)", shown)


def test_a_changed_flow_is_refused_unless_it_may_be_recomputed(call: Command) -> None:
    Path("broken").touch()
    call("run", "flows.py:flow", "--size", "5", *STATE, "--run-id", "night", "--log", "none")
    Path("broken").unlink()
    command = ("run", "flows.py:flow", "--size", "6", *STATE, "--run-id", "night", "--log", "none")
    words = "use another --run-id, --on-change recompute or --on-change fork"
    assert_is_a_mistake(call(*command), "run 'night' was recorded with another flow: 'fetch'", words)
    assert call(*command, "--on-change", "recompute").out == "7\n"


def test_what_is_not_there_is_a_mistake(call: Command) -> None:
    assert_is_a_mistake(call("runs", *STATE), "there is no state file 'runs.db'")
    assert not Path("runs.db").exists()
    call("run", "flows.py:skips", *STATE, "--run-id", "night", "--log", "none")
    assert_is_a_mistake(call("show", "day", *STATE), "there is no run 'day'", "cascade runs")
    assert_is_a_mistake(call("resume", "day", *STATE), "there is no run 'day'")
    assert_is_a_mistake(call("runs", "--state", "memory:"), "keeps nothing")
    assert_is_a_mistake(call("runs", "--state", "ftp://x"), "unknown state URL")
    assert_is_a_mistake(call("runs"), "--state")


def test_a_file_that_is_something_else_is_a_mistake(call: Command) -> None:
    Path("runs.db").write_text("hello, I am no database, and long enough to be looked at" * 10)
    assert_is_a_mistake(call("runs", *STATE), "'runs.db' cannot be read")
    assert_is_a_mistake(call("run", "flows.py:skips", *STATE, "--log", "none"), "'runs.db'")


def test_a_run_of_a_program_is_resumed_by_the_program(call: Command) -> None:
    import cascade

    cascade.run_sync(5, state="sqlite:///runs.db", run_id="night")
    assert_is_a_mistake(call("resume", "night", *STATE), "was not started by the command line", "run_id='night'")


def test_nodes_are_listed_task_by_task_in_the_order_of_their_numbers(call: Command) -> None:
    text = """
    import cascade

    @cascade.task
    def zip_up(n: int) -> int: return n

    @cascade.task
    def add(values: list[int]) -> int: return sum(values)

    flow = add([*(zip_up(n) for n in range(11)), add(zip_up.map(n=range(11)))])
    """
    write("many.py", text)
    assert call("run", "many.py:flow", *STATE, "--run-id", "night", "--log", "none").out == "110\n"

    expected = ["zip_up", *(f"zip_up#{n}" for n in range(2, 13)), *(f"zip_up#12[{n}]" for n in range(11))]
    table = call("show", "night", *STATE).out.partition("\n\n")[2].splitlines()[1:]
    assert [line.split()[0] for line in table] == [*expected, "add", "add#2"]
    nodes = json.loads(call("show", "night", *STATE, "--format", "json").out)["nodes"]
    assert [node["node_id"] for node in nodes] == [*expected, "add", "add#2"]


def test_what_the_cache_had_is_shown_as_a_hit(call: Command) -> None:
    text = """
    import cascade
    from cascade.cache import FileExistenceCache

    @cascade.task(cache=FileExistenceCache("there.txt"))
    def make() -> str: return "made"

    flow = make()
    """
    write("cached.py", text)
    Path("there.txt").touch()
    call("run", "cached.py:flow", *STATE, "--run-id", "night", "--log", "none")

    assert call("show", "night", *STATE).out.splitlines()[-1].split() == ["make", "succeeded", "cache", "hit"]


def test_a_run_of_many_targets_is_listed_in_short(call: Command) -> None:
    text = """
    import cascade
    one = cascade.task(name="one")(lambda: 1)
    flow = [one() for _ in range(30)]
    """
    write("many.py", text)
    call("run", "many.py:flow", *STATE, "--run-id", "night", "--log", "none")

    for outcome in (call("runs", *STATE), call("show", "night", *STATE)):
        assert "one, one#2, one#3, one#4, one#5 and 25 more\n" in outcome.out


def test_a_store_without_runs_says_so(call: Command) -> None:
    call("run", "flows.py:skips", *STATE, "--run-id", "night", "--log", "none")
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("DELETE FROM runs")

    assert call("runs", *STATE) == Outcome(0, "", "no run is recorded in sqlite:///runs.db\n")
    assert call("runs", *STATE, "--format", "json") == Outcome(0, "[]\n", "")


@pytest.mark.parametrize("run_id", ["\udcff", "a\nb", "\x1b[2J"])
@pytest.mark.parametrize("command", ["show", "resume"])
def test_an_id_that_no_run_can_have_is_of_no_run(call: Command, command: str, run_id: str) -> None:
    call("run", "flows.py:skips", *STATE, "--run-id", "night", "--log", "none")

    assert_is_a_mistake(call(command, run_id, *STATE), "there is no run")


@pytest.mark.parametrize("origin", ["no json", "[]", "{}", '{"arguments": 1, "folder": "."}'])
def test_a_run_whose_command_line_is_lost_is_not_resumed(call: Command, origin: str) -> None:
    call("run", "flows.py:skips", *STATE, "--run-id", "night", "--log", "none")
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("UPDATE runs SET origin = ?", (origin,))

    assert_is_a_mistake(call("resume", "night", *STATE), "the store does not say how run 'night' was started")


def test_text_from_elsewhere_forges_no_line_of_a_listing(call: Command) -> None:
    text = r"""
    import cascade

    @cascade.task(name="evil\nnight  succeeded\x1b[2J\udce9")
    def fails() -> None:
        raise ValueError("404 \x1b]0;owned\x07\x1b[2J\nstatus  succeeded\n\u202e\udce9")

    flow = fails()
    """
    write("evil.py", text)
    run = call("run", "evil.py:flow", *STATE, "--run-id", "night")
    listed, shown = call("runs", *STATE).out, call("show", "night", *STATE).out

    for written in (run.err, listed, shown):
        assert written.replace("\n", "").isprintable()
        assert not re.search(r"^status +succeeded|^night +succeeded", written, re.MULTILINE)
    assert len(listed.splitlines()) == 2
    assert r"ValueError: 404 \x1b]0;owned\x07\x1b[2J\nstatus  succeeded\n\u202e\udce9" in shown
