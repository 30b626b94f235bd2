"""The classes of events about single nodes; see ``kinds.py``."""

from __future__ import annotations

from typing import Literal

import attrs

from cascade.model.events.kinds import Event

TaskStatus = Literal["Succeeded", "Failed", "Cancelled"]
BlockReason = Literal["ResourceContention", "ConstraintViolation"]


@attrs.frozen(kw_only=True)
class NodeEvent(Event):
    """Base class of events about one node.

    Attributes:
        task_id: The node's id.
        task_name: The task's name.
        label: What the user has called the call (``with_name``), the map, or its item; ``None`` if nothing.
    """

    task_id: str
    task_name: str
    label: str | None = None


@attrs.frozen(kw_only=True)
class TaskExecutionStarted(NodeEvent):
    """The first attempt of a node begins.

    Attributes:
        items: Number of items if the node is a map; ``None`` if it is a call.
        worker: Name of the worker of a remote executor; ``None`` if it runs in this process.
    """

    items: int | None = None
    worker: str | None = None


@attrs.frozen(kw_only=True)
class AttemptStarted(NodeEvent):
    """A further attempt of a node begins.

    Only subscribers that name this class get it: ``subscribe(Event, AttemptStarted)``.

    Attributes:
        attempt: Number of the attempt, from 2.
        worker: Name of the worker of a remote executor; ``None`` if it runs in this process.
    """

    is_for_all = False

    attempt: int
    worker: str | None = None


@attrs.frozen(kw_only=True)
class TaskExecutionFinished(NodeEvent):
    """A node has ended; if it was skipped, it has a ``TaskSkipped`` instead.

    Attributes:
        status: ``"Succeeded"``, ``"Failed"`` or ``"Cancelled"``.
        duration: Seconds since the start of the first attempt; 0 if there was no attempt.
        attempt: Number of the last attempt; 0 if there was none.
        result_preview: ``repr`` of the result, at most 100 characters; ``None`` without a result.
        error: ``"Type: message"`` if it failed, otherwise ``None``.
        handled: Whether it failed, and everybody who wants it takes that as a value (``settled``, ``or_else``) or
            is itself handled. Then it is no failure of the run.
        reason: ``"RaceLost"`` if it was cancelled because it had lost a race; otherwise ``None``.
        worker: Name of the worker of a remote executor on which the last attempt ran; ``None`` if it ran in this
            process.
        place: Where the last attempt ran otherwise, in words: ``"event loop"``, a thread or a worker process;
            ``None`` if there was none, or that is not known.
    """

    status: TaskStatus
    duration: float
    attempt: int
    result_preview: str | None = None
    error: str | None = None
    handled: bool = False
    reason: str | None = None
    worker: str | None = None
    place: str | None = None


@attrs.frozen(kw_only=True)
class UndoStarted(NodeEvent):
    """A node that had succeeded is about to be undone, as the run has failed or was cancelled.

    Attributes:
        undo: Name of the task that undoes it.
    """

    undo: str


@attrs.frozen(kw_only=True)
class UndoFinished(NodeEvent):
    """The undo of a node has ended.

    Attributes:
        undo: Name of the task that undoes it.
        status: ``"Succeeded"``, ``"Failed"``, or ``"Cancelled"``: it was not done in time.
        duration: Seconds since its ``UndoStarted``.
        error: ``"Type: message"`` if it failed, otherwise ``None``.
    """

    undo: str
    status: TaskStatus
    duration: float
    error: str | None = None


@attrs.frozen(kw_only=True)
class TaskSkipped(NodeEvent):
    """A node did not run.

    Attributes:
        reason: Why: a value of ``SkipReason``.
    """

    reason: str


@attrs.frozen(kw_only=True)
class TaskRetrying(NodeEvent):
    """An attempt failed, and there will be another one.

    Attributes:
        attempt: Number of the attempt that failed, from 1.
        max_attempts: Attempts in total.
        delay: Seconds until the next attempt.
        error: ``"Type: message"`` of the failure.
    """

    attempt: int
    max_attempts: int
    delay: float
    error: str


@attrs.frozen(kw_only=True)
class TaskBlocked(NodeEvent):
    """A node is ready but may not start yet. Published once for each wait.

    Attributes:
        reason: ``"ResourceContention"``: what it claims is not free; ``"ConstraintViolation"``: a control rule
            holds it.
        detail: The same in words: which rule, or which resource there is too little of.
    """

    reason: BlockReason
    detail: str = ""


@attrs.frozen(kw_only=True)
class SignalAwaited(NodeEvent):
    """A node begins to wait for a signal that has no value yet. Its ``TaskExecutionFinished`` follows.

    Attributes:
        signal: Name of the signal.
        timeout: Seconds for which it waits; ``None`` without a limit.
    """

    signal: str
    timeout: float | None = None
