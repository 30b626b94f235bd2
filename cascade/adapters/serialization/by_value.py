"""Pickles functions and classes together with their code, by cloudpickle. Imported on first use."""

from __future__ import annotations

import io
import operator
import pickle
import sys
from contextvars import Context, ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any

import cloudpickle

from cascade.adapters.serialization.context import places_of, variable_at
from cascade.adapters.serialization.errors import take_apart
from cascade.adapters.serialization.functions import name_of
from cascade.model.tasks import Task

if TYPE_CHECKING:  # cloudpickle has no annotations; its pickler is one of these
    _Pickler = pickle.Pickler
else:
    _Pickler = cloudpickle.Pickler


class CodePickler(_Pickler):
    """Sends what has no importable name by value; what the script defines by name, if that is shared.

    Args:
        file: Where the bytes go.
        shares_main: Whether the other process can import what ``__main__`` defines, so that it is sent by name.
        takes_errors_apart: Whether exceptions are rebuilt without a call of their ``__init__``.
    """

    def __init__(self, file: io.BytesIO, *, shares_main: bool, takes_errors_apart: bool) -> None:
        super().__init__(file)
        self._shares_main = shares_main
        self._takes_errors_apart = takes_errors_apart

    def reducer_override(self, obj: Any, /) -> Any:
        """How to pickle *obj*; pickle calls this for objects other than plain data."""
        if isinstance(obj, ContextVar):
            return _taken_to_pieces(obj)
        if isinstance(obj, Task) and name_of(obj, shares_main=self._shares_main) is None:
            return _blank_task, (), dict(vars(obj))
        if isinstance(obj, BaseException) and self._takes_errors_apart:
            return take_apart(obj, dumps)
        if self._shares_main and getattr(obj, "__module__", None) == "__main__" and _is_defined_in_main(obj):
            return _in_main, (obj.__qualname__,)
        return super().reducer_override(obj)


def dumps(value: object, *, shares_main: bool = True, takes_errors_apart: bool = False) -> bytes:
    """*value* as bytes, pickled by :class:`CodePickler`. ``pickle.loads`` reads them if cloudpickle is installed.

    Raises:
        Exception: Whatever pickling the value raises.
    """
    file = io.BytesIO()
    CodePickler(file, shares_main=shares_main, takes_errors_apart=takes_errors_apart).dump(value)
    return file.getvalue()


def _taken_to_pieces(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """How to pickle a context variable: by its places and its default."""
    places = places_of([variable])[variable]
    if not places:
        raise pickle.PicklingError(f"the context variable {variable.name!r} is no global of a module")
    try:
        return variable_at, (places, Context().run(variable.get))
    except LookupError:
        return variable_at, (places,)


def _blank_task() -> Task[..., Any]:
    # Its fields are set afterwards: its function may refer to the task, as a recursive one does.
    return object.__new__(Task)


def _is_defined_in_main(thing: Any) -> bool:
    if not isinstance(thing, (type, FunctionType)):
        return False
    try:
        return _in_main(thing.__qualname__) is thing
    except AttributeError:
        return False


def _in_main(qualname: str) -> Any:
    return operator.attrgetter(qualname)(sys.modules["__main__"])
