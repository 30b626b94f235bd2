"""A canonical hash of values: equal values give equal digests, in every process and under every hash seed.

Length-prefixed and typed, so ``1``, ``True``, ``1.0`` and ``"1"`` differ, and no two values share an encoding.
Sets and dicts are hashed by content, not by order. What the hash does not know it refuses; it never guesses
from ``repr`` or ``pickle``, which differ for equal values or agree for unequal ones.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from types import FunctionType
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from cascade.graph.nested import PAUSE_EVERY, Kind, Steps, contents, finish, kind_of
from cascade.model.errors import CascadeError
from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Task

DIGEST_BYTES: Final = 16

_BY_REPR: Final = frozenset({type(None), bool, float, complex, type(Ellipsis), type(NotImplemented)})
_BY_TEXT: Final = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    uuid.UUID,
    range,
)


class NotDigestibleError(CascadeError, TypeError):
    """A value has no canonical hash.

    Attributes:
        path: Where it stands, such as ``config['model'].layers[0]``.
        kind: Its type.
    """

    def __init__(self, path: str, kind: type) -> None:
        self.path = path
        self.kind = kind
        super().__init__(
            f"{path or 'the value'} is a {kind.__module__}.{kind.__qualname__}, which has no canonical hash; "
            "use plain data, an attrs class or a dataclass"
        )


# Parts that are longer are not copied.
_MOST_JOINED: Final = 4096
_LENGTHS: Final = [length.to_bytes(8, "little") for length in range(_MOST_JOINED)]


def combine(tag: str, parts: Iterable[bytes]) -> bytes:
    """One digest of a tagged sequence of byte strings, each prefixed with its length."""
    hasher = blake2b(digest_size=DIGEST_BYTES)
    joined: list[bytes] = []  # hashing many small parts one by one takes three times as long
    for part in (tag.encode(), *parts):
        length = len(part)
        if length < _MOST_JOINED:
            joined += (_LENGTHS[length], part)
            continue
        hasher.update(b"".join(joined) + length.to_bytes(8, "little"))
        hasher.update(part)
        joined.clear()
    hasher.update(b"".join(joined))
    return hasher.digest()


def type_name(cls: type) -> bytes:
    """``module.qualname`` of a class, as bytes."""
    return f"{cls.__module__}.{cls.__qualname__}".encode()


@attrs.frozen
class Canon:
    """How values are hashed.

    Attributes:
        placeholder: The digest of a placeholder among the values.
        function: The digest of the code of a function, or of a task.
        stranger: The digest of a value of unknown type, or that contains itself; ``None`` refuses it.
        counts: Whether a value that a function holds, as a default or in its closure, is part of it.
        first: Digests of records that equal nothing but themselves: as such a one was met first it is ever after,
            whatever it holds by then. ``None``: each is hashed as it is.
    """

    placeholder: Callable[[Placeholder], bytes]
    function: Callable[[Any], bytes]
    stranger: Callable[[Any], bytes] | None = None
    counts: Callable[[Any], bool] = lambda _: True
    first: WeakKeyDictionary[Any, bytes] | None = None

    def digest(self, value: Any, name: str = "") -> bytes:
        """The canonical hash of *value*.

        Args:
            value: Any nesting of known types.
            name: What to call the value in an error.

        Raises:
            NotDigestibleError: If a value of unknown type is in it, with the path to it.
        """
        return finish(self.steps(value, name))

    def steps(self, value: Any, name: str = "") -> Steps[bytes]:
        """Hash as :meth:`digest` does, pausing every few hundred values."""
        return _Walk(self, name).digest(value)


def _is_unique(value: object) -> bool:
    """Whether *value* is a record that equals only itself, and can be referred to weakly."""
    cls = type(value)
    return kind_of(cls) is Kind.RECORD and cls.__hash__ is object.__hash__ and cls.__weakrefoffset__ != 0


@attrs.define(eq=False)
class _Open:
    """A container on the way down, with the digests of what has been walked of it."""

    value: Any
    kind: Kind
    keys: Sequence[Any]
    items: list[Any]
    digests: list[bytes] = attrs.field(factory=list)


@attrs.define(eq=False)
class _Walk:
    canon: Canon
    name: str
    path: list[_Open] = attrs.field(factory=list)
    on_path: set[int] = attrs.field(factory=set)
    known: dict[int, bytes] = attrs.field(factory=dict)

    def digest(self, value: Any) -> Steps[bytes]:
        result = self._leaf_or_open(value)
        walked = 0
        while self.path:
            walked += 1
            if not walked % PAUSE_EVERY:
                yield
            top = self.path[-1]
            if result is not None:
                top.digests.append(result)
            if len(top.digests) < len(top.items):
                result = self._leaf_or_open(top.items[len(top.digests)])
            else:
                result = self._close()
        assert result is not None  # the path is empty only after a leaf or the last container gave its digest
        return result

    def _leaf_or_open(self, value: Any) -> bytes | None:
        """The digest of a leaf, or of a container walked before; ``None`` after opening a container."""
        kind = kind_of(type(value))
        if kind is Kind.PLACEHOLDER:
            return self.canon.placeholder(value)
        if isinstance(value, functools.partial):
            return self._open(
                value, Kind.RECORD, ["func", "args", "keywords"], [value.func, value.args, value.keywords]
            )
        if isinstance(value, FunctionType):
            held = {name: item for name, item in held_by(value).items() if self.canon.counts(item)}
            return self._open(value, Kind.RECORD, list(held), list(held.values()))
        if kind is Kind.LEAF or isinstance(value, (Task, enum.Enum)):
            digest = _leaf(value, self.canon.function)
            return self._stranger(value, self._place) if digest is None else digest
        if id(value) in self.known:
            return self.known[id(value)]
        if self.canon.first is not None and _is_unique(value) and value in self.canon.first:
            return self.canon.first[value]
        return self._open(value, kind, *contents(value, kind))

    def _open(self, value: Any, kind: Kind, keys: Sequence[Any], items: list[Any]) -> bytes | None:
        if id(value) in self.on_path:
            return self._stranger(value, lambda: f"{self._place()} contains itself and")
        self.path.append(_Open(value, kind, keys, items))
        self.on_path.add(id(value))
        return None

    def _stranger(self, value: Any, place: Callable[[], str]) -> bytes:
        if self.canon.stranger is None:
            raise NotDigestibleError(place(), type(value))
        return self.canon.stranger(value)

    def _close(self) -> bytes:
        top = self.path.pop()
        self.on_path.discard(id(top.value))
        head = type_name(type(top.value))
        if isinstance(top.value, FunctionType):
            head = self.canon.function(top.value)
        match top.kind:
            case Kind.SET:
                digest = combine("set", [head, *sorted(top.digests)])
            case Kind.DICT:
                pairs = sorted(zip(map(self._key, top.keys), top.digests, strict=True))
                digest = combine("dict", [head, *itertools.chain.from_iterable(pairs)])
            case Kind.RECORD:
                names = [str(field).encode() for field in top.keys]
                pairs = list(zip(names, top.digests, strict=True))
                digest = combine("record", [head, *itertools.chain.from_iterable(pairs)])
            case _:
                digest = combine("sequence", [head, *top.digests])
        self.known[id(top.value)] = digest
        if self.canon.first is not None and _is_unique(top.value):
            self.canon.first[top.value] = digest
        return digest

    def _key(self, key: Any) -> bytes:
        try:
            return self.canon.digest(key)
        except NotDigestibleError as error:
            place = f"a key of {self._place() or 'the value'}{error.path}"
            raise NotDigestibleError(place, error.kind) from None

    def _place(self) -> str:
        """Where the value under scrutiny stands, as Python would write it."""
        text = self.name
        for opened in self.path:
            key = opened.keys[len(opened.digests)]
            match opened.kind:
                case Kind.RECORD:
                    text += f".{key}"
                case Kind.SET:
                    text += "{...}"
                case _:
                    text += f"[{key!r:.40}]"
        return text


def held_by(func: FunctionType) -> dict[str, Any]:
    """What *func* holds beside its code: the values in its closure, and its defaults."""
    held = {f"default {place}": value for place, value in enumerate(func.__defaults__ or ())}
    held |= {f"default {name}": value for name, value in (func.__kwdefaults__ or {}).items()}
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # still empty
            held[name] = cell.cell_contents
    return held


def _leaf(value: Any, function: Callable[[Any], bytes]) -> bytes | None:
    """The digest of a value without contents; ``None`` if its type is unknown."""
    cls = type(value)
    if isinstance(value, enum.Flag):  # of which not every value has a name
        return combine("flag", [type_name(cls), b"%x" % value.value])
    if isinstance(value, enum.Enum):
        return combine("enum", [type_name(cls), value.name.encode()])
    if cls is int:  # in hexadecimals, for which there is no limit of length
        return combine("plain", [type_name(cls), b"%x" % value])
    if cls in _BY_REPR:
        return combine("plain", [type_name(cls), repr(value).encode()])
    if cls is str:
        return combine("str", [value.encode("utf-8", "surrogatepass")])
    if cls in (bytes, bytearray):
        return combine("bytes", [type_name(cls), bytes(value)])
    if isinstance(value, _BY_TEXT) and _has_plain_zone(value):
        return combine("text", [type_name(cls), repr(value).encode()])
    if isinstance(value, re.Pattern):
        return combine("pattern", [repr(value.pattern).encode(), str(value.flags).encode()])
    if isinstance(value, type):
        return combine("type", [type_name(value)])
    if isinstance(value, Task):
        return combine("function", [function(value)])
    return _array(value)


def leaf_digest(value: Any) -> bytes | None:
    """What every :class:`Canon` says of *value*, if it is of the plainest kind; ``None`` if it is another."""
    cls = type(value)
    if cls is int:
        text = b"%x" % value
        if len(text) < _MOST_JOINED:
            return blake2b(_INT_HEAD + _LENGTHS[len(text)] + text, digest_size=DIGEST_BYTES).digest()
    return _leaf(value, type_name) if cls in _PLAINEST else None


def _framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


# What the digest of any int begins with: see :func:`_leaf`, which :func:`leaf_digest` must agree with.
_INT_HEAD: Final = _framed(b"plain", type_name(int))
_PLAINEST: Final = frozenset({type(None), bool, int, float, str, bytes})


def _has_plain_zone(value: object) -> bool:
    """Whether *value* has no time zone, or one whose ``repr`` says all of it."""
    zone = getattr(value, "tzinfo", None)
    return zone is None or isinstance(zone, (datetime.timezone, zoneinfo.ZoneInfo))


def _array(value: Any) -> bytes | None:
    """Digest of a numpy array of numbers, without importing numpy."""
    if type(value).__module__ != "numpy" or not hasattr(value, "dtype") or value.dtype.hasobject:
        return None
    return combine("array", [str(value.dtype).encode(), repr(value.shape).encode(), value.tobytes("C")])
