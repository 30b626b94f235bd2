"""Schedule ``"stages"``: each stage is a nursery, and starts when the one before has ended."""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint

from cascade.graph.nested import PAUSE_EVERY
from cascade.model.events import StageFinished, StageStarted
from cascade.model.outcomes import Status
from cascade.planning.solve import Plan
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.scheduler import Scheduler


async def run_stages(scheduler: Scheduler, plan: Plan) -> None:
    """Run a frame stage by stage; what has settled before are the nodes of its first stages.

    A node that is not ready when its stage comes, because two routers wait for each other's selectors, is tried
    again in each stage that follows. No stage waits for signals: what does not need them goes on, and what does is
    tried again in later stages, and once all else has been run, whenever a signal has come.
    """
    run_context, frame = scheduler.context.run_context, scheduler.context.frame
    late: list[int] = []
    may_be_late = bool(frame.layout.selectors or frame.layout.special.signals)
    settled = frame.turn.settled_before
    for number, level in enumerate(plan.levels):
        if settled >= len(level):
            settled -= len(level)
            continue
        settled = 0
        if len(level) == 1 and frame.has_settled(level[0]):
            # It went on from the one before, in the same lane.
            if not number % PAUSE_EVERY:
                await checkpoint()
            continue
        await run_stage(scheduler, [*late, *level], number)
        if may_be_late:
            late = [index for index in (*late, *level) if not frame.has_settled(index)]
        if run_context.lifecycle.is_closing:
            return
    number = len(plan.levels)
    while late:
        waits = scheduler.context.waits
        if waits is not None and waits.is_waiting and not _any_ready(frame, late):
            await waits.until_settled()
            late = [index for index in late if not frame.has_settled(index)]
            if run_context.lifecycle.is_closing:
                return
            continue
        await run_stage(scheduler, late, number)
        left = [index for index in late if not frame.has_settled(index)]
        is_stuck = len(left) == len(late) and not scheduler.context.awaits_signals
        if is_stuck or run_context.lifecycle.is_closing:
            return
        late, number = left, number + 1


def _any_ready(frame: Frame, indices: list[int]) -> bool:
    """Whether one of the nodes can be started."""
    pending, status = frame.readiness.pending, frame.status
    return any(status[index] == Status.PENDING and not pending[index] for index in indices)


async def run_stage(scheduler: Scheduler, level: list[int], number: int) -> None:
    """Run the nodes of *level* that are ready, and wait for all of them."""
    run_context = scheduler.context.run_context
    frame = scheduler.context.frame
    frame.readiness.stage = level
    within = frame.prefix.removesuffix("/") or None
    run_context.events.emit(StageStarted, index=number, size=len(level), within=within)
    async with anyio.create_task_group() as scheduler.context.group:
        await scheduler.run(level)
    if run_context.store.journal is not None and run_context.settings.durability == "stage":
        await run_context.store.journal.flush()
    if not run_context.lifecycle.is_closing:
        run_context.events.emit(StageFinished, index=number, size=len(level), within=within)
