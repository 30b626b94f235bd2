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


class Picklable:
    """Shown with its place in memory."""


class ApiError(Exception):
    """Does not unpickle by itself: its ``args`` are not what its class is called with."""

    def __init__(self, code: int, body: str) -> None:
        super().__init__(f"{code}: {body}")
        self.code = code
        self.body = body


class CodeError(Exception):
    """Unpickles by itself, with another message."""

    def __init__(self, code: object) -> None:
        super().__init__(f"code {code}")


class RefusedFileError(OSError):
    """Does not unpickle by itself, and has fields that its base sets."""

    def __init__(self, number: int, *, path: str) -> None:
        super().__init__(number, "refused", path)


class LockedError(ApiError):
    """Has a field that cannot be pickled, and one that leads back to it."""

    def __init__(self, code: int) -> None:
        super().__init__(code, "locked")
        self.lock = threading.Lock()
        self.origin = self


class UnpicklableArgumentError(Exception):
    """Has an argument that cannot be pickled, and a text that does not need it."""

    def __init__(self) -> None:
        super().__init__(Unpicklable())

    def __str__(self) -> str:
        return "the text"


class SlotError(Exception):
    """Keeps its field in a slot."""

    __slots__ = ("field",)

    def __init__(self, *, field: str) -> None:
        super().__init__()
        self.field = field


class StandIn(Exception):
    """What a :class:`LocalError` makes of itself."""


def local_error(**members: object) -> Exception:
    """An exception whose class no other process can find."""
    error = type("LocalError", (Exception,), members)("local text")
    assert isinstance(error, Exception)
    return error


@cascade.task(mode="process")
def refused(code: int) -> None:
    raise ApiError(code, "refused")


@cascade.task(mode="process")
def refused_unless(marker: str) -> str:
    """Fails the first time."""
    try:
        with open(marker, "x"):
            pass
    except FileExistsError:
        return "accepted"
    raise ApiError(503, "busy")


@cascade.task(mode="process")
def raises_local() -> None:
    raise local_error()


@cascade.task(mode="process")
def babbles() -> None:
    """Writes where AnyIO's answers go."""
    os.write(1, b"no answer\n")
    threading.Event().wait()


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
