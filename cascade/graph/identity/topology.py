"""What is left of a graph when its literal arguments are taken away."""

from __future__ import annotations

from typing import Final

from cascade.graph.canonical import Canon, combine, input_digest, qualified_name
from cascade.graph.nodes import AnyNode, Graph, Junction, MapNode, Terms
from cascade.graph.slots import Constant, Given, Injected, Nested, Operand

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
        return combine(node.label, [_operand_shape(node.selector), *routes, *default])
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
    parts += [b"after", *(b"%d" % index for index in terms.after)]
    policies = (terms.retry, terms.timeout, terms.concurrency, terms.errors, terms.cache is not None)
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
