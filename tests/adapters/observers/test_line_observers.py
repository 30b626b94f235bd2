"""Observers that write a line per event: ``human_log`` for people, ``json_lines`` for programs."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from life import forever
from plain_tasks import fails, one
from strategies_events import any_events

import cascade
from cascade.events import as_record
from cascade.observers import human_log, json_lines
from cascade.testing import record_events


@cascade.task
def double(x: object) -> str:
    return 2 * str(x)


def records(text: str) -> list[dict[str, Any]]:
    """What lines of JSON say."""
    assert text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


# -- json_lines --------------------------------------------------------------------------------------------------


async def test_each_event_is_a_line_of_json(tmp_path: Path, schedule: Any) -> None:
    path = tmp_path / "events.jsonl"
    engine = cascade.Engine(observers=[json_lines(path)], schedule=schedule)
    with record_events(engine) as recorded:
        await engine.run(double(cascade.Param("x", default=3)).after(one()))

    assert records(path.read_text(encoding="utf-8")) == [
        json.loads(json.dumps(as_record(event))) for event in recorded.events
    ]


@pytest.mark.parametrize("kind", [str, Path, os.fspath])
async def test_the_file_may_be_named_by_text_or_path(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    path = tmp_path / "events.jsonl"
    await cascade.run(one(), observers=[json_lines(kind(path))])

    assert records(path.read_text(encoding="utf-8"))[-1]["type"] == "RunFinished"


async def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for run_id in ("first", "second"):
        await cascade.run(one(), observers=[json_lines(path)], run_id=run_id)

    ids = [record["run_id"] for record in records(path.read_text(encoding="utf-8"))]
    assert sorted(set(ids)) == ["first", "second"]
    assert ids == sorted(ids)


async def test_a_stream_is_left_open_and_flushed() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    await cascade.run(one(), observers=[json_lines(stream)])

    assert not stream.closed
    assert records(raw.getvalue().decode())[-1]["type"] == "RunFinished"
    stream.close()


async def test_lines_are_there_while_the_run_goes_on() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    async with cascade.start(forever(), observers=[json_lines(stream)]) as run:
        while b"TaskExecutionStarted" not in raw.getvalue():
            await anyio.lowlevel.checkpoint()
        run.cancel()
    stream.close()


async def test_an_observer_may_watch_several_runs_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    engine = cascade.Engine(observers=[json_lines(path)])
    async with engine, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(engine.run, double(one()))

    found = records(path.read_text(encoding="utf-8"))
    assert len({record["run_id"] for record in found}) == 3
    assert [record["type"] for record in found].count("RunFinished") == 3


@pytest.mark.parametrize("how", ["fails", "cancelled"])
async def test_the_last_line_says_how_the_run_ended(how: str) -> None:
    stream = io.StringIO()
    if how == "fails":
        with pytest.raises(ValueError, match="trouble"):
            await cascade.run(fails(), observers=[json_lines(stream)])
    else:
        async with cascade.start(forever(), observers=[json_lines(stream)]) as run:
            await anyio.wait_all_tasks_blocked()
            run.cancel()

    last = records(stream.getvalue())[-1]
    expected = ("Failed", "ValueError: trouble") if how == "fails" else ("Cancelled", "RunCancelled")
    assert last["type"] == "RunFinished"
    assert (last["status"], last["error"][: len(expected[1])]) == expected


async def test_any_value_can_be_a_parameter_or_a_result() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("cannot be shown")

    stream = io.StringIO()
    param = cascade.Param[Any]("x", type=lambda text: text)
    await cascade.run(double.partial(x=param)(), {"x": "\udc80\n"}, observers=[json_lines(stream)])
    given = {"odd": Odd(), "inf": float("inf"), "many": {1: (2, b"3")}}
    await cascade.run(_ignore(param), {"x": given}, observers=[json_lines(stream)])

    assert len(records(stream.getvalue())) == 12


@cascade.task
async def _ignore(_: object) -> None:
    return None


@pytest.mark.parametrize("place", [".", "missing/events.jsonl"])
async def test_a_file_that_cannot_be_written_is_reported_and_does_not_fail_the_run(
    tmp_path: Path, place: str
) -> None:
    engine = cascade.Engine(observers=[json_lines(tmp_path / place)])
    with record_events(engine) as recorded:
        assert await engine.run(one()) == 1

    (warning,) = recorded.of(cascade.EngineWarning)
    assert warning.code == "observer-failed"
    assert "json_lines" in warning.message


# -- human_log ---------------------------------------------------------------------------------------------------


async def lines_about(*told: cascade.Event) -> list[str]:
    """What ``human_log`` writes about *events*, without the time."""
    stream, bus = io.StringIO(), cascade.EventBus()
    async with bus.subscribe() as subscribed:
        for event in told:
            bus.publish(event)
        subscribed.end()
        await human_log(stream)(subscribed)
    return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]


WHEN: dict[str, Any] = {"seq": 1, "timestamp": 1_700_000_000.0, "run_id": "r1"}
NODE: dict[str, Any] = {**WHEN, "task_id": "fetch#3", "task_name": "fetch"}
COUNTS = {"succeeded": 2, "failed": 1, "skipped": 0, "pending": 3}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (cascade.RunStarted(**WHEN, target_tasks=("a", "b"), params={}), "run r1 started: a, b"),
        (cascade.RunStarted(**WHEN, target_tasks=(), params={}), "run r1 started: nothing to do"),
        (cascade.RunStarted(**WHEN, target_tasks=("a",), params={}, is_resumed=True), "run r1 resumed: a"),
        (
            cascade.RunStarted(
                **WHEN, target_tasks=tuple("abcdefg"), params={}, calls={"a": 7}, maps={"m": {"m": 3, "m#2": 4}}
            ),
            "run r1 started: a, b, c, d, e and 2 more (14 nodes and 2 maps)",
        ),
        (
            cascade.RunStarted(**WHEN, target_tasks=("m",), params={}, calls={"a": 2}, maps={"m": {"m": None}}),
            "run r1 started: m (2 nodes or more and 1 map)",
        ),
        (cascade.RunResumed(**WHEN, recorded=120, epoch=2), "  120 nodes recorded earlier"),
        (cascade.RunResumed(**WHEN, recorded=1, epoch=2), "  1 node recorded earlier"),
        (
            cascade.RunResumed(**WHEN, recorded=1, epoch=2, is_finished=True),
            "  it had finished: nothing runs, its recorded result is returned",
        ),
        (
            cascade.RunFinished(
                **WHEN, status="Failed", duration=1.5, error="ValueError: x", failures=(), counts=COUNTS
            ),
            "run r1 failed after 1.5 s (2 succeeded, 1 failed, 3 not begun): ValueError: x",
        ),
        (
            cascade.RunFinished(
                **WHEN, status="Succeeded", duration=200, error=None, failures=(), counts={"pending": 0}
            ),
            "run r1 succeeded after 3 min 20 s (nothing ran)",
        ),
        (cascade.StageStarted(**WHEN, index=2, size=7), "stage 2: 7 nodes"),
        (cascade.StageStarted(**WHEN, index=2, size=1), "stage 2: 1 node"),
        (cascade.StageStarted(**WHEN, index=2, size=1, within="grow/more"), "  stage 2 in grow/more: 1 node"),
        (cascade.TaskExecutionStarted(**NODE), "  fetch#3 started"),
        (cascade.TaskExecutionStarted(**NODE, items=0), "  fetch#3 started: 0 items"),
        (
            cascade.TaskExecutionFinished(
                **NODE, status="Succeeded", duration=0.5, attempt=1, result_preview="[1]"
            ),
            "  fetch#3 succeeded in 500 ms: [1]",
        ),
        (
            cascade.TaskExecutionFinished(**NODE, status="Failed", duration=0.5, attempt=1, error="KeyError: 'k'"),
            "  fetch#3 failed after 500 ms: KeyError: 'k'",
        ),
        (
            cascade.TaskExecutionFinished(**NODE, status="Failed", duration=0.5, attempt=3, error="KeyError: 'k'"),
            "  fetch#3 failed in attempt 3 after 500 ms: KeyError: 'k'",
        ),
        (
            cascade.TaskExecutionFinished(**NODE, status="Cancelled", duration=0.5, attempt=1),
            "  fetch#3 cancelled after 500 ms",
        ),
        (cascade.UndoStarted(**NODE, undo="put_back"), "  fetch#3 is being undone by put_back"),
        (
            cascade.UndoFinished(**NODE, undo="put_back", status="Succeeded", duration=0.5),
            "  fetch#3 undone in 500 ms",
        ),
        (
            cascade.UndoFinished(**NODE, undo="put_back", status="Failed", duration=0.5, error="OSError: no"),
            "  fetch#3 not undone: put_back failed after 500 ms: OSError: no",
        ),
        (
            cascade.UndoFinished(**NODE, undo="put_back", status="Cancelled", duration=0.5),
            "  fetch#3 not undone in time: put_back cancelled after 500 ms",
        ),
        (cascade.TaskSkipped(**NODE, reason="CacheHit"), "  fetch#3 taken from the cache"),
        (
            cascade.TaskSkipped(**NODE, reason="ConditionFalse"),
            "  fetch#3 skipped: its condition (run_if) was false (ConditionFalse)",
        ),
        (
            cascade.TaskSkipped(**NODE, reason="UpstreamSkipped_Sequence"),
            "  fetch#3 skipped: a call that it runs after was skipped (UpstreamSkipped_Sequence)",
        ),
        (cascade.TaskSkipped(**NODE, reason="of a later version"), "  fetch#3 skipped: of a later version"),
        (
            cascade.TaskRetrying(**NODE, attempt=1, max_attempts=3, delay=0.2, error="OSError: no"),
            "  fetch#3 failed in attempt 1 of 3, next in 200 ms: OSError: no",
        ),
        (cascade.TaskBlocked(**NODE, reason="ResourceContention"), "  fetch#3 waits: ResourceContention"),
        (
            cascade.TaskBlocked(**NODE, reason="ConstraintViolation", detail="paused by 'ada' (global)"),
            "  fetch#3 waits: paused by 'ada' (global)",
        ),
        (cascade.ResourceAcquired(**WHEN, resource_name="db", scope="run"), "  resource db opened (run)"),
        (cascade.ResourceReleased(**WHEN, resource_name="db", scope="run"), "  resource db closed (run)"),
        (cascade.LoopProgress(**WHEN, task_name="poll", turns=5000), "  poll: 5000 turns"),
        (
            cascade.ControlChanged(**WHEN, kind="pause", scope="global", action="set", author="ada"),
            "rule set by ada: pause global",
        ),
        (
            cascade.ControlChanged(
                **WHEN, kind="rate", scope="task:f", action="expired", author="ada", rule="limit task:f to 1/s"
            ),
            "rule expired: limit task:f to 1/s",
        ),
        (
            cascade.ConnectorDisconnected(**WHEN, connector="MqttConnector", reason="no route"),
            "warning: MqttConnector has no connection: no route; the last known rules stay in force",
        ),
        (
            cascade.StaticAnalysisWarning(**WHEN, warning_code="CS-W002", message="unmanaged 'gpu'"),
            "warning CS-W002: unmanaged 'gpu'",
        ),
        (cascade.EngineWarning(**WHEN, code="overdue", message="still there"), "warning overdue: still there"),
        (cascade.EventsDropped(**WHEN, count=12), "warning: 12 events dropped"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, cascade.Event) else "",
)
async def test_an_event_is_told_in_one_line(event: cascade.Event, words: str) -> None:
    assert await lines_about(event) == [words]


async def test_nothing_is_told_of_a_connection_as_long_as_it_stands() -> None:
    connected = cascade.ConnectorConnected(**WHEN, connector="MqttConnector")
    lost = cascade.ConnectorDisconnected(**WHEN, connector="MqttConnector", reason="no route")

    told = await lines_about(connected, lost, connected, connected)
    assert len(told) == 2
    assert told[1] == "MqttConnector is connected again"


async def test_the_end_of_a_run_does_not_repeat_what_a_node_has_said() -> None:
    failed = cascade.TaskExecutionFinished(**NODE, status="Failed", duration=0.5, attempt=1, error="KeyError: 'k'")
    ended: dict[str, Any] = {"status": "Failed", "duration": 1.0, "failures": (), "counts": COUNTS}

    same = await lines_about(failed, cascade.RunFinished(**WHEN, **ended, error="KeyError: 'k'"))
    other = await lines_about(failed, cascade.RunFinished(**WHEN, **ended, error="StateError: full"))
    assert same[-1] == "run r1 failed after 1.0 s (2 succeeded, 1 failed, 3 not begun)"
    assert other[-1].endswith(": StateError: full")


async def test_hits_of_the_cache_are_no_skips() -> None:
    store = cascade.cache.MemoryCacheStore()
    flow = double(1).with_cache(cascade.cache.InputCache(store))
    await cascade.run(flow)
    stream = io.StringIO()
    await cascade.run([flow, one()], observers=[human_log(stream)])

    assert "  double taken from the cache" in stream.getvalue()
    assert "(2 succeeded, 1 of these from the cache)" in stream.getvalue()
    assert "skipped" not in stream.getvalue()


async def test_the_end_of_a_run_counts_handled_failures_by_themselves() -> None:
    stream = io.StringIO()
    await cascade.run([fails().or_else(1), cascade.settled(fails()), one()], observers=[human_log(stream)])
    assert "(1 succeeded, 2 failed (handled))" in stream.getvalue()

    stream = io.StringIO()
    with pytest.raises(ValueError, match="trouble"):
        await cascade.run(fails().after(cascade.settled(fails())), observers=[human_log(stream)])
    assert "(1 failed, 1 failed (handled))" in stream.getvalue()


async def test_the_end_of_a_resumed_run_says_how_many_nodes_had_ended_earlier(tmp_path: Path) -> None:
    state, ends = f"sqlite:///{tmp_path}/runs.db", []
    skipped = cascade.settled(one().run_if(False))
    flow = fails().after(double(1), double.map(x=[1, 2]), skipped, one().or_else(one()))
    for _ in range(2):
        stream = io.StringIO()
        with pytest.raises(ValueError, match="trouble"):
            await cascade.run(flow, state=state, run_id="r1", observers=[human_log(stream)])
        ends.append(stream.getvalue().splitlines()[-1])
    assert "(5 succeeded, 2 skipped, 1 failed)" in ends[0]
    assert (
        "(3 succeeded, 3 of these recorded earlier, 2 skipped, 1 of these recorded earlier, 1 failed)" in ends[1]
    )


async def test_a_fallback_that_is_not_needed_is_no_riddle() -> None:
    stream = io.StringIO()
    await cascade.run(one().or_else(double(1)), observers=[human_log(stream)])
    (line,) = [line for line in stream.getvalue().splitlines() if "  double skipped: " in line]
    assert "fallback (or_else)" in line
    assert line.endswith(" (Pruned)")


async def test_two_runs_that_one_stream_tells_of_are_not_mixed_up() -> None:
    hit = cascade.TaskSkipped(**NODE, reason="CacheHit")
    ended: dict[str, Any] = {**WHEN, "status": "Succeeded", "duration": 1.0, "error": None, "failures": ()}
    told = await lines_about(
        hit,
        cascade.RunFinished(**{**ended, "run_id": "r2"}, counts={"succeeded": 1}),
        cascade.RunFinished(**ended, counts={"succeeded": 1}),
        cascade.RunFinished(**ended, counts={"succeeded": 1}),
    )

    assert ["from the cache" in line for line in told] == [True, False, True, False]


async def test_a_resumed_run_says_what_is_taken_over(tmp_path: Path) -> None:
    state, stream = f"sqlite:///{tmp_path}/runs.db", io.StringIO()
    flow = [double.map(x=range(3)), *(double(n) for n in range(4)), fails()]
    with pytest.raises(ValueError, match="trouble"):
        await cascade.run(flow, state=state, run_id="r1", observers=[human_log(io.StringIO())], durability="task")
    with pytest.raises(ValueError, match="trouble"):
        await cascade.run(flow, state=state, run_id="r1", observers=[human_log(stream)])

    first, second = stream.getvalue().splitlines()[:2]
    assert "run r1 resumed: double, double#2, " in first
    assert re.search(r":\d\d   [0-7] of 8 nodes recorded earlier", second)
    assert "run r1 started" not in stream.getvalue()


async def test_a_run_that_had_finished_says_so_and_has_nothing_pending(tmp_path: Path) -> None:
    state, stream = f"sqlite:///{tmp_path}/runs.db", io.StringIO()
    await cascade.run([one(), one()], state=state, run_id="r1")
    engine = cascade.Engine(state=state, observers=[human_log(stream)])
    with record_events(engine) as recorded:
        assert await engine.run([one(), one()], run_id="r1") == [1, 1]

    told = stream.getvalue()
    assert "run r1 resumed: one, one#2 (2 nodes)" in told
    assert re.search(r"  it had finished at 20\d\d-\d\d-\d\d [\d:]{8}: nothing runs, its recorded result", told)
    assert "succeeded after" in told
    assert "(nothing ran)" in told
    (end,) = recorded.of(cascade.RunFinished)
    assert set(end.counts.values()) == {0}


@given(st.lists(any_events(), max_size=3))
async def test_no_text_from_anywhere_leaves_its_line_or_steers_the_terminal(events: list[cascade.Event]) -> None:
    stream, bus = io.StringIO(), cascade.EventBus()
    async with bus.subscribe(cascade.Event, cascade.AttemptStarted) as subscribed:
        for event in events:
            bus.publish(event)
        subscribed.end()
        await human_log(stream)(subscribed)

    written = stream.getvalue()
    assert written.replace("\n", "").isprintable()
    assert written.count("\n") <= len(events)
    written.encode("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
async def test_what_the_stream_cannot_encode_is_escaped(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    task = cascade.task(name="\u6f22")(fails.func)
    with pytest.raises(ValueError, match="\u00fc"):
        await cascade.run(task("gr\u00fcn \udce9"), observers=[human_log(stream)])

    told = raw.getvalue().decode(encoding)
    assert {"ascii": r"gr\xfcn", "latin-1": "gr\u00fcn", "utf-8": "gr\u00fcn"}[encoding] + r" \udce9" in told
    assert ("\u6f22" if encoding == "utf-8" else r"\u6f22") in told
    stream.close()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "no_color"), [("xterm", ""), ("xterm", "1"), ("dumb", "")])
async def test_lines_are_coloured_on_terminals_only_and_not_if_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, term: str, no_color: str
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal, file = Terminal(), io.StringIO()
    with pytest.raises(ValueError, match="trouble"):
        await cascade.run(fails("trouble \x1b[2J"), observers=[human_log(terminal), human_log(file)])

    assert "\x1b" not in file.getvalue()
    assert re.sub(r"\x1b\[\d+m", "", terminal.getvalue()) == file.getvalue()
    assert ("\x1b[31m" in terminal.getvalue()) is (term == "xterm" and not no_color)


async def test_nobody_is_told_where_standard_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    engine = cascade.Engine(observers=[human_log()])
    with record_events(engine) as recorded:
        await engine.run(one())

    assert recorded.of(cascade.EngineWarning) == []


async def test_events_are_told_in_order(schedule: Any) -> None:
    stream = io.StringIO()
    await cascade.run(double(one()), observers=[human_log(stream)], schedule=schedule, run_id="r1")

    told = [" ".join(line.split()[1:3]) for line in stream.getvalue().splitlines()]
    assert [words for words in told if not words.startswith("stage")] == [
        "run r1",
        "one started",
        "one succeeded",
        "double started",
        "double succeeded",
        "run r1",
    ]


async def test_lines_go_to_what_is_stderr_when_the_run_starts(capsys: pytest.CaptureFixture[str]) -> None:
    observer = human_log()
    await cascade.run(one(), observers=[observer])

    out, err = capsys.readouterr()
    assert out == ""
    assert "one succeeded" in err


async def test_a_stream_of_a_person_is_left_open_and_flushed() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    await cascade.run(one(), observers=[human_log(stream)])

    assert b"succeeded after" in raw.getvalue()
    stream.close()


async def test_a_stream_that_breaks_is_reported_and_does_not_fail_the_run() -> None:
    stream = io.StringIO()
    stream.close()
    engine = cascade.Engine(observers=[human_log(stream)])
    with record_events(engine) as recorded:
        assert await engine.run(one()) == 1

    assert [warning.code for warning in recorded.of(cascade.EngineWarning)] == ["observer-failed"]


async def test_several_observers_each_see_everything() -> None:
    streams = [io.StringIO() for _ in range(3)]
    await cascade.run(double(one()), observers=[json_lines(stream) for stream in streams])

    assert len({stream.getvalue() for stream in streams}) == 1
    assert streams[0].getvalue()


async def test_a_run_is_silent_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="trouble"):
        await cascade.run([one(), fails()])

    assert capfd.readouterr() == ("", "")


async def test_a_person_is_told_of_rules_and_of_a_lost_connection() -> None:
    stream, plane = io.StringIO(), cascade.control.ControlPlane()
    await plane.pause("task:double", author="ada")
    async with (
        cascade.start(double(1), control=plane, observers=[human_log(stream)]) as run,
        run.subscribe(cascade.TaskBlocked) as events,
    ):
        await events.receive()
        await plane.limit("global", concurrency=2, author="ops")
        await plane.resume("task:double", author="bob")

    told = stream.getvalue()
    assert "  double waits: paused by 'ada' (task:double)" in told
    assert "rule set by ops: limit global to 2 at a time" in told
    assert "rule lifted by bob: pause task:double" in told


async def test_a_log_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await cascade.run(one(), observers=[json_lines(path)])
    assert path.stat().st_mode & 0o777 == 0o600

    path.chmod(0o644)
    await cascade.run(one(), observers=[json_lines(path)])
    assert path.stat().st_mode & 0o777 == 0o644  # as its owner wants it
