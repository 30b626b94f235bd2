"""SIGINT on ``cascade run``: once drains within a budget, twice cancels."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from command_line import Outcome, cascade_process, ended, folder_with, started, wait_for
from pairs import BACKENDS, each_once

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

FLOWS = """
import sys
import anyio, cascade

@cascade.task
async def first() -> None:
    print("ready", flush=True)
    try:
        await anyio.to_thread.run_sync(sys.stdin.readline)
        print("ended", flush=True)
    finally:
        print("cleaned", flush=True)

@cascade.task
async def waits() -> None:
    print("ready", flush=True)
    try:
        await anyio.sleep_forever()
    finally:
        print("cleaned", flush=True)

@cascade.task
async def then(_: None = None) -> str:
    return "result"

flow = then(first())
endless = then(waits())
alone = first()
"""

_flows = folder_with(FLOWS)


def test_an_interrupt_lets_what_runs_end_and_says_that_there_is_more_to_do(backend_name: str) -> None:
    with started("run", "flows.py:flow", "--log", "none", "--backend", backend_name, grace=60) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        wait_for(process.stderr, "once more to cancel")
        outcome = ended(process, "go on\n")

    assert outcome == Outcome(
        75,
        "ended\ncleaned\n",
        "cascade: drained; what had begun has ended, the rest has not begun\n",
    )


def test_a_run_whose_outcomes_are_kept_says_how_it_goes_on(tmp_path: Path) -> None:
    words = ["--log", "none", "--state", "sqlite:///my runs.db", "--run-id", "nightly"]
    with started("run", "flows.py:flow", *words, grace=60) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        wait_for(process.stderr, "once more to cancel")
        outcome = ended(process, "go on\n")

    assert outcome.status == 75
    assert outcome.err.endswith("; it goes on with: cascade resume nightly --state 'sqlite:///my runs.db'\n")
    assert (
        cascade_process("resume", "nightly", "--state", "sqlite:///my runs.db", "--log", "none").out == "result\n"
    )


def test_a_flow_that_had_nothing_left_to_begin_is_done(backend_name: str) -> None:
    with started("run", "flows.py:alone", "--log", "none", "--backend", backend_name, grace=60) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        wait_for(process.stderr, "once more to cancel")
        assert ended(process, "go on\n") == Outcome(0, "ended\ncleaned\n", "")


def test_what_takes_longer_than_the_budget_is_cancelled(backend_name: str) -> None:
    with started("run", "flows.py:endless", "--log", "none", "--backend", backend_name, grace=0.2) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        wait_for(process.stderr, "once more to cancel")
        assert ended(process) == Outcome(130, "cleaned\n", "cascade: ended by SIGINT\n")


@each_once(
    "backend_name, second, status", BACKENDS, {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143)}
)
def test_a_second_signal_cancels_at_once(backend_name: str, second: signal.Signals, status: int) -> None:
    with started("run", "flows.py:endless", "--log", "json", "--backend", backend_name, grace=100) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        wait_for(process.stderr, "once more to cancel")
        process.send_signal(second)
        assert ended(process).status == status


@pytest.mark.parametrize(
    "words", ["-1", *(pytest.param(words, marks=pytest.mark.slow) for words in ("inf", "nan", "soon"))]
)
def test_a_budget_that_is_none_is_bad_usage(words: str) -> None:
    with started("run", "flows.py:flow", "--grace", words) as process:
        outcome = ended(process)
    assert outcome.status == 2
    assert "--grace" in outcome.err
