"""The details of a recorded node."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class AttemptRecord:
    """An attempt that failed.

    Attributes:
        number: Counts attempts, from 1.
        started: When it began, in seconds since the epoch.
        duration: Seconds that it took.
        error: ``"Type: message"`` of what it raised, cut to 500 characters.
    """

    number: int
    started: float
    duration: float
    error: str


@attrs.frozen
class Remark:
    """Something worth knowing that happened to a node before it ended.

    Attributes:
        at: When, in seconds since the epoch.
        text: What, such as ``"waits for capacity"`` or ``"rests for 2 s"``.
    """

    at: float
    text: str


@attrs.frozen
class NodeDetail:
    """What is kept of a node that failed, was to be attempted again, or wrote something that was captured.

    Attributes:
        started: When its first attempt began, in seconds since the epoch; ``None`` if none began.
        worker: Where it ran: ``"event loop"``, a thread, a process or a remote worker; ``None`` if it did not run,
            or that is not known.
        arguments: What it was called with: pairs of parameter name and ``repr``, each cut to 300 characters, at
            most 20. The name is empty for one of several positional arguments. Secrets are ``***``.
        attempts: Its attempts that failed; of more than 50 the first five and the last.
        traceback: The traceback of its error as text, without frames of this library, cut to 8 KB; ``None`` if it
            did not fail, or its failure is that of *caused_by*.
        remarks: What happened on the way, at most 20 of it.
        caused_by: Id of the node whose failure this is: an item, for a map; a node of the flow that it returned.
            ``None`` if the failure is its own.
        log: What it printed and logged, if that was captured; ``None`` if that is nothing. Empty if it was not
            read.
        handled: Whether it failed and whoever wanted it could do with that, so that the run did not fail by it.
    """

    started: float | None = None
    worker: str | None = None
    arguments: Sequence[tuple[str, str]] = ()
    attempts: Sequence[AttemptRecord] = ()
    traceback: str | None = None
    remarks: Sequence[Remark] = ()
    caused_by: str | None = None
    log: str | None = None
    handled: bool = False


@attrs.frozen
class SignalRecord:
    """A signal that a recorded run has accepted.

    Attributes:
        name: Its name.
        accepted: When it was accepted, in seconds since the epoch; ``None`` if the store does not say.
        value: ``repr`` of its value, cut to 100 characters. ``None`` if that is not plain data, so that it cannot
            be read without running code of the flow; or if the run has secrets, which may be in it.
    """

    name: str
    accepted: float | None = None
    value: str | None = None
