"""Why the code for turns stops, and what it asks of others for that."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from contextvars import Context
from types import CoroutineType, TracebackType
from typing import Any

import attrs

from cascade.model.shown.raised import set_past_refusal
from cascade.runtime.foundation.step_in_context import Awaiting, drive, rest_of


class Stop(enum.Enum):
    """Why no node is called at present."""

    # The gate is not what it was.
    CHANGED = enum.auto()
    # Others should have their turn.
    PAUSE = enum.auto()
    # The beginning of the present turn is to be recorded.
    DUE = enum.auto()
    # A node has not simply ended: it waits, has raised, or gave something that has to be looked at closely.
    GIVEN = enum.auto()
    # What is left is for a frame.
    LEFT = enum.auto()
    # The last turn gave a value that is no flow of the same shape.
    ENDED = enum.auto()


@attrs.frozen(eq=False)
class Given:
    """What a node gave whose turn cannot simply go on.

    Attributes:
        value: What it returned.
        error: What it raised.
        rest: What is left of its coroutine.
    """

    value: Any = None
    error: BaseException | None = None
    rest: Awaitable[Any] | None = None


@attrs.frozen(eq=False)
class Looks:
    """Looks closely at values that are no leaves.

    Attributes:
        is_plain: Whether there is certainly no placeholder in a value. Called in any thread.
        keeps_values: Whether the value of the last turn is to be recorded.
    """

    is_plain: Callable[[Any], bool]
    keeps_values: bool

    def odd(self, value: Any, context: Context | None) -> Given | None:
        """What was given, if the turn cannot simply go on with *value*. A sync function gave it in *context*."""
        if context is not None and type(value) is CoroutineType:
            return Given(rest=drive(context, value))
        return None if self.is_plain(value) else Given(value)

    def last(self, value: Any, context: Context | None) -> Given | None:
        """The same, for what the target gave if that is no flow: the loop ends with it."""
        if context is not None and type(value) is CoroutineType:
            return Given(rest=drive(context, value))
        return Given(value) if self.keeps_values else None

    def taken(self, value: Any, context: Context | None) -> Given:
        """What was given, if others have gone on with the turn."""
        return self.odd(value, context) or Given(value)


def is_closed(error: BaseException) -> bool:
    """Whether *error* has come up in the code since that was closed, and not in what it has called."""
    return type(error) is GeneratorExit and _inner(error) is None


def raised(error: BaseException) -> Given:
    """What was given if *error* has come up in the code while it was at a node."""
    # Or the code would be kept for as long, and all that is in it.
    set_past_refusal(error, _inner(error), error.__context__)
    return Given(error=error)


def check_place(place: int | None, what: Stop | Given | None) -> int:
    """*place*, if there is one. Else something was raised between two turns, an interrupt most likely."""
    if place is None:
        assert isinstance(what, Given)
        assert what.error is not None
        raise what.error
    return place


def _inner(error: BaseException) -> TracebackType | None:
    """The traceback without the code. A function that is not written in Python leaves nothing in it."""
    return error.__traceback__ and error.__traceback__.tb_next


def waits(context: Context, awaiting: Awaiting, yielded: Any, box: list[Any]) -> Given:
    """What was given if *awaiting* has *yielded* from the first step of a coroutine that waits."""
    return Given(rest=rest_of(context, awaiting, yielded, box))
