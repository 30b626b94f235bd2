"""Virtual time: tests on clocks that move when every task waits, so that hours take no time."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from cascade.testing import virtual_backends

# For single tests that are async.
in_virtual_time = pytest.mark.parametrize("anyio_backend", virtual_backends(), ids=lambda backend: backend[0])


@pytest.fixture(params=virtual_backends(), ids=lambda backend: backend[0])
def virtual_loops(request: pytest.FixtureRequest) -> Any:
    """For all async tests of a module: ``anyio_backend = virtual_loops``."""
    return request.param


async def pass_time(seconds: float) -> None:
    """Let *seconds* of virtual time go by: what is due until then happens, and nothing that is due later.

    Raises:
        AssertionError: If time is real here.
    """
    assert hasattr(_clock(), "virtual"), "this would wait for real"
    await anyio.sleep(seconds)  # moves the clock, and takes no time


def _clock() -> object:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        from trio.lowlevel import current_clock

        return current_clock()
