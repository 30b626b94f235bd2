"""Attempts that are made by the run's remote executor.

A call that is handed over counts as begun for rules: the gate is passed just before. Its start mark is set when
the worker says that it has begun, and its timeout counts from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from cascade.model.calls.callee import Callee
from cascade.model.errors import AttemptCancelled, WorkerLost
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Claim
from cascade.runtime.admission.pool import Slot
from cascade.runtime.execution.attempt.attempt import Attempt
from cascade.runtime.foundation.remote_executor import (
    AttemptInfo,
    NotMade,
    Raised,
    RemoteCall,
    RemoteExecutor,
    RemoteOutcome,
    Returned,
    carrier_var,
)

# How often a call that was lost before it began is handed over again.
MOST_LOSSES: Final = 3
# How much the last call counts among those before it.
_WEIGHT: Final = 0.2


@attrs.define(eq=False)
class RemoteCalls:
    """Makes attempts by a remote executor.

    Attributes:
        executor: The executor.
        admission: What is told how many calls can run there.
        slots: How many that are, at least 1.
        means: How long calls of tasks take, in seconds, the last ones counting most.
    """

    executor: RemoteExecutor
    admission: Admission
    slots: int = 0
    means: WeakKeyDictionary[Callee, float] = attrs.field(factory=WeakKeyDictionary)

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
            self.slots = slots
            self.admission.set_totals({Slot.REMOTE: slots})

    def learn(self, task: Callee, seconds: float) -> None:
        """A call of *task* has taken so long."""
        mean = self.means.get(task)
        self.means[task] = seconds if mean is None else mean + (seconds - mean) * _WEIGHT

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
            attempt.begin_elsewhere(worker, token)

        losses = 0
        while True:
            call = self._call(attempt, args, kwargs)
            attempt.pass_gate()
            try:
                outcomes = await self.executor.execute_many([call], [False], started)
            except WorkerLost:
                losses += 1
                if attempt.timing.started is not None or losses > MOST_LOSSES:
                    raise
                continue
            finally:
                self.look()
            return _value(attempt, outcomes[0])

    def _call(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RemoteCall:
        timing = attempt.timing
        info = AttemptInfo(attempt.run_id, attempt.node_id, attempt.number, tuple(attempt.turns), attempt.undone)
        carrier = attempt.surroundings.base.get(carrier_var)
        return RemoteCall(
            attempt.task,
            args,
            kwargs,
            info,
            timing.timeout,
            timing.remaining(),
            {} if carrier is None else carrier(attempt),
            claimed_names(attempt.claim),
        )


def claimed_names(claim: Claim) -> Mapping[str, float]:
    """What a claim has of named resources."""
    return {name: float(amount) for name, amount in claim.amounts.items() if isinstance(name, str)}


def _value(attempt: Attempt, outcome: RemoteOutcome) -> Any:
    """What the function has returned, or what it raised, raised again; the attempt has ended."""
    if isinstance(outcome, NotMade):
        raise AttemptCancelled  # the executor has let go of it
    if isinstance(outcome, Raised) and not outcome.worker:
        raise outcome.error  # it could not be sent
    attempt.end_elsewhere(outcome.worker, outcome.seconds)
    if isinstance(outcome, Raised):
        raise outcome.error
    assert isinstance(outcome, Returned)  # nothing else was allowed
    return outcome.value
