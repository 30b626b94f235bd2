"""Values for the tests of what travels to another process."""

from __future__ import annotations

import contextvars
from typing import Any

import cascade

number: contextvars.ContextVar[int] = contextvars.ContextVar("a name of its own")
choosy: contextvars.ContextVar[object] = contextvars.ContextVar("choosy")


class Unpicklable:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("stays at home")


class Unreadable:
    """Can be pickled, and not be unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise ValueError("does not\ncome back")


@cascade.task(mode="process")
def takes(first: object, *others: object, key: object = None, **more: object) -> None: ...


@cascade.task(mode="process")
def counts(n: int) -> int:
    """Refers to itself."""
    return n if n == 0 else counts.func(n - 1)


class Holder:
    @cascade.task(mode="process")
    def method(self, x: int) -> int:
        return x

    @cascade.task(mode="process")
    @staticmethod
    def static(x: int) -> int:
        return x
