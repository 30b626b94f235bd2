"""``cascade control`` and ``cascade watch``: another process steers a run and looks at it."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from brokers import broker
from command_line import (
    Command,
    Outcome,
    assert_is_a_mistake,
    command_line,
    ended,
    environment,
    started,
    wait_for,
    write,
)

from cascade.cli import watch
from cascade.cli.watch import Board
from cascade.control import Concurrency, Pause
from cascade.runtime.wire import Found, Lost, Message, Signal, Subscription, rule_message
from cascade.testing import MemoryBroker, MemoryConnector

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
"""


@pytest.fixture(autouse=True)
def _flows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    write("flows.py", FLOWS)


@pytest.fixture(params=["local", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mqtt", "mqtts"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield f"local:{tmp_path}/control.db"
        return
    with broker(tmp_path, is_secure=request.param == "mqtts") as server:
        yield server.url


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Command]:
    with command_line(capsys, monkeypatch, tmp_path) as call:
        yield call


def cascade(*words: str) -> Outcome:
    """A command, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "cascade", *words],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


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
        said = cascade("control", "pause", "run:nightly", "--author", "ada", "--ttl", "3600", "--via", url)
        assert said == Outcome(0, "acknowledged by nightly\n", "")
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert "ended" in process.stdout.readline()
        shown = cascade("control", "status", "--via", url)
        assert re.fullmatch(
            r"pause run:nightly: set by ada \d+ s ago, ends in 3\d\d\d s\nrun nightly\n", shown.out
        )
        moment = time.monotonic()
        assert cascade("control", "resume", "run:nightly", "--via", url).status == 0
        begins = process.stdout.readline()
        assert float(begins.rpartition(" ")[2]) > moment
        outcome = ended(process, "go on\n")
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1] == "[None, None]"
    assert cascade("control", "status", "--via", url).out == "no rules\n"


def test_rules_said_before_there_is_a_run_hold_its_first_task(url: str) -> None:
    said = cascade("control", "limit", "task:*", "--concurrency", "1", "--rate", "30/m", "--via", url)
    assert said == Outcome(0, "said; no run is connected\n", "")
    shown = cascade("control", "status", "--via", url).out
    assert "limit task:* to 1 at a time" in shown
    assert "limit task:* to 30/m" in shown
    assert cascade("control", "pause", "--via", url).status == 0
    with started("run", "flows.py:shared", "--control", url, "--log", "human") as process:
        wait_for(process.stderr, "waits: ConstraintViolation")
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


def test_watch_shows_a_run_until_it_ends(url: str) -> None:
    pytest.importorskip("rich")
    with started("run", "flows.py:shared", "--control", url, "--log", "none", "--run-id", "seen") as process:
        assert process.stdout is not None
        process.stdout.readline()
        watching = subprocess.Popen(
            [sys.executable, "-m", "cascade", "watch", "seen", "--via", url],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with watching:
            wait_for(watching.stderr, "watching run seen")
            process.communicate("go on\ngo on\n", timeout=30)
            out, _ = watching.communicate(timeout=30)
    assert "run seen: Succeeded" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pause", "nonsense"], "a scope is"),
        (["limit"], "limit takes --concurrency, --rate, or both, such as --concurrency 2"),
        (["pause", "global", "--whatever"], "unrecognized arguments: --whatever (see cascade control --help)"),
        (["limit", "--rate", "many/fortnight"], "a rate is"),
        (["limit", "--concurrency", "x"], "invalid literal"),
        (["limit", "--burst", "2"], "limit takes"),
        (["pause", "--ttl", "0"], "ttl"),
        (["pause", "--via", "carrier:pigeon"], "unknown control URL"),
        (["resume", "nonsense"], "a scope is"),
        ([], "ACTION"),
    ],
)
def test_what_means_nothing_is_one_clear_line(cli: Command, words: list[str], said: str) -> None:
    assert_is_a_mistake(cli("control", *words), said)


@pytest.mark.needs("paho")
def test_a_broker_that_is_not_there_is_one_clear_line(cli: Command) -> None:
    outcome = cli("control", "status", "--via", "mqtt://127.0.0.1:1")
    assert outcome.status == 1
    assert len(outcome.err.splitlines()) == 1


def record(seq: int, type: str, **fields: object) -> dict[str, object]:
    return json.loads(json.dumps({"seq": seq, "type": type, "timestamp": 100.0 + seq, **fields}))  # type: ignore[no-any-return]  # a record


def test_the_board_knows_what_runs_what_is_blocked_and_how_fast_it_goes() -> None:
    board = Board("seen")
    board.hear(record(5, "StageStarted", index=1, size=3))
    board.hear(record(6, "TaskExecutionStarted", task_id="a"))
    board.hear(record(7, "TaskBlocked", task_id="b", reason="ResourceContention"))
    board.hear(record(9, "TaskExecutionStarted", task_id="c"))
    board.hear(record(10, "TaskExecutionFinished", task_id="c", status="Failed"))
    board.hear({"seq": "x", "type": []})
    assert list(board.rows(116.0)) == [("a", "running", "10.0 s"), ("b", "blocked", "ResourceContention")]
    assert board.headline(116.0) == ("run seen: Running; 1 failed; 0.1/s; stage 1 (3 tasks); 1 events missed")
    board.hear(record(11, "RunFinished", status="Failed"))
    assert board.is_over
    assert list(board.rows(117.0)) == []
    assert board.headline(200.0).startswith("run seen: Failed; 1 failed; 0.0/s")


def test_a_node_that_is_tried_again_is_shown_as_blocked_until_it_starts() -> None:
    board = Board("seen")
    board.hear(record(1, "TaskExecutionStarted", task_id="a"))
    board.hear(record(2, "TaskRetrying", task_id="a", delay=5.0))
    assert list(board.rows(110.0)) == [("a", "blocked", "failed, goes on in 5.0 s")]
    board.hear(record(3, "TaskExecutionStarted", task_id="a"))
    assert list(board.rows(110.0)) == [("a", "running", "7.0 s")]


class Told(MemoryConnector):
    """Delivers *signals* to whoever subscribes to telemetry."""

    def __init__(self, broker: MemoryBroker, signals: list[Signal]) -> None:
        super().__init__(broker)
        self.signals = signals

    async def begin(self, subscription: Subscription) -> None:
        await super().begin(subscription)
        for told in self.signals if subscription.topics.startswith("cascade/telemetry") else ():
            subscription.put(told)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A console that keeps what it shows, each time it is drawn."""
    console = pytest.importorskip("rich.console")
    monkeypatch.setattr(watch, "PERIOD", 0.0)
    return console.Console(file=io.StringIO(), force_terminal=True, width=150, color_system=None)


async def test_watch_follows_the_run_that_is_there_and_passes_over_what_is_no_event_of_it(terminal: Any) -> None:
    def said(run_id: str, seq: int, type: str, **fields: object) -> Message:
        payload = json.dumps(record(seq, type, run_id=run_id, **fields)).encode()
        return Message(f"cascade/telemetry/p/{'nightly' if run_id == 'forged' else run_id}/events", payload)

    signals: list[Signal] = [
        Message("cascade/telemetry/p/nightly/events", b"not json"),
        said("forged", 1, "TaskExecutionStarted", task_id="forged"),
        said("other", 1, "TaskExecutionStarted", task_id="of another run"),
        said("nightly", 1, "TaskExecutionStarted", task_id="[bold]a"),
        Lost("the broker was stopped"),
        Found(),
        said("nightly", 2, "RunFinished", status="Succeeded"),
    ]
    broker = MemoryBroker()
    broker.publish("cascade/engines/one", b'{"runs": ["nightly"]}', retain=True)

    await watch.watch_run(Told(broker, signals), None, terminal)

    shown = terminal.file.getvalue()
    assert "[bold]a" in shown
    assert "running" in shown
    assert "run nightly: Running; 0.0/s; stage connection lost: the broker was stopped" in shown
    assert "run nightly: Succeeded" in shown
    assert "forged" not in shown
    assert "of another run" not in shown
    assert broker.connectors == []


async def test_watch_shows_the_rules_that_hold_a_run_of_which_nothing_is_heard(terminal: Any) -> None:
    broker = MemoryBroker()
    broker.publish("cascade/engines/one", b'{"runs": ["other", "more"]}', retain=True)
    rules = Pause(scope="run:it", author="ops"), Pause(scope="run:other"), Concurrency(scope="global", limit=2)
    for rule in rules:
        message = rule_message(rule)
        broker.publish(message.topic, message.payload, retain=True)
    broker.publish("cascade/constraints/pause/global", b"nonsense", retain=True)
    payload = json.dumps(record(1, "RunFinished", run_id="it", status="Failed")).encode()
    connector = Told(broker, [Message("cascade/telemetry/p/it/events", payload)])

    await watch.watch_run(connector, "it", terminal)

    shown = terminal.file.getvalue()
    assert "pause run:it, set by ops 0 s ago" in shown
    assert "limit global to 2 at a time" in shown
    assert "pause run:other" not in shown
    assert "watching run it, which is not there yet; there are more, other" in shown  # rich shows what is printed


async def test_watch_ends_when_no_engine_has_the_run_any_more(
    terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LONGEST", 0.01)
    broker = MemoryBroker()
    broker.publish("cascade/engines/one", b'{"runs": ["it", "other"]}', retain=True)
    with anyio.fail_after(50):
        async with anyio.create_task_group() as group:
            group.start_soon(watch.watch_run, MemoryConnector(broker), "it", terminal)
            while "watching run it" not in terminal.file.getvalue():
                await anyio.lowlevel.checkpoint()
            broker.publish("cascade/engines/two", b"nonsense", retain=True)
            broker.publish("cascade/engines/one", b'{"runs": ["other"]}', retain=True)
    assert "run it: gone" in terminal.file.getvalue()


async def test_watch_takes_the_first_run_that_comes_if_there_is_none(terminal: Any) -> None:
    payload = json.dumps(record(1, "RunFinished", run_id="late", status="Failed")).encode()
    signals: list[Signal] = [Message("cascade/telemetry/p/late/events", payload)]

    await watch.watch_run(Told(MemoryBroker(), signals), None, terminal)

    assert "run late: Failed" in terminal.file.getvalue()


def test_watch_without_its_library_says_how_to_get_it(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert_is_a_mistake(cli("watch"), "pip install 'cascade[cli]'")


def test_watch_that_reaches_nobody_is_one_clear_line(cli: Command, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    (tmp_path / "control.db").write_bytes(b"no database " * 100)
    (tmp_path / "control.db").chmod(0o600)
    outcome = cli("watch", "--via", f"local:{tmp_path}/control.db")
    assert outcome.status == 1
    [line] = outcome.err.splitlines()
    assert "not a database" in line
