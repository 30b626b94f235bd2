"""An actor on the cluster that hears of starts from workers, and passes them on to the engine."""

from __future__ import annotations

import asyncio

# A batch, the position of the call in it that has started, and the name of the worker.
Start = tuple[str, int, str]


class Board:
    """Starts that have not been read."""

    def __init__(self) -> None:
        self._starts: list[Start] = []
        self._news = asyncio.Event()

    async def tell(self, start: Start) -> None:
        """A call has started."""
        self._starts.append(start)
        self._news.set()

    async def read(self) -> list[Start]:
        """The starts since the last time; waits until there is one."""
        await self._news.wait()
        self._news.clear()
        starts, self._starts = self._starts, []
        return starts
