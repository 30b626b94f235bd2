"""Events with text from anywhere in them."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

import cascade
from cascade import events

# Lone surrogates too, which Hypothesis leaves out unless they are asked for.
ANY_TEXT = st.text(st.characters(exclude_categories=()))

KINDS: list[type[cascade.Event]] = [
    kind
    for name in events.__all__
    if isinstance(kind := getattr(events, name), type) and kind not in (cascade.Event, cascade.NodeEvent)
]

_COUNTS = st.integers(0, 10**6)
_SECONDS = st.floats(0, 10**9)
_BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": _COUNTS,
    "int | None": st.none() | _COUNTS,
    "float": _SECONDS,
    "float | None": st.none() | _SECONDS,
    "str": ANY_TEXT,
    "str | None": st.none() | ANY_TEXT,
    "tuple[str, ...]": st.lists(ANY_TEXT, max_size=8).map(tuple),
    "Mapping[str, int]": st.dictionaries(ANY_TEXT, _COUNTS, max_size=3),
    "Mapping[str, object]": st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
    "Mapping[str, Mapping[str, int | None]]": st.dictionaries(
        ANY_TEXT, st.dictionaries(ANY_TEXT, st.none() | _COUNTS, max_size=3), max_size=3
    ),
    "RunStatus": st.sampled_from(["Succeeded", "Failed", "Cancelled", "Drained", "Suspended"]),
    "TaskStatus": st.sampled_from(["Succeeded", "Failed", "Cancelled"]),
    "BlockReason": st.sampled_from(["ResourceContention", "ConstraintViolation"]),
}


def any_events() -> st.SearchStrategy[cascade.Event]:
    """An event of any class."""
    return st.one_of(*map(events_of, KINDS))


def events_of(kind: type[cascade.Event]) -> st.SearchStrategy[cascade.Event]:
    """An event of class *kind*."""
    return st.builds(kind, **{field.name: _BY_TYPE[str(field.type)] for field in attrs.fields(kind)})
