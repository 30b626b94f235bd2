"""Events from their records, which may come from strangers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies_events import ANY_TEXT, any_events

import cascade
from cascade.events import as_record
from cascade.model.events.records import from_record

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
)


@given(any_events())
def test_what_an_event_says_is_read_back_as_it_was(event: cascade.Event) -> None:
    assert from_record(json.loads(json.dumps(as_record(event)))) == event


@given(any_events(), st.data())
def test_whatever_a_stranger_says_is_an_event_or_refused(event: cascade.Event, data: st.DataObject) -> None:
    record = as_record(event)
    names = data.draw(st.lists(st.sampled_from(sorted(record)), unique=True))
    record.update({name: data.draw(ANYTHING) for name in names})
    try:
        read = from_record(json.loads(json.dumps(record)))
    except ValueError:
        return
    assert type(read).__name__ == record["type"]
    assert type(read.seq) is int
    assert isinstance(read.run_id, str)


@given(any_events(), ANYTHING)
def test_fields_of_a_later_version_are_passed_over(event: cascade.Event, value: object) -> None:
    assert from_record({**json.loads(json.dumps(as_record(event))), "of a later version": value}) == event


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"type": None},
        {"type": []},
        {"type": "Nothing"},
        {"type": "SCHEMA_VERSION"},
        {"type": "as_record"},
        {"type": "RunResumed"},
        {"type": "EventsDropped", "seq": True, "timestamp": 1.0, "run_id": "r", "count": 1},
        {"type": "EventsDropped", "seq": 1, "timestamp": float("inf"), "run_id": "r", "count": 1},
        {"type": "EventsDropped", "seq": 1, "timestamp": 1.0, "run_id": None, "count": 1},
    ],
)
def test_what_is_no_event_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"event|cannot be"):
        from_record(record)
