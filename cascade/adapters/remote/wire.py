"""On the side of the engine: bytes of a batch of calls, and outcomes of the answer to it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import attrs

from cascade.adapters.remote.entry import Answer, Error, Handle, Line, Refused, Value, version_here
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
    lines: list[Line | None] = []
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
        lines.append(
            Line(
                functions[task], call.args, call.kwargs, call.attempt, call.timeout, call.remaining, call.carrier,
                keeps, call.ends_batch,
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


def _dumped(calls: Sequence[RemoteCall], lines: list[Line | None], refused: dict[int, Exception]) -> bytes:
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
    outcomes: list[RemoteOutcome] = [NotMade() for _ in packed.calls]
    for position, error in packed.refused.items():
        outcomes[position] = Raised(error)
    if answer is None:
        return outcomes
    is_alone = len(packed.calls) == 1
    try:
        told = pickle.loads(answer)
        assert isinstance(told, Answer)
    except Exception as error:  # unpickling runs the code of the values' classes
        if is_alone:
            return [Raised(unreadable_result(_task(packed.calls[0]), error))]
        return outcomes
    if told.is_unfit:
        raise GraphError(told.refusal)
    if told.refusal:
        if is_alone:
            return [Raised(unreadable_argument(_task(packed.calls[0]), None, told.refusal), 0.0, told.worker)]
        return outcomes
    for position, result in enumerate(told.results):
        if result is not None:
            outcomes[position] = _outcome(_task(packed.calls[position]), result, told.worker)
    return outcomes


def _outcome(task: Task[..., Any], result: Any, worker: str) -> RemoteOutcome:
    match result:
        case Value(value=value, seconds=seconds, is_pickled=is_pickled):
            if not is_pickled:
                return Returned(value, seconds, worker)
            try:
                return Returned(pickle.loads(value), seconds, worker)
            except Exception as error:  # unpickling runs the code of the value's class
                return Raised(unreadable_result(task, error), seconds, worker)
        case Handle(handle=handle, size=size, seconds=seconds):
            return Stayed(handle, size, seconds, worker)
        case Error(error=error, seconds=seconds):
            return Raised(error.near(task.name), seconds, worker)
        case Refused(what="function", reason=reason):
            return Raised(refused_function(task, reason), 0.0, worker)
        case Refused(reason=reason, seconds=seconds):
            return Raised(unsendable_result(task, reason), seconds, worker)
    raise AssertionError(f"an answer has {result!r:.100}")
