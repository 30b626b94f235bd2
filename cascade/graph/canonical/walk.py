"""The walk that makes one digest of a value of any depth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import chain
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from cascade.graph.canonical.classes import class_name, class_parts
from cascade.graph.canonical.encoding import CHUNK, PLAIN, chunk, chunks, combine, is_flat, plain
from cascade.graph.canonical.forms import form_of
from cascade.graph.canonical.parts import Bare, Layout, NotDigestibleError, Parts, record
from cascade.graph.canonical.places import qualified_name
from cascade.graph.canonical.records import is_record
from cascade.graph.nested import PAUSE_EVERY, Steps, finish
from cascade.model.inputs import Env, Inject, Param
from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Task


@attrs.frozen(eq=False)
class Canon:
    """How values are hashed.

    Attributes:
        placeholder: The digest of a placeholder among the values.
        function: The digest of the code of a function, without what it holds; or of a task, with all of it.
        stranger: The digest of a value of unknown class, or that contains itself. ``None``, also as its answer,
            refuses the value.
        task: Takes a task apart, where *function* is not to be asked for its digest.
        first: Digests of records that equal nothing but themselves: the digest that such a record had when it was
            met first stays its digest, whatever it holds by then. ``None``: each is hashed as it is.
    """

    placeholder: Callable[[Placeholder], bytes]
    function: Callable[[Any], bytes]
    stranger: Callable[[Any], bytes | None] | None = None
    task: Callable[[Task[Any, Any]], Parts] | None = None
    first: WeakKeyDictionary[Any, bytes] | None = None

    def digest(self, value: Any, name: str = "") -> bytes:
        """The canonical hash of *value*.

        Args:
            value: Any nesting of known types.
            name: What to call the value in an error.

        Raises:
            NotDigestibleError: If a value of unknown type is in it, with the path to it.
        """
        if type(value) in PLAIN:
            return plain(value)
        walk = _Walk(self, name)
        found = walk.leaf_or_open(value)
        return finish(walk.steps()) if found is None else found

    def steps(self, value: Any, name: str = "") -> Steps[bytes]:
        """Hash as :meth:`digest` does, pausing every few hundred values."""
        walk = _Walk(self, name)
        found = walk.leaf_or_open(value)
        return (yield from walk.steps()) if found is None else found


def _flat(head: bytes, parts: Parts, encoded: list[bytes]) -> bytes:
    return combine("flat", [head, parts.tag.encode(), *parts.facts, *encoded])


def _as_is(parts: Parts) -> Parts:
    return parts


def _is_unique(value: object) -> bool:
    """Whether *value* is a record that equals only itself, and can be referred to weakly."""
    cls = type(value)
    return cls.__hash__ is object.__hash__ and cls.__weakrefoffset__ != 0 and is_record(cls)


@attrs.define(eq=False)
class _Open:
    """A value on the way down.

    Attributes:
        value: The value.
        head: Which class it is of.
        parts: What is in it.
        digests: Those of its items, as far as it has been walked.
    """

    value: Any
    head: bytes
    parts: Parts
    digests: list[bytes] = attrs.field(factory=list)


@attrs.define(eq=False)
class _Walk:
    canon: Canon
    name: str
    path: list[_Open] = attrs.field(factory=list)
    on_path: set[int] = attrs.field(factory=set)
    # By the ids of values that have been walked. With these: some are made on the way, and ids are used again.
    known: dict[int, tuple[bytes, Any]] = attrs.field(factory=dict)
    # Values since the last pause.
    walked: int = 0

    def steps(self) -> Steps[bytes]:
        """The digest of what has been opened."""
        result = None
        while self.path:
            if self.walked >= PAUSE_EVERY:
                self.walked = 0
                yield
            top = self.path[-1]
            if not top.digests and len(top.parts.items) > CHUNK:
                result = yield from self._flat(top)
            else:
                result = self._advance(top)
            if result is not None and self.path:
                self.path[-1].digests.append(result)
        assert result is not None  # the path is empty only after the last container gave its digest
        return result

    def _advance(self, top: _Open) -> bytes | None:
        """Go on in *top*; returns its digest once it is complete."""
        items, digests = top.parts.items, top.digests
        start = len(digests)
        digest: bytes | None = b""
        for place in range(start, min(len(items), start + PAUSE_EVERY)):
            item = items[place]
            digest = plain(item) if type(item) in PLAIN else self.leaf_or_open(item)
            if digest is None:
                break
            digests.append(digest)
        self.walked += len(digests) - start + 1
        if digest is None:
            return None
        return self._close() if len(digests) == len(items) else None

    def _flat(self, top: _Open) -> Steps[bytes | None]:
        """The digest of a long sequence of plain values; ``None`` if it is not one."""
        found = []
        if top.parts.layout is Layout.SEQUENCE:
            for encoded in chunks(top.parts.items):
                yield
                if encoded is None:
                    break
                found.append(encoded)
            else:
                self._leave(top)
                return self._noted(top, _flat(top.head, top.parts, found))
        return self._advance(top)

    # -- down --------------------------------------------------------------------------------------------------

    def leaf_or_open(self, value: Any) -> bytes | None:
        """The digest of a leaf, or of something walked before; ``None`` after opening a container."""
        cls = type(value)
        if cls in PLAIN:
            return plain(value)
        if issubclass(cls, Placeholder):
            return self.canon.placeholder(value)
        known = self.known.get(id(value))
        if known is not None:
            return known[0]
        if id(value) in self.on_path:
            return self._met_inside_itself(value)
        if self.canon.first is not None and _is_unique(value) and value in self.canon.first:
            return self.canon.first[value]
        if issubclass(cls, Task) and self.canon.task is None:
            return combine("function", [self.canon.function(value)])
        try:
            parts = self._parts(value)
        except NotDigestibleError:
            raise
        except Exception as error:  # whatever code of the class, or a registered function, raises
            return self._stranger(value, self._place(), f"{type(error).__name__}: {error}")
        return self._stranger(value, self._place()) if parts is None else self._opened(value, parts)

    def _parts(self, value: Any) -> Parts | None:
        cls = type(value)
        if cls is FunctionType:
            return record("function", held_by(value), (qualified_name(value), self.canon.function(value)))
        if isinstance(value, Bare):
            return value.form(value.value)
        if issubclass(cls, Task) and self.canon.task is not None:
            return self.canon.task(value)
        form = form_of(cls)
        if form is not None:
            return form(value)
        if issubclass(cls, type):
            name = class_name(value)
            return class_parts(value) if name is None else Parts("type", (name,))
        return None

    def _opened(self, value: Any, parts: Parts) -> bytes | None:
        head = b"" if type(value) is Bare else class_name(type(value))
        if head is None:  # the class says more than its name
            parts = record("of a class", {"__class__": type(value), "": Bare(parts, _as_is)})
        return self._open(value, head or b"", parts)

    def _open(self, value: Any, head: bytes, parts: Parts) -> bytes | None:
        if not parts.items and parts.layout is not Layout.RECORD:
            return combine(parts.tag, [head, *parts.facts])
        if parts.layout is Layout.SEQUENCE and len(parts.items) <= CHUNK and is_flat(parts.items):
            return _flat(head, parts, [chunk(parts.items)])
        self.path.append(_Open(value, head, parts))
        self.on_path.add(id(value))
        return None

    def _met_inside_itself(self, value: Any) -> bytes:
        if isinstance(value, (FunctionType, type, Task)):  # as what is recursive does
            return combine("again", [qualified_name(value)])
        return self._stranger(value, f"{self._place()} contains itself and")

    def _stranger(self, value: Any, place: str, reason: str = "") -> bytes:
        digest = None if self.canon.stranger is None else self.canon.stranger(value)
        if digest is None:
            raise NotDigestibleError(place, type(value), reason)
        return digest

    # -- up ----------------------------------------------------------------------------------------------------

    def _close(self) -> bytes:
        top = self.path[-1]
        self._leave(top)
        tag, facts, _, layout, names = top.parts
        digests: list[bytes] = top.digests
        match layout:
            case Layout.SET:
                digests = sorted(digests)
            case Layout.MAPPING:
                pairs = sorted(zip(digests[::2], digests[1::2], strict=True))
                digests = list(chain.from_iterable(pairs))
            case Layout.RECORD:
                named = zip((name.encode() for name in names), digests, strict=True)
                digests = list(chain.from_iterable(named))
        return self._noted(top, combine(tag, [top.head, *facts, *digests]))

    def _leave(self, top: _Open) -> None:
        self.path.pop()
        self.on_path.discard(id(top.value))

    def _noted(self, top: _Open, digest: bytes) -> bytes:
        self.known[id(top.value)] = (digest, top.value)
        if self.canon.first is not None and _is_unique(top.value):
            self.canon.first[top.value] = digest
        return digest

    def _place(self) -> str:
        """Where the value under scrutiny stands, as Python would write it."""
        text, prefix = self.name, ""
        for opened in self.path:
            place, parts = len(opened.digests), opened.parts
            match parts.layout:
                case Layout.RECORD:
                    text += f".{parts.names[place]}" if parts.names[place] else ""
                case Layout.SET:
                    text += "{...}"
                case Layout.MAPPING if place % 2:
                    text += f"[{parts.items[place - 1]!r:.40}]"
                case Layout.MAPPING:
                    prefix = f"a key of {'' if text or prefix else 'the value'}"
                case _:
                    text += f"[{place}]"
        return prefix + text


def held_by(func: FunctionType) -> dict[str, Any]:
    """What *func* holds beside its code: the values in its closure, and its defaults."""
    names = func.__code__.co_varnames[: func.__code__.co_argcount]
    defaults = func.__defaults__ or ()
    held = dict(zip((f"{name}=" for name in names[len(names) - len(defaults) :]), defaults, strict=True))
    held |= {f"{name}=": value for name, value in (func.__kwdefaults__ or {}).items()}
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # still empty
            held[name] = cell.cell_contents
    return held


def input_digest(placeholder: Placeholder) -> bytes:
    """The digest of an input or a resource that stands in a value: its name.

    Raises:
        NotDigestibleError: If it is a call, of which only the graph knows what it gives.
    """
    match placeholder:
        case Param() | Env() | Inject():
            return combine(type(placeholder).__name__, [placeholder.name.encode()])
    raise NotDigestibleError("what a function holds", type(placeholder))
