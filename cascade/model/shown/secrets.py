"""Secrets: texts of a run that are shown as ``***``.

A run has one set of them, filled when its inputs are resolved. Whatever makes text for people hides them:
:func:`redacted` in ``describe``, ``preview`` and ``annotate``, and :meth:`Secrets.redact` where a run publishes
its events. The set is a context variable, so that nodes, services, worker threads and runs inside of tasks find
that of the run around them.

Which texts are hidden: a secret of six or more characters wherever it occurs, one of four or five where no letter
or digit stands beside it. Shorter ones, and the words true, false, none and null, are hidden only where the value
itself is shown: any text is full of them. Of a secret with more than one line each line is one too.

Stores, executors, caches and observers make text too, and know nothing of runs: that is why the set is a context
variable. Where there is no secret it costs a look at the variable. Previews are cut after secrets are hidden,
never before: half a secret would not be found.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from enum import Enum
from types import TracebackType
from typing import Any, Final

import attrs

# What is shown in the place of a secret.
MARK: Final = "***"
# Characters from which on a text is hidden wherever it occurs, and from which on where it stands alone.
_ANYWHERE: Final = 6
_ALONE: Final = 4
# Of a longer secret, so many characters of its beginning or end are hidden too: others cut what they show.
_PART: Final = 16
_TRIVIAL: Final = frozenset({"true", "false", "none", "null"})
# What is written the same way everywhere: in quotes, in JSON, in a URL.
_UNCHANGED: Final = re.compile(r"[\w.~-]*", re.ASCII)
# Values that are looked at in one structured secret.
_MOST: Final = 10_000

Span = tuple[int, int]


class Secrets:
    """A set of secret texts."""

    __slots__ = ("_ends", "longest")

    def __init__(self) -> None:
        # Each text, with its beginning and its end: a text that has neither in it need not be looked at closely.
        self._ends: dict[str, tuple[str, str]] = {}
        # Characters of the longest; 0 if there is none.
        self.longest: int = 0

    def __bool__(self) -> bool:
        return bool(self._ends)

    def add(self, value: object) -> None:
        """Hide *value* from now on, and all that is in it."""
        found: dict[str, None] = {}
        for text in _texts_in(value):
            for line in (text.strip(), *map(str.strip, text.splitlines())):
                if len(line) >= _ALONE and line.lower() not in _TRIVIAL and set(line) != {"*"}:
                    found.update(dict.fromkeys(_spellings(line)))
        if not found.keys() <= self._ends.keys():
            # Not in place: another thread may be looking through them.
            self._ends = self._ends | {text: (text[:_PART], text[-_PART:]) for text in found}
            self.longest = max(map(len, self._ends))

    def redact(self, text: str) -> str:
        """*text* with ``***`` in the place of each secret."""
        found = [secret for secret, (head, tail) in self._ends.items() if head in text or tail in text]
        return _masked(text, [span for secret in found for span in _spans(text, secret)]) if found else text


def _masked(text: str, spans: list[Span]) -> str:
    parts, done = [], 0
    for start, end in sorted(spans):
        if end <= done:
            continue
        if start >= done:
            parts += [text[done:start], MARK]
        done = end
    return "".join([*parts, text[done:]])


def _spans(text: str, secret: str) -> Iterator[Span]:
    """Where *secret* stands in *text*, and where the beginning or the end of a long one does."""
    size = len(secret)
    if size > _PART:
        yield from _beginnings(text, secret)
        yield from ((len(text) - end, len(text) - start) for start, end in _beginnings(text[::-1], secret[::-1]))
        return
    start = text.find(secret)
    while start >= 0:
        if size >= _ANYWHERE or _stands_alone(text, start, start + size):
            yield start, start + size
        start = text.find(secret, start + 1)


def _beginnings(text: str, secret: str) -> Iterator[Span]:
    head = secret[:_PART]
    start = text.find(head)
    while start >= 0:
        end = start + _PART
        while end < len(text) and end - start < len(secret) and text[end] == secret[end - start]:
            end += 1
        yield start, end
        start = text.find(head, end)


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (text[:start][-1:].isalnum() or text[end : end + 1].isalnum())


def _spellings(text: str) -> Iterator[str]:
    """How *text* may be written: as it is, in a ``repr``, in a ``repr`` of that, in JSON, in a URL."""
    import json  # here, as few runs have secrets
    from urllib.parse import quote, quote_plus

    yield text
    if _UNCHANGED.fullmatch(text):
        return
    for escaped in _escaped(text):
        yield escaped
        yield from _escaped(escaped)
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    encoded = text.encode("utf-8", "surrogateescape")
    yield repr(encoded)[2:-1]
    yield from (quote(encoded, safe=""), quote(encoded), quote_plus(encoded))


def _escaped(text: str) -> Iterator[str]:
    """*text* as it may stand in quotes."""
    for show in (repr, ascii):
        # With both quotes in it, each ' has its backslash, and " has none.
        escaped = show(f"\"'{text}")[4:-1].replace("\\'", "'")
        yield from (escaped, escaped.replace("'", "\\'"), escaped.replace('"', '\\"'))


def _texts_in(value: object) -> Iterator[str]:
    """The texts that *value* consists of."""
    pending, seen = [value], 0
    while pending and seen < _MOST:
        seen += 1
        match pending.pop():
            case str() as part:
                yield str.__str__(part)
            case bytes() | bytearray() as part:
                yield bytes(part).decode("utf-8", "surrogateescape")
            case Mapping() as part:
                pending.extend(part.values())
            case list() | tuple() | set() | frozenset() as part:
                pending.extend(part)
            case None | bool():
                pass
            case part:
                yield from _shown(part)
                pending.extend(_fields(part))


def _shown(value: object) -> Iterator[str]:
    if type(value).__repr__ is object.__repr__ and type(value).__str__ is object.__str__:
        return  # which says nothing of it but its class and address
    for show in (str, repr):
        try:
            yield show(value)
        except Exception:  # what cannot show itself is not shown by us either
            continue


def _fields(value: Any) -> list[object]:
    if isinstance(value, Enum):
        return [value.value]
    if isinstance(value, type):
        return []
    if attrs.has(type(value)):
        return [getattr(value, field.name, None) for field in attrs.fields(type(value))]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    found = getattr(value, "__dict__", None)
    return list(found.values()) if isinstance(found, dict) else []


# -- those in force ----------------------------------------------------------------------------------------------

_in_force: ContextVar[Secrets | None] = ContextVar("cascade_secrets", default=None)


class KeepingSecrets:
    """A context manager: the secrets in force, or new ones for the length of the block.

    So a run has its own, and runs inside of it have those too. This is a class, as generators that are context
    managers assign to the exceptions that pass through them, which frozen ones refuse.
    """

    def __init__(self) -> None:
        self._token: Token[Secrets | None] | None = None

    def __enter__(self) -> Secrets:
        secrets = _in_force.get()
        if secrets is None:
            self._token = _in_force.set(secrets := Secrets())
        return secrets

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _in_force.reset(self._token)


def kept_secrets() -> Secrets:
    """The secrets in force; new ones where there are none."""
    known = _in_force.get()
    return Secrets() if known is None else known


def secrets_in_force() -> Secrets | None:
    """The secrets of the run around, if there is a run and it has any."""
    secrets = _in_force.get()
    return secrets or None


def keep_secret(*values: object) -> None:
    """Add *values* to the secrets of the run around, if there is one."""
    secrets = _in_force.get()
    if secrets is not None:
        for value in values:
            secrets.add(value)


def redacted(text: str) -> str:
    """*text* without the secrets of the run around."""
    secrets = _in_force.get()
    return secrets.redact(text) if secrets else text


def without(text: str, *values: object) -> str:
    """*text* without *values*, short ones too."""
    found = [part for value in values for part in _texts_in(value) if part]
    for part in sorted(found, key=len, reverse=True):
        text = text.replace(part, MARK)
    return text
