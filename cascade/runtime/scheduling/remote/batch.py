"""One batch of plain nodes on its way to a worker and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
from anyio.lowlevel import EventLoopToken, current_token

from cascade.model.events import TaskExecutionStarted
from cascade.runtime.admission.claims import Claim, Holdings
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.foundation.remote_executor import RemoteCall
from cascade.runtime.foundation.threads import wake_soon
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.lane_attempt import LaneAttempt


@attrs.define(eq=False)
class RemoteBatch:
    """Plain nodes that one worker runs one after another.

    Attributes:
        context: The frame whose nodes they are.
        clock: The event loop's clock, as it can be read in any thread.
        announced: The nodes of the frame that have not ended, and of which it was told that they have begun.
        indices: The nodes, in their order.
        calls: What is called for each.
        followers: Those that go on from one before them, by position; the others were taken from the queue.
        began: By position, when a worker has begun, on that clock; and where.
        traced: The attempts of the calls, if the run is traced.
        adopted: A claim for what runs, if somebody has asked for one.
        is_over: Whether nothing of it is under way any more.
    """

    context: FrameContext
    clock: Callable[[], float]
    announced: set[int]
    indices: list[int] = attrs.field(factory=list)
    calls: list[RemoteCall] = attrs.field(factory=list)
    followers: set[int] = attrs.field(factory=set)
    began: dict[int, tuple[float, str]] = attrs.field(factory=dict)
    traced: list[LaneAttempt] = attrs.field(factory=list)
    adopted: Claim | None = None
    is_over: bool = False
    _token: EventLoopToken = attrs.field(factory=current_token)

    @property
    def node_id(self) -> str:
        """The node that runs, as far as it is known."""
        return self.context.frame.name(self.indices[max(self.began, default=0)])

    @property
    def is_running(self) -> bool:
        """Whether a worker has begun and has not ended."""
        return bool(self.began) and not self.is_over

    def why_late(self) -> str | None:
        """Nothing: plain nodes have no timeout."""
        return None

    def bound(self, position: int) -> Arguments:
        """What a node is called with."""
        call = self.calls[position]
        return call.args, dict(call.kwargs)

    def start(self, position: int, worker: str) -> None:
        """A worker has begun with a node. Called in any thread, and perhaps often."""
        if position not in self.began and not self.is_over:
            self.began[position] = self.clock(), worker
            if self.context.conditions.is_heard:
                wake_soon(self._token, self._announce_in_time, position, worker)

    def _announce_in_time(self, position: int, worker: str) -> None:
        if not self.is_over:  # else its nodes have been told of, or go into another batch
            self.announce(position, worker)

    def announce(self, position: int, worker: str) -> None:
        """Tell that a node has begun, if that has not been told."""
        index = self.indices[position]
        if index not in self.announced:
            self.announced.add(index)
            events = self.context.run_context.events
            if events.wants(TaskExecutionStarted):
                subject = self.context.settler.subject(index)
                events.emit_node(TaskExecutionStarted, subject, worker=worker)

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give what runs a claim: one node at a time does."""
        if self.adopted is None:
            index = self.indices[max(self.began, default=0)]
            frame, run_context = self.context.frame, self.context.run_context
            applicant = run_context.applicant(frame.name(index), frame.graph.task(index))
            self.adopted = holdings.adopted(applicant, epoch)

    def leave(self, errors: Iterable[BaseException | None]) -> None:
        """The calls have ended like this, in their order: so have their spans, if the run is traced."""
        tracing = self.context.run_context.events.tracing
        if tracing is not None:
            for attempt, error in zip(self.traced, errors, strict=False):
                tracing.leave(attempt, error)
            self.traced.clear()

    def end(self) -> None:
        """Nothing of it is under way any more."""
        self.is_over = True
        if self.adopted is not None:
            self.adopted.release()
