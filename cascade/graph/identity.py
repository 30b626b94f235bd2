"""The three identities of a node: its id, its digest, its shape. They are never mixed.

*Node id*: the place in one graph (``Node.name``). *Digest*: the content, for caching and resuming. *Shape*: the
topology without literals, for the reuse of plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cascade.graph.canonical import Canon, NotDigestibleError, combine, type_name
from cascade.graph.code import code_digest, function_digest
from cascade.graph.nested import Template, compile_nested
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
from cascade.model.tasks import Task


def code_of(func: Any) -> bytes:
    """Digest of the code of a function or task."""
    return code_digest(func) if isinstance(func, Task) else function_digest(func)


def _of_input(placeholder: Placeholder) -> bytes:
    match placeholder:
        case Param() | Env() | Inject():
            return combine(type(placeholder).__name__, [placeholder.name.encode()])
    raise TypeError(f"{placeholder!r} is not an input")


def value_digest(value: Any, name: str) -> bytes:
    """The canonical hash of a value without calls in it; *name* is what an error calls it.

    Raises:
        NotDigestibleError: If a value of unknown type is in it.
    """
    return Canon(_of_input, code_of).digest(value, name)


# -- order in sets ---------------------------------------------------------------------------------------------


def stable_order(items: list[Any]) -> list[Any]:
    """The members of a set with placeholders, by content: set order depends on hashes, node ids must not."""
    sketches: dict[int, bytes] = {}

    def of_placeholder(placeholder: Placeholder) -> bytes:
        if not isinstance(placeholder, (LazyResult, Router)):
            return _of_input(placeholder)
        _sketch(placeholder, sketches)
        return sketches[id(placeholder)]

    canon = Canon(of_placeholder, _name_of, stranger=lambda value: type_name(type(value)))
    return sorted(items, key=canon.digest)


def _name_of(func: Any) -> bytes:
    return f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', '')}".encode()


def _sketch(root: Placeholder, sketches: dict[int, bytes]) -> None:
    """Note a digest of *root*, and of all it needs, by name of task and known literals."""
    canon = Canon(
        lambda p: sketches[id(p)] if isinstance(p, (LazyResult, Router)) else _of_input(p),
        _name_of,
        stranger=lambda value: type_name(type(value)),
    )
    pending = [root]
    while pending:
        call = pending[-1]
        missing = [part for part in _calls_in(_written(call)) if id(part) not in sketches]
        if missing:
            pending.extend(missing)
            continue
        pending.pop()
        name = _name_of(call.task) if isinstance(call, LazyResult) else b"router"
        sketches[id(call)] = combine("sketch", [name, canon.digest(_written(call))])


def _written(call: Placeholder) -> list[Any]:
    if isinstance(call, LazyResult):
        return [call.args, call.kwargs, call.columns]
    assert isinstance(call, Router)
    return [call.selector, list(call.routes.values())]


def _calls_in(written: list[Any]) -> Iterator[Placeholder]:
    found = compile_nested(written)
    if isinstance(found, Template):
        yield from (hole for hole in found.holes if isinstance(hole, (LazyResult, Router)))


# -- equal pure calls ------------------------------------------------------------------------------------------


def pure_key(node: MapNode, *, is_map: bool) -> bytes | None:
    """Equal for nodes of which everything is equal; ``None`` if an argument cannot be compared by content."""
    try:
        parts = list(_content(node, lambda index: b"node %d" % index, _of_operand_input))
    except NotDigestibleError:
        return None
    task = b"%d" % id(node.task)
    return combine("pure map" if is_map else "pure", [task, *parts, _policy_key(node.terms)])


def _of_operand_input(operand: Given | Injected) -> bytes:
    return repr(operand).encode()


def _policy_key(terms: Terms) -> bytes:
    # Only compared within one building, so identity of the policy objects is good enough, and never too much.
    words = (terms.retry, terms.timeout, terms.cache and id(terms.cache), terms.amounts, terms.concurrency)
    return repr((words, terms.on_skip, terms.conditions, terms.predecessors)).encode()


# -- digests ---------------------------------------------------------------------------------------------------


def _content(
    node: Node, of_node: Callable[[int], bytes], of_input: Callable[[Given | Injected], bytes]
) -> Iterator[bytes]:
    """Digests of all arguments of *node* by parameter, defaults included."""
    arguments: dict[Any, Any] = dict(enumerate(node.call.args)) | node.call.kwargs
    operands: dict[Any, Operand] = dict((*node.patches, *node.named))
    names = list(node.task.signature.parameters) if node.task.signature else []
    if isinstance(node, MapNode):
        operands |= {f"column {name}": operand for name, operand in node.columns}
        arguments |= dict.fromkeys(operands.keys() - arguments.keys())
    canon = Canon(_of_input, code_of)
    for key, value in arguments.items():
        name = names[key] if isinstance(key, int) and key < len(names) else str(key)
        yield name.encode()
        if key in operands:
            yield _of_operand(operands[key], name, canon, of_node, of_input)
        else:
            yield canon.digest(value, name)


def _of_operand(
    operand: Operand,
    name: str,
    canon: Canon,
    of_node: Callable[[int], bytes],
    of_input: Callable[[Given | Injected], bytes],
) -> bytes:
    match operand:
        case int():
            return of_node(operand)
        case Constant():
            return canon.digest(operand.value, name)
        case Given() | Injected():
            return of_input(operand)
        case Nested():
            digests = {
                id(hole): _of_operand(inner, name, canon, of_node, of_input)
                for hole, inner in zip(operand.template.holes, operand.operands, strict=True)
            }
            nested = Canon(lambda hole: digests[id(hole)], code_of)
            whole = operand.template.steps[-1].original
            return nested.digest(whole, name)


_UNKNOWN: Final = "unknown"


def digests(graph: Graph, inputs: Mapping[str, object]) -> Iterator[tuple[int, bytes | NotDigestibleError]]:
    """The digest of each node, sources first: its code, its bound arguments, and the digests upstream.

    A node with an argument that has no canonical hash yields the error that names it; its consumers then count it
    by its code and shape.

    Args:
        graph: The graph.
        inputs: The resolved Params and Envs, by key.
    """
    known: list[bytes] = []
    canon = Canon(_of_input, code_of)

    def of_input(operand: Given | Injected) -> bytes:
        if isinstance(operand, Injected):
            return combine("injected", [operand.name.encode()])
        return canon.digest(inputs[operand.key], operand.key)

    for node in graph.nodes:
        try:
            known.append(_digest(node, known, canon, of_input))
            yield node.index, known[-1]
        except NotDigestibleError as error:
            known.append(combine("shape", [_node_shape(node)]))
            yield node.index, error


def _digest(
    node: AnyNode, known: list[bytes], canon: Canon, of_input: Callable[[Given | Injected], bytes]
) -> bytes:
    of_node = known.__getitem__
    if isinstance(node, Junction):
        parts = [_of_operand(node.selector, "selector", canon, of_node, of_input)]
        for label, route in node.all_routes():
            parts += [label.encode(), _of_operand(route.operand, label, canon, of_node, of_input)]
        return combine("router", parts)
    kind = "map" if isinstance(node, MapNode) else "call"
    return combine(kind, [code_of(node.task), *_content(node, of_node, of_input)])


# -- shape -----------------------------------------------------------------------------------------------------


def shape(graph: Graph) -> bytes:
    """Digest of a graph's topology: equal for graphs that differ in literal arguments only."""
    return combine("shape", [*map(_node_shape, graph.nodes), _operand_shape(graph.target)])


def _node_shape(node: AnyNode) -> bytes:
    if isinstance(node, Junction):
        routes = [part for label, r in node.all_routes() for part in (label.encode(), _operand_shape(r.operand))]
        return combine("router", [_operand_shape(node.selector), *routes])
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
