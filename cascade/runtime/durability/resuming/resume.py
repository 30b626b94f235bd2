"""Going on with a run that was begun before: decides whether to return, go on, rerun, fork or recompute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Literal, assert_never

import attrs
from anyio import CancelScope

from cascade.graph.identity import Contents, contents_of
from cascade.graph.nodes import Graph
from cascade.model.errors import CascadeError, FlowChangedError, StateError
from cascade.model.shown.raised import describe
from cascade.runtime.durability.records import UNDO_TIMES, Batch, Entry, Past, done_id, roots
from cascade.runtime.durability.recovery import (
    PORTION,
    OpenRun,
    RecordedFlow,
    Recovery,
    ResumePolicy,
    open_recovery,
)
from cascade.runtime.durability.resuming.changes import changed_nodes, with_dependants, with_parts
from cascade.runtime.durability.resuming.fork import forked
from cascade.runtime.durability.undo_log import RecordedUndos
from cascade.runtime.foundation.fairness import paced, paced_list, portions

# For stores whose runs cannot be resumed: nothing is compared.
NO_CONTENTS: Final = Contents((), b"", {}, frozenset())

# "return" also stands for going on: the run is what was recorded, whether it has finished or not.
Decision = Literal["return", "rerun", "fork", "recompute"]


async def recover(
    policy: ResumePolicy, run_id: str, flow: RecordedFlow, open_run: OpenRun, *, is_new: bool
) -> Recovery | None:
    """Take the run *run_id* in its store, if it has one, and decide what its records mean for *flow*.

    Args:
        policy: What may be done with records of an earlier execution.
        run_id: The run.
        flow: The flow as it is now.
        open_run: Opens a run in the store.
        is_new: Whether the id was made for this run.

    Returns:
        What the run has from its store; ``None`` if it has no store.

    Raises:
        RunInProgressError: If another process or task executes the run.
        FlowChangedError: If the run was recorded with another flow, and *policy* does not allow that.
        StateError: If the store cannot be used, or the run has finished and *policy* does not allow that.
    """
    backend = open_run(run_id)
    if backend is None:
        return None
    contents = NO_CONTENTS
    if backend.can_resume:
        contents = await paced(contents_of(flow.graph, flow.inputs))
    try:
        recovery = await open_recovery(backend, flow, contents, is_new=is_new)
        durations = await backend.durations() if policy.schedule == "eager" else {}
        if recovery.past.is_known:
            recovery = await _reconciled(recovery, policy, flow, open_run)
        recovery.durations = durations
        return recovery
    except BaseException as error:
        with CancelScope(shield=True):
            await backend.aclose()
        if isinstance(error, CascadeError) or not isinstance(error, Exception):
            raise
        raise StateError(f"cannot read the records of run {run_id!r}: {describe(error)}") from error


async def forget_undone(recovery: Recovery, graph: Graph) -> None:
    """Forget the records of nodes that have been undone, and of all that depends on them: they run again.

    Called once the undo of an earlier execution is complete.
    """
    backend, undos = recovery.backend, recovery.undos
    marks = await backend.get_readable_results(map(done_id, undos.successes))
    times = Counter(undos.times) + Counter(key for _, key in marks.values())
    await backend.write(_counted(times))
    past, recovery.undos = recovery.past, RecordedUndos(times=times)
    if undos.starts_over or past.nodes is None or past.continuation is not None:
        await _rerun(recovery)
        return
    undone = {name for name, _ in marks.values()}
    await _recomputed(recovery, await paced_list(with_dependants(undone, graph)), graph)
    await backend.forget(undos.ids())


def _counted(times: Mapping[str, int]) -> Batch:
    """What is recorded of how often nodes were undone."""
    return Batch([Entry(UNDO_TIMES, dict(times))])


async def _reconciled(recovery: Recovery, policy: ResumePolicy, flow: RecordedFlow, open_run: OpenRun) -> Recovery:
    """*recovery*, made to fit *flow*."""
    if _is_rerun(recovery, policy):
        return await _as_recorded(recovery, policy)
    changed = await changed_nodes(recovery, flow.graph)
    decision = _decide(recovery, policy, changed)
    match decision:
        case "return":
            return await _as_recorded(recovery, policy)
        case "rerun":
            return await _rerun(recovery)
        case "fork":
            return await forked(recovery, open_run, flow, changed, partial(_as_recorded, policy=policy))
        case "recompute":
            return await _recomputed(recovery, changed, flow.graph)
        case _:
            assert_never(decision)


async def _as_recorded(recovery: Recovery, policy: ResumePolicy) -> Recovery:
    """*recovery*, whose flow has not changed, or of which everything runs again."""
    has_succeeded = recovery.past.status == "succeeded"
    if _is_rerun(recovery, policy):
        signals = recovery.backend.signals
        if signals is not None and has_succeeded:  # else what was accepted stands
            await signals.forget()
        return await _rerun(recovery)
    if has_succeeded and recovery.past.result is None:
        await recovery.backend.adopt(recovery.contents.flow)
    return recovery


def _is_rerun(recovery: Recovery, policy: ResumePolicy) -> bool:
    """Whether everything runs again, whatever the flow is now.

    Raises:
        StateError: If the run has finished, or cannot be read, and *policy* does not allow that.
    """
    past = recovery.past
    if past.status == "succeeded" and policy.on_finished == "error":
        raise StateError(f"run {recovery.run_id!r} has finished already; use another run_id, or on_finished=")
    if past.status == "succeeded" and policy.on_finished == "rerun":
        return True
    if past.unreadable is not None and policy.on_change != "recompute":
        raise past.unreadable
    return past.unreadable is not None


def _decide(recovery: Recovery, policy: ResumePolicy, changed: Sequence[str]) -> Decision:
    """What to do with the records, if the nodes *changed* are not what they were.

    Raises:
        FlowChangedError: If there are any, and *policy* does not allow that.
    """
    past = recovery.past
    if not changed and past.flow_digest in (None, recovery.contents.flow):
        return "return"
    if changed and policy.on_change == "error":
        raise FlowChangedError(recovery.run_id, changed)
    if changed and policy.on_change == "fork":
        return "fork"
    # The records of a loop are those of a later turn, of which nothing holds for another loop.
    return "recompute" if past.continuation is None else "rerun"


async def _rerun(recovery: Recovery) -> Recovery:
    """Forget all records; if nodes are still to be undone, after that."""
    if recovery.undos.has_begun:
        recovery.undos.starts_over = True
        return recovery
    times = recovery.undos.times
    await recovery.backend.clear()
    await recovery.backend.adopt(recovery.contents.flow)
    if times:
        await recovery.backend.write(_counted(times))
    recovery.past, recovery.undos = Past(epoch=recovery.past.epoch), RecordedUndos(times=times)
    recovery.forget_attempts()
    return recovery


async def _recomputed(recovery: Recovery, changed: Sequence[str], graph: Graph) -> Recovery:
    """Forget the records of the nodes *changed*, those of failures of nodes that *graph* has not, and the result;
    nothing yet while nodes are to be undone.
    """
    if recovery.undos.has_begun:
        return await _rerun(recovery)
    past = recovery.past
    names = (graph.name(index) for index in range(len(graph.rows) if past.failed else 0))
    known = set(await paced_list(names))
    strange = await paced_list(
        None if any(root in known for root in roots(name)) else name for name in past.failed
    )
    gone = await paced_list(with_parts([*changed, *strange], [*(past.nodes or ()), *past.failed]))
    for portion in portions(gone, PORTION):
        await recovery.backend.forget(portion)
    await recovery.backend.adopt(recovery.contents.flow)
    recovery.past = attrs.evolve(past, result=None, status="running")
    await recovery.leave(set(gone))
    return recovery
