"""The details of a node as stores keep them: one JSON object, without what is empty."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from cascade.runtime.durability.details import AttemptRecord, NodeDetail, Remark

# Seconds that a moment is away from the epoch, and that a duration has, at most: some 3000 years.
_LONGEST: Final = 1e11
# What stands for the details of a node that wrote something, where they are not read.
UNREAD: Final = '{"log": ""}'
# What is in the details of a node whose failure was handled. Within a text in them, each quote has a backslash.
HANDLED_MARK: Final = '"handled": true'


def text_of_detail(detail: NodeDetail | None) -> str | None:
    """*detail* as stores keep it: JSON, in ASCII; ``None`` if there is nothing to keep."""
    if detail is None:
        return None
    fields = attrs.asdict(detail, recurse=True, filter=lambda _, value: not _is_empty(value))
    return json.dumps(fields) if fields else None


def detail_of_text(text: str | bytes) -> NodeDetail:
    """The details that :func:`text_of_detail` wrote as *text*. Fields that are not known are passed over.

    Raises:
        ValueError: If *text* encodes no details.
    """
    try:
        given: Mapping[str, Any] = json.loads(text)
        return NodeDetail(
            _seconds(given.get("started")),
            _text(given.get("worker")),
            [(str(name), str(value)) for name, value in given.get("arguments", ())],
            [_attempt(fields) for fields in given.get("attempts", ())],
            _text(given.get("traceback")),
            [Remark(seconds(fields["at"]), str(fields["text"])) for fields in given.get("remarks", ())],
            _text(given.get("caused_by")),
            _text(given.get("log")),
            given.get("handled") is True,
        )
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{text!r:.100} encodes no details of a node") from error


def _is_empty(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, Sequence) and not value)


def _attempt(fields: Mapping[str, Any]) -> AttemptRecord:
    started, duration = seconds(fields["started"]), seconds(fields["duration"])
    return AttemptRecord(int(fields["number"]), started, duration, str(fields["error"]))


def seconds(value: Any) -> float:
    """Decodes a field that holds a moment, in seconds since the epoch, or a duration.

    Raises:
        ValueError: If it is longer than all that clocks and browsers can show.
    """
    found = float(value)
    if not -_LONGEST < found < _LONGEST:  # which NaN is neither
        raise ValueError(value)
    return found


def _seconds(value: Any) -> float | None:
    return None if value is None else seconds(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
