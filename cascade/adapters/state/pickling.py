"""Values as stores keep them: pickled. Reading a pickle can run any code, so a store must be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs

from cascade.adapters.pickles import dumps, loads
from cascade.adapters.state.detail_text import text_of_detail
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.runtime.durability.records import Batch, Closing, Continuation, Entry, NodeStatus, NotDurable, Past
from cascade.runtime.durability.signal_records import Unreadable, UnstorableError
from cascade.runtime.foundation.fairness import considerate

# Characters of an error that are recorded, at most.
LONGEST_TEXT: Final = 10_000


@attrs.frozen
class Sealed:
    """A value that has been pickled already."""

    data: bytes


def pickled(value: Any, largest: float = math.inf) -> bytes:
    """*value* as bytes.

    Args:
        value: The value, or one that is sealed.
        largest: Bytes that the store can take; any number by default.

    Raises:
        ValueError: If the pickle has more bytes.
        Exception: Whatever pickling the value raises.
    """
    data = value.data if type(value) is Sealed else dumps(value)
    if len(data) > largest:
        raise ValueError(f"its pickle has {len(data)} bytes, and the store takes {largest:.0f} at most")
    return data


def shortened(text: str | None) -> str | None:
    """*text* in a form that any store takes: at most 10 000 characters, and lone surrogates escaped."""
    if text is None:
        return None
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode()


def pickled_signal(value: Any) -> bytes:
    """What is kept of a signal, as bytes.

    Raises:
        UnstorableError: If it cannot be pickled.
    """
    try:
        return dumps(value)
    except Exception as error:  # pickling runs the user's code, which may raise anything
        raise UnstorableError(describe(error)) from error


def loaded_signal(data: bytes) -> Any:
    """What is kept of a signal in *data*; an :class:`Unreadable` if it cannot be unpickled."""
    try:
        return loads(data)
    except Exception as error:  # unpickling runs the user's code, which may raise anything
        return Unreadable(describe(error))


def loaded(data: bytes, what: str, run_id: str) -> Any:
    """The value in *data*.

    Raises:
        StateError: If *data* cannot be unpickled.
    """
    try:
        return loads(data)
    except Exception as error:  # unpickling runs the user's code, which may raise anything
        raise StateError(
            f"cannot read {what} of run {run_id!r}: {describe(error)}; is the code that made it still there? "
            'on_change="recompute" computes it anew'
        ) from error


def loaded_all(found: Mapping[str, bytes], run_id: str, *, is_lenient: bool) -> dict[str, Any]:
    """The values in *found*, by node. To be called in a worker thread, as it may take long.

    Args:
        found: Pickled values by node.
        run_id: The run.
        is_lenient: Whether to leave out values that cannot be read.

    Raises:
        StateError: If a value cannot be read, unless *is_lenient*.
    """
    values: dict[str, Any] = {}
    for node_id, data in considerate(found.items()):
        try:
            values[node_id] = loaded(data, f"the result of {node_id!r}", run_id)
        except StateError:
            if not is_lenient:
                raise
    return values


def with_values(
    past: Past, run_id: str, result: bytes | None, turn: int | None, continuation: bytes | None
) -> Past:
    """*past* with its pickled parts: the result, if the run has succeeded, and the continuation of a loop."""
    try:
        boxed = None if result is None else (loaded(result, "the result", run_id),)
        going_on = None
        if turn is not None and continuation is not None:
            going_on = Continuation(turn, loaded(continuation, "the loop", run_id))
    except StateError as error:
        return attrs.evolve(past, unreadable=error)
    return attrs.evolve(past, result=boxed if past.status == "succeeded" else None, continuation=going_on)


# More than 12 fields: one for each column.
class Row(NamedTuple):
    """An entry as the store takes it: its fields, with the value pickled.

    Attributes:
        node_id: The node.
        status: How it ended.
        task: The task's name.
        reason: Why it was skipped; ``None`` if it was not.
        attempts: Number of attempts that were made.
        duration: Seconds from the start of the first attempt.
        error: The text of its error, as the store can take it.
        is_durable: Whether the store will have its value; true if it has none.
        digest: Its digest.
        value: Its pickled value; ``None`` if it has none, or one that cannot be stored.
        label: What people call it, as the store can take it.
        started: When its first attempt began, in seconds since the epoch; ``None`` if none did.
        worker: Where it ran, in words; ``None`` if it did not, or that is not known.
    """

    node_id: str
    status: NodeStatus
    task: str
    reason: str | None
    attempts: int
    duration: float
    error: str | None
    is_durable: bool
    digest: bytes | None
    value: bytes | None
    label: str | None = None
    started: float | None = None
    worker: str | None = None


@attrs.define(eq=False)
class Sealing:
    """Pickles a batch once, in a worker thread, however often the write is tried.

    Attributes:
        batch: The batch.
        largest: Bytes of a value that the store can take.
        details: By node, the details that the batch has, once :meth:`rows` has been called.
    """

    batch: Batch
    largest: float
    details: dict[str, str] = attrs.field(factory=dict, init=False)
    _rows: Sequence[Row] | None = None
    _missing: list[tuple[str, Exception]] = attrs.field(factory=list)
    _continuation: bytes | None = None

    @property
    def missing(self) -> NotDurable:
        """The nodes whose values the store cannot take, and why."""
        return self._missing

    def rows(self) -> Sequence[Row]:
        """The entries of the batch in order, then its notes."""
        if self._rows is None:
            entries = [*self.batch.entries, *self.batch.notes]
            self._rows = [self._row(entry) for entry in considerate(entries)]
        return self._rows

    def continuation(self) -> bytes | None:
        """The pickled value of the continuation; ``None`` if the batch has none.

        Raises:
            Exception: Whatever pickling it raises.
        """
        going_on = self.batch.continuation
        if going_on is not None and self._continuation is None:
            self._continuation = pickled(going_on.value, self.largest)
        return self._continuation

    def _row(self, entry: Entry) -> Row:
        node_id, value, reason, status, digest, task, attempts, duration, error, label, detail = entry[:11]
        words = None if detail is None else text_of_detail(detail)
        if words is not None and len(words) <= self.largest:  # no run fails for what is kept for people
            self.details[node_id] = words
        elif self.details:
            self.details.pop(node_id, None)  # of a note that came before
        data, is_durable = None, True
        if status == "succeeded":
            try:
                data = pickled(value, self.largest)
            except Exception as failure:  # pickling runs the user's code, which may raise anything
                self._missing.append((node_id, failure))
                is_durable = False
        # Most nodes have neither, and a call for each would tell.
        text = None if error is None else shortened(error)
        label = None if label is None else shortened(label)
        return Row(
            node_id, status, task, reason, attempts, duration, text, is_durable, digest, data, label,
            entry.started, entry.worker,
        )  # fmt: skip


def result_of(closing: Closing, largest: float) -> tuple[bytes | None, NotDurable]:
    """The pickled result of a run, or ``None``; and why the store cannot take it, if it cannot."""
    if closing.result is None:
        return None, ()
    try:
        return pickled(closing.result[0], largest), ()
    except Exception as error:  # pickling runs the user's code, which may raise anything
        return None, [("the result", error)]


def once(make: Callable[[], Any]) -> Callable[[], Any]:
    """A function that calls *make* the first time, and then always returns the same value."""
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get


def parts(rows: Sequence[Row], most: int) -> Iterator[Sequence[Row]]:
    """*rows* in order, in parts of at most *most* bytes of values; a larger row is a part of its own."""
    part: list[Row] = []
    size = 0
    for row in rows:
        weight = len(row.value or b"")
        if part and size + weight > most:
            yield part
            part, size = [], 0
        part.append(row)
        size += weight
    yield part
