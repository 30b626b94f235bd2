"""``cascade watch``: another process looks at a run."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from brokers import control_url
from command_line import (
    Command,
    assert_is_a_mistake,
    command_alone,
    environment,
    started,
    wait_for,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from strategies_events import ANY_TEXT, any_events

import cascade
from cascade.cli import watch
from cascade.cli.watch import Board
from cascade.control import Concurrency, Pause
from cascade.events import as_record
from cascade.model.shown.text import columns
from cascade.runtime.control.connector import Found, Lost, Message, Missed, Signal, Subscription
from cascade.runtime.control.protocol import rule_message
from cascade.testing import MemoryBroker, MemoryConnector

FLOWS = """
import sys
import anyio, cascade

@cascade.task(constraints={"slot": 1})
async def work(name: str) -> None:
    print(f"{name} begins", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)

flow = [work("one"), work("other")]
"""

url = control_url
cli = command_alone


def test_a_run_is_shown_until_it_ends(cli: Command, url: str) -> None:
    pytest.importorskip("rich")
    write("flows.py", FLOWS)
    words = ["--control", url, "--resources", "slot=1", "--log", "none", "--run-id", "seen"]
    with started("run", "flows.py:flow", *words) as process:
        wait_for(process.stdout, "begins")
        watching = subprocess.Popen(
            [sys.executable, "-m", "cascade", "watch", "seen", "--via", url],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with watching:
            wait_for(watching.stderr, "watching run seen")
            # Two rules there and back: by then the run has heard of its spectator, too.
            for rule in ("pause", "resume"):
                assert cli("control", rule, "run:seen", "--author", "ada", "--via", url).status == 0
            process.communicate("go on\ngo on\n", timeout=30)
            out, _ = watching.communicate(timeout=30)
    # What ended before the run knew of its spectator has not been told.
    assert re.search(r"^\d\d:\d\d:\d\d run seen succeeded after .*: [12] done$", out, re.MULTILINE)


# -- what is known of a run --------------------------------------------------------------------------------------


NODE: dict[str, Any] = {"timestamp": 0.0, "run_id": "seen"}


def heard(kind: type[cascade.Event], seq: int, **fields: Any) -> cascade.Event:
    """An event of the run."""
    if "task_id" in fields:
        fields["task_name"] = "work"
    return kind(seq=seq, **NODE, **fields)


def shown(board: Board, now: float, width: int = 80, height: int = 24) -> list[str]:
    """What is drawn, as text."""
    lines = board.drawn(now, width=width, height=height)
    return ["".join(span.text for span in line).rstrip() for line in lines]


def test_the_board_knows_what_runs_what_waits_and_how_far_it_is() -> None:
    board = Board("seen")
    assert shown(board, 0.0) == ["no run yet  0 done  0:00"]
    board.hear(heard(cascade.StageStarted, 5, index=1, size=3), 100.0)
    board.hear(heard(cascade.TaskExecutionStarted, 6, task_id="a"), 101.0)
    board.hear(
        heard(cascade.TaskBlocked, 7, task_id="b", reason="ResourceContention", detail="needs 1 gpu"), 102.0
    )
    board.hear(heard(cascade.TaskExecutionStarted, 9, task_id="work#3"), 103.0)
    failed = {"status": "Failed", "duration": 1.0, "attempt": 1, "error": "ValueError"}
    board.hear(heard(cascade.TaskExecutionFinished, 10, task_id="work#3", **failed), 104.0)
    assert shown(board, 110.0) == [
        "run seen  1 done  0:10",
        "  work  1 done  1 running  1 waiting  1 failed",
        "  1 event missed",
        "",
        "  a  runs for 0:09",
        "  b  waits: needs 1 gpu",
    ]
    assert not board.is_over
    ended = {"status": "Failed", "duration": 1.0, "error": "ValueError", "failures": (), "counts": {}}
    board.hear(heard(cascade.RunFinished, 11, **ended), 120.0)
    assert board.is_over
    assert shown(board, 200.0) == [
        "run seen  1 done  0:20  failed",
        "  work  1 done  1 failed",
        "  1 event missed",
    ]


def test_a_node_that_is_tried_again_waits_until_its_next_attempt_starts() -> None:
    board = Board("seen")
    board.hear(heard(cascade.TaskExecutionStarted, 1, task_id="a"), 100.0)
    retrying = {"attempt": 1, "max_attempts": 3, "delay": 5.0, "error": "OSError"}
    board.hear(heard(cascade.TaskRetrying, 2, task_id="a", **retrying), 101.0)
    assert shown(board, 102.0)[-1] == "  a  waits: failed in attempt 1, next in 5.0 s"
    board.hear(heard(cascade.AttemptStarted, 3, task_id="a", attempt=2), 106.0)
    assert shown(board, 113.0)[-1] == "  a  runs for 0:07"


def test_of_many_nodes_those_are_shown_that_run_the_longest() -> None:
    board = Board("seen")
    for number in range(100):
        board.hear(heard(cascade.TaskExecutionStarted, number + 1, task_id=f"a[{number}]"), 100.0 + number)
    lines = shown(board, 300.0, height=10)
    assert len(lines) <= 10
    assert lines[3] == "  a[0]  runs for 3:20"
    assert re.fullmatch(r"  and 9\d more nodes", lines[-1])


@given(st.lists(any_events(), max_size=6), ANY_TEXT, st.integers(1, 150), st.integers(4, 60))
def test_nothing_that_is_heard_steers_the_terminal_or_fills_it(
    events: list[cascade.Event], text: str, width: int, height: int
) -> None:
    board = Board(text, trouble=text)
    board.tally.run_id = text
    for number, event in enumerate(events):
        board.hear(event, float(number))
        for line in shown(board, float(number), width, height):
            assert line.isprintable()
            assert columns(line) <= width
        assert len(shown(board, float(number), width, height)) <= height + 4


# -- listening ---------------------------------------------------------------------------------------------------


class Told(MemoryConnector):
    """Delivers *signals* to whoever subscribes to telemetry."""

    def __init__(self, broker: MemoryBroker, signals: list[Signal]) -> None:
        super().__init__(broker)
        self.signals = signals

    async def begin(self, subscription: Subscription) -> None:
        await super().begin(subscription)
        for told in self.signals if subscription.topics.startswith("cascade/telemetry") else ():
            subscription.put(told)


def said(event: cascade.Event, topic: str = "") -> Message:
    """*event* as it is published."""
    return Message(f"cascade/telemetry/p/{topic or event.run_id}/events", json.dumps(as_record(event)).encode())


def finished(run_id: str, seq: int = 9, status: Any = "Succeeded") -> cascade.RunFinished:
    """The end of a run."""
    return cascade.RunFinished(
        seq=seq, timestamp=0.0, run_id=run_id, status=status, duration=1.0, error=None, failures=(), counts={}
    )


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A console that keeps what it shows, each time it is drawn."""
    console = pytest.importorskip("rich.console")
    monkeypatch.setattr(watch, "PERIOD", 0.0)
    return console.Console(file=io.StringIO(), force_terminal=True, width=150, height=24, color_system=None)


def text_on(terminal: Any) -> str:
    """What was shown, without what moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.file.getvalue())


def begun(run_id: str, task_id: str) -> cascade.TaskExecutionStarted:
    """A node begins."""
    return cascade.TaskExecutionStarted(seq=1, timestamp=0.0, run_id=run_id, task_id=task_id, task_name=task_id)


async def test_it_follows_the_run_that_is_there_and_passes_over_what_is_no_event_of_it(terminal: Any) -> None:
    evil = "[bold]a\x1b]0;owned\x07\x1b[2J\n\u202e\udce9"
    topic = "cascade/telemetry/p/nightly/events"
    signals: list[Signal] = [
        Message(topic, b"not json"),
        Message(topic, b'{"type": "RunFinished", "run_id": "nightly"}'),
        Message(
            "cascade/telemetry/p/x/events", b'{"type": "Event", "seq": 1, "timestamp": 1, "run_id": "\\udc80"}'
        ),
        said(begun("forged", "forged"), "nightly"),
        said(begun("other", "of another run")),
        said(begun("nightly", evil)),
        Lost("the broker was stopped \x1b[2J"),
        Found(),
        Missed(3),
        said(finished("nightly")),
    ]
    broker = MemoryBroker()
    broker.publish("cascade/engines/one", b'{"runs": ["nightly"]}', retain=True)

    await watch.watch_run(Told(broker, signals), None, terminal)

    shown = text_on(terminal)
    assert r"  [bold]a\x1b]0;owned\x07\x1b[2J\n\u202e\udce9  runs for 0:00" in shown
    assert r"connection lost: the broker was stopped \x1b[2J" in shown
    assert re.search(r"run nightly +0 done +0:00 +succeeded", shown)
    assert "events missed" in shown
    assert "forged" not in shown
    assert "of another run" not in shown
    assert broker.connectors == []


async def test_it_shows_the_rules_that_hold_a_run_of_which_nothing_is_heard(terminal: Any) -> None:
    broker = MemoryBroker()
    broker.publish("cascade/engines/one", b'{"runs": ["run#10", "run#2"]}', retain=True)
    rules = Pause(scope="run:it", author="ops"), Pause(scope="run:other"), Concurrency(scope="global", limit=2)
    for rule in rules:
        message = rule_message(rule)
        broker.publish(message.topic, message.payload, retain=True)
    broker.publish("cascade/constraints/pause/global", b"nonsense", retain=True)

    await watch.watch_run(Told(broker, [said(finished("it"))]), "it", terminal)

    shown = text_on(terminal)
    assert "rule: pause run:it, set by ops 0:00 ago" in shown
    assert "rule: limit global to 2 at a time" in shown
    assert "pause run:other" not in shown
    assert "watching run it, which is not there yet; there are run#2, run#10" in shown  # rich shows what is said


async def test_it_ends_when_no_engine_has_the_run_any_more(terminal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert "no process has this run any more" in text_on(terminal)


async def test_it_takes_the_first_run_that_comes_if_there_is_none(terminal: Any) -> None:
    await watch.watch_run(Told(MemoryBroker(), [said(finished("late", status="Failed"))]), None, terminal)

    assert re.search(r"run late +0 done +0:00 +failed", text_on(terminal))


async def test_where_nothing_can_be_drawn_it_writes_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console = pytest.importorskip("rich.console").Console(file=io.StringIO())
    started = cascade.RunStarted(seq=1, timestamp=0.0, run_id="it", target_tasks=(), params={}, calls={"a": 3})

    await watch.watch_run(Told(MemoryBroker(), [said(started), said(finished("it", 2))]), "it", console)

    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d run it: 0 of 3 done \(0 %\)", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d run it succeeded after .*: 0 of 3 done", lines[-1])


# -- mistakes ----------------------------------------------------------------------------------------------------


def test_without_its_library_it_says_how_to_get_it(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert_is_a_mistake(cli("watch"), "pip install 'cascade-anyio[cli]'")


def test_an_id_that_no_run_can_have_is_a_mistake(cli: Command) -> None:
    pytest.importorskip("rich")
    assert_is_a_mistake(cli("watch", "\udcff"), r"an id of a run is printable text, not '\udcff'")


def test_if_it_reaches_nobody_that_is_one_clear_line(cli: Command, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    (tmp_path / "control.db").write_bytes(b"no database " * 100)
    (tmp_path / "control.db").chmod(0o600)
    outcome = cli("watch", "--via", f"local:{tmp_path}/control.db")
    assert outcome.status == 1
    [line] = outcome.err.splitlines()
    assert "not a database" in line
