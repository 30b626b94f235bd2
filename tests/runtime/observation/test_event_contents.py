"""What events say: numbers, times, ids, errors, previews, counts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from life import finished
from observed import events_of
from plain_tasks import fail, in_thread, source
from unshowable import MuteError

import cascade
from cascade.events import as_record
from cascade.testing import record_events


async def test_numbers_of_events_increase_by_one(schedule: Any) -> None:
    recorded = await events_of(in_thread.map(value=source([1, 2, 3])), schedule=schedule)
    assert [event.seq for event in recorded.events] == [*range(1, len(recorded.events) + 1)]


async def test_every_event_has_its_run_and_the_time_of_day() -> None:
    began = time.time()
    recorded = await events_of(in_thread(source()))
    assert {event.run_id for event in recorded.events} == {"this run"}
    assert all(began - 1 <= event.timestamp <= time.time() + 1 for event in recorded.events)


async def test_the_first_event_names_targets_and_resolved_params() -> None:
    flow = {"a": in_thread(cascade.Param("n", default=3)), "b": source(cascade.Param("m", type=int))}
    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            await engine.run(flow, {"m": "4"})
    (started,) = recorded.of(cascade.RunStarted)
    assert started.target_tasks == ("in_thread", "source")
    assert started.params == {"n": 3, "m": 4}


async def test_the_first_event_tells_how_many_nodes_each_task_has() -> None:
    flow = in_thread(
        [source(), source(), source.map(value=range(5)), source.map(value=in_thread.map(value=source())), 3]
    )
    recorded = await events_of(cascade.Router(source("a"), {"a": flow, "b": fail()}))
    (started,) = recorded.of(cascade.RunStarted)
    assert started.calls == {"source": 4, "in_thread": 1, "fail": 1}
    assert started.maps == {"source": {"source#4": 5, "source#6": None}, "in_thread": {"in_thread": None}}


async def test_a_map_says_how_many_items_it_has(schedule: Any) -> None:
    recorded = await events_of(in_thread.map(value=source([1, 2, 3])), schedule=schedule)
    items = {event.task_id: event.items for event in recorded.of(cascade.TaskExecutionStarted)}
    assert items == {
        "source": None,
        "in_thread": 3,
        "in_thread[0]": None,
        "in_thread[1]": None,
        "in_thread[2]": None,
    }


async def test_a_map_whose_columns_are_none_fails_before_it_begins() -> None:
    recorded = await events_of(in_thread.map(value=source(3)))
    assert [event.task_id for event in recorded.of(cascade.TaskExecutionStarted)] == ["source"]
    assert recorded.of(cascade.TaskExecutionFinished)[-1].status == "Failed"


async def test_a_later_attempt_is_told_to_those_who_ask_for_it_by_name() -> None:
    @cascade.task
    async def fails_twice() -> None:
        if cascade.current().attempt < 3:
            raise ValueError("no luck")

    kinds: list[tuple[type[cascade.Event], ...]] = [(cascade.AttemptStarted,), (cascade.NodeEvent,), ()]
    found: list[list[tuple[str, int]]] = [[], [], []]
    async with cascade.start(fails_twice().with_retry(3)) as run:
        streams = [run.subscribe(*wanted) for wanted in kinds]
    for stream, told in zip(streams, found, strict=True):
        async with stream:
            async for event in stream:
                if isinstance(event, cascade.AttemptStarted):
                    told.append((event.task_id, event.attempt))
    assert found == [[("fails_twice", 2), ("fails_twice", 3)], [], []]


async def test_a_later_attempt_is_told_where_nothing_else_is_listened_to() -> None:
    async with cascade.start(fail().with_retry(2)) as run, run.subscribe(cascade.AttemptStarted) as events:
        event = await events.receive()
        assert isinstance(event, cascade.AttemptStarted)
        assert (event.task_id, event.attempt) == ("fail", 2)
        with pytest.raises(ValueError, match="no luck"):
            await run.result()


async def test_a_node_that_waits_says_for_what(schedule: Any) -> None:
    plane = cascade.control.ControlPlane()
    await plane.pause("task:source", author="ada")
    await plane.limit("task:fail", concurrency=3, author="bob")
    flow = [source(), in_thread(1).with_constraints(gpu=2), in_thread(2).with_constraints(gpu=1)]
    details = {}
    async with (
        cascade.start(flow, control=plane, system_resources={"gpu": 2}, schedule=schedule) as run,
        run.subscribe(cascade.TaskBlocked) as events,
    ):
        for _ in range(2):
            event = await events.receive()
            assert isinstance(event, cascade.TaskBlocked)
            details[event.reason] = event.detail
        await plane.resume("task:source")
    assert details["ConstraintViolation"] == "paused by 'ada' (task:source)"
    assert re.fullmatch(r"needs [12] gpu, [12] of 2 in use by in_thread(#2)?", details["ResourceContention"])


async def test_a_run_that_goes_on_says_what_is_recorded(tmp_path: Path) -> None:
    flow = fail([in_thread.map(value=range(3)), source(), source()])
    settings = {"state": f"sqlite:///{tmp_path}/runs.db"}
    assert not (await events_of(flow, **settings)).of(cascade.RunResumed)
    (resumed,) = (await events_of(flow, **settings)).of(cascade.RunResumed)
    assert (resumed.epoch, resumed.is_finished, resumed.finished) == (2, False, None)
    assert resumed.by_task == {"in_thread": 3, "source": 2}
    assert resumed.recorded == 6  # the map too


@pytest.mark.parametrize(
    ("again", "is_resumed"),
    [({}, True), ({"on_finished": "rerun"}, False), ({"state": None}, False)],
    ids=["goes on", "rerun", "no store"],
)
async def test_the_first_event_says_whether_the_run_is_resumed(
    tmp_path: Path, again: dict[str, Any], is_resumed: bool
) -> None:
    settings = {"state": f"sqlite:///{tmp_path}/runs.db"}
    (begun,) = (await events_of(source(), **settings)).of(cascade.RunStarted)
    assert not begun.is_resumed
    recorded = await events_of(source(), **{**settings, **again})
    (begun,) = recorded.of(cascade.RunStarted)
    assert begun.is_resumed is is_resumed
    assert bool(recorded.of(cascade.RunResumed)) is is_resumed


@pytest.mark.parametrize("knows_the_time", [True, False])
async def test_a_run_that_had_finished_says_when(tmp_path: Path, knows_the_time: bool) -> None:
    began, known = time.time(), cascade.state.InMemoryStateBackend("this run")
    settings = {"state": f"sqlite:///{tmp_path}/runs.db" if knows_the_time else lambda _: known}
    await events_of([source(), source()], **settings)
    again = await events_of([source(), source()], **settings)
    (resumed,) = again.of(cascade.RunResumed)
    assert resumed.is_finished
    if knows_the_time:
        assert resumed.finished is not None
        assert began - 1 <= resumed.finished <= time.time()
    else:
        assert resumed.finished is None
    assert [type(event).__name__ for event in again.events] == ["RunStarted", "RunResumed", "RunFinished"]
    assert set(finished(again).counts.values()) == {0}


async def test_a_rule_that_changes_is_told_in_words() -> None:
    async with cascade.start(source()) as run, run.subscribe(cascade.ControlChanged) as events:
        await run.limit("task:x", rate="10/s", author="ada")
        event = await events.receive()
        assert isinstance(event, cascade.ControlChanged)
        assert event.rule == "limit task:x to 10/s"


async def test_stages_say_their_number_and_size() -> None:
    recorded = await events_of(in_thread([source(), source()]))
    stages = [(event.index, event.size) for event in recorded.of(cascade.StageStarted)]
    assert stages == [(0, 2), (1, 1)]
    assert [(event.index, event.size) for event in recorded.of(cascade.StageFinished)] == stages


async def test_stages_say_of_which_flow_they_are() -> None:
    @cascade.task
    async def grow() -> Any:
        return in_thread([source(), source()])

    recorded = await events_of([in_thread(grow())])
    stages = [(event.within, event.index, event.size) for event in recorded.of(cascade.StageStarted)]
    assert stages == [(None, 0, 1), ("grow", 0, 2), ("grow", 1, 1), (None, 1, 1)]
    finished = [(event.within, event.index, event.size) for event in recorded.of(cascade.StageFinished)]
    assert finished == [*stages[1:3], stages[0], stages[3]]


async def test_node_events_say_node_and_task() -> None:
    @cascade.task(name="other name")
    async def named() -> None: ...

    recorded = await events_of([named(), named()])
    ids = {(event.task_id, event.task_name) for event in recorded.of(cascade.NodeEvent)}
    assert ids == {("other name", "other name"), ("other name#2", "other name")}


async def test_a_retry_says_how_long_it_waits_and_why() -> None:
    recorded = await events_of(fail().with_retry(3))
    first = recorded.of(cascade.TaskRetrying)[0]
    assert (first.attempt, first.max_attempts, first.delay, first.error) == (1, 3, 0.0, "ValueError: no luck")


async def test_a_failure_is_told_as_type_and_message() -> None:
    recorded = await events_of(fail())
    assert recorded.of(cascade.TaskExecutionFinished)[0].error == "ValueError: no luck"
    assert finished(recorded).error == "ValueError: no luck"
    assert finished(recorded).failures == ("ValueError: no luck",)


async def test_a_failed_task_has_no_result_and_a_successful_one_no_error() -> None:
    recorded = await events_of(fail(source("text")))
    success, failure = recorded.of(cascade.TaskExecutionFinished)
    assert (success.result_preview, success.error) == ("'text'", None)
    assert failure.result_preview is None


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("I do not speak")


@pytest.mark.parametrize(
    "value",
    [
        "x" * 5000,
        b"x" * 5000,
        list(range(5000)),
        tuple(range(5000)),
        dict.fromkeys(range(500)),
        {"a": ["b" * 500]},
    ],
    ids=["str", "bytes", "list", "tuple", "dict", "nested"],
)
async def test_a_preview_is_the_repr_cut_to_100_characters(value: Any) -> None:
    text = (await events_of(source(value))).of(cascade.TaskExecutionFinished)[0].result_preview
    assert text is not None
    assert len(text) == 100
    assert repr(value).startswith(text[:97])


@pytest.mark.parametrize("value", [None, 0, False, "short", "x" * 98, [1, 2], Mapping])
async def test_a_preview_of_a_short_value_is_its_whole_repr(value: Any) -> None:
    assert (await events_of(source(value))).of(cascade.TaskExecutionFinished)[0].result_preview == repr(value)


@pytest.mark.parametrize("value", [Mute(), [Mute()]])
async def test_a_repr_that_raises_fails_nothing(value: Any) -> None:
    recorded = await events_of(source(value))
    assert finished(recorded).status == "Succeeded"
    assert "RuntimeError" in str(recorded.of(cascade.TaskExecutionFinished)[0].result_preview)


async def test_an_error_whose_text_raises_fails_nothing_else() -> None:
    @cascade.task
    async def fail_silently() -> None:
        raise MuteError

    async with cascade.Engine() as engine:
        with record_events(engine) as recorded, pytest.raises(MuteError):
            await engine.run(fail_silently())
    assert "MuteError" in str(finished(recorded).error)


async def test_the_last_event_counts_nodes_in_all_states(schedule: Any) -> None:
    flow = [
        source(),
        source().run_if(False),
        in_thread(in_thread(fail())),
        cascade.Router(source("a"), {"a": source(), "b": source()}),
    ]
    recorded = await events_of(flow, schedule=schedule, on_error="continue")
    counts = finished(recorded).counts
    assert {state: counts[state] for state in ("succeeded", "failed", "skipped", "cancelled", "pending")} == {
        "succeeded": 3,
        "failed": 1,
        "skipped": 4,
        "cancelled": 0,
        "pending": 0,
    }


async def test_a_node_that_never_began_is_counted_but_has_no_event() -> None:
    recorded = await events_of(in_thread(in_thread(fail())))
    assert finished(recorded).counts["pending"] == 2
    assert recorded.about("in_thread") == []


async def test_events_are_frozen() -> None:
    event = (await events_of(5)).events[0]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.seq = 2  # type: ignore[misc]  # this is what must not work


async def test_every_event_can_be_said_in_plain_data() -> None:
    recorded = await events_of(in_thread(fail(source(Mute()))).with_retry(2), state="memory:")
    for event in recorded.events:
        record = as_record(event)
        assert record["type"] == type(event).__name__
        assert record["seq"] == event.seq
