"""In any flow, each event has the name that the user has given to its node."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade
from cascade.testing import RandomFlow, flows, simulate
from cascade.testing.descriptions import Ask, Call, Turns, all_calls


def calls_by_name(description: Any) -> dict[str, Call]:
    found = {call.name: call for call in all_calls(description)}
    for call in [*found.values()]:
        if isinstance(call.body, Ask):
            found |= calls_by_name(call.body.flow)
    return found


def expected(calls: dict[str, Call], node_id: str) -> str | None:
    """What the label of a node begins with."""
    name, _, item = node_id.rpartition("/")[2].partition("[")
    said = calls[name].terms.name
    return f"{said} " if item and said is not None else said


@pytest.mark.parametrize("schedule", ["stages", "eager"])
@given(flow=flows(), seed=st.integers(0, 2**32))
def test_each_event_has_the_name_of_its_node(schedule: Any, flow: RandomFlow, seed: int) -> None:
    calls = calls_by_name(flow.description)
    loops = {name for name, call in calls.items() if isinstance(call.body, Turns)}  # only the first turn is named
    record = simulate(flow.build(), seed=seed, schedule=schedule, on_error="continue", **flow.settings)
    for event in record.trace.events():
        if isinstance(event, cascade.NodeEvent) and event.task_name not in loops:
            said = expected(calls, event.task_id)
            assert event.label == said or (event.label or "").startswith(f"{said}")
            assert (event.label is None) == (said is None)
