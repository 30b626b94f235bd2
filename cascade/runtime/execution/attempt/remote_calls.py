"""Attempts that are made by the run's remote executor.

A call that is handed over counts as begun for rules: the gate is passed just before. Its start mark is set when
the worker says that it has begun, and its timeout counts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
from anyio import CancelScope, Lock, sleep

from cascade.graph.nested import Hold
from cascade.model.calls.callee import Callee
from cascade.model.errors import WorkerLost
from cascade.model.events import EngineWarning
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Claim
from cascade.runtime.admission.pool import Slot
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.attempt import Attempt
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.foundation.remote_executor import (
    AttemptInfo,
    KeptValue,
    NotMade,
    Raised,
    RemoteCall,
    RemoteExecutor,
    RemoteOutcome,
    Stayed,
    ValuesLost,
)
from cascade.runtime.observation.tracing import TracedAttempt

# How often a call that was lost before it began is handed over again.
MOST_LOSSES: Final = 3
# Seconds between two looks how many calls can run there.
_LOOK_EVERY: Final = 1.0
_NO_HEADERS: Final[Mapping[str, str]] = {}
# How often values are made again for an engine, before that is given up.
_MOST_RESTORED: Final = 1000


@attrs.define(eq=False)
class RemoteCalls:
    """Makes attempts by a remote executor.

    Attributes:
        executor: The executor.
        admission: What is told how many calls can run there.
        slots: How many that are, at least 1.
        restored: How often lost values were made again.
        means: How long calls of tasks take, in seconds; the last batch counts for half.
        on_growth: Called when more calls can run there than before, on the event loop.
    """

    executor: RemoteExecutor
    admission: Admission
    slots: int = 0
    means: WeakKeyDictionary[Callee, float] = attrs.field(factory=WeakKeyDictionary)
    on_growth: set[Callable[[], None]] = attrs.field(factory=set)
    _restoring: Lock = attrs.field(factory=Lock)
    restored: int = 0

    def goes(self, task: Callee, resources: object) -> bool:
        """Whether a call of *task* that injects *resources* leaves this process."""
        return not resources and self.executor.goes(task)

    async def open(self) -> None:
        """Open the executor."""
        await self.executor.open()
        self.look()

    def look(self) -> None:
        """See how many calls can run there now. Where none can, one may wait there until there is a worker."""
        slots = max(self.executor.slots, 1)
        if slots != self.slots:
            before, self.slots = self.slots, slots
            self.admission.set_totals({Slot.REMOTE: slots})
            if slots > before:
                for grow in tuple(self.on_growth):
                    grow()

    async def keep_looking(self, scope: CancelScope) -> None:
        """Look again and again until *scope* is cancelled: workers may come while a call takes an hour."""
        with scope:
            while True:
                await sleep(_LOOK_EVERY)
                self.look()

    def learn(self, calls: Sequence[RemoteCall], outcomes: Sequence[RemoteOutcome]) -> None:
        """See how long calls have taken."""
        taken: dict[Callee, list[float]] = {}
        for call, outcome in zip(calls, outcomes, strict=True):
            if not isinstance(outcome, NotMade):
                taken.setdefault(call.task, []).append(outcome.seconds)
        for task, seconds in taken.items():
            mean, last = self.means.get(task), sum(seconds) / len(seconds)
            self.means[task] = last if mean is None else (mean + last) / 2

    async def hand_over(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        """Have the executor make *calls*; see ``RemoteExecutor.execute_many``.

        Raises:
            WorkerLost: Also if a call that is alone was not made.
        """
        outcomes = await self.executor.execute_many(calls, keep, started)
        if len(calls) == 1 and isinstance(outcomes[0], NotMade):
            raise WorkerLost("", "the executor has let go of a call")
        return outcomes

    async def execute(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make *attempt* on a worker.

        If cancelled, this ends when the worker has left the function.

        Args:
            attempt: The attempt.
            args: Positional arguments.
            kwargs: Arguments by name.

        Raises:
            NotStartedError: If a rule has changed since the admission.
            WorkerLost: If the worker was lost while it ran the function, or several were before.
            BaseException: What the function raises.
        """
        token = attempt.timing.read_in_thread()

        def started(_: int, worker: str) -> None:
            attempt.mark.set_elsewhere(worker, token)

        losses = 0
        while True:
            call = self._call(attempt, args, kwargs)
            attempt.mark.pass_gate()
            since = self.restored
            try:
                outcomes = await self.hand_over([call], [attempt.may_stay], started)
            except WorkerLost as lost:
                losses += 1
                if attempt.timing.started is not None:
                    raise
                if losses > MOST_LOSSES:
                    raise unbegun(lost) from lost
                continue
            except ValuesLost as lost:
                await self.restore(lost.values, since, attempt.surroundings)
                continue
            finally:
                self.look()
            return self._value(attempt, call, outcomes[0])

    def _value(self, attempt: Attempt, call: RemoteCall, outcome: RemoteOutcome) -> Any:
        """What the function has returned, or what it raised, raised again; the attempt has ended."""
        assert not isinstance(outcome, NotMade)  # it was alone
        if isinstance(outcome, Raised) and not outcome.worker:
            raise outcome.error  # it could not be sent
        attempt.mark.set_afterwards(outcome.worker, outcome.seconds)
        if isinstance(outcome, Raised):
            raise outcome.error
        return self.kept(call, outcome) if isinstance(outcome, Stayed) else outcome.value

    def kept(self, call: RemoteCall, outcome: Stayed) -> KeptValue:
        """What stands for a value that has stayed, and that *call* makes again."""
        return KeptValue(outcome.handle, outcome.size, outcome.worker, call, drop=self.executor.drop)

    async def restore(self, lost: Sequence[KeptValue], since: int, run_context: RunContext) -> None:
        """Make values again that are not on the cluster any more, and before them what they need themselves.

        Args:
            lost: The values.
            since: What ``restored`` was when that was tried which has failed.
            run_context: The run.

        Raises:
            WorkerLost: If that does not help, as they are lost again and again.
            BaseException: What the function raises.
        """
        async with self._restoring:
            self.restored += 1
            if self.restored > _MOST_RESTORED:
                reason = "the values that it has kept are lost again and again"
                raise WorkerLost(lost[0].worker, reason, has_begun=False)
            revived: list[KeptValue] = []
            for value in lost:
                if value.made <= since:  # nobody else has made it since
                    value.lose()
            pending = list(lost)
            while pending:
                if pending[-1].is_there:
                    pending.pop()
                    continue
                missing = [value for value in _inputs(pending[-1]) if not value.is_there]
                if missing:
                    pending += missing
                else:
                    await self._make_again(pending[-1], run_context)
                    revived.append(pending.pop())
            for value in revived:
                if value.is_released:  # it was wanted for another one only
                    value.release()

    async def _make_again(self, value: KeptValue, run_context: RunContext) -> None:
        call = value.recipe
        assert call is not None  # whatever the engine keeps has one
        node_id = call.attempt.node_id
        message = f"the value of {node_id!r} was lost with worker {value.worker!r}; {node_id!r} runs again"
        run_context.events.emit(EngineWarning, code="value-lost", message=message)
        try:
            outcome = await self._made_again(call)
        except ValuesLost as lost:  # again, and meanwhile: the next round makes them
            for other in lost.values:
                other.lose()
            return
        if isinstance(outcome, Raised):
            raise outcome.error
        if not isinstance(outcome, Stayed):
            raise WorkerLost(value.worker, f"the value of {node_id!r} was lost, and is another one by now")
        value.handle, value.worker, value.is_there = outcome.handle, outcome.worker, True
        value.made = self.restored

    async def _made_again(self, call: RemoteCall) -> RemoteOutcome:
        """How *call* ends on a worker that is not lost with it."""
        losses = 0
        while True:
            try:
                (outcome,) = await self.hand_over([call], [True], lambda *_: None)
                return outcome
            except WorkerLost as lost:
                losses += 1
                if losses > MOST_LOSSES:
                    raise unbegun(lost) from lost

    def _call(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RemoteCall:
        timing = attempt.timing
        info = AttemptInfo(attempt.run_id, attempt.node_id, attempt.number, tuple(attempt.turns), attempt.undone)
        return RemoteCall(
            attempt.task,
            args,
            kwargs,
            info,
            timing.timeout,
            timing.remaining(),
            carrier_of(attempt.surroundings, attempt),
            claimed_names(attempt.claim),
        )


def unbegun(lost: WorkerLost) -> WorkerLost:
    """What a call fails with that was lost again and again before it began."""
    return WorkerLost(lost.worker, lost.reason, has_begun=False)


def carrier_of(run_context: RunContext, attempt: TracedAttempt) -> Mapping[str, str]:
    """The tracing context of *attempt*, if the run is traced."""
    tracing = run_context.events.tracing
    return _NO_HEADERS if tracing is None else tracing.carrier(attempt)


def claimed_names(claim: Claim) -> Mapping[str, float]:
    """What a claim has of named resources."""
    return {name: float(amount) for name, amount in claim.amounts.items() if isinstance(name, str)}


def _inputs(value: KeptValue) -> list[KeptValue]:
    """The kept values that the call which makes *value* takes."""
    found: list[KeptValue] = adapter("remote.wire:kept_among")(value.recipe)
    return found


def hold_on(value: KeptValue) -> Hold:
    """What lets go of *value* when nobody wants it any more."""
    hold = Hold()
    hold.at_release(value.release)
    return hold
