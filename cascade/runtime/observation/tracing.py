"""What follows a run from around its calls: spans and metrics are made there, and not from events.

An event is made after the fact, and tells a listener on the event loop. A span has to be the current one while the
user's function runs, in whatever thread or process that is, so that spans which the function makes are below it.

``RunEvents.tracing`` is ``None`` if nobody traces, and whoever calls functions asks that once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager
from typing import Any, Protocol

from cascade.model.calls.callee import Callee
from cascade.model.outcomes import NodeOutcome


class TracedAttempt(Protocol):
    """An attempt of a node that has a task of its own."""

    @property
    def node_id(self) -> str:
        """The node."""
        ...

    @property
    def task(self) -> Callee:
        """What is called."""
        ...

    @property
    def number(self) -> int:
        """Counts attempts, from 1."""
        ...

    @property
    def turns(self) -> Sequence[int]:
        """Numbers of the turns that the loops around its node are in, the run's own first."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether it has ended, though its thread may still run."""
        ...


class Queues(Protocol):
    """What waits for its turn in the lanes of one scheduler. Asked in any thread."""

    @property
    def lanes(self) -> Sequence[Sized]:
        """The nodes that wait in lanes on the event loop, and in threads."""
        ...


class Tracing(Protocol):
    """Follows one run. No method raises."""

    def around(
        self, func: Callable[..., Any], task: Callee, node_id: str, turn: int, label: str | None
    ) -> Callable[..., Any]:
        """What to call in place of *func* for the one attempt of a plain node. Asked and called in any thread."""
        ...

    def enter(self, attempt: TracedAttempt) -> None:
        """The function of *attempt* is about to be called, or goes on, in the present context, in any thread."""
        ...

    def leave(self, attempt: TracedAttempt, error: BaseException | None) -> None:
        """*attempt* has ended; does nothing if its function was not called."""
        ...

    def carrier(self, attempt: TracedAttempt) -> dict[str, str]:
        """What another process has to be sent, in which the function of *attempt* is about to be called."""
        ...

    def waited(self, task: Callee, seconds: float, reason: str) -> None:
        """A node has waited for admission."""
        ...

    def node(
        self, node_id: str, task: Callee, turn: int, label: str | None
    ) -> AbstractContextManager[NodeTracing]:
        """A block in which a node lives that is more than one call."""
        ...

    def flow_of(self, node_id: str) -> AbstractContextManager[object]:
        """A block in which the flow runs that a node has returned."""
        ...

    def watch(self, queues: Queues) -> None:
        """The run has lanes; they are not kept alive."""
        ...

    def finish(self, status: str, error: BaseException | None, counts: Mapping[str, int]) -> str | None:
        """The run has ended; returns what went wrong with the tracing itself, if anything did."""
        ...


class NodeTracing(Protocol):
    """One node on its way."""

    def ended(self, outcome: NodeOutcome, attempts: int) -> None:
        """The node has ended so, after so many attempts."""
        ...


def carrier_of(attempt: Any) -> dict[str, str]:
    """What an executor sends with the call of *attempt* to another process: strings by name, or nothing.

    There, ``cascade.adapters.telemetry.carriers.receive`` takes it. To be called once the attempt has begun.
    """
    tracing: Tracing | None = attempt.surroundings.events.tracing
    return {} if tracing is None else tracing.carrier(attempt)
