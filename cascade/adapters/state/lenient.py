"""Records for people, made of whatever is in a store: what is damaged is said, and hides nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from cascade.adapters.state.ownership import Owner, run_state
from cascade.runtime.ledger import NodeRecord, RunRecord

T = TypeVar("T")
D = TypeVar("D")


@attrs.define(eq=False)
class Fields:
    """Fields by name, as a store gave them.

    Attributes:
        given: The fields; one that is ``None`` is not there.
        damaged: Names of those that do not hold what they should.
    """

    given: Mapping[str, Any]
    damaged: list[str] = attrs.field(factory=list)

    def get(self, name: str, read: Callable[[Any], T], default: D) -> T | D:
        """What *read* makes of the field *name*; *default* if it is not there, or is damaged."""
        value = self.given.get(name)
        if value is None:
            return default
        try:
            return read(value)
        except Exception:  # whatever is in a store, and however the reading of it fails
            self.damaged.append(name)
            return default

    def need(self, name: str, read: Callable[[Any], T], default: D) -> T | D:
        """The same; a field that is not there is damaged too."""
        if self.given.get(name) is None:
            self.damaged.append(name)
        return self.get(name, read, default)

    def said(self, error: str | None) -> str | None:
        """*error*, and which fields are damaged, if any are."""
        if not self.damaged:
            return error
        damage = f"its record is damaged ({', '.join(dict.fromkeys(self.damaged))})"
        return damage if error is None else f"{error}; {damage}"


def text(value: Any) -> str:
    """A field that holds text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def number(value: Any) -> float:
    """A field that holds a finite number."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(value)
    return found


def _texts(value: Any) -> Sequence[str]:
    found = json.loads(value)
    if not isinstance(found, list):
        raise TypeError(found)
    return [str(name) for name in found]


def _by_name(value: Any) -> Mapping[str, str]:
    return {str(name): str(given) for name, given in json.loads(value).items()}


def read_run_record(
    fields: Fields,
    counts: Mapping[str, int],
    nodes: Sequence[NodeRecord],
    left: Callable[[Owner, float], float],
) -> RunRecord:
    """The run that *fields* tell of.

    Args:
        fields: ``run_id``, ``status``, ``flow`` and so on, with ``owner`` and ``until`` of the lease.
        counts: Nodes by status.
        nodes: The nodes, if they are wanted.
        left: Seconds for which a lease holds, by its holder and its end.
    """
    holder = fields.get("owner", lambda value: value if isinstance(value, Owner) else Owner.read(value), None)
    until = fields.get("until", number, 0.0)
    status = fields.need("status", text, "running")
    updated = fields.get("updated", number, 0.0)
    created = fields.need("created", number, updated)
    finished = fields.get("finished", number, None)
    turn, origin = fields.get("turn", int, None), fields.get("origin", text, None)
    flow, params = fields.get("flow", _texts, ()), fields.get("params", _by_name, {})
    epoch, error = fields.get("epoch", int, 0), fields.get("error", text, None)
    return RunRecord(
        str(fields.given["run_id"]), run_state(status, holder, 0.0 if holder is None else left(holder, until)),
        flow, params, created, max(updated, created), finished if finished is None else max(finished, created),
        fields.said(error), epoch, turn, None if holder is None else str(holder), origin,
        {text(name): count for name, count in counts.items()}, nodes,
    )  # fmt: skip


def read_node_record(node_id: str, fields: Fields) -> NodeRecord:
    """The node that *fields* tell of: ``task``, ``status`` and so on."""
    task, status = fields.get("task", text, ""), fields.need("status", text, "unknown")
    reason, error = fields.get("reason", text, None), fields.get("error", text, None)
    attempts, duration = fields.get("attempts", int, 0), fields.get("duration", number, 0.0)
    recorded, is_durable = fields.get("recorded", number, 0.0), fields.get("is_durable", bool, True)
    return NodeRecord(node_id, task, status, reason, attempts, duration, fields.said(error), recorded, is_durable)
