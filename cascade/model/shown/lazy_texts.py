"""How lazies and routers show themselves: on one line, and none inside of another."""

from __future__ import annotations

import reprlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

_SHOWN_ARGUMENTS: Final = 6
_rendering = threading.local()


class _ShortRepr(reprlib.Repr):
    """Bounded text of arguments; calls among them are shown by name only, so that no repr recurses."""

    def repr_LazyResult(self, lazy: Any, level: int) -> str:  # noqa: N802  # reprlib's protocol
        return f"{lazy.task.name}(...)"

    repr_ChainedLazyResult = repr_MappedLazyResult = repr_LazyResult  # noqa: N815  # reprlib's protocol

    def repr_Router(self, router: object, level: int) -> str:  # noqa: N802  # reprlib's protocol
        return "Router(...)"

    def repr_OutcomeOf(self, outcome: object, level: int) -> str:  # noqa: N802  # reprlib's protocol
        return "settled(...)"

    def repr_OrElse(self, tried: object, level: int) -> str:  # noqa: N802  # reprlib's protocol
        return "or_else(...)"

    def repr_Race(self, race: object, level: int) -> str:  # noqa: N802  # reprlib's protocol
        return "race(...)"

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # Python refuses to print numbers of many thousand digits
            return f"<int of {x.bit_length()} bits>"


_SHORT: Final = _ShortRepr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 40, 60
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = _SHORT.maxfrozenset = 4


def short_arguments(args: tuple[object, ...], named: Mapping[str, object]) -> str:
    """Bounded text of a call's arguments."""
    parts = [_SHORT.repr(value) for value in args[:_SHOWN_ARGUMENTS]]
    parts += [f"{name}={_SHORT.repr(value)}" for name, value in list(named.items())[:_SHOWN_ARGUMENTS]]
    if len(args) > _SHOWN_ARGUMENTS or len(named) > _SHOWN_ARGUMENTS:
        parts.append("...")
    return ", ".join(parts)


def rendered(short: str, write: Callable[[], str]) -> str:
    """What *write* gives; *short* inside of another rendering, so that none recurses."""
    if getattr(_rendering, "is_on", False):
        return short
    _rendering.is_on = True
    try:
        return write()
    finally:
        _rendering.is_on = False
