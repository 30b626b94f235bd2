"""What is told to whoever shows a run to people, and to nobody else: the flow, why nodes fail, what they wrote.

These events are made only while somebody listens who names their classes. They hold objects of the run, which no
record of events could, so users do not know them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import attrs

from cascade.graph.nodes import Graph
from cascade.model.events import Event, NodeEvent


@attrs.frozen(kw_only=True)
class FlowKnown(Event):
    """What is going to be run. Comes before ``RunStarted``; in a loop of tail calls, for the first turn only.

    Attributes:
        graph: The flow.
    """

    is_for_all: ClassVar[bool] = False

    graph: Graph


@attrs.frozen(kw_only=True)
class NodesRecalled(Event):
    """Nodes of a run that is resumed need not run again, as a record has how they ended.

    Attributes:
        succeeded: Ids of those that succeeded. A map has with its id how many of its items have succeeded, if the
            store has any of them; any other node has 1.
        skipped: Ids of those that were skipped.
        handled: Ids of those that failed, where the failure was handled: items of maps that succeeded, nodes of
            flows that such nodes had returned, and all of a run that had finished.
        again: Ids of nodes that have a record, and are to end anew all the same; without maps that have items.
        is_listed: Whether ``RunResumed`` has counted all nodes that have a record. Some stores do not list them.
    """

    is_for_all: ClassVar[bool] = False

    succeeded: Mapping[str, int]
    skipped: Collection[str]
    handled: Collection[str] = ()
    again: Collection[str] = ()
    is_listed: bool = True


@attrs.frozen(kw_only=True)
class RecallWithdrawn(NodeEvent):
    """Nobody needs a node of which ``NodesRecalled`` has told, so it is pruned: a ``TaskSkipped`` follows.

    Attributes:
        was_skipped: Whether the record says that it was skipped; otherwise it succeeded.
    """

    is_for_all: ClassVar[bool] = False

    was_skipped: bool


@attrs.frozen(kw_only=True)
class NodeFailed(NodeEvent):
    """Why a node has failed. Follows its ``TaskExecutionFinished``.

    Attributes:
        error: What it raised.
        arguments: What it was called with: name and text of each, without secrets; empty if that is not known.
        caused_by: The node whose failure this is, if that is another one.
    """

    is_for_all: ClassVar[bool] = False

    error: BaseException
    arguments: Sequence[tuple[str, str]] = ()
    caused_by: str | None = None


@attrs.frozen(kw_only=True)
class NodeWrote(NodeEvent):
    """What a node that has ended wrote, if that is captured. Precedes its ``NodeFailed``.

    Attributes:
        text: What it wrote.
        status: How it ended, as it is recorded.
        started: When it began, in seconds since the epoch; ``None`` if it did not.
        worker: Where it ran, in words; ``None`` if it did not, or that is not known.
    """

    is_for_all: ClassVar[bool] = False

    text: str
    status: str
    started: float | None = None
    worker: str | None = None
