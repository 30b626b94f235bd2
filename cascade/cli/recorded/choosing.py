"""Which of the recorded runs a command is about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cascade.runtime.durability.history import RunRecord

# Runs that have ended, and wait for nothing.
ENDED: Final = ("succeeded", "failed", "cancelled")


def chosen(
    runs: Sequence[RunRecord],
    statuses: Collection[str] | None,
    since: tuple[str, float] | None,
    limit: int | None,
    now: float,
) -> list[RunRecord]:
    """Those of *runs*, the latest first, that are asked for.

    Args:
        runs: The runs, the latest first.
        statuses: Their statuses; any by default.
        since: Since when they were written: ``"age"`` with seconds before *now*, or ``"at"`` with a moment.
        limit: How many at most.
        now: Seconds since the epoch.
    """
    least = 0.0 if since is None else now - since[1] if since[0] == "age" else since[1]
    found = [run for run in runs if (not statuses or run.status in statuses) and run.updated >= least]
    return found[:limit]


def superfluous(
    runs: Sequence[RunRecord],
    statuses: Collection[str] | None,
    older_than: float | None,
    keep: int | None,
    now: float,
) -> list[RunRecord]:
    """Those of *runs* that may be deleted, those first that were written last; a run that is executed is none.

    Args:
        runs: The runs.
        statuses: Their statuses; by default those that have ended and wait for nothing.
        older_than: Seconds since they were written last, at least; 0 by default.
        keep: How many of those that were written last are kept in any case.
        now: Seconds since the epoch.
    """
    asked = [run for run in runs if run.status in (statuses or ENDED) and run.status != "running"]
    asked.sort(key=lambda run: run.updated, reverse=True)  # an old run may have been resumed just now
    return [run for run in asked[keep or 0 :] if older_than is None or now - run.updated > older_than]
