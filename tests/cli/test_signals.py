"""SIGINT and SIGTERM on ``cascade run``: the flow cleans up, and the status says which signal it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from command_line import Outcome, ended, environment, folder_with, started, wait_for, write
from pairs import BACKENDS, SCHEDULES, each_once

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

FLOWS = """
import sys, threading
import anyio, cascade

def say(word: str) -> None:
    print(word, flush=True)

@cascade.task
async def waits() -> None:
    try:
        say("ready")
        await anyio.sleep_forever()
    finally:
        say("cleaned")

@cascade.task
async def sibling() -> None:
    try:
        say("sibling is here")
        await anyio.sleep_forever()
    finally:
        say("sibling cleaned")

@cascade.task
def works() -> None:
    say("ready")
    try:
        while True:
            cascade.checkpoint()
    finally:
        say("cleaned")

@cascade.task
def cannot_be_stopped() -> None:
    say("ready")
    sys.stdin.readline()
    say("cleaned")

@cascade.task
async def cleans_up_slowly() -> None:
    try:
        say("ready")
        await anyio.sleep_forever()
    finally:
        say("cleaning")
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(sys.stdin.readline)
        say("cleaned")

@cascade.task(mode="inline")
def turn(number: int) -> object:
    if number == 100:
        say("ready")
    return turn(number + 1)

@cascade.task
async def retries() -> None:
    raise RuntimeError("not yet")

@cascade.resource
async def connection():
    try:
        yield "a connection"
    finally:
        await anyio.lowlevel.checkpoint()
        say("closed")

@cascade.task
async def injected(connection: str = cascade.inject("connection")) -> None:
    await waits.func()

async def with_connection() -> None:
    await cascade.run(injected(), providers=[connection])

waiting = waits()
siblings = [waits(), sibling()]
working = works()
stuck = [cannot_be_stopped(), sibling()]
slow = cleans_up_slowly()
loop = turn(0)
backing_off = [retries().with_retry(max_attempts=2, delay=1e6), waits()]
connected = cascade.task(with_connection)()
"""

_flows = folder_with(FLOWS)


STATUSES = {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143)}
SIGNALS = each_once("backend_name, number, status", BACKENDS, STATUSES)


@SIGNALS
def test_a_signal_ends_the_run_and_the_status_says_which(
    backend_name: str, number: signal.Signals, status: int
) -> None:
    with started("run", "flows.py:waiting", "--log", "none", "--backend", backend_name) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(number)
        outcome = ended(process)

    assert outcome == Outcome(status, "cleaned\n", f"cascade: ended by {number.name}\n")


@each_once("backend_name, schedule_name", BACKENDS, SCHEDULES)
def test_every_task_cleans_up(backend_name: str, schedule_name: str) -> None:
    words = ["--log", "none", "--backend", backend_name, "--schedule", schedule_name]
    with started("run", "flows.py:siblings", *words) as process:
        wait_for(process.stdout, "ready", "sibling is here")
        process.send_signal(signal.SIGINT)
        outcome = ended(process)

    assert sorted(outcome.out.splitlines()) == ["cleaned", "sibling cleaned"]
    assert outcome.status == 130


@SIGNALS
def test_a_task_in_a_thread_ends_at_its_next_checkpoint(
    backend_name: str, number: signal.Signals, status: int
) -> None:
    with started("run", "flows.py:working", "--log", "none", "--backend", backend_name) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(number)
        outcome = ended(process)

    assert outcome == Outcome(status, "cleaned\n", f"cascade: ended by {number.name}\n")


def test_a_thread_that_cannot_be_stopped_is_waited_for(backend_name: str) -> None:
    with started("run", "flows.py:stuck", "--log", "none", "--backend", backend_name) as process:
        wait_for(process.stdout, "ready", "sibling is here")
        process.send_signal(signal.SIGINT)
        wait_for(process.stdout, "sibling cleaned")
        outcome = ended(process, "go on\n")

    assert outcome == Outcome(130, "cleaned\n", "cascade: ended by SIGINT\n")


@each_once("backend_name, second", BACKENDS, {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM})
def test_a_second_signal_does_not_break_the_clean_up(backend_name: str, second: signal.Signals) -> None:
    with started("run", "flows.py:slow", "--log", "none", "--backend", backend_name) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        wait_for(process.stdout, "cleaning")
        process.send_signal(second)
        outcome = ended(process, "go on\n")

    assert outcome.out == "cleaned\n"
    assert outcome.status in (130, 143)
    assert "Traceback" not in outcome.err


@SIGNALS
def test_a_busy_loop_of_tail_calls_hears_a_signal(backend_name: str, number: signal.Signals, status: int) -> None:
    with started("run", "flows.py:loop", "--log", "none", "--backend", backend_name) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(number)
        outcome = ended(process)

    assert outcome == Outcome(status, "", f"cascade: ended by {number.name}\n")


def test_a_pause_between_attempts_ends_with_a_signal(backend_name: str) -> None:
    with started("run", "flows.py:backing_off", "--backend", backend_name) as process:
        wait_for(process.stderr, "next in 11 d 14 h: RuntimeError: not yet")
        process.send_signal(signal.SIGINT)
        outcome = ended(process)

    assert outcome.status == 130


def test_resources_are_closed_after_the_tasks(backend_name: str) -> None:
    with started("run", "flows.py:connected", "--log", "none", "--backend", backend_name) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGTERM)
        outcome = ended(process)

    assert outcome == Outcome(143, "cleaned\nclosed\n", "cascade: ended by SIGTERM\n")


def test_the_last_event_is_written(backend_name: str) -> None:
    with started("run", "flows.py:waiting", "--log", "json", "--backend", backend_name) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        outcome = ended(process)

    records = [json.loads(line) for line in outcome.out.splitlines() if line.startswith("{")]
    assert [(record["type"], record.get("status")) for record in records[-2:]] == [
        ("TaskExecutionFinished", "Cancelled"),
        ("RunFinished", "Cancelled"),
    ]


WAITS_AT_IMPORT = """
import sys
print("ready", flush=True)
sys.stdin.readline()
"""
WAITS_WHEN_CALLED = """
import sys
def flow():
    print("ready", flush=True)
    sys.stdin.readline()
"""


@each_once("number, status", STATUSES)
@pytest.mark.parametrize(
    ("text", "target"),
    [(WAITS_AT_IMPORT, "waits_early.py:flow"), (WAITS_WHEN_CALLED, "waits_early:flow")],
    ids=["import", "call"],
)
def test_a_signal_while_the_flow_is_made_is_no_traceback(
    text: str, target: str, number: signal.Signals, status: int
) -> None:
    write("waits_early.py", text)
    with started("run", target) as process:
        wait_for(process.stdout, "ready")
        process.send_signal(number)
        outcome = ended(process)

    assert outcome.status in (status, -number)
    assert "Traceback" not in outcome.err


def test_a_flow_that_has_ended_leaves_the_signal_handlers_as_they_were(backend_name: str) -> None:
    text = """
    import signal
    from cascade.cli import main

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    main(["run", "quick.py:flow", "--log", "none", "--backend", BACKEND])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    """
    write("quick.py", "import cascade\n@cascade.task\ndef one(): return 1\nflow = one()\n")
    write("program.py", text.replace("BACKEND", repr(backend_name)))

    done = subprocess.run(
        [sys.executable, "program.py"], env=environment(), capture_output=True, text=True, timeout=100, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
