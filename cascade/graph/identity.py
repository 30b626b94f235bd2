"""The three identities of a node: its id, its digest, its shape. They are never mixed.

*Node id*: the place in one graph (``Node.name``). *Digest*: the content, for caching and resuming. *Shape*: the
topology without literals, for the reuse of plans.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, cast

import attrs

from cascade.graph.call_digests import KNOWN, VALUES, Digester, Parameters
from cascade.graph.canonical import DIGEST_BYTES, Canon, NotDigestibleError, combine, input_digest, qualified_name
from cascade.graph.code import TaskNotDigestibleError, code_digest
from cascade.graph.nested import Steps
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
    Row,
    Terms,
    sources_of,
)
from cascade.model.lazies import LazyResult
from cascade.model.tasks import Task


def value_digest(value: object, name: str) -> bytes:
    """The canonical hash of a value without calls in it; *name* is what an error calls it.

    Raises:
        NotDigestibleError: If a value of unknown type is in it.
    """
    return VALUES.digest(value, name)


# -- equal pure calls ------------------------------------------------------------------------------------------

# Compared within one building only, so identity of tasks and caches is good enough, and never too much.
PureKey = tuple[object, ...]
# Compares operands within one graph.
_PURE: Final = Digester(lambda index: b"node %d" % index, lambda operand: repr(operand).encode())


def pure_key(node: MapNode, *, is_map: bool) -> Steps[PureKey | None]:
    """Equal for nodes of which everything is equal; ``None`` if a value cannot be compared by content."""
    terms = node.terms
    parts: list[bytes] = []
    try:
        parts += yield from _PURE.content(node, Parameters(node.task))
        for name, operand in (*terms.amounts, *(("if", condition) for condition in terms.conditions)):
            parts += name.encode(), (yield from _PURE.operand(operand, name))
    except NotDigestibleError:
        return None
    policies = (terms.retry, terms.timeout, id(terms.cache), terms.concurrency, terms.on_skip, terms.predecessors)
    return (id(node.task), is_map, len(terms.conditions), combine("pure", parts), *policies)


# -- digests ---------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Digests:
    """The digests of a graph, made one after another, sources first."""

    graph: Graph
    inputs: Mapping[str, object]
    known: list[bytes] = attrs.field(factory=list)
    volatile: set[int] = attrs.field(factory=set)
    _codes: dict[Task[..., object], tuple[bytes, Parameters]] = attrs.field(factory=dict)
    _strict: Digester = attrs.field(init=False)
    _lenient: Digester = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        of_node = self.known.__getitem__
        self._strict = Digester(of_node, lambda operand: self.of_input(operand, VALUES))
        self._lenient = Digester(of_node, lambda operand: self.of_input(operand, KNOWN), KNOWN)

    def of_input(self, operand: Given | Injected, values: Canon) -> bytes:
        """The digest of the value of an input, or of the name of a resource."""
        if isinstance(operand, Injected):
            return combine("injected", [operand.name.encode()])
        return values.digest(self.inputs[operand.key], operand.key)

    def steps(self) -> Iterator[tuple[int, NotDigestibleError | None] | None]:
        """Digest node after node.

        Yields each, with what kept it from having a digest of its own; and ``None`` between, where others can have
        their turn, as a node may have many sources.
        """
        for index, row in enumerate(self.graph.rows):
            error: NotDigestibleError | None = None
            try:
                digest = yield from self._digest(index, row, self._strict)
            except TaskNotDigestibleError as reason:
                digest, error = os.urandom(DIGEST_BYTES), reason
                self.volatile.add(index)
            except NotDigestibleError as reason:
                digest, error = (yield from self._digest(index, row, self._lenient)), reason
            self.known.append(digest)
            if self.volatile and not self.volatile.isdisjoint(_feeding(self.graph.node(index))):
                self.volatile.add(index)
            yield index, error

    def _digest(self, index: int, row: Row, digester: Digester) -> Steps[bytes]:
        if isinstance(row, Junction):
            return (yield from digester.junction(row))
        known = self._codes.get(row.task)
        if known is None:
            known = self._codes[row.task] = (code_digest(row.task), Parameters(row.task))
        if type(row) is LazyResult:
            return digester.plain_call(row, self.graph.sources[index], *known)
        return (yield from digester.call(cast("Node", row), *known))

    def target(self) -> Steps[bytes]:
        """The digest of what the flow returns."""
        try:
            return (yield from self._strict.operand(self.graph.target, "the target"))
        except NotDigestibleError:
            return (yield from self._lenient.operand(self.graph.target, "the target"))


def _feeding(node: AnyNode) -> Iterator[int]:
    """The nodes that decide what *node* gives."""
    if isinstance(node, Junction):
        yield from node.sources
    else:
        yield from node.data
        for condition in node.terms.conditions:
            yield from sources_of(condition)


def digests(graph: Graph, inputs: Mapping[str, object]) -> Iterator[tuple[int, bytes | NotDigestibleError]]:
    """The digest of each node, sources first: its code, its bound arguments, and the digests upstream.

    A node in which something has no canonical hash yields the error that names it. Its consumers count the rest of
    it.

    Args:
        graph: The graph.
        inputs: The resolved Params and Envs, by key.
    """
    made = _Digests(graph, inputs)
    for step in made.steps():
        if step is not None:
            index, error = step
            yield index, error or made.known[index]


@attrs.frozen(eq=False)
class Contents:
    """What the records of a flow are compared by.

    Attributes:
        digests: By node. In that of a node with something that has no digest, only the rest counts.
        flow: Of the whole flow: what it returns, and how that is put together.
        strangers: What has no digest, each error naming where it stands, by node id.
        volatile: Nodes with a digest that no record has: it is not known what they do, or what is done upstream.
    """

    digests: Sequence[bytes]
    flow: bytes
    strangers: Mapping[str, NotDigestibleError]
    volatile: AbstractSet[int]


def contents_of(graph: Graph, inputs: Mapping[str, object]) -> Steps[Contents]:
    """Digest all of *graph*, pausing after each node.

    Args:
        graph: The graph.
        inputs: The resolved Params and Envs, by key.
    """
    made = _Digests(graph, inputs)
    strangers: dict[str, NotDigestibleError] = {}
    for step in made.steps():
        if step is not None and step[1] is not None:
            strangers[graph.name(step[0])] = step[1]
        yield
    target = yield from made.target()
    return Contents(made.known, combine("flow", [target]), strangers, made.volatile)


def item_digest(map_digest: bytes, item: int) -> bytes:
    """Content of an item: that of its map, and its place."""
    return combine("item", [map_digest, b"%d" % item])


# -- shape -----------------------------------------------------------------------------------------------------


# How the keys of routers are hashed, which are part of the topology.
_KEYS: Final = Canon(input_digest, qualified_name, stranger=lambda value: repr(value).encode())


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
    return combine(kind, [qualified_name(node.task), *given, *operands, _terms_shape(node.terms)])


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
