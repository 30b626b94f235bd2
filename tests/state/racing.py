"""What two processes race for: long enough for both to have tried before it ends."""

from __future__ import annotations

import anyio

import cascade


@cascade.task
async def race() -> str:
    await anyio.sleep(1.5)  # other processes are not in this one's time
    return "raced"


flow = race()
