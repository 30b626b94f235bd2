"""Tasks that hold what they claim for a while of virtual time."""

from __future__ import annotations

from typing import Any

from anyio import sleep

import cascade


@cascade.task
async def note(ran: list[str], name: str, value: Any = None, seconds: float = 0.0) -> Any:
    """Write down *name* in *ran*, take *seconds*, and give *value*."""
    ran.append(name)
    await sleep(seconds)
    return value
