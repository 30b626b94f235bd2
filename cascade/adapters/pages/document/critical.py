"""The critical path: from the node that ended last back to the one that it waited for, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cascade.adapters.pages.document.known_flow import KnownFlow

# Nodes of the path that are shown: the last ones.
MOST_STEPS: Final = 50

# Beginning and end of each node, by id, in seconds since the epoch.
Times = Mapping[str, tuple[float, float]]


def critical_path(flow: KnownFlow, times: Times) -> list[tuple[str, str, float, float, float]]:
    """The nodes of which each began last among all that the next one needed.

    Returns:
        For each, in order of time: its id, its task, its beginning and end, and how many seconds it waited after
        the end of the one before; for the first, 0.
    """
    ends = _ends(flow, times)
    last = max(range(len(ends)), key=ends.__getitem__, default=None)
    found: list[tuple[str, str, float, float, float]] = []
    while last is not None and ends[last] > 0:
        before = max(flow.sources[last], key=ends.__getitem__, default=None)
        task, node_id = flow.task(last), flow.name(last)
        if task is not None and node_id in times:
            start, end = times[node_id]
            waited = 0.0 if before is None or not ends[before] else max(start - ends[before], 0.0)
            found.append((node_id, task, start, end, waited))
        last = before
    return found[::-1]


def _ends(flow: KnownFlow, times: Times) -> list[float]:
    """When each node ended; 0 if it did not run, and nothing that it needs did.

    A router ends with the last of what it waits for. So does a node that was skipped, as values pass through it.
    """
    ends: list[float] = []
    for index, sources in enumerate(flow.sources):
        known = None if flow.task(index) is None else times.get(flow.name(index))
        ends.append(max((ends[source] for source in sources), default=0.0) if known is None else known[1])
    return ends


def as_steps(path: list[tuple[str, str, float, float, float]]) -> tuple[list[dict[str, Any]], int]:
    """The end of *path* as a page reads it, and how many steps are left out."""
    steps = [
        {"id": node_id, "task": task, "started": start, "ended": end, "waited": round(waited, 6)}
        for node_id, task, start, end, waited in path[-MOST_STEPS:]
    ]
    return steps, max(len(path) - MOST_STEPS, 0)
