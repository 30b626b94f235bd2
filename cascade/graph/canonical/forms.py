"""How values of a class are taken apart: what users have registered first, then what is known here."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cascade.graph.canonical.arrays import base_in_numpy, form_in_numpy
from cascade.graph.canonical.builtin_forms import CLOSED, base_of, form_of_base, holds_attributes
from cascade.graph.canonical.classes import is_written_in_python
from cascade.graph.canonical.encoding import PLAIN
from cascade.graph.canonical.frames import form_of_frame
from cascade.graph.canonical.parts import Bare, Form, Parts, attributes_of, record
from cascade.graph.canonical.records import form_of_record
from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Partial, Task

T = TypeVar("T")

_MOST_TYPES: Final = 4096
_forms: Final[dict[type, Form | None]] = {}
_registered: Final[dict[type, Callable[[Any], object]]] = {}
# The digests of these are what all others are made of.
_FIXED: Final = PLAIN | {list, tuple, dict, set, frozenset, bytearray, type, object}


def register_digest(type: type[T], function: Callable[[T], object]) -> None:
    """Say what stands for the values of a class in digests, for caches and for recorded runs.

    The class itself is always part of a digest too, so values of two classes never have the same. A registration
    holds for subclasses as well, unless they have one of their own, and goes before everything else that is known
    about a class. A second one for the same class replaces the first. Register where the class is defined, so that
    it is done before the first run.

    Args:
        type: The class.
        function: Gets a value and returns what its digest is made of: plain data, for example ``lambda client:
            (client.host, client.port)``. Values with equal results count as equal. If the function raises, or
            returns something without a digest, the value has no digest, and the error says why.

    Raises:
        TypeError: If *type* is no class or is a built-in class such as ``dict``, or *function* is not callable.
    """
    if not isinstance(type, builtins.type) or not callable(function):
        raise TypeError(f"register_digest takes a class and a function, not {type!r:.100} and {function!r:.100}")
    if type in _FIXED or issubclass(type, (Placeholder, Task, Partial)):
        raise TypeError(f"the digest of {type.__qualname__!r} is fixed; register a class of your own")
    _registered[type] = function
    _forms.clear()


def form_of(cls: type) -> Form | None:
    """How values of *cls* are taken apart; ``None`` if nothing is known of it."""
    try:
        return _forms[cls]
    except KeyError:
        pass
    if len(_forms) >= _MOST_TYPES:
        _forms.clear()
    form = _forms[cls] = _find_form(cls)
    return form


def _find_form(cls: type) -> Form | None:
    function = next((_registered[base] for base in cls.__mro__ if base in _registered), None)
    if function is not None:
        return _as_said_by(function)
    for base, form in CLOSED.items():
        if issubclass(cls, base):
            return form
    return (
        form_in_numpy(cls)
        or form_of_frame(cls)
        or _form_by_base(cls, base_in_numpy(cls), form_in_numpy)
        or _form_by_base(cls, base_of(cls), form_of_base)
        or form_of_record(cls)
    )


def _as_said_by(function: Callable[[Any], object]) -> Form:
    return lambda value: record("registered", {"": function(value)})


def _form_by_base(cls: type, base: type | None, find: Callable[[type], Form | None]) -> Form | None:
    """The form that *find* gives for *base*, and the attributes that values of *cls* may have beside."""
    form = None if base is None else find(base)
    if base is None or form is None or not is_written_in_python(cls, base):
        return None
    if cls is base and not holds_attributes(base):
        return form

    def form_with_attributes(value: Any) -> Parts:
        attributes = attributes_of(value, base)
        return record("kind of", {"": Bare(value, form), **attributes}) if attributes else form(value)

    return form_with_attributes
