"""Random flows mean on the engine what the sequential oracle says, on both backends and in both schedules."""

from __future__ import annotations

import pytest
from hypothesis import given, note, settings
from random_flows import assert_meant, assert_meant_at_first, run

from cascade.testing import RandomFlow, flows


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=max(settings().max_examples, 200))
@given(flow=flows())
def test_a_run_that_goes_on_after_failures_does_what_the_oracle_says(flow: RandomFlow, backend: str) -> None:
    note(repr(flow))
    for schedule in ("stages", "eager"):
        assert_meant(flow, run(flow, backend, schedule=schedule, on_error="continue"))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=max(settings().max_examples, 200))
@given(flow=flows())
def test_a_run_that_ends_at_the_first_failure_gives_the_oracles_value_or_one_of_its_errors(
    flow: RandomFlow, backend: str
) -> None:
    note(repr(flow))
    for schedule in ("stages", "eager"):
        assert_meant_at_first(flow, run(flow, backend, schedule=schedule))
