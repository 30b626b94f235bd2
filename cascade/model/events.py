"""What a run reports while it goes on.

Events are frozen; ``seq`` orders those of one run totally. Nothing is made for which nobody listens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import attrs

from cascade.model.secrets import Secrets, secrets_in_force

__all__ = [
    "SCHEMA_VERSION",
    "AttemptStarted",
    "ConnectorConnected",
    "ConnectorDisconnected",
    "ControlChanged",
    "EngineWarning",
    "Event",
    "EventsDropped",
    "LoopProgress",
    "NodeEvent",
    "ResourceAcquired",
    "ResourceReleased",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "StageFinished",
    "StageStarted",
    "StateRecorded",
    "StaticAnalysisWarning",
    "TaskBlocked",
    "TaskExecutionFinished",
    "TaskExecutionStarted",
    "TaskRetrying",
    "TaskSkipped",
    "as_record",
]

# Of the JSON form of events; raised when a field changes its meaning or goes.
SCHEMA_VERSION: Final = 1
RunStatus = Literal["Succeeded", "Failed", "Cancelled", "Drained"]
TaskStatus = Literal["Succeeded", "Failed", "Cancelled"]
BlockReason = Literal["ResourceContention", "ConstraintViolation"]


@attrs.frozen(kw_only=True)
class Event:
    """Base of all events.

    Attributes:
        seq: Position in the run's order, from 1, strictly increasing.
        timestamp: Wall clock, seconds since the epoch.
        run_id: The run.
    """

    # Whether subscribers to a base class are told of events of this class, or only those who name it.
    is_for_all: ClassVar[bool] = True

    seq: int
    timestamp: float
    run_id: str


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    """A run begins.

    What its flow makes up while it runs is in neither ``calls`` nor ``maps``.

    Attributes:
        target_tasks: Ids of the nodes whose values it returns.
        params: The resolved inputs.
        calls: Number of calls by task name, in the order of the flow; maps are not included, so it may be zero.
        maps: By task name, the maps by node id, each with the number of its items; ``None`` where that depends on
            a value that is not there yet.
    """

    target_tasks: tuple[str, ...]
    params: Mapping[str, object]
    calls: Mapping[str, int] = attrs.field(factory=dict)
    maps: Mapping[str, Mapping[str, int | None]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class RunResumed(Event):
    """A run goes on that was begun before.

    Attributes:
        recorded: Nodes in the store.
        epoch: How often it has been begun, this time included.
        by_task: The same nodes by task name, maps not included, but their items.
        finished: When it had succeeded, in seconds since the epoch: then nothing runs, and the recorded result is
            what it gives. ``None`` if it goes on, or if the store does not know the time.
        is_finished: Whether it had succeeded.
    """

    recorded: int
    epoch: int
    by_task: Mapping[str, int] = attrs.field(factory=dict)
    finished: float | None = None
    is_finished: bool = False


@attrs.frozen(kw_only=True)
class RunFinished(Event):
    """The last event of a run.

    Attributes:
        status: How it ended.
        duration: Seconds since it began.
        error: ``"Type: message"`` of what is raised, if anything.
        failures: All failures, in order of time, in that form.
        counts: How many nodes ended (or were left) in each state.
    """

    status: RunStatus
    duration: float
    error: str | None
    failures: tuple[str, ...]
    counts: Mapping[str, int]


@attrs.frozen(kw_only=True)
class StageStarted(Event):
    """A stage begins (schedule ``"stages"`` only). ``index`` from 0, ``size`` in nodes."""

    index: int
    size: int


@attrs.frozen(kw_only=True)
class StageFinished(Event):
    """All nodes of a stage have settled."""

    index: int
    size: int


@attrs.frozen(kw_only=True)
class NodeEvent(Event):
    """Base of events about one node.

    Attributes:
        task_id: The node's id.
        task_name: The task's name.
    """

    task_id: str
    task_name: str


@attrs.frozen(kw_only=True)
class TaskExecutionStarted(NodeEvent):
    """The first attempt of a node begins.

    Attributes:
        items: Of a map: how many items it has. ``None`` for a call.
    """

    items: int | None = None


@attrs.frozen(kw_only=True)
class AttemptStarted(NodeEvent):
    """An attempt begins that is not the first; ``attempt`` is its number, from 2.

    Only for subscribers that name this very class: ``subscribe(Event, AttemptStarted)``.
    """

    is_for_all = False

    attempt: int


@attrs.frozen(kw_only=True)
class TaskExecutionFinished(NodeEvent):
    """A node that began has ended.

    Attributes:
        status: How.
        duration: Seconds from the start of the first attempt; 0 if none began.
        attempt: Number of the last attempt; 0 if none began.
        result_preview: ``repr`` of the result, at most 100 characters; ``None`` without a result.
        error: ``"Type: message"``, if it failed.
    """

    status: TaskStatus
    duration: float
    attempt: int
    result_preview: str | None = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class TaskSkipped(NodeEvent):
    """A node did not run; ``reason`` is one of the stable strings of ``SkipReason``."""

    reason: str


@attrs.frozen(kw_only=True)
class TaskRetrying(NodeEvent):
    """Attempt ``attempt`` failed with ``error``; the next one begins after ``delay`` seconds."""

    attempt: int
    max_attempts: int
    delay: float
    error: str


@attrs.frozen(kw_only=True)
class TaskBlocked(NodeEvent):
    """A node is ready but may not start yet. Once per wait.

    Attributes:
        reason: ``"ResourceContention"``: what it claims is not free; ``"ConstraintViolation"``: a rule holds it.
        detail: The same in words: which rule of whom, or of what there is too little.
    """

    reason: BlockReason
    detail: str = ""


@attrs.frozen(kw_only=True)
class ResourceAcquired(Event):
    """A resource has been opened."""

    resource_name: str
    scope: str


@attrs.frozen(kw_only=True)
class ResourceReleased(Event):
    """A resource has been closed."""

    resource_name: str
    scope: str


@attrs.frozen(kw_only=True)
class StaticAnalysisWarning(Event):
    """Something about the flow, not about this run, deserves a look (``CS-W...``)."""

    warning_code: str
    message: str
    task_name: str | None = None


@attrs.frozen(kw_only=True)
class EngineWarning(Event):
    """Something went wrong beside the flow; the run goes on."""

    code: str
    message: str


@attrs.frozen(kw_only=True)
class LoopProgress(Event):
    """A tail-call loop goes on: ``turns`` so far, the last of them of task ``task_name``."""

    task_name: str
    turns: int


@attrs.frozen(kw_only=True)
class StateRecorded(Event):
    """``count`` settled nodes are in the state store; ``total`` since the run began."""

    count: int
    total: int


@attrs.frozen(kw_only=True)
class ControlChanged(Event):
    """A control rule was set, lifted or expired.

    Attributes:
        kind: ``"pause"``, ``"concurrency"`` or ``"rate"``.
        scope: What the rule is about.
        action: ``"set"``, ``"lifted"`` or ``"expired"``.
        author: Who says so.
        rule: The rule in words, such as ``"pause global"``.
    """

    kind: str
    scope: str
    action: str
    author: str
    rule: str = ""


@attrs.frozen(kw_only=True)
class ConnectorConnected(Event):
    """The run's connector reaches its broker."""

    connector: str


@attrs.frozen(kw_only=True)
class ConnectorDisconnected(Event):
    """The run's connector has lost its broker; the last known rules stay in force."""

    connector: str
    reason: str


@attrs.frozen(kw_only=True)
class EventsDropped(Event):
    """``count`` events did not fit into this subscriber's buffer since the last such notice."""

    count: int


_SHOWN = 100
# Python writes no whole number of more than 4300 digits.
_MOST_WHOLE: Final = 10**4000


def preview(value: Any) -> str:
    """``repr`` of *value*, cut to 100 characters, without the secrets of the run around; never raises."""
    secrets = secrets_in_force()
    # A secret that is cut in two would not be found: so much more is looked at, and left out.
    slack = 0 if secrets is None else secrets.longest
    head: object = value
    # Subclasses may have a repr, or a length, of their own.
    if type(value) in (list, tuple, str, bytes) and len(value) > _SHOWN + slack:
        # Each item shows as at least one character, so the rest could not show anyway.
        head = value[: _SHOWN + slack]
    try:
        text = repr(head)
    except Exception as error:  # a value that cannot show itself must not fail the node that made it
        text = f"<{type(value).__name__}: its __repr__ raised {type(error).__name__}>"
    if secrets is not None:
        text = secrets.redact(text)
        text = text if head is value else text[: max(len(text) - slack, 0)]
    return text if len(text) <= _SHOWN and head is value else text[: _SHOWN - 3] + "..."


def without_secrets(value: Any, secrets: Secrets) -> Any:
    """*value*, a parameter of a run, as it may be shown: texts in it without *secrets*."""
    if value is None or isinstance(value, bool):
        return value
    if type(value) is str:
        return secrets.redact(value)
    if type(value) in (list, tuple):
        return type(value)(without_secrets(item, secrets) for item in value)
    if type(value) is dict:
        return {name: without_secrets(item, secrets) for name, item in value.items()}
    try:
        text = repr(value)
    except Exception:  # it shows nothing
        return value
    return value if secrets.redact(text) == text else preview(value)


def as_record(event: Event) -> dict[str, Any]:
    """*event* as plain data that JSON can say, with ``type`` and ``schema`` first.

    Values that JSON does not know (among the params of a run) appear as their preview.
    """
    fields = {field.name: _plain(getattr(event, field.name)) for field in attrs.fields(type(event))}
    return {"schema": SCHEMA_VERSION, "type": type(event).__name__, **fields}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, int):
        return value if abs(value) < _MOST_WHOLE else preview(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return preview(value)
