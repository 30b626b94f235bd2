"""Nodes that have a task of their own: they wait for admission, retry, cache, time out or open resources."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import attrs

from cascade.graph.nodes import MapNode, Node
from cascade.model.calls.callee import Callee
from cascade.model.events import TaskBlocked
from cascade.model.outcomes import Cancelled, Done, Status
from cascade.planning.layout import Place
from cascade.runtime.admission.blockers import Blockers
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.job import Asking, Job, ValueUse
from cascade.runtime.execution.node_run import live
from cascade.runtime.execution.saves import Saves
from cascade.runtime.execution.settle import Ending
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.map_items import RunItems, live_map
from cascade.runtime.scheduling.tasks.crowd import Crowd


@attrs.define(eq=False)
class NodeTasks:
    """Starts nodes of a frame in tasks of their own.

    Attributes:
        context: The frame.
        saves: What is to be done with the final value of the flow.
        run_items: Runs the items of a map.
        start_again: Takes nodes that waited behind others, and may be started now.
        left: Called when a node has settled, or was left.
    """

    context: FrameContext
    saves: Saves
    run_items: RunItems
    start_again: Callable[[Sequence[int]], None]
    left: Callable[[], None]
    _crowd: Crowd = attrs.field(init=False)

    @_crowd.default
    def _new_crowd(self) -> Crowd:
        frame = self.context.frame
        return Crowd(frame.turn.ranks, frame.layout.special.priorities)

    def waiting(self) -> int:
        """How many nodes wait behind others of their task."""
        return len(self._crowd)

    def start(self, index: int) -> bool:
        """Start a node, unless it has to wait behind others of its task; returns whether it was started."""
        context = self.context
        frame = context.frame
        if frame.layout.places[index] != Place.OWN:
            task = frame.graph.task(index)
            if self._is_crowded(task, index):
                self._wait_behind(index, task)
                return False
            self._crowd.ask(task, index)
        frame.status[index] = Status.RUNNING
        context.run_context.tasks.spawn(context.group, self._live, index)
        return True

    def _is_crowded(self, task: Callee, index: int) -> bool:
        # Without rules all who ask stand in one line, where the most urgent goes first, whatever its task.
        context = self.context
        is_one_line = context.frame.turn.ranks is not None and not context.run_context.admission.holding.rules
        return not is_one_line and self._crowd.is_full(task, index)

    def _wait_behind(self, index: int, task: Callee) -> None:
        """Leave a node without a task as long as enough others of its kind ask for admission."""
        run_context, frame = self.context.run_context, self.context.frame
        frame.status[index] = Status.QUEUED
        self._crowd.wait(task, index)
        if index not in self._crowd.told and run_context.events.wants(TaskBlocked):
            admission, applicant = run_context.admission, run_context.applicant(frame.name(index), task)
            reason = admission.holding.reason(applicant, {})
            if reason is not None:
                self._crowd.told.add(index)
                detail = Blockers(admission).first(applicant, {})
                subject = self.context.settler.subject(index)
                run_context.events.emit_node(TaskBlocked, subject, reason=reason, detail=detail)

    def _has_asked(self, index: int) -> None:
        """A node has been admitted, or asks no longer: let others ask."""
        frame, place = self.context.frame, self.context.frame.layout.places[index]
        all_at_once = self.context.run_context.lifecycle.is_closing or self.context.conditions.may_use_place(place)
        following = self._crowd.leave(frame.graph.task(index), index, all_at_once=all_at_once)
        if following:
            for other in following:
                frame.status[other] = Status.PENDING
            self.start_again(following)

    def take_back(self) -> None:
        """Decide anew about all nodes that wait behind others."""
        self._decide_anew(self._crowd.disperse())

    def take_back_those_alone(self) -> None:
        """Decide anew about nodes that wait behind others of which none asks. For when none is to be started."""
        self._decide_anew(self._crowd.left_alone())

    def _decide_anew(self, waiting: Sequence[int]) -> None:
        for index in waiting:
            self.context.frame.status[index] = Status.PENDING
        if waiting:
            self.start_again(waiting)

    async def _live(self, index: int) -> None:
        context = self.context
        with context.run_context.lifecycle.nodes.scope() as scope:
            context.scopes.enter(index, scope)
            try:
                # Cancelled before this task came to run, or what it is part of: then nothing of it is called.
                is_over = scope.cancel_called or context.conditions.is_cut_off
                ending = Ending(Cancelled()) if is_over else await self._ending(index)
            except BaseException as error:  # pragma: no cover  # an interrupt between two steps
                ending = Ending(classify(error, context.frame.name(index)))
        context.scopes.leave(index)
        self._has_asked(index)
        if labels := self.context.run_context.progress.labels:
            labels.pop(self.context.frame.name(index), None)
        chains = self.context.chains
        if chains.followers:
            chains.settles(index)
        await self.context.settler.settle_durably(index, ending)
        if chains.followers:
            chains.has_settled(index)
        self.left()

    async def _ending(self, index: int) -> Ending:
        context, frame = self.context, self.context.frame
        node: Node = frame.graph.node(index)  # type: ignore[assignment]  # routers are settled by the frame
        job = self._job(index, node)
        if job.label is not None:
            context.run_context.progress.labels[job.node_id] = job.label
        tracing = context.run_context.events.tracing
        if tracing is None or frame.layout.places[index] != Place.OWN:
            return await self._ending_of(index, node, job)
        with tracing.node(job.node_id, job.task, frame.turn.number, job.label) as traced:
            ending = await self._ending_of(index, node, job)
            traced.ended(ending.outcome, ending.attempts)
        return ending

    async def _ending_of(self, index: int, node: Node, job: Job) -> Ending:
        context, frame = self.context, self.context.frame
        if isinstance(node, MapNode):
            return await live_map(context.run_context, context.chains, node, job, self.run_items)
        ending = await live(context.run_context, job)
        if index in frame.layout.tails and isinstance(ending.outcome, Done):
            await context.returned.is_flow(index, ending.outcome.value)
        return ending

    def _job(self, index: int, node: Node) -> Job:
        context, frame = self.context, self.context.frame
        name, digest = frame.name(index), frame.digest(index)
        recovery, retry = context.run_context.store.recovery, node.terms.retry
        attempts = 0
        if recovery is not None and retry is not None and frame.turn.is_recorded:
            attempts = recovery.attempts(name, digest, retry)
        if retry is not None or isinstance(node, MapNode):  # by each attempt, or by each item
            frame.demand.read_again(node.data)
        priorities = frame.layout.special.priorities
        asking = Asking(
            functools.partial(context.calls.claimed, node),
            functools.partial(self._has_asked, index),
            rank=0.0 if frame.turn.ranks is None else frame.turn.ranks[index],
            is_told_of=index in self._crowd.told,
            priority=None if priorities is None else priorities[index],
        )
        use = ValueUse(
            self.saves.add if index in frame.layout.tails else None,
            context.returned.keeper(index),
            functools.partial(context.keeping.may_stay, index),
        )
        return Job(
            name,
            node.task,
            node.terms,
            bind=functools.partial(context.calls.bind, index),
            asking=asking,
            use=use,
            resources=frame.layout.injecting.get(index, ()),
            digest=digest,
            is_recorded=frame.turn.is_recorded,
            handles=frame.handling.of(index),
            attempts=attempts,
            label=frame.label(index),
        )
