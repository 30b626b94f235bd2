"""Ranks: how much work follows from each node, along the longest way to the end.

Where places are scarce, whoever has the longest way goes first (the "upward rank" of list scheduling: Topcuoglu,
Hariri and Wu, "Performance-effective and low-complexity task scheduling for heterogeneous computing", 2002).

There are ranks only in the eager schedule, and only if something may be scarce. How they go together with "first
come first served" is said at ``Line`` in ``runtime/admission/waiting_line.py``. Thread lanes take the highest
rank first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import Graph, Junction, Node
from cascade.planning.node_durations import UNKNOWN


def rank_steps(
    graph: Graph, durations: Mapping[str, float], by_node: Sequence[float] | None = None
) -> Steps[list[float]]:
    """For each node its own duration and that of the longest chain of nodes behind it, all positive.

    The duration of a node is what it took before; else the cost that the user has said; else the mean of its task;
    else the mean of all tasks, or of the nodes that have been run if no task has one. Where nothing has been run,
    a node without cost counts as one second.

    Args:
        graph: The flow.
        durations: Mean seconds by task name.
        by_node: For each node the seconds that it took before. What is negative or not finite counts as not known;
            ``None`` (default): nothing is known.
    """
    expected, usual = yield from _expected(graph, by_node)
    if durations:
        usual = sum(durations.values()) / len(durations)
    # Ranks decide between nodes, so a task that takes no time still counts for more than none.
    least = usual * 1e-6 or 1e-9
    ranks = [0.0] * len(graph.rows)
    for index in reversed(range(len(ranks))):
        row = graph.rows[index]
        own = 0.0
        if not isinstance(row, Junction):
            seconds = expected.get(index)
            own = max(durations.get(row.task.name, usual) if seconds is None else seconds, least)
        ranks[index] = own + max((ranks[consumer] for consumer in graph.consumers[index]), default=0.0)
        if not index % PAUSE_EVERY:
            yield
    return ranks


def _expected(graph: Graph, by_node: Sequence[float] | None) -> Steps[tuple[dict[int, float], float]]:
    """The nodes of which more is known than what they call, with their seconds; and the mean of those that ran."""
    expected: dict[int, float] = {}
    total, count = 0.0, 0
    for index, row in enumerate(graph.rows):
        seconds = UNKNOWN if by_node is None else by_node[index]
        if 0.0 <= seconds < math.inf:
            expected[index] = seconds
            total, count = total + seconds, count + 1
        elif isinstance(row, Node) and row.terms.hints.cost is not None:
            expected[index] = row.terms.hints.cost
        if not index % PAUSE_EVERY:
            yield
    return expected, total / count if count else 1.0
