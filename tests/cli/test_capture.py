"""``cascade run --capture``: what tasks print and log is kept with their records, in every mode."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import anyio
import pytest
from command_line import Command, cascade_process, command_with, write

import cascade
from cascade.cli.recorded.capturing import Tee
from cascade.model.shown.secrets import Secrets
from cascade.runtime.durability.details.captured import FIRST, LAST, Captured, captured_var

FLOWS = """
import asyncio
import logging
import sys
import threading
import anyio
import cascade

log = logging.getLogger("flows")

@cascade.task
def in_thread(n: int) -> int:
    print("thread", n)
    print("to stderr", n, file=sys.stderr)
    log.warning("logged %d", n)
    return n

@cascade.task
async def on_loop(n: int) -> int:
    print("loop", n)
    await anyio.sleep(0)
    async with anyio.create_task_group() as group:
        group.start_soon(child, n)
    return n

async def child(n: int) -> None:
    print("child", n)

@cascade.task(mode="inline")
def inline(n: int) -> int:
    print("inline", n)
    return n

@cascade.task(retry=3)
def often(n: int) -> int:
    print("attempt", cascade.current().attempt)
    if cascade.current().attempt < 3:
        raise ValueError("no luck")
    return n

@cascade.task
def quiet(n: int) -> int:
    return n

@cascade.task
def fail(token: str) -> None:
    sys.stdout.write(token[:9])
    sys.stdout.write(token[9:] + "\\n")
    raise ValueError("no luck")

@cascade.task
def grow(n: int) -> object:
    print("growing")
    return in_thread(n)

flow = [in_thread.map(n=[1, 2]), on_loop.map(n=[3, 4]), inline(5), often(6), quiet(7), grow(8)]
failing = fail(cascade.Param("token", secret=True))
"""
PROCESS = """
import logging
import cascade

@cascade.task(mode="process")
def far(n: int) -> int:
    print("far", n)
    logging.getLogger("flows").error("logged far %d", n)
    return n

flow = far.map(n=[1, 2])
"""
STATE = ("--state", "sqlite:///runs.db")

call = command_with(FLOWS)


def logs(call: Command, *node_ids: str) -> dict[str, list[str]]:
    """What is kept of nodes, line by line, without the times of log records."""
    found = {}
    for node_id in node_ids:
        lines = call("show", "r", node_id, "--log", *STATE).out.splitlines()
        found[node_id] = [line[9:] if line[2:3] == ":" else line for line in lines]
    return found


@pytest.mark.needs("trio")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("schedule", ["stages", "eager"])
def test_output_is_kept_with_the_node_that_made_it(call: Command, backend: str, schedule: str) -> None:
    words = (*STATE, "--run-id", "r", "--capture", "--log", "none", "--backend", backend, "--schedule", schedule)
    outcome = call("run", "flows.py:flow", *words)
    assert outcome.status == 0
    assert "thread 1\n" in outcome.out
    assert "to stderr 2\n" in outcome.err
    assert sys.stdout is not None
    assert not isinstance(sys.stdout, Tee)
    assert logs(call, "in_thread[0]", "in_thread[1]", "on_loop[1]", "inline", "often", "quiet") == {
        "in_thread[0]": ["thread 1", "to stderr 1", "WARNING flows: logged 1"],
        "in_thread[1]": ["thread 2", "to stderr 2", "WARNING flows: logged 2"],
        "on_loop[1]": ["loop 4", "child 4"],
        "inline": ["inline 5"],
        "often": ["attempt 1", "attempt 2", "attempt 3"],
        "quiet": [],
    }
    assert logs(call, "grow", "grow/in_thread") == {
        "grow": ["growing"],
        "grow/in_thread": ["thread 8", "to stderr 8", "WARNING flows: logged 8"],
    }


def test_output_of_worker_processes_is_kept_too() -> None:
    write("far.py", PROCESS)
    run = cascade_process("run", "far.py:flow", *STATE, "--run-id", "r", "--capture", "--log", "none")
    assert run.status == 0
    assert "far 1" in run.out
    assert "logged far 2" in run.err
    shown = cascade_process("show", "r", "far[1]", "--log", *STATE)
    first, second = shown.out.splitlines()
    assert (first, second[8:]) == ("far 2", " ERROR flows: logged far 2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_secret_that_is_printed_in_pieces_is_not_kept(call: Command) -> None:
    secret = "hunter2-of-the-day"
    words = (*STATE, "--run-id", "r", "--capture", "--log", "none", "--token", secret)
    assert call("run", "flows.py:failing", *words).status == 1
    assert logs(call, "fail") == {"fail": ["***"]}


def test_a_resumed_run_captures_as_the_first_one_did(call: Command) -> None:
    words = (*STATE, "--run-id", "r", "--capture", "--log", "none", "--token", "abcdefgh")
    call("run", "flows.py:failing", *words)
    call("resume", "r", *STATE, "-p", "token=ijklmnop", "--log", "none")
    assert logs(call, "fail") == {"fail": ["***"]}


def test_a_resumed_run_can_capture_though_the_first_one_did_not(call: Command) -> None:
    call("run", "flows.py:failing", *STATE, "--run-id", "r", "--log", "none", "--token", "abcdefgh")
    assert logs(call, "fail") == {"fail": []}
    call("resume", "r", *STATE, "-p", "token=ijklmnop", "--capture", "--log", "none")
    assert logs(call, "fail") == {"fail": ["***"]}


def test_what_is_long_keeps_its_beginning_and_its_end() -> None:
    captured, secrets = Captured({"r"}), Secrets()
    for number in range(10_000):
        captured.put("r", "n", f"line {number}\n")
    text = captured.text_of("r", "n", secrets, is_last=False)
    assert text is not None
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 9999\n")
    assert "characters left out" in text
    assert len(text) < FIRST + LAST + 100
    captured.put("r", "n", "x" * 1_000_000)
    text = captured.text_of("r", "n", secrets, is_last=True)
    assert text is not None
    assert len(text) < FIRST + LAST + 100
    assert captured.text_of("r", "n", secrets, is_last=True) is None


def test_where_it_is_cut_no_half_of_a_secret_is_left() -> None:
    secrets = Secrets()
    secrets.add("hunter2-of-the-day")
    for offset in range(40):
        captured = Captured({"r"})
        captured.put("r", "n", "x" * (FIRST - offset) + "hunter2-of-the-day")
        captured.put("r", "n", "y" * LAST + "hunter2-of-the-day")
        captured.put("r", "n", "z" * (LAST - offset))
        text = captured.text_of("r", "n", secrets, is_last=True)
        assert text is not None
        assert "hunt" not in text
        assert "day" not in text


@pytest.mark.parametrize("size", [FIRST - 1, FIRST + 1, FIRST + 9, LAST + 1, 3 * LAST])
def test_where_it_is_cut_no_half_of_a_very_long_secret_is_left(size: int) -> None:
    secrets, secret = Secrets(), "".join(f"{number:05x}" for number in range(size // 5 + 1))[:size]
    secrets.add(secret)
    captured = Captured({"r"})
    captured.put("r", "n", "." * (FIRST - 10) + secret)
    captured.put("r", "n", "." * LAST + secret)
    captured.put("r", "n", "." * (LAST - 10))
    text = captured.text_of("r", "n", secrets, is_last=True)
    assert text is not None
    assert secret[:4] not in text
    assert secret[-4:] not in text


def test_what_no_node_of_the_run_writes_is_not_kept() -> None:
    captured = Captured({"r"})
    captured.write("outside")
    captured.put("other", "n", "of another run")
    assert captured.text_of("other", "n", Secrets(), is_last=True) is None


async def test_what_a_thread_writes_that_nobody_waits_for_any_more_is_not_kept(tmp_path: Path) -> None:
    captured, may_end, has_ended = Captured(), threading.Event(), threading.Event()

    @cascade.task(abandon_on_cancel=True, timeout=0.02)
    def stuck() -> None:
        captured.write("in time\n")
        may_end.wait(30)
        captured.write("too late\n")
        has_ended.set()

    token = captured_var.set(captured)
    try:
        with pytest.raises(cascade.TaskTimeoutError):
            await cascade.run(stuck(), state=f"sqlite:///{tmp_path}/runs.db", run_id="r", cleanup_timeout=0)
    finally:
        captured_var.reset(token)
        may_end.set()
    assert await anyio.to_thread.run_sync(has_ended.wait, 30)
    (node,) = (await cascade.api.recorded_run(f"sqlite:///{tmp_path}/runs.db", "r")).nodes
    assert node.detail is not None
    assert node.detail.log == "in time\n"
    assert captured.text_of("r", "stuck", Secrets(), is_last=True) is None


def test_the_streams_and_handlers_are_what_they_were(call: Command) -> None:
    before = sys.stdout, sys.stderr, list(logging.root.handlers)
    call("run", "flows.py:failing", *STATE, "--capture", "--token", "abcdefgh", "--log", "none")
    assert before == (sys.stdout, sys.stderr, list(logging.root.handlers))
