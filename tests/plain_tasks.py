"""Tasks that do next to nothing, for flows in which only their shape or their fate counts."""

from __future__ import annotations

from typing import Any

from anyio.lowlevel import checkpoint

import cascade


@cascade.task
async def step(value: Any = None) -> Any:
    """On the loop, gives what it is given."""
    return value


@cascade.task
async def source(value: Any = 1) -> Any:
    """On the loop, gives 1, or what it is given: where a flow begins."""
    return value


@cascade.task
def in_thread(value: Any = None) -> Any:
    """In a thread, gives what it is given."""
    return value


@cascade.task(mode="inline")
def give(value: Any = None) -> Any:
    """In place, gives what it is given."""
    return value


@cascade.task(mode="inline")
def key(value: Any, *_: Any) -> Any:
    """In place, gives the key by which a router chooses."""
    return value


@cascade.task
def gathered(*values: Any) -> Any:
    """In a thread, gives all that it is given."""
    return values


@cascade.task
async def one(*_: Any) -> int:
    """Gives 1, whatever it is given."""
    return 1


@cascade.task
def add(a: int, b: int) -> int:
    """In a thread, adds."""
    return a + b


@cascade.task
async def double(x: int) -> int:
    """On the loop, with a checkpoint before its end."""
    await checkpoint()
    return 2 * x


def sums() -> cascade.LazyResult[int]:
    """A flow of four nodes, which gives 14."""
    return add(double(add(1, 2)), double(4))


def doubled_param() -> cascade.LazyResult[int]:
    """A flow with the parameter ``limit``."""
    return double(cascade.Param("limit", type=int))


@cascade.task
async def fail(*_: Any) -> None:
    """Raises a ``ValueError``."""
    raise ValueError("no luck")


@cascade.task
async def fails(message: str = "trouble") -> None:
    """Raises a ``ValueError`` that says *message*."""
    raise ValueError(message)


@cascade.task
async def odd_ones_fail(number: int) -> int:
    """Gives even numbers, raises a ``ValueError`` of odd ones."""
    if number % 2:
        raise ValueError(number)
    return number


@cascade.task
async def crash(*_: Any) -> Any:
    """Raises what no task raises on purpose."""
    raise ZeroDivisionError("crash")


def off(lazy: Any) -> Any:
    """*lazy*, to be skipped by its own condition, and all that need it with it."""
    return lazy.run_if(False, on_skip="skip")
