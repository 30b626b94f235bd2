"""Tasks that worker processes can import."""

from __future__ import annotations

import atexit
import contextvars
import importlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import anyio
from carried import Unpicklable, Unreadable

import cascade

seen_by_caller: contextvars.ContextVar[str] = contextvars.ContextVar("seen_by_caller", default="unset")
of_any_kind: contextvars.ContextVar[object] = contextvars.ContextVar("of_any_kind")


class Single:
    """Of which no two can be unpickled at once."""

    def __reduce__(self) -> Any:
        return _count_one, ()


_singles: weakref.WeakSet[Single] = weakref.WeakSet()


def _count_one() -> Single:
    if _singles:
        raise ValueError("there is one already")
    one = Single()
    _singles.add(one)
    return one


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
def kills_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    threading.Event().wait()


@cascade.task(mode="process")
def closes_everything() -> None:
    os.closerange(3, 100)
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
def takes_several(*others: object, key: int = 0) -> None: ...


@cascade.task(mode="process")
def calls(function: Callable[[Any], Any], value: object) -> Any:
    return function(value)


@cascade.task(mode="process")
def gives_local_function(x: int) -> Callable[[int], int]:
    return lambda y: x + y


@cascade.task(mode="process")
def gives_unreadable() -> Unreadable:
    return Unreadable()


# A module that no other process can import.
ONLY_HERE = """
import cascade
__name__ = "only_here"

@cascade.task(mode="process")
def lonely() -> None: ...
"""


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
def asks_how_long_it_has(_: bytes = b"") -> float:
    return cascade.current().remaining()


@cascade.task(mode="process")
def asks_for_its_key() -> str:
    return cascade.current().idempotency_key


_kept: list[contextvars.Context] = []


@cascade.task(mode="process")
def keeps_its_context() -> None:
    _kept.append(contextvars.copy_context())


@cascade.task(mode="process")
def asks_in_what_was_kept() -> str:
    return _kept[0].run(cascade.current).node_id


@cascade.task
def doubled(x: int) -> int:
    return 2 * x


@cascade.task(mode="process")
def doubled_far_away(x: int) -> int:
    return 2 * x


async def _doubled(x: int) -> int:
    return await cascade.run(doubled(x))


@cascade.task(mode="process")
def runs_a_flow(x: int, backend: str) -> tuple[int, int, int]:
    """In all the ways that a plain program has, also with a worker process of its own."""
    return (
        cascade.run_sync(doubled(x), backend=backend),
        anyio.run(_doubled, x, backend=backend),
        cascade.run_sync(doubled_far_away(x), backend=backend),
    )


@cascade.task(mode="process")
def counts_down(n: int) -> Any:
    return counts_down(n - 1) if n else "done"


@cascade.task(mode="process")
def sets_variable(value: str) -> str:
    seen_by_caller.set(value)
    return seen_by_caller.get()


@cascade.task(mode="process")
def any_kind() -> object:
    return of_any_kind.get()


@cascade.task(mode="process")
def surroundings() -> tuple[str, list[str], str | None, int]:
    """What a program may look at, and a module that may be hard to find."""
    late: Any = importlib.import_module("late_module")
    return os.getcwd(), sys.argv, os.environ.get("SET_LATE"), late.value


@cascade.task(mode="process")
def waits() -> None:
    threading.Event().wait()


@cascade.task(mode="process")
def computes_forever(marker: str) -> None:
    """In one call of native code, which never gives the GIL away."""
    with open(f"{marker}.part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{marker}.part", marker)
    sum(itertools.repeat(1))


def _at_the_end(marker: str) -> None:
    print("at the end")
    with open(marker, "x"):
        pass


@cascade.task(mode="process")
def registers(marker: str) -> None:
    atexit.register(_at_the_end, marker)


@cascade.task(mode="process")
def leaves_a_thread() -> int:
    threading.Thread(target=threading.Event().wait).start()
    return os.getpid()


@cascade.task(mode="process")
def interrupts_itself() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "went on"


@cascade.task(mode="process")
def asks_how_children_are_interrupted() -> str:
    """Whether they have the usual handler, and what is blocked for them."""
    program = (
        "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler,"
        " [*signal.pthread_sigmask(signal.SIG_BLOCK, [])], end='')"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@cascade.task(mode="process")
def echo(value: Any) -> Any:
    return value
