"""Pickles of values whose classes may be defined in a script.

A script is ``__main__`` in the process that runs it, and another module where it is imported. Pickles name it as
it is imported, so that one process can read what the other has written.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from operator import attrgetter
from types import FunctionType
from typing import Any, Final

from cascade.graph.canonical import module_name
from cascade.model.shown.labels import Label
from cascade.model.tasks import Task

# Where the names of calls were that wait in a loop, in pickles of before.
_LABELS_BEFORE: Final = "cascade.model.labels"


def dumps(value: Any) -> bytes:
    """*value* as bytes; raises whatever keeps it from that."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    if b"_main__" not in data or module_name("__main__") == "__main__":
        return data
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


def loads(data: bytes) -> Any:
    """The value in *data*; raises whatever keeps it from being read."""
    script = module_name("__main__")
    is_ours = script != "__main__" and script.encode() in data
    if is_ours or _LABELS_BEFORE.encode() in data:
        return _Unpickler(io.BytesIO(data)).load()
    return pickle.loads(data)


class _Pickler(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:
        if not isinstance(thing, (type, FunctionType, Task)) or thing.__module__ not in (
            "__main__",
            "__mp_main__",
        ):
            return NotImplemented
        if find(thing.__module__, thing.__qualname__) is not thing:
            raise pickle.PicklingError(f"cannot pickle {thing!r}: it is not found as {thing.__qualname__}")
        return find, (module_name(thing.__module__), thing.__qualname__)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (_LABELS_BEFORE, "Label"):
            return Label
        return find(module, name) if module == module_name("__main__") else super().find_class(module, name)


def find(module: str, qualname: str) -> Any:
    """What *module* has under *qualname*; in the script that is run, if that is the module."""
    get = attrgetter(qualname)
    if module == module_name("__main__"):
        try:
            return get(sys.modules["__main__"])
        except AttributeError:
            if module not in sys.modules:  # to import it would run the script a second time, inside itself
                raise
    return get(importlib.import_module(module))


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


def plain_value(data: bytes) -> Any:
    """The value in *data* if it is plain data: numbers, texts and containers; ``None`` if it is not.

    Imports nothing and runs no code of others, whatever is in *data*.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except Exception:  # it may be damaged in any way
        return None
