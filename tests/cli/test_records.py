"""``cascade runs``, ``cascade show`` and ``cascade resume``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Command, assert_is_a_mistake, command_line, write

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

trying = try_often(fetch(1))
flow = check(fetch(cascade.Param("size", type=int)))
skips = check(check(fetch(2)).run_if(is_on()))
"""


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Command]:
    with command_line(capsys, monkeypatch, tmp_path) as command:
        write("flows.py", FLOWS)
        yield command


STATE = ("--state", "sqlite:///runs.db")


def test_a_run_that_failed_is_shown_and_resumed(call: Command) -> None:
    Path("broken").touch()
    failed = call("run", "flows.py:flow", "-p", "size=5", *STATE, "--run-id", "night", "--log", "none")
    assert failed.status == 1
    listed = call("runs", *STATE)
    assert listed.status == 0
    head, line = listed.out.splitlines()
    assert head.split() == ["RUN", "STATUS", "BEGUN", "TOOK", "NODES", "FLOW"]
    assert line.startswith("night  failed")
    assert "1 failed, 1 succeeded" in line
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


def test_attempts_durations_and_errors_of_nodes_are_shown(call: Command) -> None:
    assert call("run", "flows.py:trying", *STATE, "--run-id", "night", "--log", "none").status == 1
    table = call("show", "night", *STATE).out.partition("\n\n")[2].splitlines()
    assert table[0].split() == ["NODE", "STATE", "ATTEMPTS", "TOOK"]
    rows = {row.split()[0]: row.split()[1:] for row in table[1:]}
    assert rows["fetch"][:2] == ["succeeded", "1"]
    state, attempts, took, unit, *error = rows["try_often"]
    assert (state, attempts, unit, " ".join(error)) == ("failed", "3", "s", "ValueError: attempt 3")
    assert float(took) >= 0.02
    nodes = json.loads(call("show", "night", *STATE, "--format", "json").out)["nodes"]
    [node] = [node for node in nodes if node["node_id"] == "try_often"]
    assert (node["status"], node["attempts"], node["error"]) == ("failed", 3, "ValueError: attempt 3")
    assert node["duration"] >= 0.02


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


def test_a_changed_flow_is_refused_unless_it_may_be_recomputed(call: Command) -> None:
    Path("broken").touch()
    call("run", "flows.py:flow", "--size", "5", *STATE, "--run-id", "night", "--log", "none")
    Path("broken").unlink()
    command = ("run", "flows.py:flow", "--size", "6", *STATE, "--run-id", "night", "--log", "none")
    refused = call(*command)
    assert refused.status == 1
    assert "FlowChangedError" in refused.err
    assert "use another --run-id, --on-change recompute or --on-change fork" in refused.err
    assert "'fetch'" in refused.err
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
    refused = call("run", "flows.py:skips", *STATE, "--log", "none")
    assert refused.status == 1
    assert "'runs.db'" in refused.err


def test_a_run_of_a_program_is_resumed_by_the_program(call: Command) -> None:
    import cascade

    cascade.run_sync(5, state="sqlite:///runs.db", run_id="night")
    assert_is_a_mistake(call("resume", "night", *STATE), "was not started by the command line", "run_id='night'")
