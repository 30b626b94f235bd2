"""Exceptions on their way from the process where a function raised them to the one that waits for it.

Many exceptions do not survive pickling, as their ``args`` are not what their classes are called with: they raise
when they are unpickled, or come out with another message. Such exceptions are rebuilt without a call of their
``__init__``. With cloudpickle, exceptions whose class is not importable are sent together with the class.
"""

from __future__ import annotations

import functools
import io
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Self

import attrs

from cascade.adapters.serialization.values import code_dumps
from cascade.model.errors import annotate, describe
from cascade.model.tracebacks import trim


def _builtin(cls: type[BaseException]) -> Any:
    """The builtin exception on which *cls* is built."""
    found: Any = cls
    while found.__module__ != "builtins":
        found = found.__base__
    return found


def _blank(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception of *cls*, made as the builtin one below it would be: nothing of the user's is called."""
    builtin = _builtin(cls)
    error = builtin.__new__(cls, *args)
    builtin.__init__(error, *args)
    assert isinstance(error, BaseException)
    return error


def _restore(error: BaseException, fields: dict[str, Any]) -> None:
    """Set *fields*, past what refuses in frozen exceptions."""
    for name, value in fields.items():
        object.__setattr__(error, name, value)


def _parts(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the builtin exception below *error* is made of, and the attributes, also those in slots."""
    # Not error.args: there, an OSError has no file name.
    _, args, *more = _builtin(type(error)).__reduce__(error)
    state: Any = object.__getstate__(error)
    parts = [*more, *(state if isinstance(state, tuple) else (state,))]
    return args, {name: value for part in parts if part for name, value in part.items()}


def _can_be_pickled(value: object, dumps: Callable[[object], bytes]) -> bool:
    try:
        dumps(value)
    except Exception:  # whatever the value's own __reduce__ raises
        return False
    return True


def take_apart(error: BaseException, dumps: Callable[[object], bytes]) -> tuple[Any, ...]:
    """How to pickle *error* so that its ``__init__`` is not called, leaving out what *dumps* cannot pickle."""
    args, fields = _parts(error)
    args = args if _can_be_pickled(args, dumps) else (str(error),)
    fields = {name: value for name, value in fields.items() if _can_be_pickled(value, dumps)}
    # Fields come after the exception is there: they may lead back to it.
    return _blank, (type(error), args), fields, None, None, _restore


class _RebuildingPickler(pickle.Pickler):
    """Takes exceptions apart."""

    def reducer_override(self, obj: Any, /) -> Any:
        return take_apart(obj, pickle.dumps) if isinstance(obj, BaseException) else NotImplemented


def _rebuilding(error: BaseException) -> bytes:
    file = io.BytesIO()
    _RebuildingPickler(file, pickle.HIGHEST_PROTOCOL).dump(error)
    return file.getvalue()


def _plain(error: BaseException) -> bytes:
    return pickle.dumps(error, pickle.HIGHEST_PROTOCOL)


def _ways() -> Iterator[tuple[Callable[[BaseException], bytes], bool]]:
    """Ways to pickle an exception, and whether each is only for what cannot be pickled in another."""
    yield _plain, False
    yield _rebuilding, False
    by_value = code_dumps()
    if by_value is not None:
        yield by_value, True
        yield functools.partial(by_value, takes_errors_apart=True), True


def _likeness(error: BaseException, pickled: bytes) -> tuple[bool, bool]:
    """How much of *error* arrives: its type, its text.

    Raises:
        TypeError: If what arrives is not an exception.
    """
    copy = pickle.loads(pickled)
    if not isinstance(copy, BaseException):
        raise TypeError(f"it unpickles as {type(copy).__name__}, which is not an exception")
    return type(copy) is type(error), describe(copy) == describe(error)


def _pickled(error: BaseException) -> tuple[bytes, str]:
    """*error* in the way in which most of it arrives, or nothing and the reason."""
    best, most, problem = b"", (False, False), ""
    for way, is_last_resort in _ways():
        if all(most) or (best and is_last_resort):
            break
        try:
            pickled = way(error)
            likeness = _likeness(error, pickled)
        except Exception as reason:  # whatever the error's own __reduce__ and __init__ raise
            problem = problem or describe(reason)
            continue
        if not best or likeness > most:
            best, most = pickled, likeness
    return best, problem


@attrs.frozen
class FarError:
    """An exception of another process, in a form that arrives whatever the exception is.

    Attributes:
        pickled: The exception; empty if it cannot be pickled.
        text: Its type and message.
        problem: Why it cannot be pickled.
        place: Its traceback, as text: pickling drops it.
    """

    pickled: bytes
    text: str
    problem: str
    place: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Where it was raised: *error*, ready to leave."""
        trim(error)
        place = "in the worker process:\n" + "".join(traceback.format_exception(error)).rstrip()
        pickled, problem = _pickled(error)
        return cls(pickled, describe(error), problem, place)

    def near(self, name: str) -> BaseException:
        """The exception that the task of this name raised, or one that describes it."""
        error, problem = self.rebuilt()
        if error is None:
            error = RuntimeError(
                f"{name!r} raised {self.text}; that exception cannot leave its process ({problem}): define its "
                "class at the top level of a module that can be imported, or give it a __reduce__"
            )
        annotate(error, self.place)
        return error

    def rebuilt(self) -> tuple[BaseException | None, str]:
        """The exception, or ``None`` and the reason."""
        if not self.pickled:
            return None, self.problem
        try:
            error = pickle.loads(self.pickled)
            assert isinstance(error, BaseException)
        except Exception as reason:  # this process may have other modules than the other one
            return None, describe(reason)
        return error, ""
