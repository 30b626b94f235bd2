"""Binding: from a frame to the arguments of a node, or to the reason why it is skipped.

The only reader of edges at run time. Nothing here awaits or changes anything; each node is judged once, when all
that it waits for has settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import attrs

from cascade.graph.nested import UnfitError
from cascade.graph.nodes import (
    Junction,
    MapNode,
    Node,
    Operand,
    Slots,
    resolve,
    sources_of,
)
from cascade.model.calls.columns import check_lengths
from cascade.model.errors import annotate
from cascade.model.inputs import Inject
from cascade.model.lazies import LazyResult
from cascade.model.outcomes import Status
from cascade.model.policies import exact
from cascade.model.skip_reasons import SkipReason
from cascade.model.tasks import Task
from cascade.runtime.admission.pool import Amount
from cascade.runtime.frame.endings import ItemOutcomes
from cascade.runtime.frame.frame import Frame


@attrs.frozen
class Skip:
    """The node does not run.

    Attributes:
        reason: Why.
        passed: The value that its consumers get in its place, boxed; ``None`` if there is none.
    """

    reason: SkipReason
    passed: tuple[Any] | None = None


# What a function is called with: positional arguments, and those by keyword.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def judge(frame: Frame, node: Node) -> Skip | None:
    """Why *node* is skipped, if it is. All it waits for must have settled.

    That a call upstream was skipped is no reason by itself: a value may pass through it, unless it is among
    ``frame.gaps.gone``. Whether routers want the node at all is decided before, in ``gating.py``.

    If several reasons apply, the first of this order is given: a failure upstream, the conditions, what
    it runs after, the routes, the data.
    """
    if not frame.gaps.exist and not node.terms.conditions:
        return None
    if any(frame.gaps.is_failure(source) for source in node.sources):
        return Skip(SkipReason.UPSTREAM_FAILED)
    reason = _by_condition(frame, node) or _by_after(frame, node)
    if reason is not None:
        return Skip(reason, _passed(frame, node))
    reason = _by_data(frame, node)
    return None if reason is None else Skip(reason)


def _by_condition(frame: Frame, node: Node) -> SkipReason | None:
    is_missing = False
    for condition in node.terms.conditions:
        if any(frame.status[source] == Status.SKIPPED for source in sources_of(condition)):
            is_missing = True
        elif not resolve(condition, frame):
            return SkipReason.CONDITION_FALSE
    return SkipReason.UPSTREAM_CONDITION if is_missing else None


def _by_after(frame: Frame, node: Node) -> SkipReason | None:
    if any(frame.status[source] == Status.SKIPPED for source in node.terms.after):
        return SkipReason.UPSTREAM_SEQUENCE
    return None


def passed_by(frame: Frame, node: Node, reason: SkipReason) -> tuple[Any] | None:
    """The value that the consumers of *node* get in its place, boxed, if it is skipped for *reason*."""
    passes = (SkipReason.CONDITION_FALSE, SkipReason.UPSTREAM_CONDITION, SkipReason.UPSTREAM_SEQUENCE)
    return _passed(frame, node) if reason in passes else None


def _by_data(frame: Frame, node: Node) -> SkipReason | None:
    """What a missing argument or amount means."""
    routes = [source for source in node.data if frame.gaps.reasons.get(source) is SkipReason.UPSTREAM_ROUTE]
    if any(isinstance(frame.graph.rows[source], Junction) for source in routes):
        return SkipReason.UPSTREAM_ROUTE
    amounts = [source for _, operand in node.terms.amounts for source in sources_of(operand)]
    if any(source in frame.gaps.gone for source in node.data):
        return SkipReason.UPSTREAM_DATA
    if any(frame.status[source] == Status.SKIPPED for source in amounts):
        return SkipReason.UPSTREAM_DATA
    return None


def _passed(frame: Frame, node: Node) -> tuple[Any] | None:
    """The value of the one distinct call among the arguments of *node*, boxed, if there is one and it has any.

    A router counts as the route that it chose.
    """
    if node.terms.on_skip == "skip" or any(source in frame.gaps.gone for source in node.data):
        return None
    calls = {call for source in node.data for call in frame.calls_in(source)}
    if len(calls) != 1:
        return None
    values = [frame.values[source] for source in node.data if frame.chosen(source) in calls]
    if not values:
        return None
    return ([*values[0]] if isinstance(values[0], ItemOutcomes) else values[0],)


def arguments(slots: Slots, node: Node) -> Arguments:
    """The bound arguments of *node*, which is not skipped.

    Raises:
        Exception: If they cannot be put together: see :func:`put_together`.
    """
    call = node.call
    args = _patched(slots, call.args, node) if node.operands else call.args
    kwargs = call.kwargs
    if node.named:
        kwargs = {**kwargs, **{name: put_together(slots, operand, node, name) for name, operand in node.named}}
    return args, kwargs


def _patched(slots: Slots, args: tuple[Any, ...], node: Node) -> tuple[Any, ...]:
    patched = list(args)
    values = slots.values
    for position, operand in zip(node.positions, node.operands, strict=True):
        patched[position] = (
            values[operand] if type(operand) is int else put_together(slots, operand, node, position)
        )
    return tuple(patched)


def put_together(slots: Slots, operand: Operand, node: Node | None = None, key: int | str = "") -> Any:
    """The value of *operand*: of the argument *key* of *node*, or of the flow if there is no node.

    Raises:
        UnfitError: If a value cannot stand where it should, such as a list in a set.
        Exception: What the constructor of a record raises, as it is; a note says where the record stands.
    """
    try:
        return resolve(operand, slots)
    except UnfitError as error:
        raise UnfitError(f"{_place(node, key)} cannot be put together: {error}") from error
    except Exception as error:
        annotate(error, f"raised when {_place(node, key)} was put together")
        raise


def _place(node: Node | None, key: int | str) -> str:
    if node is None:
        return "the value of the flow"
    name = key if isinstance(key, str) else node.task.arity.name_of(key)
    return f"argument {name!r} of {node.name!r}"


@attrs.frozen(eq=False)
class NodeSlots:
    """The slots of a frame as one node sees them: with its own resources, or none open yet.

    Attributes:
        frame: The frame.
        resources: Open resources by name; what is not among them is left as the injection itself.
    """

    frame: Slots
    resources: Mapping[str, Any]

    @property
    def values(self) -> list[Any]:
        return self.frame.values

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self.frame.inputs

    def injected(self, name: str) -> Any:
        """The open resource called *name*, or its placeholder."""
        return self.resources.get(name, Inject(name))


def arguments_of(frame: Frame, index: int, resources: Mapping[str, Any]) -> Arguments:
    """The bound arguments of the call *index*, which is not skipped, with these resources open.

    Raises:
        Exception: If they cannot be put together: see :func:`put_together`.
    """
    graph = frame.graph
    row = graph.rows[index]
    if type(row) is not LazyResult:
        slots = NodeSlots(frame, resources) if resources else frame
        return arguments(slots, cast("Node", row))
    args, sources = row.args, graph.sources[index]
    if sources:  # of a plain call, what its arguments that are calls stand for, in their order
        left, values = iter(sources), frame.values
        args = tuple([values[next(left)] if type(value) is LazyResult else value for value in args])
    return args, row.kwargs


def amounts(frame: Frame, node: Node) -> dict[str, Amount]:
    """What *node* claims, exact.

    Raises:
        ValueError: If a computed amount is negative, not finite, or no number.
    """
    return {name: exact(resolve(operand, frame), name) for name, operand in node.terms.amounts}


def columns(
    frame: Frame, node: MapNode, coming: Mapping[int, Sequence[Any]] | None = None
) -> dict[str, Sequence[Any]]:
    """The keyword arguments of the items of a map: for each parameter, as many values as there are items.

    What a sequence holds is looked at once, now; whoever changes it later changes nothing here.

    Args:
        frame: Where the columns come from.
        node: The map.
        coming: By node, the columns whose values are still to come; they are taken as they are.

    Raises:
        ValueError: If the columns differ in length.
        TypeError: If a column is no sequence.
    """
    coming = coming or {}
    found = {name: coming.get(operand) if isinstance(operand, int) else None for name, operand in node.columns}
    resolved = {
        name: put_together(frame, operand, node, name) for name, operand in node.columns if found[name] is None
    }
    # What two columns have in common is read once: it may be something that can be read only once.
    read = {id(column): _column(node.task, name, column) for name, column in resolved.items()}
    rows = {name: read[id(resolved[name])] if column is None else column for name, column in found.items()}
    check_lengths(node.task.name, rows)
    return rows


def _iterator(column: Any) -> Iterator[Any] | None:
    try:
        values: Iterator[Any] = iter(column)
    except TypeError:
        return None
    return values


def _column(task: Task[Any, Any], name: str, column: Any) -> Sequence[Any]:
    if type(column) is range:  # which nobody changes
        return column
    if isinstance(column, ItemOutcomes):
        return column.snapshot()
    values = None if isinstance(column, (str, bytes, bytearray, Mapping)) else _iterator(column)
    if values is not None:
        return tuple(values)
    raise TypeError(f"{task.name}.map(): column {name!r} must be a sequence, not {type(column).__name__}")


class Inputs(dict[str, Any]):
    """The bound arguments of a call by parameter, as cache policies see them; injected resources left out.

    Attributes:
        task: The task that is called.
        known_keys: By the ``id`` of a policy: the policy, these very inputs, and its key for them, found before
            the call may change what they hold.
    """

    task: Task[Any, Any]
    known_keys: dict[int, tuple[object, dict[str, Any], str]]


def _named(task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    if task.signature is not None:
        try:
            whole = task.signature.bind(*args, **kwargs)
        except TypeError:
            pass  # a decorator supplies some of its arguments, or takes others
        else:
            whole.apply_defaults()
            return whole.arguments
    return {**{str(place): value for place, value in enumerate(args)}, **kwargs}


def inputs(task: Task[Any, Any], bound: Arguments) -> Inputs:
    """*bound* by parameter name, without what is still a placeholder."""
    args, kwargs = bound
    named = _named(task, args, kwargs)
    found = Inputs({name: value for name, value in named.items() if not isinstance(value, Inject)})
    found.task, found.known_keys = task, {}
    return found
