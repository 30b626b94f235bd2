"""The columns of a map: one sequence for each parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cascade.model.fallbacks import OutcomeOf
from cascade.model.lazies import MappedLazyResult
from cascade.model.placeholders import Placeholder


def as_column(task_name: str, name: str, column: Any) -> object:
    """*column*, given for the parameter *name* of a map, as a sequence or a placeholder.

    Raises:
        TypeError: If it is neither, nor an iterable that can be read at once; or if it is the outcome of what is
            no map.
    """
    if isinstance(column, OutcomeOf) and not isinstance(column.call, MappedLazyResult):
        raise TypeError(
            f"{task_name}.map(): column {name!r} is {column!r}, which is a single outcome; as a column, settle a "
            f"mapped lazy, or give a list of outcomes; use .partial({name}=...) for what all items share"
        )
    if isinstance(column, Placeholder):
        return column
    is_text_or_mapping = isinstance(column, (str, bytes, bytearray, Mapping))
    if isinstance(column, Sequence) and not is_text_or_mapping:
        return column
    if isinstance(column, Iterable) and not is_text_or_mapping:
        return tuple(column)
    raise TypeError(
        f"{task_name}.map(): column {name!r} must be a sequence, not {type(column).__name__}; "
        f"use .partial({name}=...) for what all items share"
    )


def check_lengths(task_name: str, columns: Mapping[str, object]) -> None:
    """See that all columns whose length is known have the same.

    Raises:
        ValueError: If they differ.
    """
    lengths = {name: len(column) for name, column in columns.items() if isinstance(column, Sequence)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"{task_name}.map(): columns of mismatched lengths ({shown})")
