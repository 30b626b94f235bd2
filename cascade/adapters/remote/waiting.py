"""Waiting, on any event loop, for something that threads of a library bring about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import current_token

from cascade.runtime.foundation.threads import counted, wake_soon


def event_from_threads(tell: Callable[[Callable[..., None]], Any]) -> anyio.Event:
    """An event that is set when the function that *tell* takes is called, from any thread, with any arguments."""
    token, event = current_token(), anyio.Event()
    tell(lambda *_: wake_soon(token, event.set))
    return event


async def until_set(event: anyio.Event) -> None:
    """Wait for *event*; virtual clocks stand still meanwhile."""
    with counted():
        await event.wait()
