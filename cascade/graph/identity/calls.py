"""Digests of calls and routers, from those of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from inspect import Parameter
from operator import itemgetter
from typing import Any, Final, NamedTuple

import attrs

from cascade.graph.canonical import (
    LENGTHS,
    PLAIN,
    Canon,
    NotDigestibleError,
    begun,
    combine,
    framed,
    input_digest,
    plain,
    qualified_name,
)
from cascade.graph.code import TaskNotDigestibleError, code_digest, function_digest
from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import FallbackNode, Junction, MapNode, Node
from cascade.graph.slots import Constant, Given, Injected, Nested, Operand
from cascade.model.calls.callee import Callee
from cascade.model.calls.signatures import Arity
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Task


def code_of(func: Any) -> bytes:
    """Digest of the code of a function or task."""
    return code_digest(func) if isinstance(func, Task) else function_digest(func)


def _known_code_of(func: Any) -> bytes:
    """:func:`code_of`, without what a task holds if that has no digest."""
    try:
        return code_of(func)
    except TaskNotDigestibleError:
        return combine("known code", [qualified_name(func), function_digest(func.func)])


# How plain values are hashed, and what is given for inputs.
VALUES: Final = Canon(input_digest, code_of)
# The same, but that a value without digest counts by its class.
KNOWN: Final = Canon(input_digest, _known_code_of, lambda value: combine("unknown", [qualified_name(type(value))]))


def value_digest(value: object, name: str) -> bytes:
    """The canonical hash of a value without calls in it; *name* is what an error calls it.

    Raises:
        NotDigestibleError: If a value of unknown type is in it.
    """
    return VALUES.digest(value, name)


class Slot(NamedTuple):
    """An argument of a call, as the digest of the call contains it.

    Attributes:
        place: Where it stands among the positional arguments and the values of the keywords after these.
        key: Its place or keyword.
        tag: Its name, framed.
        default: The digest of its default; ``None`` if there is none, or it has none.
    """

    place: int
    key: int | str
    tag: bytes
    default: bytes | None


@attrs.define(eq=False)
class Parameters:
    """The parameters of a task, as digests name them; asked for once per call, so known things are kept.

    Attributes:
        task: The task.
        code: The digest of its code.
        plain: A hasher with which the digest of each of its calls begins; to be copied.
    """

    task: Callee
    code: bytes
    plain: blake2b = attrs.field(init=False)
    _layouts: dict[Any, list[Slot]] = attrs.field(factory=dict)
    # Digests of defaults; ``None`` without one that can be digested.
    _defaults: dict[str, bytes | None] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.plain = begun("call", self.code)

    def name(self, key: int | str) -> tuple[str, str]:
        """What tells an argument from the others, and what an error calls it."""
        return _parameter(self.task.arity, key)

    def default(self, tag: str) -> bytes | None:
        """The digest of what is taken if the argument is left out; ``None`` if nothing is, or it has none."""
        if tag not in self._defaults:
            self._defaults[tag] = self._find_default(tag)
        return self._defaults[tag]

    def _find_default(self, tag: str) -> bytes | None:
        parameter = self.task.signature.parameters.get(tag) if self.task.signature else None
        if parameter is None or parameter.default is Parameter.empty:
            return None
        try:
            return VALUES.digest(parameter.default)
        except NotDigestibleError:
            return None

    def layout(self, count: int, names: Mapping[str, Any]) -> list[Slot]:
        """The arguments of a call with *count* positional ones and these keywords, in the order of digests."""
        shape = (count, *names) if names else count
        found = self._layouts.get(shape)
        if found is None:
            keys: list[int | str] = [*range(count), *names]
            tags = sorted((self.name(key)[0], place) for place, key in enumerate(keys))
            found = [Slot(place, keys[place], framed(tag.encode()), self.default(tag)) for tag, place in tags]
            if len(self._layouts) < _MOST_LAYOUTS:
                self._layouts[shape] = found
        return found


_MOST_LAYOUTS: Final = 64


def _parameter(arity: Arity, key: int | str) -> tuple[str, str]:
    """What tells an argument from the others, and what an error calls it."""
    if isinstance(key, str):
        return (key if key in arity.places else f"**{key}"), key
    if key < len(arity.positional):
        return arity.positional[key], arity.positional[key]
    return f"*{key}", f"{arity.rest or 'arguments'}[{key - len(arity.positional)}]"


@attrs.frozen(eq=False)
class Digester:
    """Digests of nodes.

    Attributes:
        of_node: The digest of a node upstream.
        of_input: The digest of an input.
        values: How values are hashed.
    """

    of_node: Callable[[int], bytes]
    of_input: Callable[[Given | Injected], bytes]
    values: Canon = VALUES

    def operand(self, operand: Operand, name: str) -> Steps[bytes]:
        """The digest of *operand*, which an error calls *name*."""
        match operand:
            case int():
                return self.of_node(operand)
            case Constant():
                return (yield from self.values.steps(operand.value, name))
            case Given() | Injected():
                return self.of_input(operand)
            case Nested():
                return (yield from self._nested(operand, name))

    def _nested(self, operand: Nested, name: str) -> Steps[bytes]:
        digests: dict[Placeholder, bytes] = {}
        for place, (hole, inner) in enumerate(zip(operand.template.holes, operand.operands, strict=True)):
            if place and not place % PAUSE_EVERY:
                yield
            digests[hole] = self.of_node(inner) if type(inner) is int else (yield from self.operand(inner, name))
        values = attrs.evolve(
            self.values, placeholder=lambda hole: digests[hole] if hole in digests else input_digest(hole)
        )
        return (yield from values.steps(operand.template.steps[-1].original, name))

    def content(self, node: Node, parameters: Parameters) -> Steps[list[bytes]]:
        """The arguments of *node* by parameter, framed; one that is given its default counts as left out."""
        operands: dict[Any, Operand] = dict((*node.patches, *node.named))
        args, kwargs = node.call.args, node.call.kwargs
        found: list[bytes] = []
        for _, key, tag, default in parameters.layout(len(args), kwargs):
            name = parameters.name(key)[1]
            if key in operands:
                found += tag, framed((yield from self.operand(operands[key], name)))
                continue
            digest = yield from self.values.steps(kwargs[key] if isinstance(key, str) else args[key], name)
            if digest != default:
                found += tag, framed(digest)
        for column, operand in sorted(node.columns, key=itemgetter(0)) if isinstance(node, MapNode) else ():
            found += framed(b"column " + column.encode()), framed((yield from self.operand(operand, column)))
        return found

    def call(self, node: Node, parameters: Parameters) -> Steps[bytes]:
        """The digest of *node*."""
        hasher = begun("map", parameters.code) if isinstance(node, MapNode) else parameters.plain.copy()
        parts = yield from self.content(node, parameters)
        for condition in node.terms.conditions:
            # They decide between a value and a skip.
            parts += framed(b"if"), framed((yield from self.operand(condition, "condition")))
        if node.terms.errors is not None:  # it decides whether failures are in the value
            parts += framed(b"errors"), framed(repr(node.terms.errors).encode())
        hasher.update(b"".join(parts))
        return hasher.digest()

    def plain_call(self, call: LazyResult[Any], sources: Sequence[int], parameters: Parameters) -> bytes:
        """What :meth:`call` gives for the node of a plain call: the same parts, in the same order, without a node.

        Args:
            call: A call of which nothing is said, whose arguments are leaves and such calls.
            sources: The nodes of the calls among its arguments, in their order.
            parameters: Those of its task.
        """
        args, kwargs, taken = call.args, call.kwargs, 0
        digests: list[bytes] = []
        for value in (*args, *kwargs.values()) if kwargs else args:
            cls = type(value)
            if cls is LazyResult:
                digests.append(self.of_node(sources[taken]))
                taken += 1
            else:
                digests.append(plain(value) if cls in PLAIN else self._leaf(call, len(digests), parameters))
        parts: list[bytes] = []
        for place, _, tag, default in parameters.layout(len(args), kwargs):
            digest = digests[place]
            if digest != default:
                parts += tag, LENGTHS[len(digest)], digest
        hasher = parameters.plain.copy()
        hasher.update(b"".join(parts))
        return hasher.digest()

    def _leaf(self, call: LazyResult[Any], place: int, parameters: Parameters) -> bytes:
        """The digest of an argument of *call*."""
        count = len(call.args)
        key: int | str = place if place < count else [*call.kwargs][place - count]
        value = call.kwargs[key] if isinstance(key, str) else call.args[key]
        return self.values.digest(value, parameters.name(key)[1])

    def junction(self, node: Junction) -> Steps[bytes]:
        """The digest of a router, outcome or fallback."""
        parts = [(yield from self.operand(node.selector, "selector"))]
        for key, route in node.routes.items():
            parts.append(self.values.digest(key, "a key of the router"))
            parts.append((yield from self.operand(route.operand, "route")))
        if node.default is not None:
            parts.append((yield from self.operand(node.default.operand, "default")))
        if isinstance(node, FallbackNode):
            parts += [qualified_name(kind) for kind in node.on]
        return combine(node.label, parts)
