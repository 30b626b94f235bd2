"""The slot that a lane works with: asked for once, on behalf of all nodes that wait in its queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from cascade.model.errors import CascadeError
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.pool import Amount, Name
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.owner import Owner
from cascade.runtime.scheduling.ready_queue import Queue


async def slot_for(
    context: FrameContext, owner: Owner, queue: Queue, amounts: Mapping[Name, Amount]
) -> Claim | None:
    """A slot; none if nothing is left, or if there can be none: then all that is queued fails.

    Args:
        context: The frame whose nodes they are.
        owner: Settles those that fail.
        queue: The nodes that have not begun. Threads may take some of it at the same time.
        amounts: What the slot is.
    """
    try:
        first = queue[0]
    except IndexError:  # a thread has taken it in this very moment
        return None
    try:
        return await admit(context.run_context.admission, _applicant(context, first), amounts, lambda _: None)
    except DrainedError:
        return None
    except CascadeError as error:
        for index in _taken(queue):
            owner.settle(index, context.settler.failure(index, error, None))
        return None


def _applicant(context: FrameContext, index: int) -> Applicant:
    """Who asks for a slot, on behalf of *index* and many other nodes."""
    run_context, node_id = context.run_context, context.frame.name(index)
    ancestors = run_context.beginning.ancestors
    priorities = context.frame.layout.special.priorities
    priority = None if priorities is None else priorities[index]
    return Applicant(
        node_id, "", "", run_context.run_id, run_context.bus, ancestors, is_lane=True, priority=priority
    )


def _taken(queue: Queue) -> Iterator[int]:
    """What is queued, taken node by node."""
    with suppress(IndexError):
        while True:
            yield queue.popleft()
