"""Remote lanes: plain nodes that a remote executor runs, in batches.

A call over the network costs a millisecond, and most of that is not the call. So a batch has as many nodes as make
a tenth of a second, by what their tasks took before, and at most a share of those that are ready, so that no
worker is left without. A chain is one batch. A batch claims half a slot: while one runs, the next is on its way.

Lanes change nothing in what a run means: a batch is handed over only while no rule stands; nodes that a worker has
not come to go back to the queue.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import attrs
from anyio import current_time
from anyio.lowlevel import checkpoint

from cascade.graph.nested import LEAVES, glance
from cascade.model.errors import AttemptCancelled, WorkerLost
from cascade.model.outcomes import Done, Status
from cascade.runtime.admission.claims import Claim
from cascade.runtime.admission.pool import Slot
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.remote_calls import MOST_LOSSES, RemoteCalls, hold_on, unbegun
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.remote_executor import (
    KeptValue,
    NotMade,
    Raised,
    RemoteOutcome,
    Returned,
    Stayed,
    ValuesLost,
    with_earlier,
)
from cascade.runtime.frame.frame import Ended
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.lane_slot import slot_for
from cascade.runtime.scheduling.lanes.owner import Owner
from cascade.runtime.scheduling.ready_queue import Queue
from cascade.runtime.scheduling.remote.batch import RemoteBatch
from cascade.runtime.scheduling.remote.gathering import Gathering

# Batches for each slot: the one that it runs, and the next, on its way.
_AHEAD: Final = 2
# Looks whether what is ready is in the queue, before a batch is made of what is.
_PATIENCE: Final = 20


@attrs.define(eq=False)
class RemoteLanes:
    """Drains nodes by a remote executor.

    Attributes:
        context: The frame whose nodes they are.
        owner: Its scheduler.
        remote: The executor.
        is_eager: Whether a node starts as soon as it is ready; else in its stage.
        gathering: Takes the nodes of a batch from the queue.
    """

    context: FrameContext
    owner: Owner
    remote: RemoteCalls
    is_eager: bool
    gathering: Gathering = attrs.field(init=False)
    _tending: int = 0

    def __attrs_post_init__(self) -> None:
        self.gathering = Gathering(self.context, self.remote, self.is_eager, self.owner.settle)

    @property
    def queue(self) -> Queue:
        """The nodes that have not begun."""
        return self.gathering.queue

    def feed(self, index: int) -> None:
        """Take a node that is ready."""
        self.queue.append(index)
        self._tend_more(1)

    def _grow(self) -> None:
        """There are more workers than before."""
        self._tend_more(len(self.queue))

    def _tend_more(self, most: int) -> None:
        """Have further batches be made at a time, as far as there is room for them."""
        for _ in range(min(most, _AHEAD * self.remote.slots - self._tending)):
            self._tending += 1
            self.remote.on_growth.add(self._grow)
            self.context.run_context.tasks.spawn(self.context.group, self._tend)

    async def _tend(self) -> None:
        """Make batches, one after another, while there is anything to do."""
        conditions = self.context.conditions
        try:
            while self.queue and conditions.may_use_lanes():
                await conditions.until_heard()
                await self._until_enough()
                claim = await slot_for(self.context, self.owner, self.queue, {Slot.REMOTE: Fraction(1, _AHEAD)})
                if claim is None:
                    return
                await self._make_next(claim)
        finally:
            self._tending -= 1
            if not self._tending:
                self.remote.on_growth.discard(self._grow)
            if not self._tending or not conditions.may_use_lanes():
                self.owner.take_back(self.queue)

    async def _make_next(self, claim: Claim) -> None:
        """Make a batch of what is queued, if that may still be, and release *claim*."""
        try:
            batch = self.gathering.gather() if self.context.conditions.may_use_lanes() else None
            if batch is not None:
                await self._make(batch)
        finally:
            claim.release()

    async def _until_enough(self) -> None:
        """Let the scheduler put what is ready into the queue, so that there is enough for a batch of its size."""
        for _ in range(_PATIENCE):
            if not self.queue or self.gathering.has_enough():
                return
            await checkpoint()

    # -- a batch under way -----------------------------------------------------------------------------------

    async def _make(self, batch: RemoteBatch) -> None:
        """Have a batch run, and settle its nodes."""
        run_context = self.context.run_context
        gate, watch = run_context.gate, run_context.tasks.watch
        watch.add(batch)
        gate.lanes.add(batch)
        try:
            outcomes = await self._outcomes_within(batch)
        except BaseException as error:
            batch.end()
            self._end_all(batch, error)
            if not isinstance(error, Exception):
                raise
        else:
            batch.end()
            await self._settle(batch, outcomes)
        finally:
            watch.remove(batch)
            gate.lanes.discard(batch)
            self.remote.look()

    async def _outcomes_within(self, batch: RemoteBatch) -> Sequence[RemoteOutcome]:
        """The same as :meth:`_outcomes`, cancelled if the one node of *batch* is."""
        if len(batch.indices) > 1:  # short ones, most likely; the others are not to be made twice
            return await self._outcomes(batch)
        scopes, (index,) = self.context.scopes, batch.indices
        with self.context.run_context.lifecycle.nodes.scope() as scope:
            scopes.enter(index, scope)
            try:
                return await self._outcomes(batch)
            finally:
                scopes.leave(index)
        began, worker = batch.began.get(0, (None, ""))
        return [NotMade() if began is None else Raised(AttemptCancelled(), batch.clock() - began, worker)]

    async def _outcomes(self, batch: RemoteBatch) -> Sequence[RemoteOutcome]:
        """How the calls have ended; those of a batch that was lost are to be made alone."""
        losses = 0
        while True:
            since = self.remote.restored
            try:
                keep = [self.context.keeping.may_stay(index) for index in batch.indices]
                return await self.remote.hand_over(batch.calls, keep, batch.start)
            except ValuesLost as lost:
                if not await _have_again(self.remote, lost.values, since, batch, self.context.run_context):
                    return [NotMade(is_alone=True)] * len(batch.calls)
            except WorkerLost as lost:
                losses += 1
                if batch.began and len(batch.calls) == 1:
                    raise
                if batch.began:
                    return [NotMade(is_alone=True)] * len(batch.calls)
                if losses > MOST_LOSSES:
                    raise unbegun(lost) from lost
            if not self.context.conditions.may_use_lanes():  # a rule has come meanwhile
                return [NotMade()] * len(batch.calls)

    def _end_all(self, batch: RemoteBatch, error: BaseException) -> None:
        """All nodes of a batch have ended with *error*; those that had not begun are left if it is no failure."""
        is_failure = isinstance(error, Exception)
        batch.leave(itertools.repeat(error))
        for position, index in enumerate(batch.indices):
            if position in batch.followers:
                self.context.frame.status[index] = Status.PENDING
            elif position in batch.began or (is_failure and not self.context.run_context.lifecycle.is_halted):
                self._end(batch, position, error)
            else:
                self._put_back(batch, position, is_alone=False)

    def _end(self, batch: RemoteBatch, position: int, error: BaseException) -> None:
        """A node has ended with *error*, with its batch."""
        index, (began, worker) = batch.indices[position], batch.began.get(position, (None, None))
        if began is not None and worker is not None and self.context.conditions.is_heard:
            batch.announce(position, worker)
        ending = self.context.settler.failure(index, error, began, batch.bound(position))
        self.owner.settle(index, attrs.evolve(ending, worker=worker))

    async def _settle(self, batch: RemoteBatch, outcomes: Sequence[RemoteOutcome]) -> None:
        """Settle the nodes that a worker has come to; the others go back to the queue."""
        context, now = self.context, current_time()
        context.conditions.look()
        batch.leave(map(_error_of, outcomes))
        followed = 0
        for position, outcome in enumerate(outcomes):
            if isinstance(outcome, NotMade):
                self._put_back(batch, position, is_alone=outcome.is_alone)
            else:
                followed += position in batch.followers
        if followed:
            self.owner.done((), followed)
        ended: list[Ended] = []
        value: Any = None  # of the node before
        for position, (index, outcome) in enumerate(zip(batch.indices, outcomes, strict=True)):
            if isinstance(outcome, NotMade):
                continue
            if position in batch.followers:
                batch.calls[position] = with_earlier(batch.calls[position], value)
            value = outcome.value if isinstance(outcome, Returned) else None
            if isinstance(outcome, Returned) and not context.conditions.is_single and _is_plain(value):
                ended.append((index, value, now - outcome.seconds, now, outcome.worker))
                continue
            if ended:  # what goes on from one of these comes after it
                self.owner.done(ended, 0)
                ended = []
            if context.conditions.is_single:
                batch.announce(position, outcome.worker)
            if isinstance(outcome, Stayed):
                value = self.remote.kept(batch.calls[position], outcome)
                context.returned.keeper(index)(hold_on(value))
            await self._settle_one(batch, position, outcome, value)
            batch.announced.discard(index)
        if ended:
            self.owner.done(ended, 0)
        self.remote.learn(batch.calls, outcomes)

    async def _settle_one(self, batch: RemoteBatch, position: int, outcome: Any, value: Any) -> None:
        """Settle a node by itself; *value* is what it returned, or what stands for that."""
        context, index = self.context, batch.indices[position]
        started = current_time() - outcome.seconds
        if isinstance(outcome, Raised):
            began = started if outcome.worker else None
            ending = context.settler.failure(index, outcome.error, began, batch.bound(position))
            self.owner.settle(index, attrs.evolve(ending, worker=outcome.worker or None))
            return
        if type(value) not in LEAVES and await context.returned.is_flow(index, value):
            context.returned.run_in_place(context.group, index, value, started)
        else:
            self.owner.settle(index, Ending(Done(value), 1, started, worker=outcome.worker))

    def _put_back(self, batch: RemoteBatch, position: int, *, is_alone: bool) -> None:
        index, frame = batch.indices[position], self.context.frame
        if is_alone:
            self.gathering.alone.add(index)
        if position in batch.followers:
            frame.status[index] = Status.PENDING  # ready once that from which it goes on has been settled
        else:
            frame.status[index] = Status.QUEUED
            self.queue.appendleft(index)


async def _have_again(
    remote: RemoteCalls, lost: Sequence[KeptValue], since: int, batch: RemoteBatch, run_context: RunContext
) -> bool:
    """Make values again; ``False`` if that has failed, and not all of the batch may need them."""
    try:
        await remote.restore(lost, since, run_context)
    except Exception:  # what made them raises it, and again once a call that needs them is alone
        if len(batch.calls) == 1:
            raise
        return False
    return True


def _error_of(outcome: RemoteOutcome) -> BaseException | None:
    """What a call has ended with, for its span: one that was not made counts as cancelled."""
    if isinstance(outcome, Raised):
        return outcome.error
    return AttemptCancelled() if isinstance(outcome, NotMade) else None


def _is_plain(value: Any) -> bool:
    """Whether there is certainly no call in *value* that is to be run in its place."""
    return type(value) in LEAVES or bool(glance(value))
