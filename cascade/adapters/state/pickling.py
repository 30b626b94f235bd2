"""Values as stores keep them: pickled, which is said in the documentation, as a pickle is code."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from cascade.model.errors import StateError, describe
from cascade.runtime.state import Closing, Continuation, Entry, Past


@attrs.frozen
class Sealed:
    """A value that has been pickled already."""

    data: bytes


def pickled(value: Any) -> bytes:
    """*value* as bytes; raises whatever keeps it from that."""
    if type(value) is Sealed:
        return value.data
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def loaded(data: bytes, what: str, run_id: str) -> Any:
    """The value in *data*.

    Raises:
        StateError: If there is none.
    """
    try:
        return pickle.loads(data)
    except Exception as error:
        raise StateError(
            f"cannot read {what} of run {run_id!r}: {describe(error)}; is the code that made it still there? "
            'on_change="recompute" computes it anew'
        ) from error


def with_values(
    past: Past, run_id: str, result: bytes | None, turn: int | None, continuation: bytes | None
) -> Past:
    """*past* with what is pickled of it: the result of a run that has finished, and where its loop goes on."""
    try:
        boxed = None if result is None else (loaded(result, "the result", run_id),)
        going_on = None
        if turn is not None and continuation is not None:
            going_on = Continuation(turn, loaded(continuation, "the loop", run_id))
    except StateError as error:
        return attrs.evolve(past, unreadable=error)
    return attrs.evolve(past, result=boxed if past.status == "succeeded" else None, continuation=going_on)


def values_of(
    entries: Iterable[Entry], missing: list[tuple[str, Exception]]
) -> Iterator[tuple[Entry, bytes | None, bool]]:
    """*entries*, each with its pickled value and whether that is durable; what is not goes to *missing*."""
    for entry in entries:
        value = None
        is_durable = True
        if entry.status == "succeeded":
            try:
                value = pickled(entry.value)
            except Exception as error:  # pickling runs user code
                missing.append((entry.node_id, error))
                is_durable = False
        yield entry, value, is_durable


def result_of(closing: Closing, missing: list[tuple[str, Exception]]) -> bytes | None:
    """The pickled result of a run that has one; if it cannot be pickled it goes to *missing*."""
    if closing.result is None:
        return None
    try:
        return pickled(closing.result[0])
    except Exception as error:  # pickling runs user code
        missing.append(("the result", error))
        return None
