"""Undoing has its time, on a clock that jumps ahead."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from state.cleared import cleared
from undone_tasks import DONE, UNDONE, book, boom, cancel
from virtual_time import virtual_loops

import cascade

anyio_backend = virtual_loops
nothing_is_done = cleared(DONE, UNDONE)


async def test_what_is_not_undone_within_cleanup_timeout_is_named() -> None:
    @cascade.task
    async def never(booking: Any) -> None:
        UNDONE.append(booking)
        await anyio.sleep_forever()

    began = anyio.current_time()
    first = book(1).with_undo(cancel)
    with pytest.raises(ValueError, match="boom") as caught:
        await cascade.run(boom(book(2, first).with_undo(never)), cleanup_timeout=5)
    assert "not undone: 'book#2', 'book'" in caught.value.__notes__
    assert anyio.current_time() - began == pytest.approx(5)
    assert UNDONE == ["2 booked"]


async def test_undos_respect_rules_and_claims() -> None:
    held: list[int] = []

    @cascade.task(constraints={"desk": 1})
    async def at_the_desk(booking: Any) -> None:
        held.append(1)

    engine = cascade.Engine(system_resources={"desk": 1}, cleanup_timeout=5)
    with pytest.raises(ValueError, match="boom"):
        await engine.run(boom(book(1).with_undo(at_the_desk)))
    assert held == [1]
    await engine.control.pause("task:at_the_desk")
    with pytest.raises(ValueError, match="boom") as caught:
        await engine.run(boom(book(1).with_undo(at_the_desk)))
    assert held == [1]
    assert "not undone: 'book'" in caught.value.__notes__
