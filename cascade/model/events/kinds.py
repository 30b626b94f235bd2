"""The classes of events; those about single nodes are in ``node_kinds.py``.

Events are frozen. ``seq`` gives the events of one run a total order. An event is made only if somebody subscribes
to its class.

A new field stands last in its class, with a default, and is described under *Attributes*, which the reference
shows. If its type is new among events, ``_CHECKS`` in ``records.py`` beside this says which values of JSON it
takes, and ``tests/strategies_events.py`` makes such values. It is given where the event is emitted: search
``cascade/runtime/`` for the class. Most events of a node are emitted in ``runtime/execution/settle.py``, from what
``Settled`` and ``Ending`` hold, and never from a frame. Then ``story.py``, among the observers, may tell it to
people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs

RunStatus = Literal["Succeeded", "Failed", "Cancelled", "Drained", "Suspended"]


@attrs.frozen(kw_only=True)
class Event:
    """Base class of all events. The engine makes them; programs read them.

    Attributes:
        is_for_all: Whether subscribers of a base class get events of this class. If false, only those who name the
            class itself get them.
        seq: Position in the run's order: from 1, strictly increasing.
        timestamp: Wall clock, in seconds since the epoch.
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

    ``calls`` and ``maps`` are what is known before anything has run. Flows that tasks return are not in them.

    Attributes:
        target_tasks: Ids of the nodes whose values the run returns.
        params: The resolved parameters and environment variables.
        calls: Number of calls by task name, in the order of the flow. Maps do not count, so a number may be 0.
        maps: By task name, the maps by node id, each with its number of items. ``None`` where that depends on a
            value that is not known yet.
        is_resumed: Whether the store has a record of the run, so that a ``RunResumed`` follows.
    """

    target_tasks: tuple[str, ...]
    params: Mapping[str, object]
    calls: Mapping[str, int] = attrs.field(factory=dict)
    maps: Mapping[str, Mapping[str, int | None]] = attrs.field(factory=dict)
    is_resumed: bool = False


@attrs.frozen(kw_only=True)
class RunResumed(Event):
    """A run that was recorded before goes on.

    Attributes:
        recorded: Number of nodes in the store.
        epoch: How often the run has been begun, this time included.
        by_task: Number of these nodes by task name. Items of maps count, maps do not.
        finished: When the run had succeeded, in seconds since the epoch. ``None`` if it goes on, or if the store
            does not know the time.
        is_finished: Whether the run had succeeded. Then nothing runs, and the recorded result is returned.
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
        status: ``"Succeeded"``, ``"Failed"``, ``"Cancelled"``, ``"Drained"`` or ``"Suspended"``.
        duration: Seconds since the run began.
        error: ``"Type: message"`` of what the run raises; ``None`` if it succeeded.
        failures: All failures in that form, in order of time.
        counts: Number of nodes by the state in which they ended or were left. Failures that were handled count as
            ``"failed"``. In a resumed run, nodes that need not run again count as they had ended, without what is
            in them: items of a map, nodes of a returned flow. If it had finished before, all are 0.
    """

    status: RunStatus
    duration: float
    error: str | None
    failures: tuple[str, ...]
    counts: Mapping[str, int]


@attrs.frozen(kw_only=True)
class StageStarted(Event):
    """A stage begins. Only with ``schedule="stages"``.

    Attributes:
        index: Number of the stage, from 0.
        size: Number of nodes in it.
        within: Id of the node that has returned the flow of the stage. ``None`` if it is that of the run.
    """

    index: int
    size: int
    within: str | None = None


@attrs.frozen(kw_only=True)
class StageFinished(Event):
    """All nodes of a stage have ended or were skipped.

    Attributes:
        index: Number of the stage, from 0.
        size: Number of nodes in it.
        within: Id of the node that has returned the flow of the stage. ``None`` if it is that of the run.
    """

    index: int
    size: int
    within: str | None = None


@attrs.frozen(kw_only=True)
class SignalReceived(Event):
    """A signal has its value, which stands for the rest of the run.

    Attributes:
        signal: Name of the signal.
        preview: ``repr`` of the value, at most 100 characters.
        is_default: Whether it is the default, as no value came in time.
    """

    signal: str
    preview: str
    is_default: bool = False


@attrs.frozen(kw_only=True)
class ResourceAcquired(Event):
    """A resource was opened.

    Attributes:
        resource_name: Its name.
        scope: ``"run"`` or ``"task"``.
    """

    resource_name: str
    scope: str


@attrs.frozen(kw_only=True)
class ResourceReleased(Event):
    """A resource was closed.

    Attributes:
        resource_name: Its name.
        scope: ``"run"`` or ``"task"``.
    """

    resource_name: str
    scope: str


@attrs.frozen(kw_only=True)
class StaticAnalysisWarning(Event):
    """The flow has a property that deserves a look.

    Attributes:
        warning_code: ``"CS-W001"``: a recursion whose next turn may have another shape; ``"CS-W002"``: a claim on
            a resource that the engine does not manage.
        message: The warning in words.
        task_name: The task; ``None`` if it is not about one.
    """

    warning_code: str
    message: str
    task_name: str | None = None


@attrs.frozen(kw_only=True)
class EngineWarning(Event):
    """Something beside the flow went wrong. The run goes on.

    Attributes:
        code: ``"cache-failed"``, ``"cluster-reruns"``, ``"heartbeat-failed"``, ``"message-rejected"``,
            ``"not-digestible"``, ``"not-durable"``, ``"observer-failed"``, ``"page-failed"``,
            ``"task-overdue"`` or ``"thread-abandoned"``.
        message: The warning in words.
    """

    code: str
    message: str


@attrs.frozen(kw_only=True)
class LoopProgress(Event):
    """A loop of tail calls goes on. Published now and then.

    Attributes:
        task_name: The task of the latest turn.
        turns: Number of turns so far.
    """

    task_name: str
    turns: int


@attrs.frozen(kw_only=True)
class StateRecorded(Event):
    """Nodes were recorded in the state store. From now on they survive the end of the process.

    Attributes:
        count: Number of nodes in this batch.
        total: Number of nodes since the run began.
    """

    count: int
    total: int


@attrs.frozen(kw_only=True)
class ControlChanged(Event):
    """A control rule was set, lifted or expired.

    Attributes:
        kind: ``"pause"``, ``"concurrency"`` or ``"rate"``.
        scope: The scope of the rule.
        action: ``"set"``, ``"lifted"`` or ``"expired"``.
        author: Who changed it.
        rule: The rule in words, such as ``"pause global"``.
    """

    kind: str
    scope: str
    action: str
    author: str
    rule: str = ""


@attrs.frozen(kw_only=True)
class ConnectorConnected(Event):
    """The connector has reached its broker.

    Attributes:
        connector: The connector, in words.
    """

    connector: str


@attrs.frozen(kw_only=True)
class ConnectorDisconnected(Event):
    """The connector has lost its broker, or cannot reach it. The last known rules stay in force.

    Attributes:
        connector: The connector, in words.
        reason: Why.
    """

    connector: str
    reason: str


@attrs.frozen(kw_only=True)
class EventsDropped(Event):
    """Events were dropped because this subscriber's buffer was full (policy ``"drop"``).

    Attributes:
        count: Number of events dropped since the last notice.
    """

    count: int
