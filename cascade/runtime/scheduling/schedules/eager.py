"""Schedule ``"eager"``: one nursery, in which a node starts as soon as its own inputs have settled."""

from __future__ import annotations

import anyio

from cascade.planning.solve import Plan
from cascade.runtime.scheduling.scheduler import Scheduler


async def run_eager(scheduler: Scheduler, plan: Plan) -> None:
    """Run a frame with no order but that of its edges; the plan's stages do not matter."""
    del plan
    async with anyio.create_task_group() as scheduler.context.group:
        await scheduler.run(())
