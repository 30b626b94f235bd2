"""Cancels nodes of one frame while the run goes on: by request, as they have lost, or with what they belong to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

import attrs

from cascade.model.outcomes import Cancelled, Status
from cascade.planning.layout import has_races
from cascade.runtime.cancelling.live import key_of
from cascade.runtime.execution.settle import Ending
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.ready_queue import Queue
from cascade.runtime.scheduling.tasks.node_tasks import NodeTasks


class Runner(Protocol):
    """The scheduler of a frame, as far as cancelling its nodes goes."""

    def take_back(self, queue: Queue) -> None:
        """Decide anew about the nodes in *queue*, which have not begun."""
        ...

    def left(self, count: int = 1) -> None:
        """So many nodes that were in flight have settled, or others have."""
        ...

    def tell(self) -> None:
        """There is something to do."""
        ...

    def let_go(self) -> None:
        """Forget the frame."""
        ...


@attrs.define(eq=False)
class LiveFrame:
    """The nodes of one frame while they run, for whoever cancels some of them.

    Attributes:
        context: The frame.
        runner: Its scheduler.
        tasks: Its nodes with tasks of their own.
        queues: Its nodes that have been given to lanes and have not begun.
    """

    context: FrameContext
    runner: Runner
    tasks: NodeTasks
    queues: Sequence[Queue]

    @property
    def frame(self) -> Frame:
        """The frame."""
        return self.context.frame

    def enter(self) -> None:
        """Be the one who runs the nodes with the ids of this frame."""
        frame, cancelled = self.context.frame, self.context.run_context.lifecycle.nodes
        key, special = key_of(frame), frame.layout.special
        cancelled.enter(key, self)
        if special.gives_up or has_races(frame.graph, special.handlers):
            cancelled.may_come = True
        if cancelled:
            frame.gaps.exist = True  # so that whoever starts a node looks
            self.context.conditions.is_cut_off = cancelled.is_part(key)

    def cancel(self, index: int) -> None:
        """A node has been marked as cancelled: settle it if it has not begun, else cancel what it waits in."""
        frame, waits = self.context.frame, self.context.waits
        frame.gaps.exist = True
        if frame.status[index] == Status.QUEUED and (waits is None or not waits.withdraw(index)):
            for queue in self.queues:
                self.runner.take_back(queue)
            self.tasks.take_back()
        if frame.status[index] == Status.PENDING:
            self.context.settler.settle(index, Ending(Cancelled()))
            self.runner.left(0)
        else:  # if it is still queued, a thread has just taken it, and gives it back or begins it
            self.context.scopes.cancel(index)

    def lose(self, lost: Iterable[int]) -> None:
        """Cancel nodes that have lost a race."""
        nodes, agenda = self.context.run_context.lifecycle.nodes, deque(lost)
        while agenda:
            index = agenda.popleft()
            nodes.lose(self, index)
            agenda.extend(self.context.chains.unwanted_above(index, partial(nodes.is_marked, self.context.frame)))

    def cut_off(self) -> None:
        """A node that this frame belongs to has been cancelled: start nothing more."""
        self.context.conditions.is_cut_off = True
        self.runner.tell()

    def let_go(self) -> None:
        """Nobody asks for the frame any more: others run it, or it has ended."""
        self.runner.let_go()
