"""How much work something is: counted in function calls, which do not depend on the machine."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

import attrs


@attrs.frozen
class Effort:
    """Function calls that some work took: a measure that does not depend on the machine.

    Attributes:
        total: All of them.
        longest: The most between two pauses.
    """

    total: int
    longest: int


def effort(steps: Generator[Any, None, Any]) -> Effort:
    """What *steps* took."""
    calls = 0
    marks = [0]

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for _ in itertools.chain(steps, [None]):
            marks.append(calls)  # noqa: PERF401  # it changes from step to step
    finally:
        sys.setprofile(before)
    return Effort(calls, max(later - earlier for earlier, later in itertools.pairwise(marks)))


def once(work: Callable[[Any], object], argument: Any) -> Generator[None, None, None]:
    """One piece of work, as steps."""
    work(argument)
    yield
