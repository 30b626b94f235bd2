"""What there is to do for one node, or for one item of a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from cascade.graph.nested import Hold
from cascade.graph.nodes import Terms
from cascade.model.tasks import Task
from cascade.runtime.admission.pool import Amount
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.execution.saves import Save
from cascade.runtime.frame.turn import Handles, never


@attrs.frozen(eq=False)
class Asking:
    """How a node asks for admission, before each attempt.

    Attributes:
        amounts: What it claims, exact.
        on_admission: Called whenever it has been admitted.
        rank: How urgent it is where places are scarce, against others of the run; 0 if that does not matter.
        is_told_of: Whether its waiting has been told already.
        priority: How urgent the user says it is; ``None`` if its flow says no priorities.
    """

    amounts: Callable[[], Mapping[str, Amount]]
    on_admission: Callable[[], None]
    rank: float = 0.0
    is_told_of: bool = False
    priority: int | None = None


@attrs.frozen(eq=False)
class ValueUse:
    """What becomes of the value of a node.

    Attributes:
        save_later: Of the flow's target, where a lazy that it returns replaces the flow instead of being run in
            its place: takes what is to be done with the final value.
        keep: Takes what large data in the value is remembered by.
        may_stay: Whether the value may stay on the cluster, if the node runs there.
    """

    save_later: Callable[[Save], None] | None
    keep: Callable[[Hold], None]
    may_stay: Callable[[], bool]


@attrs.frozen(eq=False)
class Job:
    """What there is to do for one node, or for one item of a map.

    Attributes:
        node_id: Its id.
        task: What is called.
        terms: How it is run.
        bind: Its arguments, given the open resources.
        asking: How it asks for admission.
        use: What becomes of its value.
        resources: The resources that it injects.
        digest: Its content, for the store.
        is_recorded: Whether it goes to the store.
        attempts: Those that were made when the run was executed before.
        label: What people call it.
        handles: Whether an error is handled if the node fails with it.
    """

    node_id: str
    task: Task[..., Any]
    terms: Terms
    bind: Callable[[Mapping[str, Any]], Arguments]
    asking: Asking
    use: ValueUse
    resources: tuple[str, ...] = ()
    digest: bytes | None = None
    is_recorded: bool = True
    attempts: int = 0
    label: str | None = None
    handles: Handles = attrs.field(default=never, kw_only=True)
