"""Tasks that workers of remote executors import by name."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from real_time import hold_thread

import cascade


class CustomError(Exception):
    """An error that unpickling by its arguments would spoil."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint


@cascade.task(mode="remote")
def place() -> tuple[int, str]:
    """Where it runs."""
    return os.getpid(), threading.current_thread().name


@cascade.task(mode="remote")
def pid_for(text: str) -> int:
    """The process that it runs in, whatever it is given; takes a fifth of a millisecond."""
    del text
    time.sleep(0.0002)
    return os.getpid()


@cascade.task(mode="remote")
def add(one: int, other: int = 1) -> int:
    """A sum."""
    return one + other


@cascade.task(mode="remote")
def total(numbers: Sequence[int]) -> int:
    """A sum of many."""
    return sum(numbers)


@cascade.task(mode="remote")
def fail(code: int) -> int:
    """Raise an error of a class of its own."""
    raise CustomError(code, hint="look there")


@cascade.task(mode="remote")
def flaky(folder: str, failures: int) -> int:
    """Fail so often, and then return the number of the attempt."""
    marks = Path(folder)
    made = len(list(marks.glob("flaky-*")))
    (marks / f"flaky-{made}").touch()
    if made < failures:
        raise ConnectionError(f"attempt {made + 1}")
    return made + 1


@cascade.task(mode="remote")
def work_until_stopped(folder: str, name: str = "work", most: float = 20.0) -> str:
    """Say that it has begun, then work until it is cancelled or late, and say what ended it."""
    ends_by = time.monotonic() + most
    try:  # Ray interrupts wherever it is
        (Path(folder) / f"{name}-begun").touch()
        while time.monotonic() < ends_by:
            cascade.checkpoint()
            hold_thread(0.005)
    except BaseException as error:
        with suppress(OSError):
            (Path(folder) / f"{name}-{type(error).__name__}").touch()
        raise
    return "worked"


@cascade.task(mode="remote")
def stubborn(file: str, seconds: float) -> None:
    """Ignore that it is cancelled or late; note when it begins and ends."""
    with open(file, "a") as notes:
        notes.write("begun ")
        notes.flush()
        try:
            hold_thread(seconds)
        finally:
            notes.write("ended ")


@cascade.task(mode="remote")
def who() -> tuple[str, str, int, str]:
    """What ``cascade.current()`` shows."""
    here = cascade.current()
    return here.run_id, here.node_id, here.attempt, here.idempotency_key


@cascade.task(mode="remote")
def left() -> float:
    """Seconds to the deadline."""
    return cascade.current().remaining()


@cascade.task(mode="remote")
def kill_worker(folder: str, times: int = 1) -> str:
    """Kill its own process so often, and then return."""
    made = len(list(Path(folder).glob("killed-*")))
    if made < times:
        (Path(folder) / f"killed-{made}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@cascade.task(mode="remote")
def dies_at(folder: str, fatal: int, size: int) -> bytes:
    """Many bytes, but the *fatal* time, from 1, it kills its own process."""
    made = len(list(Path(folder).glob("called-*"))) + 1
    (Path(folder) / f"called-{made}").touch()
    if made == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes(size)


@cascade.task(mode="remote")
def large(size: int, fill: int = 1) -> bytes:
    """Many bytes."""
    return bytes([fill]) * size


@cascade.task(mode="remote")
def large_though_stopped(folder: str, size: int) -> bytes:
    """Many bytes, as soon as it is cancelled."""
    with suppress(BaseException):
        work_until_stopped.func(folder)
    return bytes(size)


@cascade.task(mode="remote")
def size_of(value: Any) -> int:
    """How long it is."""
    return len(value)


@cascade.task(mode="remote")
def sizes_of(values: Any) -> list[int]:
    """How long the values inside a container are."""
    inside = values.values() if isinstance(values, dict) else values
    return [len(value) for value in inside]


@cascade.task(mode="remote")
def unpicklable(_: int = 0) -> Any:
    """A value that cannot be sent."""
    return threading.Lock()


@cascade.task(mode="remote")
def takes_anything(thing: Any) -> str:
    """The kind of its argument."""
    return type(thing).__name__


@cascade.task(mode="remote")
def chooses(number: int) -> Any:
    """A call that is to be run in its place."""
    return add(number, 10)


@cascade.task
def here() -> int:
    """The process that runs the flow."""
    return os.getpid()


@cascade.task
async def here_async(value: Any) -> tuple[int, Any]:
    """The process that runs the flow, from its event loop."""
    return os.getpid(), value


@cascade.task
def plain_place(_: int = 0) -> tuple[int, str]:
    """Where a task runs that says nothing of it."""
    return os.getpid(), threading.current_thread().name
