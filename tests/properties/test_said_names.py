"""In any flow, each event has the name that the user has given to its node."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade
from cascade.testing import RandomFlow, flows, simulate
from cascade.testing.descriptions import Call, Turns, calls_within


def expected(calls: dict[str, Call], node_id: str) -> str | None:
    """What the label of a node begins with."""
    name, _, item = node_id.rpartition("/")[2].partition("[")
    said = calls[name].terms.name
    return f"{said} " if item and said is not None else said


@pytest.mark.parametrize("schedule", ["stages", "eager"])
@given(flow=flows(), seed=st.integers(0, 2**32))
def test_each_event_has_the_name_of_its_node(schedule: Any, flow: RandomFlow, seed: int) -> None:
    calls = {call.name: call for call in calls_within(flow.description)}
    loops = {name for name, call in calls.items() if isinstance(call.body, Turns)}  # only the first turn is named
    how: dict[str, Any] = {"seed": seed, "schedule": schedule, "signals": flow.signals}
    record = simulate(flow.build(), on_error="continue", **how, **flow.settings)
    for event in record.trace.events():
        if isinstance(event, cascade.NodeEvent) and event.task_name not in loops:
            said = expected(calls, event.task_id)
            assert event.label == said or (event.label or "").startswith(f"{said}")
            assert (event.label is None) == (said is None)
