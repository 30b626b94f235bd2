"""Schedule ``"eager"``: one nursery, in which a node starts as soon as its own inputs have settled."""

from __future__ import annotations

import anyio

from cascade.planning.solve import Plan
from cascade.runtime.crew import Crew
from cascade.runtime.execution import Execution
from cascade.runtime.frame import Frame
from cascade.runtime.node import Saves


async def run_eager(execution: Execution, frame: Frame, plan: Plan, saves: Saves) -> None:
    """Run *frame* with no order but that of its edges; the plan's stages do not matter."""
    del plan
    crew = Crew(execution, frame, is_eager=True, saves=saves)
    async with anyio.create_task_group() as crew.group:
        await crew.run(())
