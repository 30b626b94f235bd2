"""``cascade runs prune``, ``verify`` and ``export``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Final

import attrs

from cascade import api
from cascade.adapters.whole_files import write_whole
from cascade.cli.output import out, out_json, say
from cascade.cli.recorded.choosing import superfluous
from cascade.cli.recorded.reading import read
from cascade.cli.targets import UsageError
from cascade.model.shown.raised import describe
from cascade.model.shown.secrets import redacted
from cascade.model.shown.text import counted
from cascade.model.shown.urls import shown_url
from cascade.runtime.engine.upkeep import delete_runs, find_damage, size_of

# Damaged things that are named.
MOST_DAMAGE: Final = 100
EXIT_DAMAGED: Final = 1


def prune(options: argparse.Namespace) -> int:
    """Delete the records of runs that nobody needs any more; returns the exit status.

    Raises:
        UsageError: If it is not said which, or the store cannot be used.
    """
    if options.older_than is None and options.keep is None and not options.status:
        raise UsageError("cascade runs prune: say which: --older-than AGE, --keep N, --status STATUS")
    state, place = options.state, shown_url(options.state)
    runs = read(api.recorded_runs, state)
    gone = superfluous(runs, options.status, options.older_than, options.keep, time.time())
    if options.dry_run:
        for run in gone:
            out(f"{run.run_id}  {run.status}")
        say(f"cascade: {counted(len(gone), 'run')} of {len(runs)} in {place} would be deleted")
        return 0
    before = read(size_of, state)
    deleted = set(read(delete_runs, state, gone))
    after = read(size_of, state)
    size = "" if before is None or after is None else f"; it had {_bytes(before)}, and has {_bytes(after)}"
    out(f"{counted(len(deleted), 'run')} deleted, {len(runs) - len(deleted)} left in {place}{size}")
    kept = [run.run_id for run in gone if run.run_id not in deleted]
    if kept:
        say(f"cascade: not deleted, as somebody has gone on with them: {', '.join(kept)}")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check that all that is recorded can be read; returns the exit status."""
    runs, damage = read(api.recorded_runs, options.state), read(find_damage, options.state)
    for found in damage[:MOST_DAMAGE]:
        whose = "" if found.run_id is None else f"run {found.run_id}: "
        whose += "" if found.node_id is None else f"node {found.node_id}: "
        out(f"{whose}{found.what}")
    if len(damage) > MOST_DAMAGE:
        out(f"and {len(damage) - MOST_DAMAGE} more")
    place, whole = shown_url(options.state), counted(len(runs), "run")
    if not damage:
        out(f"{whole} in {place}: all that is recorded can be read")
        return 0
    say(f"cascade: {place} is damaged; a damaged run is computed anew with --on-change recompute")
    return EXIT_DAMAGED


def export(options: argparse.Namespace) -> int:
    """Write all that is recorded of a run as JSON; returns the exit status."""
    run = attrs.asdict(read(api.recorded_run, options.state, options.run_id))
    if options.output is None:
        out_json(run)
        return 0
    try:
        write_whole(Path(options.output), redacted(json.dumps(run, indent=2)) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {options.output!r}: {error.strerror or describe(error)}") from error
    return 0


def _bytes(number: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
