"""Sends exceptions from the process where a function raised them to the one that waits for it.

Many exceptions do not survive pickling, because their ``args`` are not the arguments of their class: unpickling
them raises, or gives another message. Such exceptions are rebuilt without a call of their ``__init__``. With
cloudpickle, an exception whose class cannot be imported is sent together with the class.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Self

import attrs

from cascade.adapters.serialization.values import code_dumps
from cascade.model.shown.raised import annotate, describe
from cascade.model.shown.tracebacks import trim


def _builtin(cls: type[BaseException]) -> Any:
    """The builtin exception class from which *cls* is derived."""
    found: Any = cls
    while found.__module__ != "builtins":
        found = found.__base__
    return found


def _blank(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception of *cls*, made by its builtin class alone, without a call of the user's code."""
    builtin = _builtin(cls)
    error = builtin.__new__(cls, *args)
    builtin.__init__(error, *args)
    assert isinstance(error, BaseException)
    return error


def _restore(error: BaseException, fields: dict[str, Any]) -> None:
    """Set *fields*, also if the exception is frozen."""
    for name, value in fields.items():
        object.__setattr__(error, name, value)


def _parts(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments for the builtin class of *error*, and its attributes, those in slots among them."""
    # Not error.args: that of an OSError lacks the file name.
    _, args, *more = _builtin(type(error)).__reduce__(error)
    state: Any = object.__getstate__(error)
    parts = [*more, *(state if isinstance(state, tuple) else (state,))]
    return args, {name: value for part in parts if part for name, value in part.items()}


def _can_be_pickled(value: object, dumps: Callable[[object], bytes]) -> bool:
    try:
        dumps(value)
    except Exception:  # pickling runs the value's __reduce__, which may raise anything
        return False
    return True


def take_apart(error: BaseException, dumps: Callable[[object], bytes]) -> tuple[Any, ...]:
    """How to pickle *error* so that its ``__init__`` is not called; leaves out what *dumps* cannot pickle."""
    args, fields = _parts(error)
    args = args if _can_be_pickled(args, dumps) else (str(error),)
    fields = {name: value for name, value in fields.items() if _can_be_pickled(value, dumps)}
    # Fields are set after the exception is made, as they may refer to it.
    return _blank, (type(error), args), fields, None, None, _restore


class _RebuildingPickler(pickle.Pickler):
    """Pickles exceptions so that they are rebuilt without a call of their ``__init__``."""

    def reducer_override(self, obj: Any, /) -> Any:
        return take_apart(obj, pickle.dumps) if isinstance(obj, BaseException) else NotImplemented


def _rebuilding(error: BaseException) -> bytes:
    file = io.BytesIO()
    _RebuildingPickler(file, pickle.HIGHEST_PROTOCOL).dump(error)
    return file.getvalue()


def _plain(error: BaseException) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    if "tblib" in sys.modules:
        # It registers a way for all exceptions that leaves slots out; importing distributed is enough.
        ways = copyreg.dispatch_table.items()
        pickler.dispatch_table = {cls: way for cls, way in ways if not way.__module__.startswith("tblib")}
    pickler.dump(error)
    return file.getvalue()


def _ways() -> Iterator[tuple[Callable[[BaseException], bytes], bool]]:
    """The ways to pickle an exception, and whether each is used only if the ones before it fail."""
    yield _plain, False
    yield _rebuilding, False
    by_value = code_dumps()
    if by_value is not None:
        yield by_value, True
        yield functools.partial(by_value, takes_errors_apart=True), True


def _likeness(error: BaseException, pickled: bytes) -> tuple[bool, bool]:
    """Whether the type and the text of *error* survive *pickled*.

    Raises:
        TypeError: If *pickled* gives no exception.
    """
    copy = pickle.loads(pickled)
    if not isinstance(copy, BaseException):
        raise TypeError(f"it unpickles as {type(copy).__name__}, which is not an exception")
    return type(copy) is type(error), describe(copy) == describe(error)


def _pickled(error: BaseException) -> tuple[bytes, str]:
    """*error* pickled in the way that preserves most of it; empty, with the reason, if there is no way."""
    best, most, problem = b"", (False, False), ""
    for way, is_last_resort in _ways():
        if all(most) or (best and is_last_resort):
            break
        try:
            pickled = way(error)
            likeness = _likeness(error, pickled)
        except Exception as reason:  # this runs the error's __reduce__ and __init__, which may raise anything
            problem = problem or describe(reason)
            continue
        if not best or likeness > most:
            best, most = pickled, likeness
    return best, problem


@attrs.frozen
class FarError:
    """An exception in a form that can always be sent to another process.

    Attributes:
        pickled: The exception; empty if it cannot be pickled.
        text: Its type and message.
        problem: Why it cannot be pickled; empty if it can.
        place: Its traceback as text, as pickling drops the traceback.
    """

    pickled: bytes
    text: str
    problem: str
    place: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """*error* in this form; called in the process where it was raised."""
        trim(error)
        place = "in the worker process:\n" + "".join(traceback.format_exception(error)).rstrip()
        pickled, problem = _pickled(error)
        return cls(pickled, describe(error), problem, place)

    def near(self, name: str) -> BaseException:
        """The exception that the task *name* raised, or a ``RuntimeError`` that describes it."""
        error, problem = self.rebuilt()
        if error is None:
            error = RuntimeError(
                f"{name!r} raised {self.text}; that exception cannot leave its process ({problem}): define its "
                "class at the top level of a module that can be imported, or give it a __reduce__"
            )
        annotate(error, self.place)
        return error

    def rebuilt(self) -> tuple[BaseException | None, str]:
        """The exception, or ``None`` and the reason why it cannot be rebuilt."""
        if not self.pickled:
            return None, self.problem
        try:
            error = pickle.loads(self.pickled)
            assert isinstance(error, BaseException)
        except Exception as reason:  # unpickling imports modules, which may be missing here or raise anything
            return None, describe(reason)
        return error, ""
