"""Ranks: how much work follows from each node, along the longest way to the end.

Where places are scarce, whoever has the longest way goes first (the "upward rank" of list scheduling: Topcuoglu,
Hariri and Wu, "Performance-effective and low-complexity task scheduling for heterogeneous computing", 2002).

There are ranks only in the eager schedule, and only if something may be scarce. How they go together with "first
come first served" is said at ``Line`` in ``runtime/admission/waiting_line.py``. Thread lanes take the highest
rank first.
"""

from __future__ import annotations

from collections.abc import Mapping

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import Graph, Junction


def rank_steps(graph: Graph, durations: Mapping[str, float]) -> Steps[list[float]]:
    """For each node its own duration and that of the longest chain of nodes behind it, all positive.

    Args:
        graph: The flow.
        durations: Mean seconds by task name; tasks that are not there count as the mean of those that are. With
            none at all, ranks are numbers of nodes.
    """
    usual = sum(durations.values()) / len(durations) if durations else 1.0
    # Ranks decide between nodes, so a task that takes no time still counts for more than none.
    least = usual * 1e-6 or 1e-9
    ranks = [0.0] * len(graph.rows)
    for index in reversed(range(len(ranks))):
        row = graph.rows[index]
        own = 0.0 if isinstance(row, Junction) else max(durations.get(row.task.name, usual), least)
        ranks[index] = own + max((ranks[consumer] for consumer in graph.consumers[index]), default=0.0)
        if not index % PAUSE_EVERY:
            yield
    return ranks
