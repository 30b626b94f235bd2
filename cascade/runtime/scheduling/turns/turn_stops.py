"""Why the code for turns stops, and what it asks of others for that."""

from __future__ import annotations

import enum
import types
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from types import CoroutineType, TracebackType
from typing import Any

import attrs

from cascade.model.lazies import LazyResult
from cascade.model.shown.raised import set_past_refusal
from cascade.runtime.foundation.step_in_context import drive

# A function and its arguments.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


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
        """The same, for what the target gave."""
        if context is not None and type(value) is CoroutineType:
            return Given(rest=drive(context, value))
        return Given(value) if self.keeps_values and type(value) is not LazyResult else None

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


def check_place(place: int | None, what: Stop | Given) -> int:
    """*place*, if there is one. Else something was raised between two turns, an interrupt most likely."""
    if place is None:
        assert isinstance(what, Given)
        assert what.error is not None
        raise what.error
    return place


def _inner(error: BaseException) -> TracebackType | None:
    """The traceback without the code. A function that is not written in Python leaves nothing in it."""
    return error.__traceback__ and error.__traceback__.tb_next


def awaiting_calls() -> tuple[list[Any], Generator[Any, Call, None]]:
    """A box, and what awaits the calls that are sent to it: see :func:`_awaiting`."""
    box: list[Any] = [None]
    awaiting = _awaiting(box)
    next(awaiting)
    return box, awaiting


@types.coroutine
def _awaiting(box: list[Any]) -> Generator[Any, Call, None]:
    """Await the coroutine of each call that is sent: no exception has to be made for its value, as its end is one.

    Yields what it waits with; and *box*, with its value inside, when it has ended.
    """
    while True:
        func, args = yield box
        coroutine = func(*args)
        del func, args  # the next node may take long
        box[0] = yield from coroutine


def waits(context: Context, awaiting: Generator[Any, Any, Any], yielded: Any, box: list[Any]) -> Given:
    """What was given if *awaiting* has *yielded* from the first step of a coroutine that waits."""
    return Given(rest=_rest(context, awaiting, yielded, box))


@types.coroutine
def _rest(
    context: Context, awaiting: Generator[Any, Any, Any], yielded: Any, box: list[Any]
) -> Generator[Any, Any, Any]:
    """What the coroutine gives that *awaiting* awaits, and that has *yielded* from its first step."""
    run = context.run
    while yielded is not box:
        step, sent = awaiting.send, None
        try:
            sent = yield yielded
        except BaseException as error:  # a cancellation, say: for the coroutine to see
            step, sent = awaiting.throw, error
        try:
            yielded = run(step, sent)
        finally:
            del step, sent
    value, box[0] = box[0], None
    return value
