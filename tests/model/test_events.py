"""Events: frozen records with stable fields, and their form in JSON."""

from __future__ import annotations

import inspect
import json
import math
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from labels import label
from unshowable import MuteError

import cascade
import cascade.events
from cascade.events import SCHEMA_VERSION, as_record

EVENT = ("seq", "timestamp", "run_id")
NODE = (*EVENT, "task_id", "task_name")

# What programs that read the JSON of events rely on: raise SCHEMA_VERSION if a field changes its meaning or goes.
FIELDS: dict[str, tuple[str, ...]] = {
    "RunStarted": (*EVENT, "target_tasks", "params"),
    "RunFinished": (*EVENT, "status", "duration", "error", "failures", "counts"),
    "StageStarted": (*EVENT, "index", "size"),
    "StageFinished": (*EVENT, "index", "size"),
    "TaskExecutionStarted": NODE,
    "TaskExecutionFinished": (*NODE, "status", "duration", "attempt", "result_preview", "error"),
    "TaskSkipped": (*NODE, "reason"),
    "TaskRetrying": (*NODE, "attempt", "max_attempts", "delay", "error"),
    "TaskBlocked": (*NODE, "reason"),
    "ResourceAcquired": (*EVENT, "resource_name", "scope"),
    "ResourceReleased": (*EVENT, "resource_name", "scope"),
    "StaticAnalysisWarning": (*EVENT, "warning_code", "message"),
    "EngineWarning": (*EVENT, "code", "message"),
    "LoopProgress": EVENT,
    "StateRecorded": EVENT,
    "ControlChanged": EVENT,
    "ConnectorConnected": EVENT,
    "ConnectorDisconnected": EVENT,
    "EventsDropped": (*EVENT, "count"),
}
SAMPLES: dict[str, Any] = {
    "seq": 7,
    "timestamp": 1_700_000_000.25,
    "run_id": "r1",
    "task_id": "fetch#3",
    "task_name": "fetch",
    "target_tasks": ("a", "b"),
    "params": {"limit": 3},
    "status": "Succeeded",
    "duration": 0.5,
    "error": "ValueError: x",
    "failures": ("ValueError: x", "KeyError: 'k'"),
    "counts": {"succeeded": 1},
    "index": 0,
    "size": 2,
    "turns": 5,
    "total": 9,
    "count": 3,
    "attempt": 1,
    "max_attempts": 3,
    "delay": 0.25,
}


def event_classes() -> list[type[cascade.Event]]:
    """Every concrete class of events."""
    found = [thing for thing in vars(cascade.events).values() if inspect.isclass(thing)]
    events = [kind for kind in found if issubclass(kind, cascade.Event)]
    return [kind for kind in events if kind not in (cascade.Event, cascade.NodeEvent)]


def sample(kind: type[cascade.Event]) -> cascade.Event:
    """An event of that class."""
    return kind(**{field.name: SAMPLES.get(field.name, "words") for field in attrs.fields(kind)})


ALL = pytest.mark.parametrize("kind", event_classes(), ids=lambda kind: kind.__name__)


def test_there_are_the_events_of_the_contract() -> None:
    assert {kind.__name__ for kind in event_classes()} >= FIELDS.keys()


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_an_event_has_the_fields_of_the_contract(name: str) -> None:
    # The label came later, in the base class of events about nodes.
    names = [field.name for field in attrs.fields(getattr(cascade, name)) if field.name != "label"]

    assert names[: len(FIELDS[name])] == list(FIELDS[name])


@ALL
def test_an_event_is_exported_by_cascade_and_by_cascade_events(kind: type[cascade.Event]) -> None:
    assert getattr(cascade, kind.__name__) is kind
    assert kind.__name__ in cascade.events.__all__


@ALL
def test_events_about_a_node_are_node_events(kind: type[cascade.Event]) -> None:
    names = {field.name for field in attrs.fields(kind)}

    assert issubclass(kind, cascade.NodeEvent) is (names >= {"task_id", "task_name"})


@ALL
def test_an_event_is_frozen(kind: type[cascade.Event]) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        sample(kind).seq = 8  # type: ignore[misc]  # that is the point


@ALL
def test_events_of_equal_fields_are_equal(kind: type[cascade.Event]) -> None:
    assert sample(kind) == sample(kind)
    assert sample(kind) != attrs.evolve(sample(kind), seq=8)


# -- as_record ---------------------------------------------------------------------------------------------------


@ALL
def test_a_record_begins_with_schema_and_type_and_has_every_field(kind: type[cascade.Event]) -> None:
    record = as_record(sample(kind))

    assert list(record) == ["schema", "type", *(field.name for field in attrs.fields(kind))]
    assert (record["schema"], record["type"]) == (SCHEMA_VERSION, kind.__name__)


@ALL
def test_a_record_survives_json_unchanged(kind: type[cascade.Event]) -> None:
    record = as_record(sample(kind))

    assert json.loads(json.dumps(record, allow_nan=False)) == record


def as_param(value: object) -> Any:
    """How *value* appears in the record of a run's parameters."""
    event = cascade.RunStarted(seq=1, timestamp=0.0, run_id="r1", target_tasks=(), params={"it": value})
    record = as_record(event)
    json.dumps(record, allow_nan=False)
    return record["params"]["it"]


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@attrs.frozen
class Point:
    x: int


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (2**70, 2**70),
        (1.5, 1.5),
        ("", ""),
        ("long " * 100, "long " * 100),
        ((), []),
        ((1, ("a", None)), [1, ["a", None]]),
        ([1, [2]], [1, [2]]),
        ({"a": (1,), "b": {"c": None}}, {"a": [1], "b": {"c": None}}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({1: "x"}, {"1": "x"}),
        (Level.HIGH, 3),
    ],
    ids=label,
)
def test_what_json_knows_appears_as_it_is(value: object, shown: object) -> None:
    assert as_param(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (b"raw", "b'raw'"),
        ({3}, "{3}"),
        (Fraction(1, 3), "Fraction(1, 3)"),
        (Colour.RED, "<Colour.RED: 'red'>"),
        (Point(1), "Point(x=1)"),
        (Path, repr(Path)),
        ((1, Point(2)), [1, "Point(x=2)"]),
    ],
    ids=label,
)
def test_what_json_does_not_know_appears_as_its_preview(value: object, shown: object) -> None:
    assert as_param(value) == shown


def test_a_value_that_cannot_show_itself_still_has_a_record() -> None:
    assert "Unshowable" in as_param(Unshowable())


def test_a_record_takes_no_part_in_later_changes() -> None:
    params: dict[str, Any] = {"a": {"b": 1}}
    event = cascade.RunStarted(seq=1, timestamp=0.0, run_id="r1", target_tasks=(), params=params)
    record = as_record(event)
    params["a"]["b"] = 2

    assert record["params"] == {"a": {"b": 1}}


# -- previews and errors -----------------------------------------------------------------------------------------


class Rows(list[int]):
    def __repr__(self) -> str:
        return f"<{len(self)} rows>"


class Column(list[int]):
    def __getitem__(self, place: Any) -> Any:
        return super().__getitem__(int(place))


class Endless(list[int]):
    def __len__(self) -> int:
        raise RuntimeError("nobody knows")


async def finished(value: object) -> cascade.TaskExecutionFinished:
    """The event of a task that has returned *value*."""

    @cascade.task(mode="inline")
    def give() -> object:
        return value

    async with cascade.start(give()) as run, run.subscribe(cascade.TaskExecutionFinished) as events:
        found = await events.receive()
        assert await run.result() is value
    assert isinstance(found, cascade.TaskExecutionFinished)
    return found


@pytest.mark.parametrize(
    "value",
    [
        None,
        False,
        0,
        "",
        "short",
        [1, 2],
        "x" * 98,
        list(range(20)),
        Rows(range(3)),
        Rows(range(300)),
        {"a": 1},
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_a_preview_is_the_repr_if_that_is_short(value: object) -> None:
    assert (await finished(value)).result_preview == repr(value)


@pytest.mark.parametrize(
    "value", ["x" * 101, "x" * 99, list(range(1000)), {i: i for i in range(1000)}, b"x" * 1000], ids=type
)
async def test_a_preview_is_cut_to_100_characters(value: object) -> None:
    text = (await finished(value)).result_preview

    assert text is not None
    assert len(text) <= 100
    assert repr(value).startswith(text[:90])


@pytest.mark.parametrize(
    "value",
    [Unshowable(), [Unshowable()], Column(range(300)), Endless(range(3))],
    ids=lambda value: type(value).__name__,
)
async def test_a_result_that_cannot_be_shown_does_not_fail_its_task(value: object) -> None:
    event = await finished(value)

    assert event.status == "Succeeded"
    assert isinstance(event.result_preview, str)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (KeyError("k"), "KeyError: 'k'"),
        (ValueError(), "ValueError"),
        (ExceptionGroup("several", [ValueError("bad")]), "ExceptionGroup: several (1 sub-exception)"),
        (MuteError(), "MuteError: "),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_is_told_by_type_and_message(error: Exception, words: str) -> None:
    @cascade.task
    async def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        async with cascade.start(fails()) as run, run.subscribe() as events:
            found = [event async for event in events]
            await run.result()

    ends = (cascade.TaskExecutionFinished, cascade.RunFinished)
    told = [event.error for event in found if isinstance(event, ends)]
    assert len(told) == 2
    for text in told:
        assert text is not None
        assert text.startswith(words)


async def test_the_sequence_numbers_of_a_run_are_strictly_increasing_from_1() -> None:
    @cascade.task
    async def one() -> int:
        return 1

    async with cascade.start([one(), one()]) as run, run.subscribe() as events:
        found: list[cascade.Event] = [event async for event in events]

    numbers = [event.seq for event in found]
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))
    assert {event.run_id for event in found} == {run.id}


@pytest.mark.parametrize("number", [10**5000, -(10**5000)], ids=["large", "small"])
def test_a_whole_number_that_cannot_be_written_is_shown_as_its_preview(number: int) -> None:
    event = cascade.RunStarted(seq=1, timestamp=0.0, run_id="r", target_tasks=(), params={"n": number, "m": 5})
    record = json.loads(json.dumps(as_record(event)))
    assert isinstance(record["params"]["n"], str)
    assert record["params"]["m"] == 5
