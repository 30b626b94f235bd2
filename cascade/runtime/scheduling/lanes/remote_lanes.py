"""Remote lanes: plain nodes that a remote executor runs, in batches.

A call over the network costs a millisecond, and most of that is not the call. So a batch has as many nodes as make
a tenth of a second, by what their tasks took before, and at most a share of those that are ready, so that no
worker is left without. A chain is one batch. A batch claims half a slot: while one runs, the next is on its way.

Lanes change nothing in what a run means: a batch is handed over only while no rule stands; nodes that a worker has
not come to go back to the queue.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any, Final, cast

import attrs
from anyio import current_effective_deadline, current_time

from cascade.graph.nested import LEAVES, glance
from cascade.graph.nodes import Node
from cascade.model.errors import AttemptCancelled, CascadeError, WorkerLost
from cascade.model.lazies import LazyResult
from cascade.model.outcomes import Done, Status
from cascade.planning.layout import Place
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.pool import Amount, Name, Slot
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.execution.attempt.remote_calls import MOST_LOSSES, RemoteCalls, carrier_of, hold_on
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.remote_executor import (
    AttemptInfo,
    Earlier,
    NotMade,
    Raised,
    RemoteCall,
    RemoteOutcome,
    Returned,
    Stayed,
    ValuesLost,
)
from cascade.runtime.frame.frame import Ended
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.lane_attempt import NO_RESOURCES, LaneAttempt
from cascade.runtime.scheduling.lanes.owner import Owner
from cascade.runtime.scheduling.lanes.remote_batch import RemoteBatch
from cascade.runtime.scheduling.lanes.thread_lanes import thread_clock
from cascade.runtime.scheduling.ready_queue import Queue, RankedQueue

# Seconds that a batch is to take; calls of one, and of a chain, whose task is not known yet; and calls of any.
_TARGET: Final = 0.1
_FIRST: Final = 16
_LONGEST: Final = 256
_MOST: Final = 1000
# Batches on their way to each slot, and beside the one that it runs.
_AHEAD: Final = 2


@attrs.define(eq=False)
class RemoteLanes:
    """Drains nodes by a remote executor.

    Attributes:
        context: The frame whose nodes they are.
        owner: Its scheduler.
        remote: The executor.
        is_eager: Whether a node starts as soon as it is ready; else in its stage.
        queue: The nodes that have not begun.
        alone: Nodes that make a batch each, as their batch was lost, or could not be read as a whole.
    """

    context: FrameContext
    owner: Owner
    remote: RemoteCalls
    is_eager: bool
    queue: Queue = attrs.field(init=False)
    alone: set[int] = attrs.field(factory=set)
    _tending: int = 0
    # Until the scopes around the nodes end, at the last look.
    _remaining: float = math.inf
    _ends_batch: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        frame = self.context.frame
        ranks, priorities = frame.turn.ranks, frame.layout.special.priorities
        if ranks is None and priorities is not None:
            ranks = [0.0] * len(priorities)
        self.queue = deque() if ranks is None else RankedQueue(ranks, priorities)
        goes_on = self.context.run_context.settings.on_error == "continue"
        self._ends_batch = not (goes_on or frame.handling.is_possible)

    def feed(self, index: int) -> None:
        """Take a node that is ready."""
        self.queue.append(index)
        if self._tending < _AHEAD * self.remote.slots:
            self._tending += 1
            self.context.run_context.tasks.spawn(self.context.group, self._tend)

    async def _tend(self) -> None:
        """Make batches, one after another, while there is anything to do."""
        conditions = self.context.conditions
        try:
            while self.queue and conditions.may_use_lanes():
                await conditions.until_heard()
                claim = await self._slot()
                if claim is None:
                    return
                try:
                    batch = self._gather() if conditions.may_use_lanes() else None
                    if batch is not None:
                        await self._make(batch)
                finally:
                    claim.release()
        finally:
            self._tending -= 1
            if not self._tending or not conditions.may_use_lanes():
                self.owner.take_back(self.queue)

    async def _slot(self) -> Claim | None:
        """Half a slot; none if nothing is left, or if there can be none: then all that is queued fails."""
        context = self.context
        if not self.queue:
            return None
        amounts: dict[Name, Amount] = {Slot.REMOTE: Fraction(1, _AHEAD)}
        try:
            return await admit(
                context.run_context.admission, self._applicant(self.queue[0]), amounts, lambda _: None
            )
        except DrainedError:
            return None
        except CascadeError as error:
            for index in self._taken():
                self.owner.settle(index, context.settler.failure(index, error, None))
            return None

    def _applicant(self, index: int) -> Applicant:
        """Who asks for a slot, on behalf of *index* and many other nodes."""
        run_context, node_id = self.context.run_context, self.context.frame.name(index)
        priorities = self.context.frame.layout.special.priorities
        priority = None if priorities is None else priorities[index]
        ancestors = run_context.beginning.ancestors
        return Applicant(
            node_id, "", "", run_context.run_id, run_context.bus, ancestors, is_lane=True, priority=priority
        )

    def _taken(self) -> Iterator[int]:
        """What is queued, taken node by node."""
        with suppress(IndexError):
            while True:
                yield self.queue.popleft()

    # -- what is in a batch ----------------------------------------------------------------------------------

    def _gather(self) -> RemoteBatch | None:
        """The next batch; ``None`` if there is nothing that can be called."""
        deadline = current_effective_deadline()
        self._remaining = deadline - current_time() if math.isfinite(deadline) else math.inf
        frame, queue, batch = self.context.frame, self.queue, RemoteBatch(self.context, thread_clock())
        most = min(_MOST, -(-len(queue) // (2 * _AHEAD * self.remote.slots)))
        seconds = 0.0
        while queue and (not batch.indices or (len(batch.indices) < most and seconds < _TARGET)):
            if batch.indices and queue[0] in self.alone:
                break
            index = queue.popleft()
            is_alone = index in self.alone
            if not self._add(batch, index):
                continue
            seconds += self.remote.means.get(frame.graph.task(index), _TARGET / _FIRST)
            if is_alone:
                break
            seconds += self._add_followers(batch, index, _TARGET - seconds)
        for index in batch.indices:  # what stood in the place of values
            frame.values[index] = None
        return batch if batch.indices else None

    def _add_followers(self, batch: RemoteBatch, index: int, most: float) -> float:
        """Add the nodes that alone go on from *index*, for so many seconds at most; returns how many they take."""
        frame, seconds = self.context.frame, 0.0
        while seconds < most:
            found = self._follower(index)
            if found is None:
                break
            frame.values[index] = Earlier(len(batch.indices) - 1)
            batch.followers.add(len(batch.indices))
            self._add(batch, found)
            index = found
            seconds += self.remote.means.get(frame.graph.task(index), _TARGET / _LONGEST)
        return seconds

    def _add(self, batch: RemoteBatch, index: int) -> bool:
        """Add a node to *batch*, unless its arguments cannot be put together: then it has failed."""
        context, frame = self.context, self.context.frame
        try:
            args, kwargs = context.calls.bind(index, NO_RESOURCES)
        except Exception as error:  # records are put together by user code
            self.owner.settle(index, context.settler.failure(index, error, None))
            return False
        frame.status[index] = Status.RUNNING
        batch.indices.append(index)
        batch.bound.append((args, kwargs))
        batch.calls.append(self._call(index, args, kwargs))
        return True

    def _call(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RemoteCall:
        context = self.context
        run_context, name, task = context.run_context, context.frame.name(index), context.frame.graph.task(index)
        attempt = LaneAttempt(run_context, name, task, math.inf, current_time)
        about = AttemptInfo(run_context.run_id, name, 1, tuple(attempt.turns), 0)
        return RemoteCall(
            task,
            args,
            kwargs,
            about,
            remaining=self._remaining,
            carrier=carrier_of(run_context, attempt),
            ends_batch=self._ends_batch,
        )

    def _follower(self, index: int) -> int | None:
        """The node that alone goes on from *index* and can take the value there."""
        frame = self.context.frame
        if frame.gaps.exist or frame.is_map or self.context.conditions.is_closing:
            return None
        found = self._next(index) if self.is_eager else frame.layout.links.get(index)
        if found is None or not _takes_it_whole(frame.graph.rows[found]):
            return None
        return found

    def _next(self, index: int) -> int | None:
        """A consumer that waits for nothing but *index* and runs there, too."""
        frame = self.context.frame
        if frame.routing is not None:
            return None
        for consumer in frame.graph.consumers[index]:
            if frame.readiness.pending[consumer] == 1 and frame.layout.places[consumer] == Place.REMOTE:
                return consumer
        return None

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

    async def _outcomes_within(self, batch: RemoteBatch) -> list[RemoteOutcome]:
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

    async def _outcomes(self, batch: RemoteBatch) -> list[RemoteOutcome]:
        """How the calls have ended; those of a batch that was lost are to be made alone."""
        losses = 0
        while True:
            since = self.remote.restored
            try:
                keep = [self.context.keeping.may_stay(index) for index in batch.indices]
                return list(await self.remote.executor.execute_many(batch.calls, keep, batch.start))
            except ValuesLost as lost:
                await self.remote.restore(lost.values, since, self.context.run_context)
            except WorkerLost:
                losses += 1
                if batch.began and len(batch.calls) == 1:
                    raise
                if batch.began:
                    return [NotMade(is_alone=True)] * len(batch.calls)
                if losses > MOST_LOSSES:
                    raise

    def _end_all(self, batch: RemoteBatch, error: BaseException) -> None:
        """All nodes of a batch have ended with *error*; those that had not begun are left if it is no failure."""
        settler = self.context.settler
        is_failure = isinstance(error, Exception)
        for position, index in enumerate(batch.indices):
            began, worker = batch.began.get(position, (None, None))
            if position in batch.followers:
                self.context.frame.status[index] = Status.PENDING
            elif is_failure or began is not None:
                if began is not None and worker is not None and self.context.conditions.is_heard:
                    batch.announce(position, worker)
                ending = settler.failure(index, error, began, batch.bound[position])
                self.owner.settle(index, attrs.evolve(ending, worker=worker))
            else:
                self._put_back(batch, position, is_alone=False)

    async def _settle(self, batch: RemoteBatch, outcomes: list[RemoteOutcome]) -> None:
        """Settle the nodes that a worker has come to; the others go back to the queue."""
        context, now = self.context, current_time()
        context.conditions.look()
        made = [position for position, outcome in enumerate(outcomes) if not isinstance(outcome, NotMade)]
        for position, outcome in enumerate(outcomes):
            if isinstance(outcome, NotMade):
                self._put_back(batch, position, is_alone=outcome.is_alone)
        self.owner.done((), sum(position in batch.followers for position in made))
        ended: list[Ended] = []
        for position in made:
            outcome, index = outcomes[position], batch.indices[position]
            assert not isinstance(outcome, NotMade)  # these are made
            self.remote.learn(context.frame.graph.task(index), outcome.seconds)
            if context.conditions.is_single:
                batch.announce(position, outcome.worker)
            elif isinstance(outcome, Returned) and (type(outcome.value) in LEAVES or glance(outcome.value)):
                ended.append((index, outcome.value, now - outcome.seconds, now))
                continue
            await self._settle_one(batch, position, outcome, now - outcome.seconds)
        if ended:
            self.owner.done(ended, 0)

    async def _settle_one(self, batch: RemoteBatch, position: int, outcome: Any, started: float) -> None:
        """Settle a node by itself."""
        context, index = self.context, batch.indices[position]
        if isinstance(outcome, Raised):
            began = started if outcome.worker else None
            ending = context.settler.failure(index, outcome.error, began, batch.bound[position])
            self.owner.settle(index, attrs.evolve(ending, worker=outcome.worker or None))
            return
        if isinstance(outcome, Stayed):
            value: Any = self.remote.kept(batch.calls[position], outcome)
            context.returned.keeper(index)(hold_on(value))
        else:
            value = outcome.value
        if type(value) not in LEAVES and await context.returned.is_flow(index, value):
            context.returned.run_in_place(context.group, index, value, started)
        else:
            self.owner.settle(index, Ending(Done(value), 1, started, worker=outcome.worker))

    def _put_back(self, batch: RemoteBatch, position: int, *, is_alone: bool) -> None:
        index, frame = batch.indices[position], self.context.frame
        if is_alone:
            self.alone.add(index)
        if position in batch.followers:
            frame.status[index] = Status.PENDING  # ready once that from which it goes on has been settled
        else:
            frame.status[index] = Status.QUEUED
            self.queue.appendleft(index)


def _takes_it_whole(row: object) -> bool:
    """Whether what a call takes from others are arguments of their own, not parts of some."""
    if type(row) is LazyResult:
        return True
    node = cast("Node", row)
    return all(type(operand) is int for operand in (*node.operands, *(operand for _, operand in node.named)))
