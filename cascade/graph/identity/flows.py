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
from cascade.graph.nested import Steps
from cascade.graph.nodes import AnyNode, Given, Graph, Injected, Junction, Node, Row, sources_of
from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult


@attrs.define(eq=False)
class _Digests:
    """The digests of a graph, made one after another, sources first."""

    graph: Graph
    inputs: Mapping[str, object]
    known: list[bytes] = attrs.field(factory=list)
    # Nodes with a digest of this moment only: what their task does is not known, or what one upstream does.
    volatile: set[int] = attrs.field(factory=set)
    _codes: dict[Callee, tuple[bytes, Parameters]] = attrs.field(factory=dict)
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
            error = self._note_code(row)
            if error is not None:
                digest = os.urandom(DIGEST_BYTES)
                self.volatile.add(index)
            else:
                try:
                    digest = yield from self._digest(index, row, self._strict)
                except NotDigestibleError as reason:
                    digest, error = (yield from self._digest(index, row, self._lenient)), reason
            self.known.append(digest)
            if self.volatile and not self.volatile.isdisjoint(_feeding(self.graph.node(index))):
                self.volatile.add(index)
            yield index, error

    def _note_code(self, row: Row) -> NotDigestibleError | None:
        """Digest the code of the task of *row*; returns what keeps it from having a digest."""
        if isinstance(row, Junction) or row.task in self._codes:
            return None
        try:
            self._codes[row.task] = (code_digest(row.task), Parameters(row.task))
        except TaskNotDigestibleError as reason:
            return reason
        return None

    def _digest(self, index: int, row: Row, digester: Digester) -> Steps[bytes]:
        if isinstance(row, Junction):
            return (yield from digester.junction(row))
        known = self._codes[row.task]
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
