"""Which calls of pure tasks are equal."""

from __future__ import annotations

from typing import Final

from cascade.graph.canonical import NotDigestibleError, combine
from cascade.graph.identity.calls import Digester, Parameters
from cascade.graph.nested import Steps
from cascade.graph.nodes import MapNode

# Compared within one building only, so identity of tasks and caches is good enough, and never too much.
PureKey = tuple[object, ...]
# Compares operands within one graph.
_PURE: Final = Digester(lambda index: b"node %d" % index, lambda operand: repr(operand).encode())


def pure_key(node: MapNode, *, is_map: bool) -> Steps[PureKey | None]:
    """Equal for nodes of which everything is equal; ``None`` if a value cannot be compared by content."""
    terms = node.terms
    parts: list[bytes] = []
    try:
        # Without the code: the key has the task itself.
        parts += yield from _PURE.content(node, Parameters(node.task, b""))
        for name, operand in (*terms.amounts, *(("if", condition) for condition in terms.conditions)):
            parts += name.encode(), (yield from _PURE.operand(operand, name))
    except NotDigestibleError:
        return None
    policies = (
        terms.retry,
        terms.timeout,
        id(terms.cache),
        terms.concurrency,
        terms.on_skip,
        terms.after,
        id(terms.undo),
        terms.hints.priority,
        terms.errors,
    )
    return (id(node.task), is_map, len(terms.conditions), combine("pure", parts), *policies)
