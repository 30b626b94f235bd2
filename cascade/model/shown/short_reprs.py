"""Short texts of values that others have made, whatever their ``__repr__`` does.

A value may be huge, and its ``__repr__`` may raise, take long, print, or wait for a lock that the caller holds. So
builtin values are written by hand, up to as many characters as are shown. The ``__repr__`` of any other value is
called in a thread of its own and waited for so long. One that takes longer is left to itself, as no thread can be
stopped, and that of its class is not called again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakSet

from cascade.model.shown.secrets import Secrets
from cascade.model.shown.text import one_line

# Characters that are shown of a value, at most.
SHOWN: Final = 100
# Seconds for which a __repr__ is waited for.
PATIENCE: Final = 0.1
_SCALARS: Final = frozenset({int, float, complex, bool, type(None), type(...)})
_TEXTS: Final = frozenset({str, bytes})
_BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"), tuple: ("(", ")"), dict: ("{", "}"), set: ("{", "}"), frozenset: ("frozenset({", "})"),
}  # fmt: skip
# Containers inside of each other that are written, at most.
_DEEPEST: Final = 30
# Classes whose __repr__ has taken too long.
_slow: WeakSet[type] = WeakSet()


def short_repr(value: Any, secrets: Secrets, most: int = SHOWN) -> str:
    """``repr`` of *value* on one line, cut to *most* characters (100), without *secrets*. Never raises.

    Takes 0.1 seconds at most, unless the ``__repr__`` keeps the GIL.
    """
    # A secret that is cut in two would not be found: so much more is looked at, and left out.
    slack = secrets.longest
    text, is_whole = _written(value, most + slack)
    text = secrets.redact(one_line(text))
    if not is_whole:
        text = text[: max(len(text) - slack, 0)]
    return text if is_whole and len(text) <= most else text[: most - 3] + "..."


class _FullError(Exception):
    """There is no room for more."""


class _ForeignError(Exception):
    """There is a value with a ``__repr__`` that is not known."""


def _written(value: Any, room: int) -> tuple[str, bool]:
    """At least *room* characters of the text of *value*, or all of it; and whether it is all."""
    try:
        return _Writer(room, may_call=False).text_of(value)
    except _ForeignError:
        return _written_aside(value, room)


def _written_aside(value: Any, room: int) -> tuple[str, bool]:
    """The same, written in a thread of its own; or words for why there is no text."""
    writer = _Writer(room, may_call=True)
    found: list[tuple[str, bool]] = []
    thread = threading.Thread(target=lambda: found.append(writer.text_of(value)), name="cascade-repr", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there can be no more threads, or the interpreter is about to end
        return f"<{type(value).__name__}>", True
    thread.join(PATIENCE)
    if found:
        return found[0]
    foreign = writer.present or type(value)
    _slow.add(foreign)
    return _too_long(foreign), True


def _too_long(kind: type) -> str:
    return f"<{kind.__name__}: its __repr__ takes too long>"


class _Writer:
    """Writes the text of a value, up to some length.

    Args:
        room: So many characters.
        may_call: Whether a ``__repr__`` may be called that is not known.
    """

    def __init__(self, room: int, *, may_call: bool) -> None:
        self.room, self.may_call = room, may_call
        # In a thread of its own, nobody else would hear of what is no Exception.
        self._caught: type[BaseException] = BaseException if may_call else Exception
        self.parts: list[str] = []
        # The class whose __repr__ runs.
        self.present: type | None = None
        # The containers around, by identity.
        self._around: list[int] = []

    def text_of(self, value: Any) -> tuple[str, bool]:
        """The text, and whether it is all of it."""
        try:
            self._value(value)
        except _FullError:
            return "".join(self.parts), False
        return "".join(self.parts), True

    def _write(self, text: str) -> None:
        self.parts.append(text[: max(self.room, 0) + 1])
        self.room -= len(text)
        if self.room < 0:
            raise _FullError

    def _value(self, value: Any) -> None:
        kind = type(value)
        if kind in _TEXTS:
            # Each character shows as at least one, so the rest could not show anyway.
            return self._write(repr(value if len(value) <= self.room else value[: self.room + 1]))
        if kind in _BRACKETS:
            return self._container(value)
        if kind in _SCALARS:
            return self._call(value)
        return self._foreign(value, kind)

    def _foreign(self, value: Any, kind: type) -> None:
        if not self.may_call:
            raise _ForeignError
        if kind in _slow:
            self._write(_too_long(kind))
            return
        self.present = kind
        self._call(value)
        self.present = None

    def _call(self, value: Any) -> None:
        try:
            text = str.__str__(repr(value))
        except self._caught as error:
            text = f"<{type(value).__name__}: its __repr__ raised {type(error).__name__}>"
        self._write(text)

    def _container(self, value: Any) -> None:
        opening, closing = _BRACKETS[type(value)]
        if not value and type(value) in (set, frozenset):
            self._write(repr(value))
        elif id(value) in self._around or len(self._around) > _DEEPEST:
            self._write(f"{opening}...{closing}")
        else:
            self._around.append(id(value))
            self._write(opening)
            self._members(value)
            self._write(",)" if type(value) is tuple and len(value) == 1 else closing)
            self._around.pop()

    def _members(self, value: Iterable[Any]) -> None:
        try:
            for number, member in enumerate(value):
                self._write(", " if number else "")
                self._value(member)
                if isinstance(value, dict):
                    self._write(": ")
                    self._value(value[member])
        except (RuntimeError, KeyError):  # another thread changes it
            self._write("...")
