"""The three identities of a node: its id, its digest, its shape. They are never mixed.

*Node id*: the place in one graph (``Node.name``). *Digest*: the content, for caching and resuming. *Shape*: the
topology without literals, for the reuse of plans.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from cascade.graph.canonical import Canon, NotDigestibleError, combine, leaf_digest, type_name
from cascade.graph.code import code_digest, function_digest
from cascade.graph.nested import PAUSE_EVERY, Steps, Template, compile_nested
from cascade.graph.nodes import (
    AnyNode,
    Constant,
    Given,
    Graph,
    Injected,
    Junction,
    MapNode,
    Nested,
    Node,
    Operand,
    Terms,
)
from cascade.model.flow import Router
from cascade.model.inputs import Env, Inject, Param
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import NOTHING_SAID, UNSET
from cascade.model.signatures import Arity
from cascade.model.tasks import Task


def code_of(func: Any) -> bytes:
    """Digest of the code of a function or task."""
    return code_digest(func) if isinstance(func, Task) else function_digest(func)


def _of_input(placeholder: Placeholder) -> bytes:
    match placeholder:
        case Param() | Env() | Inject():
            return combine(type(placeholder).__name__, [placeholder.name.encode()])
    raise NotDigestibleError("what a function holds", type(placeholder))


# How plain values are hashed, and what is given for inputs.
_VALUES: Final = Canon(_of_input, code_of)


def value_digest(value: Any, name: str) -> bytes:
    """The canonical hash of a value without calls in it; *name* is what an error calls it.

    Raises:
        NotDigestibleError: If a value of unknown type is in it.
    """
    return _VALUES.digest(value, name)


# -- order in sets ---------------------------------------------------------------------------------------------


class SetOrder:
    """Puts members of sets in order by content: set order depends on hashes, node ids must not.

    Goes by the names of tasks and by known literals. What it has found out about calls is kept, so that one
    order serves all sets of a flow.
    """

    def __init__(self) -> None:
        self._sketches: dict[int, bytes] = {}
        self._canon = Canon(self._of_placeholder, _name_of, stranger=lambda value: type_name(type(value)))

    def __call__(self, items: list[Any]) -> Steps[list[Any]]:
        """The members of a set in their order."""
        for call in _calls_in(items):
            yield from self._sketch(call)
        keys = []
        for item in items:
            keys.append((yield from self._canon.steps(item)))
            yield
        return [items[place] for place in sorted(range(len(items)), key=keys.__getitem__)]

    def _of_placeholder(self, placeholder: Placeholder) -> bytes:
        if isinstance(placeholder, (LazyResult, Router)):
            # Nothing is known of a call in a cycle, which building refuses, and of one that a function holds.
            return self._sketches.get(id(placeholder), b"")
        return _of_input(placeholder)

    def _sketch(self, root: Placeholder) -> Steps[None]:
        """Note a digest of *root*, and of all it needs."""
        opened: set[int] = set()
        pending = [root]
        while pending:
            call = pending[-1]
            if id(call) in self._sketches:
                pending.pop()
            elif id(call) not in opened:
                opened.add(id(call))
                pending.extend(part for part in _calls_in(_written(call)) if id(part) not in opened)
            else:
                name = _name_of(call.task) if isinstance(call, LazyResult) else b"router"
                written = yield from self._canon.steps(_written(call))
                self._sketches[id(call)] = combine("sketch", [name, written])
            yield


def _name_of(func: Any) -> bytes:
    return f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', '')}".encode()


def _written(call: Placeholder) -> list[Any]:
    if isinstance(call, LazyResult):
        said = [] if call.own is NOTHING_SAID else [attrs.evolve(call.own, cache=UNSET)]
        return [call.args, call.kwargs, call.columns, *said]
    assert isinstance(call, Router)
    return [call.selector, list(call.routes), list(call.routes.values()), call.default]


def _calls_in(written: list[Any]) -> Iterator[Placeholder]:
    found = compile_nested(written)
    if isinstance(found, Template):
        yield from (hole for hole in found.holes if isinstance(hole, (LazyResult, Router)))


# -- equal pure calls ------------------------------------------------------------------------------------------

# Compared within one building only, so identity of tasks and caches is good enough, and never too much.
PureKey = tuple[object, ...]


def pure_key(node: MapNode, *, is_map: bool) -> Steps[PureKey | None]:
    """Equal for nodes of which everything is equal; ``None`` if a value cannot be compared by content."""
    terms = node.terms
    parts: list[bytes] = []
    try:
        parts += yield from _content(node, _Parameters(node.task), _of_index, _of_operand_input)
        for name, operand in (*terms.amounts, *(("if", condition) for condition in terms.conditions)):
            parts += name.encode(), (yield from _of_operand(operand, name, _of_index, _of_operand_input))
    except NotDigestibleError:
        return None
    policies = (terms.retry, terms.timeout, id(terms.cache), terms.concurrency, terms.on_skip, terms.predecessors)
    return (id(node.task), is_map, len(terms.conditions), combine("pure", parts), *policies)


def _of_index(index: int) -> bytes:
    return b"node %d" % index


def _of_operand_input(operand: Given | Injected) -> bytes:
    return repr(operand).encode()


# -- digests ---------------------------------------------------------------------------------------------------

OfNode = Callable[[int], bytes]
OfInput = Callable[[Given | Injected], bytes]


@attrs.define(eq=False)
class _Parameters:
    """The parameters of a task, as digests name them; asked for once per call, so known things are kept."""

    task: Task[Any, Any]
    _names: dict[int | str, tuple[str, str]] = attrs.field(factory=dict)
    # Type and digest of defaults; ``None`` without one that can be digested.
    _defaults: dict[str, tuple[type, bytes] | None] = attrs.field(factory=dict)

    def name(self, key: int | str) -> tuple[str, str]:
        """What tells an argument from the others, and what an error calls it."""
        found = self._names.get(key)
        if found is None:
            found = _parameter(self.task.arity, key)
            if not isinstance(key, int) or key < len(self.task.arity.positional):
                self._names[key] = found
        return found

    def is_default(self, tag: str, value: object, digest: bytes) -> bool:
        """Whether *value*, with this digest, is what is taken if the argument is left out."""
        if tag not in self._defaults:
            self._defaults[tag] = self._default(tag)
        default = self._defaults[tag]
        return default is not None and default[1] == digest and default[0] is type(value)

    def _default(self, tag: str) -> tuple[type, bytes] | None:
        parameter = self.task.signature.parameters.get(tag) if self.task.signature else None
        if parameter is None:
            return None
        try:
            return type(parameter.default), _VALUES.digest(parameter.default)
        except NotDigestibleError:
            return None


def _plain_content(node: Node, parameters: _Parameters, of_node: OfNode) -> list[bytes] | None:
    """What :func:`_content` gives, if *node* has only plain values and single nodes by position; else ``None``."""
    if node.named or node.call.kwargs or isinstance(node, MapNode):
        return None
    operands: dict[Any, Operand] = dict(node.patches)
    found: dict[str, bytes] = {}
    for place, value in enumerate(node.call.args):
        tag, _ = parameters.name(place)
        operand = operands.pop(place, None)
        if operand is not None:
            if type(operand) is not int:
                return None
            found[tag] = of_node(operand)
            continue
        digest = leaf_digest(value)
        if digest is None:
            return None
        if not parameters.is_default(tag, value, digest):
            found[tag] = digest
    return [part for tag in sorted(found) for part in (tag.encode(), found[tag])]


def _content(node: Node, parameters: _Parameters, of_node: OfNode, of_input: OfInput) -> Steps[list[bytes]]:
    """Digests of the arguments of *node* by parameter; one that is given its default counts as left out."""
    operands: dict[Any, Operand] = dict((*node.patches, *node.named))
    found: dict[str, bytes] = {}
    given: dict[Any, Any] = {**dict(enumerate(node.call.args)), **node.call.kwargs}
    for key, value in given.items():
        tag, name = parameters.name(key)
        if key in operands:
            found[tag] = yield from _of_operand(operands[key], name, of_node, of_input)
            continue
        digest = yield from _VALUES.steps(value, name)
        if not parameters.is_default(tag, value, digest):
            found[tag] = digest
    for name, operand in node.columns if isinstance(node, MapNode) else ():
        found[f"column {name}"] = yield from _of_operand(operand, name, of_node, of_input)
    return [part for tag in sorted(found) for part in (tag.encode(), found[tag])]


def _parameter(arity: Arity, key: int | str) -> tuple[str, str]:
    """What tells an argument from the others, and what an error calls it."""
    if isinstance(key, str):
        return (key if key in arity.places else f"**{key}"), key
    if key < len(arity.positional):
        return arity.positional[key], arity.positional[key]
    return f"*{key}", f"{arity.rest or 'arguments'}[{key - len(arity.positional)}]"


def _of_operand(operand: Operand, name: str, of_node: OfNode, of_input: OfInput) -> Steps[bytes]:
    match operand:
        case int():
            return of_node(operand)
        case Constant():
            return (yield from _VALUES.steps(operand.value, name))
        case Given() | Injected():
            return of_input(operand)
        case Nested():
            digests: dict[Placeholder, bytes] = {}
            for place, (hole, inner) in enumerate(zip(operand.template.holes, operand.operands, strict=True)):
                if place and not place % PAUSE_EVERY:
                    yield
                digests[hole] = yield from _of_operand(inner, name, of_node, of_input)
            nested = Canon(lambda hole: digests[hole] if hole in digests else _of_input(hole), code_of)
            whole = operand.template.steps[-1].original
            return (yield from nested.steps(whole, name))


def digests(graph: Graph, inputs: Mapping[str, object]) -> Iterator[tuple[int, bytes | NotDigestibleError]]:
    """The digest of each node, sources first: its code, its bound arguments, and the digests upstream.

    A node with an argument that has no canonical hash yields the error that names it; its consumers then count it
    by its code and shape.

    Args:
        graph: The graph.
        inputs: The resolved Params and Envs, by key.
    """
    return (found for found in _digests(graph, inputs) if found is not None)


def _digests(
    graph: Graph, inputs: Mapping[str, object]
) -> Iterator[tuple[int, bytes | NotDigestibleError] | None]:
    """What :func:`digests` gives, and ``None`` where others can have their turn: a node may have many sources."""
    known: list[bytes] = []
    of_task, of_parameters = functools.cache(code_of), functools.cache(_Parameters)

    of_input = _of_inputs(inputs)
    for node in graph.iterate():
        try:
            parts = None
            if type(node) is Node and not node.terms.conditions:
                parts = _plain_content(node, of_parameters(node.task), known.__getitem__)
            if parts is None or isinstance(node, Junction):
                known.append((yield from _digest(node, known.__getitem__, of_input, of_task, of_parameters)))
            else:
                known.append(combine("call", [of_task(node.task), *parts]))
            yield node.index, known[-1]
        except NotDigestibleError as error:
            known.append(combine("shape", [_node_shape(node)]))
            yield node.index, error


def _of_inputs(inputs: Mapping[str, object]) -> OfInput:
    def of_input(operand: Given | Injected) -> bytes:
        if isinstance(operand, Injected):
            return combine("injected", [operand.name.encode()])
        return _VALUES.digest(inputs[operand.key], operand.key)

    return of_input


@attrs.frozen(eq=False)
class Contents:
    """What the records of a flow are compared by.

    Attributes:
        digests: By node; of one that cannot be digested, its code and shape stand for it.
        flow: Of the whole flow: what it returns, and how that is put together.
        strangers: What could not be digested, each naming where it stands, by node id.
    """

    digests: Sequence[bytes]
    flow: bytes
    strangers: Mapping[str, NotDigestibleError]


def contents_of(graph: Graph, inputs: Mapping[str, object]) -> Steps[Contents]:
    """Digest all of *graph*, pausing after each node.

    Args:
        graph: The graph.
        inputs: The resolved Params and Envs, by key.
    """
    found: list[bytes] = []
    strangers: dict[str, NotDigestibleError] = {}
    for pair in _digests(graph, inputs):
        if pair is None:
            yield
            continue
        index, digest = pair
        if isinstance(digest, NotDigestibleError):
            strangers[graph.name(index)] = digest
            digest = _by_shape(graph.node(index))
        found.append(digest)
        yield
    try:
        target = yield from _of_operand(graph.target, "the target", found.__getitem__, _of_inputs(inputs))
    except NotDigestibleError:
        target = combine("shape", [_operand_shape(graph.target), *(found[member] for member in graph.members)])
    return Contents(found, combine("flow", [target]), strangers)


def item_digest(map_digest: bytes, item: int) -> bytes:
    """Content of an item: that of its map, and its place."""
    return combine("item", [map_digest, b"%d" % item])


def _by_shape(node: AnyNode) -> bytes:
    code = b"" if isinstance(node, Junction) else code_of(node.task)
    return combine("code and shape", [code, _node_shape(node)])


def _digest(
    node: AnyNode,
    of_node: OfNode,
    of_input: OfInput,
    of_task: Callable[[Task[Any, Any]], bytes],
    of_parameters: Callable[[Task[Any, Any]], _Parameters],
) -> Steps[bytes]:
    if isinstance(node, Junction):
        parts = [(yield from _of_operand(node.selector, "selector", of_node, of_input))]
        for key, route in node.routes.items():
            parts.append(_VALUES.digest(key, "a key of the router"))
            parts.append((yield from _of_operand(route.operand, "route", of_node, of_input)))
        if node.default is not None:
            parts.append((yield from _of_operand(node.default.operand, "default", of_node, of_input)))
        return combine("router", parts)
    kind = "map" if isinstance(node, MapNode) else "call"
    content = yield from _content(node, of_parameters(node.task), of_node, of_input)
    parts = [of_task(node.task), *content]
    for condition in node.terms.conditions:
        # They decide between a value and a skip.
        parts += b"if", (yield from _of_operand(condition, "condition", of_node, of_input))
    return combine(kind, parts)


# -- shape -----------------------------------------------------------------------------------------------------


# How the keys of routers are hashed, which are part of the topology.
_KEYS: Final = Canon(_of_input, _name_of, stranger=lambda value: repr(value).encode())


def shape(graph: Graph) -> bytes:
    """Digest of a graph's topology: equal for graphs that differ in literal arguments only."""
    return combine("shape", [*map(_node_shape, graph.iterate()), _operand_shape(graph.target)])


def _node_shape(node: AnyNode) -> bytes:
    if isinstance(node, Junction):
        routes = [
            part for key, r in node.routes.items() for part in (_KEYS.digest(key), _operand_shape(r.operand))
        ]
        default = [] if node.default is None else [_operand_shape(node.default.operand)]
        return combine("router", [_operand_shape(node.selector), *routes, *default])
    kind = "map" if isinstance(node, MapNode) else "call"
    columns = node.columns if isinstance(node, MapNode) else ()
    operands = [
        part
        for key, operand in (*node.patches, *node.named, *columns)
        for part in (str(key).encode(), _operand_shape(operand))
    ]
    given = [str(len(node.call.args)).encode(), *(name.encode() for name in node.call.kwargs)]
    return combine(kind, [node.task.full_name.encode(), *given, *operands, _terms_shape(node.terms)])


def _terms_shape(terms: Terms) -> bytes:
    parts = [part for name, amount in terms.amounts for part in (name.encode(), _operand_shape(amount))]
    parts += [b"if", *map(_operand_shape, terms.conditions), terms.on_skip.encode()]
    parts += [b"after", *(b"%d" % index for index in terms.predecessors)]
    policies = (terms.retry, terms.timeout, terms.concurrency, terms.cache is not None)
    return combine("terms", [*parts, repr(policies).encode()])


def _operand_shape(operand: Operand) -> bytes:
    match operand:
        case int():
            return b"node %d" % operand
        case Constant():
            return b"literal"
        case Given() | Injected():
            return repr(operand).encode()
        case Nested():
            kinds = [step.kind.name.encode() for step in operand.template.steps]
            return combine("nested", [*kinds, *map(_operand_shape, operand.operands)])
