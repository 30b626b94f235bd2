"""How often readers are told of what changes: not with each event, and seldom where telling takes long."""

from __future__ import annotations

from typing import Final

import anyio
import attrs

from cascade.adapters.pages.server.sources.source import PERIOD, SHARE

# Seconds after which readers look again though nothing has been said: waits have become shorter, for example.
_AT_LEAST_EVERY: Final = 1.0


@attrs.define(eq=False)
class Beat:
    """Wakes readers together, some time after something has changed.

    Attributes:
        number: Grows with each beat.
        spent: Seconds of the processor that were spent on telling since the last beat.
    """

    number: int = 0
    spent: float = 0.0
    _spent_before: float = 0.0
    _changed: anyio.Event = attrs.field(factory=anyio.Event)
    _next: anyio.Event = attrs.field(factory=anyio.Event)
    _is_over: bool = False

    def change(self) -> None:
        """Something has changed."""
        self._changed.set()

    def end(self) -> None:
        """Nothing changes any more: wake all readers now, and never let one wait again."""
        self._is_over = True
        self._changed.set()
        self._ring()

    def _ring(self) -> None:
        self.number += 1
        self.spent = 0.0
        self._next.set()
        if not self._is_over:
            self._next = anyio.Event()

    async def wait(self) -> None:
        """Wait for the next beat. Returns at once after :meth:`end`."""
        await self._next.wait()

    async def keep(self) -> None:
        """Beat until the end."""
        while not self._is_over:
            await anyio.sleep(PERIOD)
            # Only now: readers have been told by now what this beat brought, and not when it began.
            # What takes long but once, such as a garbage collection that falls into it, is no reason to be silent.
            usual = min(self.spent, self._spent_before)
            self._spent_before = self.spent
            await anyio.sleep(max(usual * SHARE - PERIOD, 0.0))
            with anyio.move_on_after(_AT_LEAST_EVERY):
                await self._changed.wait()
            if not self._is_over:
                self._changed = anyio.Event()
                self._ring()
