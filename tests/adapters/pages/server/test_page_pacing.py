"""How often readers are told of what changes, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import sleep
from virtual_time import virtual_loops

from cascade.adapters.pages.server.sources.pacing import Beat
from cascade.adapters.pages.server.sources.source import PERIOD, SHARE

anyio_backend = virtual_loops


@asynccontextmanager
async def beating() -> AsyncIterator[Beat]:
    """A beat that goes on until the block ends, as something changes all the time."""
    beat = Beat()
    async with anyio.create_task_group() as group:
        group.start_soon(beat.keep)
        group.start_soon(_change, beat)
        yield beat
        group.cancel_scope.cancel()


async def _change(beat: Beat) -> None:
    while True:
        beat.change()
        await sleep(PERIOD / 1000)


async def seconds_to_the_next(beat: Beat) -> float:
    begun = anyio.current_time()
    await beat.wait()
    return anyio.current_time() - begun


async def test_beats_come_at_the_same_rate_however_much_changes() -> None:
    async with beating() as beat:
        taken = [await seconds_to_the_next(beat) for _ in range(50)]

    assert taken == pytest.approx([PERIOD] * 50, rel=0.02)


async def test_where_telling_takes_long_beats_are_rare_enough_to_leave_the_rest_of_the_time_to_the_run() -> None:
    async with beating() as beat:
        await beat.wait()
        beat.spent += 0.1
        await beat.wait()
        beat.spent += 0.05  # by a reader, once it is woken
        beat.spent += 0.05  # by another
        assert await seconds_to_the_next(beat) == pytest.approx(0.1 * SHARE, rel=0.02)
        assert await seconds_to_the_next(beat) == pytest.approx(PERIOD, rel=0.02)


async def test_telling_that_takes_long_but_once_makes_nobody_wait() -> None:
    async with beating() as beat:
        taken = []
        for spent in (0.0, 1.0, 0.001, 0.0):
            await beat.wait()
            beat.spent += spent
            taken.append(await seconds_to_the_next(beat))

    assert taken == pytest.approx([PERIOD] * 4, rel=0.02)


async def test_the_end_is_told_at_once_though_telling_took_long() -> None:
    async with beating() as beat:
        await beat.wait()
        beat.spent += 1000.0
        with anyio.fail_after(0.1):
            async with anyio.create_task_group() as group:
                group.start_soon(beat.wait)
                await anyio.lowlevel.checkpoint()
                beat.end()
