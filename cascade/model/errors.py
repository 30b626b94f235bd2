"""All exceptions that the library raises.

There is one class for each situation that a caller may want to handle. Each is a :class:`CascadeError` and, where
one fits, a built-in exception too. An error builds its message from its fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from cascade.model.skip_reasons import MEANINGS, why_skipped


def _revive(cls: type[CascadeError], args: tuple[object, ...], fields: dict[str, object]) -> CascadeError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


def _named(node_id: str, label: str | None) -> str:
    return repr(node_id) if label is None else f"{node_id!r} named {label!r}"


class CascadeError(Exception):
    """Base class of all errors that the library raises."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions whose __init__ takes fields do not unpickle by themselves: process pools need them to.
        return _revive, (type(self), self.args, dict(self.__dict__))


class GraphError(CascadeError, ValueError):
    """The flow as written makes no sense: a contradiction, a cycle, or a value where none can stand."""


class LazyUseError(CascadeError, TypeError, AttributeError):
    """A lazy result, or another placeholder, was used as if it were the value that it stands for."""


class InputError(CascadeError, ValueError):
    """Parameters, environment variables, URLs or ids are missing, malformed or unknown.

    Attributes:
        problems: One sentence for each input that is wrong. All of them are listed, not only the first.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("; ".join(self.problems))


class CapacityError(CascadeError, ValueError):
    """A claim asks for more of a resource than there is in total, so waiting could not help.

    Attributes:
        node_id: The node that makes the claim.
        resource: Name of the resource.
        amount: The amount that it asks for.
        total: The total of the resource.
    """

    def __init__(
        self, node_id: str, resource: str, amount: object, total: object, label: str | None = None
    ) -> None:
        self.node_id = node_id
        self.resource = resource
        self.amount = amount
        self.total = total
        super().__init__(
            f"claim of {amount} {resource!r} by {_named(node_id, label)} exceeds total system capacity ({total}); "
            f"lower the claim or raise system_resources={{{resource!r}: ...}}"
        )


class RouteNotFoundError(CascadeError, LookupError, ValueError):
    """The selector of a router gave a key for which there is no route and no default.

    Attributes:
        key: The key.
        known: The keys that have a route.
        selector: The selector, as text.
    """

    def __init__(self, key: object, known: Iterable[object], selector: str) -> None:
        self.key = key
        self.known: tuple[object, ...] = tuple(known)
        self.selector = selector
        names = ", ".join(repr(known_key) for known_key in self.known) or "none"
        super().__init__(
            f"selector {selector} gave {key!r:.100}, and there is no such route; known routes: {names}. "
            "Add the route, or give the Router a default="
        )


class DependencyMissingError(CascadeError):
    """A target of the run was skipped, so there is no value to return.

    Attributes:
        node_id: The skipped target.
        reason: Why it was skipped: a value of ``SkipReason``.
        chain: The skips that led to it, as pairs of node id and reason. The target's own comes first.
    """

    def __init__(self, node_id: str, chain: Sequence[tuple[str, str]], label: str | None = None) -> None:
        self.node_id = node_id
        self.chain: tuple[tuple[str, str], ...] = tuple(chain)
        self.reason: str = self.chain[0][1]
        meaning = MEANINGS.get(self.reason, self.reason)
        own = f"target {_named(node_id, label)} was skipped (Reason: {self.reason}): {meaning}"
        behind = [f"{name!r} was skipped: {why_skipped(reason)}" for name, reason in self.chain[1:]]
        super().__init__("; ".join([own, *behind]))


class ResourceNotFoundError(CascadeError, LookupError):
    """A task injects a resource that has no provider.

    Attributes:
        name: Name of the resource.
        needed_by: The task, or the resource, that injects it.
    """

    def __init__(self, name: str, needed_by: str, known: Iterable[str]) -> None:
        self.name = name
        self.needed_by = needed_by
        provided = ", ".join(sorted(known)) or "none"
        super().__init__(
            f"{needed_by!r} injects the resource {name!r}, which has no provider (provided: {provided}); "
            "pass providers=[...] to the run or call engine.register(...)"
        )


class WorkerLost(CascadeError, RuntimeError):
    """The worker that ran a task remotely died, or its cluster gave the call up.

    If the call had begun, it may have had effects, and ``Retry(on=(WorkerLost,))`` has it made again. If it had
    not, it was handed over again by itself, and the error comes only after the fourth time: no attempt was made
    that a retry could repeat, and it is the workers that need to be looked at.

    Attributes:
        worker: Name of the worker; empty if it is not known.
        reason: What happened, in one line.
        has_begun: Whether the call had begun, or may have.
    """

    def __init__(self, worker: str, reason: str, *, has_begun: bool = True) -> None:
        self.worker = worker
        self.reason = reason
        self.has_begun = has_begun
        which = f"worker {worker!r}" if worker else "the worker"
        remedy = "Retry(on=(WorkerLost,)) makes the call again"
        if not has_begun:
            remedy = "that was before the call began, several times in a row: see what ends the workers"
        super().__init__(f"{which} was lost: {reason}; {remedy}")


class TaskTimeoutError(CascadeError, TimeoutError):
    """An attempt took longer than its timeout, or a signal did not come in time.

    Attributes:
        node_id: The node.
        timeout: The timeout, in seconds.
    """

    def __init__(self, node_id: str, timeout: float, signal: str | None = None) -> None:
        what = f"an attempt of {node_id!r} exceeded its timeout of {timeout:g} s"
        super().__init__(what if signal is None else f"signal {signal!r} did not come within {timeout:g} s")
        self.node_id = node_id
        self.timeout = timeout


class TaskCancelledError(CascadeError, RuntimeError):
    """A node was cancelled by ``Run.cancel_node``, or its task, or a resource provider, raised a cancellation
    although no scope around it was cancelled.

    Attributes:
        node_id: The node, or the name of the resource.
        on_request: Whether somebody asked for it.
    """

    def __init__(self, node_id: str, kind: str = "task", *, on_request: bool = False) -> None:
        self.node_id = node_id
        self.on_request = on_request
        if on_request:
            super().__init__(f"{node_id!r} was cancelled on request, while its run went on")
            return
        super().__init__(
            f"the {kind} {node_id!r} raised a cancellation while no enclosing scope was cancelled; something it "
            f"awaited was cancelled on its own account, and that must be handled inside the {kind}"
        )


class NodeNotFoundError(CascadeError, LookupError):
    """A run has no node of this id at present.

    Attributes:
        run_id: The run.
        node_id: The id.
        within: The node that it would be part of, if that has not ended: a map, or a node that returned a flow.
    """

    def __init__(self, run_id: str, node_id: str, within: str | None = None) -> None:
        self.run_id = run_id
        self.node_id = node_id
        self.within = within
        remedy = "Run.status() and the run's events name nodes"
        if within is not None:
            remedy = f"{within!r} runs no such part now; cancel {within!r} itself, or wait until the part is there"
        super().__init__(f"run {run_id!r} has no node {node_id!r:.200} at present; {remedy}")


class DeadlockError(CascadeError, RuntimeError):
    """A claim can never be granted, because the tasks that hold what it needs wait for it.

    Attributes:
        node_id: The node whose claim cannot be granted.
        resource: Name of the resource.
        cycle: The nodes that wait for each other, outermost first, the claimant last.
    """

    def __init__(self, node_id: str, resource: str, amount: object, left: object, cycle: Sequence[str]) -> None:
        self.node_id = node_id
        self.resource = resource
        self.cycle: tuple[str, ...] = tuple(cycle)
        super().__init__(
            f"claim of {amount} {resource!r} by {node_id!r} can never be granted: only {left} is left beside "
            f"what is held by those who wait for it ({' -> '.join(self.cycle)}); "
            "lower the claims or raise the capacity"
        )


class RunCancelled(CascadeError):
    """The run was cancelled, or drained, before it had a result.

    Attributes:
        run_id: The run.
    """

    def __init__(self, run_id: str, status: str = "cancelled") -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id!r} was {status} before it had a result")


class RunSuspended(CascadeError):
    """The run could go on only by signals, and has ended until one comes (``when_idle="suspend"``).

    The same call with the same run id goes on with it, and so does ``cascade resume``.

    Attributes:
        run_id: The run.
        signals: Names of the signals that it waits for.
    """

    def __init__(self, run_id: str, signals: Sequence[str]) -> None:
        self.run_id = run_id
        self.signals: tuple[str, ...] = tuple(signals)
        super().__init__(f"run {run_id!r} is suspended: it {waits_for(self.signals)}")

    def __reduce__(self) -> tuple[object, ...]:
        return RunSuspended, (self.run_id, self.signals)


def waits_for(signals: Sequence[str]) -> str:
    """What a run waits for, in words."""
    names = ", ".join(map(repr, signals[:10])) + (f" and {len(signals) - 10} more" if len(signals) > 10 else "")
    return f"waits for signal{'s' if len(signals) > 1 else ''} {names}"


class StateError(CascadeError):
    """The state store failed, or refused to go on.

    Attributes:
        recorded: Number of nodes whose outcome is in the store.
        lost: Ids of nodes that have ended but could not be recorded.
    """

    def __init__(self, message: str, *, recorded: int = 0, lost: Sequence[str] = ()) -> None:
        self.recorded = recorded
        self.lost: tuple[str, ...] = tuple(lost)
        super().__init__(message)


class RunInProgressError(StateError):
    """Another live process executes the run with this id."""


class FlowChangedError(StateError):
    """A run was resumed with another flow than the one that it was recorded with.

    Attributes:
        nodes: Ids of the nodes that differ.
    """

    def __init__(self, run_id: str, nodes: Sequence[str]) -> None:
        self.nodes: tuple[str, ...] = tuple(nodes)
        shown = ", ".join(repr(node) for node in self.nodes[:10])
        more = f" and {len(self.nodes) - 10} more" if len(self.nodes) > 10 else ""
        super().__init__(
            f"run {run_id!r} was recorded with another flow: {shown}{more} changed in code, arguments or inputs; "
            'use another run_id, on_change="recompute" or on_change="fork"'
        )


class FailedTogether(CascadeError, ExceptionGroup[Exception]):
    """Several failures, and the values that there are nevertheless.

    Attributes:
        results: Node id to value.
    """

    results: Mapping[str, object]

    def __new__(
        cls, message: str, failures: Sequence[Exception], results: Mapping[str, object] | None = None
    ) -> Self:
        self = super().__new__(cls, message, failures)
        self.results = dict(results or {})
        return self

    def __init__(
        self, message: str, failures: Sequence[Exception], results: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message, failures)

    def derive(self, excs: Sequence[Exception], /) -> Self:  # type: ignore[override]  # narrower on purpose
        """The same error with other exceptions in it, for ``except*`` and ``split``.

        Args:
            excs: The exceptions.
        """
        return type(self)(self.message, excs, self.results)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.exceptions, dict(self.results)), vars(self)


class RunFailed(FailedTogether):
    """The failures of a run, as an exception group. Raised with ``on_error="group"`` and ``"continue"``.

    Attributes:
        results: Node id to value, for the values that the run has nevertheless: those of the targets' members, and
            of nodes that were still needed when the run ended.
    """


class MapFailed(FailedTogether):
    """Too many items of a map have failed: ``with_errors("collect", min_success=...)``. A group of their errors.

    Attributes:
        results: Node id to value, for the items that have succeeded.
    """


class RaceFailed(CascadeError, ExceptionGroup[Exception]):
    """All contestants of a race have ended, and none has succeeded. The exceptions are theirs, in their order.

    Attributes:
        node_id: The race.
    """

    node_id: str

    def __new__(cls, node_id: str, failures: Sequence[Exception]) -> Self:
        self = super().__new__(cls, f"no contestant of {node_id!r} has succeeded", failures)
        self.node_id = node_id
        return self

    def __init__(self, node_id: str, failures: Sequence[Exception]) -> None:
        super().__init__(self.message, failures)

    def derive(self, excs: Sequence[Exception], /) -> RaceFailed:  # type: ignore[override]  # narrower on purpose
        """The same error with other exceptions in it, for ``except*`` and ``split``.

        Args:
            excs: The exceptions.
        """
        return RaceFailed(self.node_id, excs)

    def __reduce__(self) -> tuple[object, ...]:
        return RaceFailed, (self.node_id, self.exceptions), vars(self)


class AttemptCancelled(BaseException):
    """Raised by ``cascade.checkpoint()`` in sync code whose attempt is cancelled; never leaves the engine."""
