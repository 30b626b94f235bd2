"""The value of a flow's target, or why it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cascade.graph.nodes import Junction
from cascade.graph.slots import sources_of
from cascade.model.errors import DependencyMissingError
from cascade.model.outcomes import Failed, Status
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.execution.binding import put_together
from cascade.runtime.frame.choices import chosen
from cascade.runtime.frame.endings import joined
from cascade.runtime.frame.frame import Frame
from cascade.runtime.frame.gaps import FailedItems


def values_left(frame: Frame) -> Iterator[tuple[str, Any]]:
    """The ids and values of calls that have succeeded and that somebody still wants."""
    while frame.demand.backlog:
        frame.demand.let_go_some()
    for index, row in enumerate(frame.graph.rows):
        is_call = not isinstance(row, Junction)
        if is_call and frame.status[index] == Status.SUCCEEDED and frame.demand.uses[index]:
            yield frame.name(index), frame.values[index]


def collect(frame: Frame, pass_on: Callable[[Failed, Iterable[Failed], Sequence[FailedItems]], None]) -> Any:
    """The value of the frame's target, all nodes having settled.

    Args:
        frame: The frame.
        pass_on: Told of the failure that is raised, if it is that of a node, of what else has failed, and of maps
            that have.

    Raises:
        DependencyMissingError: If a member of the target was skipped, unless because a call that it
            runs after was skipped.
        Exception: If the value cannot be put together; see ``put_together``.
        BaseException: The failure that keeps a member from having a value, if the run goes on after failures.
    """
    without = [member for member in frame.graph.members if frame.status[member] != Status.SUCCEEDED]
    failed = joined(map(frame.handling.failures_behind, without))
    if failed:  # rather than what was skipped, whichever stands first
        every = joined(map(frame.handling.failures_behind, frame.graph.members))
        pass_on(failed[0], [other for other in every if other is not failed[0]], frame.gaps.all_maps())
        raise failed[0].error
    for member in without:
        judged = chosen(frame.routing, member)
        if frame.gaps.reasons.get(judged) is not SkipReason.UPSTREAM_SEQUENCE:
            chain = list(_skips_behind(frame, judged))
            raise DependencyMissingError(frame.name(judged), chain, frame.label(judged))
        frame.values[member] = None
    return put_together(frame, frame.graph.target)


def _skips_behind(frame: Frame, index: int) -> Iterator[tuple[str, str]]:
    """The node and those whose skip led to its own, with their reasons."""
    for _ in range(20):
        yield frame.name(index), frame.gaps.reasons[index].value
        skipped = [source for source in _blamed(frame, index) if source in frame.gaps.reasons]
        skipped = [source for source in skipped if frame.gaps.reasons[source] is not SkipReason.PRUNED]
        if not skipped:
            return
        index = skipped[0]


def _blamed(frame: Frame, index: int) -> Iterator[int]:
    """The sources of a skipped node that the reason for its skip is about."""
    node = frame.graph.node(index)
    if isinstance(node, Junction):
        yield from node.sources
        return
    match frame.gaps.reasons[index]:
        case SkipReason.CONDITION_FALSE:
            return
        case SkipReason.UPSTREAM_CONDITION:
            for condition in node.terms.conditions:
                yield from sources_of(condition)
        case SkipReason.UPSTREAM_SEQUENCE:
            yield from node.terms.after
        case SkipReason.UPSTREAM_DATA:
            # What was skipped and handed its value on is no reason.
            yield from (source for source in node.data if source in frame.gaps.gone)
            for _, amount in node.terms.amounts:
                yield from sources_of(amount)
        case _:
            yield from node.sources
