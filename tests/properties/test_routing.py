"""Random flows mean on the engine what the sequential oracle says, on both backends and in both schedules."""

from __future__ import annotations

from typing import Any

import pytest
from descriptions import described
from hypothesis import given, note, settings
from oracle import interpret
from random_flows import failures, flows, run


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=60, deadline=None)
@given(description=flows())
def test_a_run_that_goes_on_after_failures_does_what_the_oracle_says(description: Any, backend: str) -> None:
    note(described(description))
    meant = interpret(description)
    for schedule in ("stages", "eager"):
        found = run(description, backend, schedule=schedule, on_error="continue")
        assert failures(found) == failures(meant), schedule
        assert repr(found.value) == repr(meant.value), schedule
        assert found.skipped == meant.skipped, schedule
        assert found.ran == meant.ran, schedule


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=60, deadline=None)
@given(description=flows())
def test_a_run_that_ends_at_the_first_failure_gives_the_oracles_value_or_one_of_its_errors(
    description: Any, backend: str
) -> None:
    note(described(description))
    meant = interpret(description)
    for schedule in ("stages", "eager"):
        found = run(description, backend, schedule=schedule)
        if meant.errors:
            assert set(found.errors) <= set(meant.errors), schedule
            assert len(found.errors) == 1, schedule
            assert found.ran <= meant.ran, schedule
        else:
            assert repr(found.value) == repr(meant.value), schedule
            assert (found.errors, found.ran, found.skipped) == ([], meant.ran, meant.skipped), schedule
