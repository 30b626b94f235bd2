"""Observers that write a line per event: ``human_log`` for people, ``json_lines`` for programs."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import cascade
from cascade.adapters.observers.lines import sentence
from cascade.events import as_record
from cascade.observers import human_log, json_lines
from cascade.testing import record_events


@cascade.task
async def one() -> int:
    return 1


@cascade.task
def double(x: object) -> str:
    return 2 * str(x)


@cascade.task
async def fails(message: str = "trouble") -> None:
    raise ValueError(message)


@cascade.task
async def for_ever() -> None:
    await anyio.sleep_forever()


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
    async with cascade.start(for_ever(), observers=[json_lines(stream)]) as run:
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
        async with cascade.start(for_ever(), observers=[json_lines(stream)]) as run:
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


async def lines_about(*events: cascade.Event) -> list[str]:
    """What ``human_log`` writes about *events*, without the time."""
    stream, bus = io.StringIO(), cascade.EventBus()
    async with bus.subscribe() as subscribed:
        for event in events:
            bus.publish(event)
        subscribed.end()
        await human_log(stream)(subscribed)
    return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]


WHEN: dict[str, Any] = {"seq": 1, "timestamp": 1_700_000_000.0, "run_id": "r1"}
NODE: dict[str, Any] = {**WHEN, "task_id": "fetch#3", "task_name": "fetch"}
COUNTS = {"succeeded": 2, "failed": 1, "skipped": 0}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (cascade.RunStarted(**WHEN, target_tasks=("a", "b"), params={}), ["r1", "started", "a, b"]),
        (
            cascade.RunFinished(
                **WHEN, status="Failed", duration=1.5, error="ValueError: x", failures=(), counts=COUNTS
            ),
            ["r1", "failed", "1.50 s", "ValueError: x", "2 succeeded", "1 failed"],
        ),
        (cascade.StageStarted(**WHEN, index=2, size=7), ["stage 2", "7 tasks"]),
        (cascade.StageStarted(**WHEN, index=2, size=1), ["stage 2", "1 task"]),
        (cascade.TaskExecutionStarted(**NODE), ["fetch#3", "started"]),
        (
            cascade.TaskExecutionFinished(
                **NODE, status="Succeeded", duration=0.5, attempt=1, result_preview="[1]"
            ),
            ["fetch#3", "succeeded", "0.500 s", "[1]"],
        ),
        (
            cascade.TaskExecutionFinished(**NODE, status="Failed", duration=0.5, attempt=1, error="KeyError: 'k'"),
            ["fetch#3", "failed", "KeyError: 'k'"],
        ),
        (
            cascade.TaskExecutionFinished(**NODE, status="Cancelled", duration=0.5, attempt=1),
            ["fetch#3", "cancelled"],
        ),
        (cascade.TaskSkipped(**NODE, reason="CacheHit"), ["fetch#3", "skipped", "CacheHit"]),
        (
            cascade.TaskRetrying(**NODE, attempt=1, max_attempts=3, delay=0.2, error="OSError: no"),
            ["fetch#3", "attempt 1 of 3", "0.20 s", "OSError: no"],
        ),
        (cascade.TaskBlocked(**NODE, reason="ResourceContention"), ["fetch#3", "ResourceContention"]),
        (cascade.ResourceAcquired(**WHEN, resource_name="db", scope="run"), ["db", "opened", "run"]),
        (cascade.ResourceReleased(**WHEN, resource_name="db", scope="run"), ["db", "closed", "run"]),
        (cascade.LoopProgress(**WHEN, task_name="poll", turns=5000), ["poll", "5000"]),
        (
            cascade.StaticAnalysisWarning(**WHEN, warning_code="CS-W002", message="unmanaged 'gpu'"),
            ["warning", "CS-W002", "unmanaged 'gpu'"],
        ),
        (cascade.EngineWarning(**WHEN, code="overdue", message="still there"), ["warning", "overdue", "still"]),
        (cascade.EventsDropped(**WHEN, count=12), ["12", "dropped"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, cascade.Event) else "",
)
async def test_an_event_is_told_in_one_line(event: cascade.Event, words: list[str]) -> None:
    (line,) = await lines_about(event)

    for word in words:
        assert word in line


async def test_an_error_of_several_lines_is_told_in_one() -> None:
    finished = cascade.TaskExecutionFinished(
        **NODE, status="Failed", duration=0.5, attempt=1, error="ValueError: first\nsecond"
    )

    assert len(await lines_about(finished)) == 1


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
    assert "concurrency global set by ops" in told
    assert "pause task:double lifted by bob" in told
    lost = cascade.ConnectorDisconnected(
        seq=1, timestamp=0.0, run_id="r", connector="MqttConnector", reason="no route"
    )
    assert sentence(lost) == "warning: MqttConnector has lost its connection: no route"
