"""The survey of the standard library, killed half-way and run again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import anyio
import pytest

import cascade
from cascade import api
from cascade.model.errors import StateError
from state.stores import StoreUnderTest

SURVEY = Path(__file__).parents[2] / "examples" / "stdlib_survey.py"
STDLIB = Path(sysconfig.get_path("stdlib"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])}


def command(tree: Path, report: Path, *words: str) -> list[str]:
    flow = [sys.executable, "-m", "cascade", "run", f"{SURVEY}:flow", "--root", str(tree), "--output", str(report)]
    return [*flow, "--schedule", "eager", "--resources", "parsers=2", *words]


def parsed(store: StoreUnderTest) -> set[str]:
    """The files whose facts are recorded, as items of the map."""
    try:
        run = anyio.run(api.recorded_run, store.state, "survey")
    except StateError:
        return set()  # it has not begun
    return {node.node_id for node in run.nodes if node.task == "parse" and node.status == "succeeded"}


@pytest.mark.slow
def test_a_survey_that_is_killed_parses_only_what_was_missing_and_reports_the_same(
    durable: StoreUnderTest, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    sources = sorted(path for path in STDLIB.glob("*.py") if path.stat().st_size > 40_000)
    for path in sources:
        shutil.copy(path, tree)
    report = tmp_path / "report.md"
    subprocess.run(command(tree, report, "--log", "none"), env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    expected = report.read_text(encoding="utf-8")
    report.unlink()

    words = ("--state", str(durable.state), "--run-id", "survey", "--log", "json")
    # It cannot get far ahead of who reads what it says: the pipe is small.
    with subprocess.Popen(
        command(tree, report, *words), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        pipesize=4096,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "StateRecorded" and event["total"] >= len(sources) // 4:
                break
        process.kill()
    kept = parsed(durable)
    assert 0 < len(kept) < len(sources)

    done = subprocess.run(
        command(tree, report, *words), env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    started = [
        event["task_id"]
        for event in events
        if event["type"] == "TaskExecutionStarted" and event["task_name"] == "parse" and "[" in event["task_id"]
    ]
    assert kept.isdisjoint(started)
    assert len(kept) + len(started) == len(sources)
    assert report.read_text(encoding="utf-8") == expected
