"""Schedule ``"eager"``: one nursery, in which a node starts as soon as its own inputs have settled."""

from __future__ import annotations

import anyio

from cascade.planning.solve import Plan
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.saves import Saves
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.scheduler import Scheduler


async def run_eager(execution: RunContext, frame: Frame, plan: Plan, saves: Saves) -> None:
    """Run *frame* with no order but that of its edges; the plan's stages do not matter."""
    del plan
    scheduler = Scheduler.of(execution, frame, saves, is_eager=True)
    async with anyio.create_task_group() as scheduler.context.group:
        await scheduler.run(())
