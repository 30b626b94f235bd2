"""What the page of a run tells in the end, resumed or not, is what its record tells."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import anyio
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from state.test_mended_by_degrees import Step, built, lives, world
from told_documents import followed

import cascade
from cascade import api
from cascade.adapters.pages.document.chronicle import Chronicle
from cascade.adapters.pages.document.recorded import chronicle_of

# Each life is that of another run.
numbers = count()


async def told(flow: Any, **how: Any) -> Chronicle:
    """A run of *flow*, however it ends, as its events tell it."""
    chronicle = Chronicle()
    try:
        await cascade.run(flow, observers=[followed(chronicle)], **how)
    except (cascade.RunFailed, cascade.DependencyMissingError):
        assert chronicle.tally.status == "failed"
    return chronicle


def ends_of(chronicle: Chronicle) -> dict[str, tuple[int, ...]]:
    """By task, how many nodes succeeded, failed, failed where that was handled, and were skipped."""
    counted = {}
    for name, task in chronicle.tally.tasks.items():
        counts = task.counts
        assert min(counts.values(), default=0) >= 0
        succeeded = counts["succeeded"] + counts["recorded"]
        counted[name] = (succeeded, counts["failed"], counts["handled"], counts["skipped"])
    return {name: ends for name, ends in counted.items() if any(ends)}


def painted(chronicle: Chronicle) -> dict[str, str]:
    """By box of the picture, what is said of it."""
    states = chronicle.boxes.states(chronicle.tally.tasks)
    return {name: state.text for name, state in states.items() if state.text}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(life=lives(), schedule=st.sampled_from(["stages", "eager"]))
def test_a_resumed_run_is_told_as_it_is_recorded(
    life: tuple[tuple[Step, ...], tuple[frozenset[str], ...]], schedule: str, tmp_path: Path
) -> None:
    steps, broken = life
    how: dict[str, Any] = {"state": f"sqlite:///{tmp_path / 'runs.db'}", "run_id": f"run{next(numbers)}"}

    async def main() -> None:
        for some in (*broken, frozenset[str](), frozenset[str]()):
            world.broken, world.called = some, []
            live = await told(built(steps), on_error="continue", schedule=schedule, **how)
            recorded = chronicle_of(await api.recorded_run(how["state"], how["run_id"]))
            note(f"broken: {sorted(some)}; {live.tally.status}")
            if not some:  # else the record may have failures that no execution has come to again
                assert ends_of(live) == ends_of(recorded)
                assert painted(live) == painted(recorded)
            assert live.tally.ended == live.tally.total

    anyio.run(main)
