"""Random flows mean on the engine what the sequential oracle says, on both backends and in both schedules."""

from __future__ import annotations

import pytest
from hypothesis import given, note
from oracle import interpret
from random_flows import failures, run

from cascade.testing import RandomFlow, flows


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(flow=flows())
def test_a_run_that_goes_on_after_failures_does_what_the_oracle_says(flow: RandomFlow, backend: str) -> None:
    note(repr(flow))
    meant = interpret(flow.description)
    for schedule in ("stages", "eager"):
        found = run(flow, backend, schedule=schedule, on_error="continue")
        assert failures(found) == failures(meant), schedule
        assert repr(found.value) == repr(meant.value), schedule
        assert found.skipped == meant.skipped, schedule
        assert found.ran == meant.ran, schedule
        assert found.calls == meant.calls, schedule
        assert found.undone == meant.undone, schedule


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(flow=flows())
def test_a_run_that_ends_at_the_first_failure_gives_the_oracles_value_or_one_of_its_errors(
    flow: RandomFlow, backend: str
) -> None:
    note(repr(flow))
    meant = interpret(flow.description)
    for schedule in ("stages", "eager"):
        found = run(flow, backend, schedule=schedule)
        if meant.errors:
            assert set(found.errors) <= set(meant.errors), schedule
            assert len(found.errors) == 1, schedule
            assert found.ran <= meant.ran, schedule
            assert found.undone <= meant.undone, schedule
        else:
            assert repr(found.value) == repr(meant.value), schedule
            assert (found.errors, found.ran, found.skipped) == ([], meant.ran, meant.skipped), schedule
