"""On the side of the engine: bytes of a batch of calls, and outcomes of the answer to it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import attrs

from cascade.adapters.remote.entry import ERROR, PICKLED, STAYED, VALUE, Answer, version_here
from cascade.adapters.serialization.calls import refused_function
from cascade.adapters.serialization.functions import Reference, refer
from cascade.adapters.serialization.values import (
    dump_arguments,
    dumps,
    unreadable_argument,
    unreadable_result,
    unsendable_result,
)
from cascade.model.errors import GraphError
from cascade.model.tasks import Task
from cascade.runtime.foundation.remote_executor import (
    PACKING,
    KeptValue,
    NotMade,
    Raised,
    RemoteCall,
    RemoteOutcome,
    Returned,
    Stayed,
)


@attrs.frozen(eq=False)
class Packed:
    """A batch of calls as bytes.

    Attributes:
        calls: The calls.
        header: Versions of Python and of cascade here.
        payload: The calls that can be sent.
        needs: The kept values among their arguments; ``run_batch`` takes what they stand for in this order.
        refused: Those that cannot be sent, by position, and why.
    """

    calls: Sequence[RemoteCall]
    header: tuple[str, str]
    payload: bytes
    needs: tuple[KeptValue, ...]
    refused: dict[int, Exception]

    @property
    def is_empty(self) -> bool:
        """Whether no call can be sent; then nothing is to be submitted: see :func:`unpack`."""
        return len(self.refused) == len(self.calls)


def pack(calls: Sequence[RemoteCall], keep: Sequence[bool], keep_above: float) -> Packed:
    """*calls* as bytes; never raises for what a user may have given.

    Args:
        calls: The calls.
        keep: For each, whether its value may stay there.
        keep_above: Bytes from which it does.
    """
    functions: dict[Task[Any, Any], int] = {}
    references: list[Reference] = []
    refused: dict[int, Exception] = {}
    lines: list[tuple[Any, ...] | None] = []  # each what a Line has
    for position, (call, keeps) in enumerate(zip(calls, keep, strict=True)):
        task: Any = call.task
        if task not in functions:
            try:
                references.append(refer(task, shares_main=False))
            except GraphError as error:
                refused[position] = error
                lines.append(None)
                continue
            functions[task] = len(references) - 1
        about = call.attempt
        lines.append(
            (
                functions[task], call.args, call.kwargs,
                (about.run_id, about.node_id, about.number, about.turns, about.undone),
                call.timeout, call.remaining, call.carrier, keeps, call.ends_batch,
            )
        )  # fmt: skip
    PACKING.met = {}
    try:
        pickled = _dumped(calls, lines, refused)
        needs = PACKING.met
    finally:
        PACKING.met = None
    payload = pickle.dumps((tuple(needs), references, keep_above, pickled), pickle.HIGHEST_PROTOCOL)
    return Packed(calls, version_here(), payload, tuple(needs.values()), refused)


def kept_among(call: RemoteCall) -> list[KeptValue]:
    """The kept values among the arguments of *call*."""
    PACKING.met = {}
    try:
        dumps((call.args, call.kwargs), shares_main=False)
        return list(PACKING.met.values())
    finally:
        PACKING.met = None


def _dumped(
    calls: Sequence[RemoteCall], lines: list[tuple[Any, ...] | None], refused: dict[int, Exception]
) -> bytes:
    try:
        return dumps(lines, shares_main=False)
    except Exception:  # pickling runs the arguments' __reduce__: see whose
        for position, (call, line) in enumerate(zip(calls, lines, strict=True)):
            if line is None:
                continue
            try:
                dump_arguments(_task(call), call.args, dict(call.kwargs), shares_main=False)
            except Exception as error:  # the same, which says which argument it is
                refused[position] = error
                lines[position] = None
    return dumps(lines, shares_main=False)


def _task(call: RemoteCall) -> Task[..., Any]:
    task: Any = call.task
    return task  # type: ignore[no-any-return]  # a Callee is a Task


def unpack(packed: Packed, answer: bytes | None) -> list[RemoteOutcome]:
    """How the calls of a batch have ended.

    Args:
        packed: The batch.
        answer: What ``run_batch`` returned; ``None`` if nothing was submitted.

    Raises:
        GraphError: If the worker has another version of Python or of cascade.
    """
    outcomes: list[RemoteOutcome] = [NotMade()] * len(packed.calls)
    for position, error in packed.refused.items():
        outcomes[position] = Raised(error)
    if answer is None:
        return outcomes
    is_alone = len(packed.calls) == 1
    try:
        told = Answer(*pickle.loads(answer))
    except Exception as error:  # unpickling runs the code of the values' classes
        if is_alone:
            return [Raised(unreadable_result(_task(packed.calls[0]), error))]
        return _alone(outcomes)
    if told.is_unfit:
        raise GraphError(told.refusal)
    if told.refusal:
        if is_alone:
            return [Raised(unreadable_argument(_task(packed.calls[0]), None, told.refusal), 0.0, told.worker)]
        return _alone(outcomes)
    for position, result in enumerate(told.results):
        if result is not None:
            outcomes[position] = _outcome(_task(packed.calls[position]), result, told.worker)
    return outcomes


def _alone(outcomes: list[RemoteOutcome]) -> list[RemoteOutcome]:
    """One of the calls has kept the batch from being read: each is to be made alone."""
    return [NotMade(is_alone=True) if isinstance(outcome, NotMade) else outcome for outcome in outcomes]


def _outcome(task: Task[..., Any], result: tuple[Any, ...], worker: str) -> RemoteOutcome:
    kind, seconds, *rest = result
    if kind == VALUE:
        return Returned(rest[0], seconds, worker)
    if kind == PICKLED:
        try:
            return Returned(pickle.loads(rest[0]), seconds, worker)
        except Exception as error:  # unpickling runs the code of the value's class
            return Raised(unreadable_result(task, error), seconds, worker)
    if kind == STAYED:
        handle, size = rest
        return Stayed(handle, size, seconds, worker)
    if kind == ERROR:
        return Raised(rest[0].near(task.name), seconds, worker)
    what, reason = rest
    if what == "function":
        return Raised(refused_function(task, reason))
    return Raised(unsendable_result(task, reason), seconds, worker)
