"""``cascade control``: another process steers a run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from brokers import control_url
from command_line import (
    Command,
    Outcome,
    assert_is_a_mistake,
    command_alone,
    ended,
    environment,
    folder_with,
    started,
    wait_for,
)

FLOWS = """
import sys, time
import anyio, cascade

async def work(name: str) -> None:
    print(f"{name} begins at {time.monotonic()}", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    print(f"{name} ended", flush=True)

A = cascade.task(name="A", constraints={"slot": 1})(work)
B = cascade.task(name="B", constraints={"slot": 1})(work)

shared = [A("one"), B("other")]

@cascade.task
async def waits() -> None:
    print("begins", flush=True)
    await anyio.sleep_forever()

waiting = waits()
"""

_flows = folder_with(FLOWS)
url = control_url
cli = command_alone


def cascade(*words: str) -> Outcome:
    """A command, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "cascade", *words],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend_name", "schedule_name"),
    [
        ("asyncio", "stages"),
        ("trio", "eager"),
        pytest.param("asyncio", "eager", marks=pytest.mark.slow),
        pytest.param("trio", "stages", marks=pytest.mark.slow),
    ],
)
def test_a_pause_by_another_process_holds_who_waits_for_the_slot(
    url: str, backend_name: str, schedule_name: str
) -> None:
    words = ["--control", url, "--backend", backend_name, "--schedule", schedule_name, "--resources", "slot=1"]
    with started("run", "flows.py:shared", "--log", "none", "--run-id", "nightly", *words) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert "begins" in process.stdout.readline()
        said = cascade("control", "pause", "run:nightly", "--author", "ada", "--ttl", "3550", "--via", url)
        assert said == Outcome(0, "acknowledged by nightly\n", "")
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert "ended" in process.stdout.readline()
        shown = cascade("control", "status", "--via", url)
        assert re.fullmatch(
            r"RULE +SET BY  AGE +ENDS IN\npause run:nightly  ada     \d+\.?\d* m?s  5\d min.*\n\nRUN\nnightly\n",
            shown.out,
        )
        moment = time.monotonic()
        assert cascade("control", "resume", "run:nightly", "--via", url).status == 0
        begins = process.stdout.readline()
        assert float(begins.rpartition(" ")[2]) > moment
        outcome = ended(process, "go on\n")
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1] == "[None, None]"
    assert cascade("control", "status", "--via", url).out == "no rules\n\nno run is connected\n"


def test_rules_said_before_there_is_a_run_hold_its_first_task(url: str) -> None:
    said = cascade("control", "limit", "task:*", "--concurrency", "1", "--rate", "30/m", "--via", url)
    assert said == Outcome(0, "said; no run is connected\n", "")
    shown = cascade("control", "status", "--via", url).out
    assert "limit task:* to 1 at a time" in shown
    assert "limit task:* to 30/m" in shown
    assert cascade("control", "pause", "--via", url).status == 0
    with started("run", "flows.py:shared", "--control", url, "--log", "human") as process:
        wait_for(process.stderr, "(global)")
        moment = time.monotonic()
        assert cascade("control", "resume", "--via", url).status == 0
        assert process.stdout is not None
        assert float(process.stdout.readline().rpartition(" ")[2]) > moment
        lifted = cascade("control", "limit", "task:*", "--concurrency", "none", "--rate", "none", "--via", url)
        assert lifted.status == 0
        assert ended(process, "go on\ngo on\n").status == 0


def test_a_run_that_was_killed_is_not_waited_for(url: str) -> None:
    with started("run", "flows.py:shared", "--control", url, "--log", "none", "--run-id", "dead") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
    assert cascade("control", "pause", "--via", url, "--patience", "20").status == 0
    assert "dead" not in cascade("control", "status", "--via", url).out


def test_a_rule_for_a_run_that_is_not_there_says_so(tmp_path: Path) -> None:
    url = f"local:{tmp_path}/control.db"
    with started("run", "flows.py:shared", "--control", url, "--log", "none", "--run-id", "here") as process:
        assert process.stdout is not None
        process.stdout.readline()
        said = cascade("control", "pause", "run:there", "--via", url)
        process.kill()
    assert said.status == 0
    assert "none of them is 'there'" in said.err


def test_a_run_that_is_stopped_is_named(tmp_path: Path) -> None:
    url = f"local:{tmp_path}/control.db"
    with started("run", "flows.py:shared", "--control", url, "--log", "none", "--run-id", "stopped") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        said = cascade("control", "pause", "--via", url, "--patience", "0.3")
        process.send_signal(signal.SIGCONT)
        process.kill()
    assert said.status == 1
    assert "not acknowledged within 0.3 s by stopped" in said.err


def test_a_node_is_cancelled_by_another_process(url: str) -> None:
    words = ["--control", url, "--log", "none", "--run-id", "nightly"]
    with started("run", "flows.py:waiting", *words) as process:
        assert process.stdout is not None
        assert "begins" in process.stdout.readline()
        unknown = cascade("control", "cancel", "run:nightly", "B", "--via", url)
        assert (unknown.status, unknown.out) == (1, "")
        assert unknown.err.startswith("cascade: run 'nightly' has no node 'B' at present")
        said = cascade("control", "cancel", "run:nightly", "waits", "--via", url)
        assert said == Outcome(0, "waits of run nightly is being cancelled\n", "")
        outcome = ended(process)
    assert outcome.status == 1
    assert "'waits' was cancelled on request" in outcome.err


def test_a_node_of_a_run_that_is_not_there_cannot_be_cancelled(tmp_path: Path) -> None:
    url = f"local:{tmp_path}/control.db"
    said = cascade("control", "cancel", "run:there", "A", "--via", url, "--patience", "0.1")
    assert (said.status, said.err) == (1, "cascade: no run 'there' is connected\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cancel", "nightly", "A"], "cancel takes run:ID and the id of a node, not 'nightly'"),
        (["cancel", "task:A", "A"], "cancel takes run:ID"),
        (["cancel", "run:", "A"], "cancel takes run:ID"),
        (["cancel", "run:nightly"], "NODE"),
        (["pause", "nonsense"], "a scope is"),
        (["limit"], "limit takes --concurrency, --rate, or both, such as --concurrency 2"),
        (["pause", "global", "--whatever"], "unrecognized arguments: --whatever (see cascade control --help)"),
        (["limit", "--rate", "many/fortnight"], "a rate is"),
        (["limit", "--concurrency", "x"], "--concurrency takes a whole number from 1, or \"none\", not 'x'"),
        (["limit", "--burst", "2"], "limit takes"),
        (["pause", "--ttl", "0"], "ttl"),
        (["pause", "--via", "carrier:pigeon"], "unknown control URL"),
        (["resume", "nonsense"], "a scope is"),
        ([], "ACTION"),
    ],
)
def test_what_means_nothing_is_one_clear_line(cli: Command, words: list[str], said: str) -> None:
    assert_is_a_mistake(cli("control", *words), said)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have numbers on POSIX only")
def test_a_user_without_a_name_is_unknown(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # as in a container that runs with any number

    assert "who says so (unknown)" in cli("control", "pause", "--help").out


@pytest.mark.needs("paho")
@pytest.mark.parametrize("words", [("control", "status", "--via"), ("run", "flows.py:shared", "--control")])
def test_a_file_of_certificates_that_is_none_is_one_clear_line(cli: Command, words: tuple[str, ...]) -> None:
    said = "the cafile 'nofile' cannot be used: No such file or directory"
    assert_is_a_mistake(cli(*words, "mqtts://localhost?cafile=nofile"), said)
    assert_is_a_mistake(cli(*words, "mqtts://localhost?cafile=flows.py"), "the cafile 'flows.py' cannot be used")


@pytest.mark.needs("paho")
def test_a_broker_that_is_not_there_is_one_clear_line(cli: Command) -> None:
    outcome = cli("control", "status", "--via", "mqtt://127.0.0.1:1")
    assert outcome.status == 1
    assert len(outcome.err.splitlines()) == 1
