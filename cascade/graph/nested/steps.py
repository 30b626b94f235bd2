"""Work in steps: done at once, or with pauses in between in which others can run."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, TypeVar

T = TypeVar("T")
# Work that pauses now and then so that others can run, and gives its result in the end.
Steps = Generator[None, None, T]

# Cheap items, such as nodes or values, between two pauses.
PAUSE_EVERY: Final = 128


def finish(steps: Steps[T]) -> T:
    """The result of *steps*, made without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the generator's annotation says it
