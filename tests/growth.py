"""Ways to get at a task that the code of another task does not name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import cascade

INNER: Final = cascade.Param("inner", type=int)


@cascade.task(mode="inline")
def inner(value: Any = INNER) -> Any:
    """A task with a parameter."""
    return value


def make_inner() -> Any:
    """A flow."""
    return inner()


def _passing(func: Callable[[], Any]) -> Any:
    @functools.wraps(func)
    def wrapper() -> Any:
        return func()

    return wrapper


@_passing
def call_inner() -> Any:
    """A flow, from a decorated function."""
    return make_inner()


class Builder:
    """Makes flows."""

    def __init__(self) -> None:
        self.step = inner

    def build(self) -> Any:
        """A flow."""
        return inner()


class Statically:
    """Makes flows without an object."""

    @staticmethod
    def build() -> Any:
        """A flow."""
        return inner()


class ByClass:
    """Makes flows without an object."""

    @classmethod
    def build(cls) -> Any:
        """A flow."""
        return inner()


class Inheriting(ByClass):
    """Makes flows as its base does."""


class ByProperty:
    """Is asked for a flow."""

    @property
    def built(self) -> Any:
        """A flow."""
        return inner()


BY_NAME: Final = {"inner": inner}
