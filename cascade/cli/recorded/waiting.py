"""``cascade resume --wait``: waits while another process has the lease of a run."""

from __future__ import annotations

from functools import partial
from typing import Final

import anyio

from cascade import api
from cascade.cli.output import say
from cascade.cli.recorded.reading import read
from cascade.runtime.durability.history import RunRecord

# Seconds between two looks.
LOOK: Final = 1.0


def wait_for_lease(state: str, run_id: str) -> None:
    """Return once no process executes the run any more: it has ended, or its lease has.

    Raises:
        UsageError: If there is no such run, or the store cannot be read.
    """
    read(partial(_until_free, state, run_id))


async def _until_free(state: str, run_id: str) -> None:
    told: str | None = None
    while (run := await api.recorded_run(state, run_id)).status == "running":
        if run.owner != told:
            told = run.owner
            say(f"cascade: waiting: {_words(run)}")
        await anyio.sleep(LOOK)


def _words(run: RunRecord) -> str:
    return f"run {run.run_id!r} is being executed by {run.owner or 'another process'}"
