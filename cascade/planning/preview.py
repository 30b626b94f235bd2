"""What a flow would do, told without running it."""

from __future__ import annotations

from typing import Any

from cascade.graph.build import build
from cascade.graph.pictures.render import Format, render
from cascade.model.flow import refuse_uncalled
from cascade.model.shown.tracebacks import trimmed
from cascade.planning.solve import Plan, solve


def plan(flow: Any) -> Plan:
    """The stages in which a flow would run. Nothing runs.

    Args:
        flow: A lazy result, a container of lazy results, or a plain value.

    Raises:
        GraphError: If the flow makes no sense.
        TypeError: If *flow* is a task that has not been called.
    """
    with trimmed:
        refuse_uncalled(flow)
        return solve(build(flow))


def visualize(flow: Any, format: Format = "mermaid") -> str:  # the natural name
    """A picture of a flow as text. Nothing runs.

    Args:
        flow: As in :func:`plan`.
        format: ``"mermaid"`` (default), ``"dot"`` (Graphviz), ``"text"`` (a list of stages), ``"json"``, or
            ``"svg"`` (a picture in layers; of more than 400 nodes, it has a box for each task).

    Raises:
        GraphError: If the flow makes no sense.
        TypeError: If *flow* is a task that has not been called.
        ValueError: If there is no such format.
    """
    solved = plan(flow)
    return render(solved.graph, solved.levels, format)


def dry_run(flow: Any) -> str:
    """What running a flow would do, stage by stage, as text. Nothing runs.

    Args:
        flow: As in :func:`plan`.

    Raises:
        GraphError: If the flow makes no sense.
        TypeError: If *flow* is a task that has not been called.
    """
    return visualize(flow, "text")
