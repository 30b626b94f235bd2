"""Tasks that worker processes can import."""

from __future__ import annotations

import contextvars
import os
import threading
from typing import Any

import cascade

seen_by_caller: contextvars.ContextVar[str] = contextvars.ContextVar("seen_by_caller", default="unset")


class Unpicklable:
    """Cannot leave the process."""

    def __reduce__(self) -> Any:
        raise TypeError("stays at home")


@cascade.task(mode="process")
def pid() -> int:
    return os.getpid()


@cascade.task(mode="process")
def add(a: int, b: int) -> int:
    return a + b


@cascade.task(mode="process")
def takes(value: object) -> str:
    return type(value).__name__


@cascade.task(mode="process")
def gives_unpicklable() -> Unpicklable:
    return Unpicklable()


@cascade.task(mode="process")
def fails(message: str) -> None:
    raise ValueError(message)


@cascade.task(mode="process")
def exits(code: int) -> None:
    raise SystemExit(code)


@cascade.task(mode="process")
def dies_unless(marker: str) -> str:
    """Kills its process, the first time."""
    try:
        with open(marker, "x"):
            pass
    except FileExistsError:
        return "survived"
    os._exit(1)


@cascade.task(mode="process")
def never_ends(marker: str) -> None:
    """Says that it runs by writing its process id into a file."""
    with open(f"{marker}.part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{marker}.part", marker)
    threading.Event().wait()


@cascade.task(mode="process")
def variable() -> str:
    return seen_by_caller.get()


@cascade.task(mode="process")
def asks_at_a_checkpoint() -> str:
    cascade.checkpoint()
    return "went on"


@cascade.task(mode="process")
def asks_where_it_is() -> tuple[str, int]:
    context = cascade.current()
    return context.node_id, context.attempt


@cascade.task(mode="process")
def asks_how_long_it_has() -> float:
    return cascade.current().remaining()
