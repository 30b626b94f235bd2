"""Digests of all nodes of a flow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import cast

import attrs

from cascade.graph.canonical import DIGEST_BYTES, Canon, NotDigestibleError, combine
from cascade.graph.code import TaskNotDigestibleError, code_digest
from cascade.graph.identity.calls import KNOWN, VALUES, Digester, Parameters
from cascade.graph.nested import Steps, finish
from cascade.graph.nodes import AnyNode, Graph, Junction, Node, Row
from cascade.graph.slots import Given, Injected, sources_of
from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult


@attrs.define(eq=False)
class _Digests:
    """The digests of a graph, made one after another, sources first."""

    graph: Graph
    inputs: Mapping[str, object]
    known: list[bytes] = attrs.field(factory=list)
    # By node, what kept it from having a digest of its own.
    errors: dict[int, NotDigestibleError] = attrs.field(factory=dict)
    # Nodes with a digest of this moment only: what their task does is not known, or what one upstream does.
    volatile: set[int] = attrs.field(factory=set)
    _parameters: dict[Callee, Parameters] = attrs.field(factory=dict)
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

    def steps(self) -> Steps[None]:
        """Digest node after node, pausing after each, and within one that has many sources or large values."""
        graph, known, volatile = self.graph, self.known, self.volatile
        plain_call, parameters, sources = self._strict.plain_call, self._parameters, graph.sources
        for index, row in enumerate(graph.rows):
            if type(row) is LazyResult and row.task in parameters:
                try:
                    known.append(plain_call(row, sources[index], parameters[row.task]))
                except NotDigestibleError as reason:
                    self.errors[index] = reason
                    known.append(self._lenient.plain_call(row, sources[index], parameters[row.task]))
            else:
                known.append((yield from self._digest(index, row)))
            if volatile and not volatile.isdisjoint(_feeding(graph.node(index))):
                volatile.add(index)
            yield

    def _digest(self, index: int, row: Row) -> Steps[bytes]:
        """The digest of a node of any kind."""
        unknown = self._note_task(row)
        if unknown is not None:
            self.errors[index] = unknown
            self.volatile.add(index)
            return os.urandom(DIGEST_BYTES)
        try:
            return (yield from self._by(self._strict, index, row))
        except NotDigestibleError as reason:
            self.errors[index] = reason
            return (yield from self._by(self._lenient, index, row))

    def _note_task(self, row: Row) -> NotDigestibleError | None:
        """Digest the code of the task of *row*; returns what keeps it from having a digest."""
        if isinstance(row, Junction) or row.task in self._parameters:
            return None
        try:
            self._parameters[row.task] = Parameters(row.task, code_digest(row.task))
        except TaskNotDigestibleError as reason:
            return reason
        return None

    def _by(self, digester: Digester, index: int, row: Row) -> Steps[bytes]:
        if isinstance(row, Junction):
            return (yield from digester.junction(row))
        node = cast("Node", self.graph.node(index))
        return (yield from digester.call(node, self._parameters[row.task]))

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

    A node in which something has no canonical hash has the error that names it instead. Its consumers count the
    rest of it.

    Args:
        graph: The graph.
        inputs: The resolved Params and Envs, by key.
    """
    made = _Digests(graph, inputs)
    finish(made.steps())
    return ((index, made.errors.get(index, digest)) for index, digest in enumerate(made.known))


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
    yield from made.steps()
    target = yield from made.target()
    strangers: dict[str, NotDigestibleError] = {}
    for index, error in made.errors.items():
        strangers[graph.name(index)] = error
        yield
    return Contents(made.known, combine("flow", [target]), strangers, made.volatile)


def item_digest(map_digest: bytes, item: int) -> bytes:
    """Content of an item: that of its map, and its place."""
    return combine("item", [map_digest, b"%d" % item])
