"""Tasks that do something, and tasks that undo it; both write it down."""

from __future__ import annotations

from typing import Any

import cascade

DONE: list[Any] = []
UNDONE: list[Any] = []


@cascade.task
async def book(what: Any, *_: Any) -> Any:
    DONE.append(what)
    return f"{what} booked"


@cascade.task
def book_in_thread(what: Any, *_: Any) -> Any:
    DONE.append(what)
    return f"{what} booked"


@cascade.task(mode="inline")
def book_inline(what: Any, *_: Any) -> Any:
    DONE.append(what)
    return f"{what} booked"


@cascade.task
async def cancel(booking: Any) -> None:
    UNDONE.append(booking)


@cascade.task
def cancel_in_thread(booking: Any) -> None:
    UNDONE.append(booking)


@cascade.task(mode="inline")
def cancel_inline(booking: Any) -> None:
    UNDONE.append(booking)


@cascade.task
async def boom(*_: Any) -> Any:
    raise ValueError("boom")


@cascade.task
async def cannot(booking: Any) -> None:
    UNDONE.append(("tried", booking))
    raise OSError(f"{booking} cannot be cancelled")


@cascade.task(mode="process")
def cancel_elsewhere(booking: Any) -> str:
    return f"{booking} cancelled"
