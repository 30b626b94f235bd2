"""Makes records for people from the fields in a store. A damaged field is named, and hides no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs

from cascade.adapters.pickles import plain_value
from cascade.adapters.state.detail_text import detail_of_text, seconds
from cascade.adapters.state.ownership import Owner, run_state
from cascade.graph.pictures.outline import outline_in
from cascade.model.shown.secrets import MARK
from cascade.model.shown.text import preview
from cascade.runtime.durability.details import SignalRecord
from cascade.runtime.durability.history import NodeRecord, RunRecord, undo_records
from cascade.runtime.durability.records import is_of_undo
from cascade.runtime.durability.signal_records import SECRET, VALUE

T = TypeVar("T")
D = TypeVar("D")


@attrs.define(eq=False)
class Fields:
    """The fields of one record, as a store returned them.

    Attributes:
        given: The fields by name; ``None`` stands for a field that is not there.
        damaged: Names of the fields that could not be read.
    """

    given: Mapping[str, Any]
    damaged: list[str] = attrs.field(factory=list)

    def get(self, name: str, read: Callable[[Any], T], default: D) -> T | D:
        """The field *name*, decoded by *read*; *default* if it is not there, or is damaged."""
        value = self.given.get(name)
        if value is None:
            return default
        try:
            return read(value)
        except Exception:  # a store may hold anything, on which *read* may fail in any way
            self.damaged.append(name)
            return default

    def need(self, name: str, read: Callable[[Any], T], default: D) -> T | D:
        """As :meth:`get`, but a field that is not there counts as damaged."""
        if self.given.get(name) is None:
            self.damaged.append(name)
        return self.get(name, read, default)

    def said(self, error: str | None) -> str | None:
        """*error*, with the names of the damaged fields; ``None`` if there is neither."""
        if not self.damaged:
            return error
        damage = f"its record is damaged ({', '.join(dict.fromkeys(self.damaged))})"
        return damage if error is None else f"{error}; {damage}"


def text(value: Any) -> str:
    """Decodes a field that holds text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _texts(value: Any) -> Sequence[str]:
    found = json.loads(value)
    if not isinstance(found, list):
        raise TypeError(found)
    return [str(name) for name in found]


def _by_name(value: Any) -> Mapping[str, str]:
    return {str(name): str(given) for name, given in json.loads(value).items()}


# What nodes of a run that has succeeded count as only if they failed in an earlier execution, and were no part of
# it any more in the last.
_LEFT_OVER: Final = ("failed", "retrying")


def read_run_record(
    fields: Fields,
    counts: Mapping[str, int],
    nodes: Sequence[NodeRecord],
    left: Callable[[Owner, float], float],
    signals: Sequence[SignalRecord] = (),
) -> RunRecord:
    """The record of a run.

    Args:
        fields: ``run_id``, ``status``, ``flow`` and so on, with ``owner`` and ``until`` of the lease, and the
            ``outline`` of the flow if that is asked for.
        counts: Number of nodes, by what they count as.
        nodes: The nodes, or none.
        left: Function from the holder and the end of a lease to the seconds for which it holds.
        signals: The signals that it has accepted, or none.
    """
    holder = fields.get("owner", lambda value: value if isinstance(value, Owner) else Owner.read(value), None)
    until = fields.get("until", seconds, 0.0)
    status = fields.need("status", text, "running")
    updated = fields.get("updated", seconds, 0.0)
    created = fields.need("created", seconds, updated)
    finished = fields.get("finished", seconds, None)
    turn, origin = fields.get("turn", int, None), fields.get("origin", text, None)
    flow, params = fields.get("flow", _texts, ()), fields.get("params", _by_name, {})
    epoch, error = fields.get("epoch", int, 0), fields.get("error", text, None)
    outline = fields.get("outline", outline_in, None)
    undos = tuple(undo_records(nodes))
    state = run_state(status, holder, 0.0 if holder is None else left(holder, until))
    if state == "succeeded":
        counts = {name: count for name, count in counts.items() if name not in _LEFT_OVER}
        nodes = [node for node in nodes if node.counts_as not in _LEFT_OVER]
    return RunRecord(
        str(fields.given["run_id"]), state,
        flow, params, created, max(updated, created), finished if finished is None else max(finished, created),
        fields.said(error), epoch, turn, None if holder is None else str(holder), origin,
        {text(name): count for name, count in counts.items()},
        tuple(node for node in nodes if not is_of_undo(node.node_id)), undos,
        _shown(signals, params), outline,
    )  # fmt: skip


def _shown(signals: Sequence[SignalRecord], params: Mapping[str, str]) -> Sequence[SignalRecord]:
    """*signals* in order of time; without their values if a parameter is secret: in older records nothing else
    says that the run has secrets.
    """
    has_secrets = MARK in params.values()
    shown = [attrs.evolve(signal, value=None) if has_secrets else signal for signal in signals]
    return tuple(sorted(shown, key=lambda signal: (signal.accepted or 0.0, signal.name)))


def read_signal_records(kept: Iterable[tuple[str, Any, Any]]) -> list[SignalRecord]:
    """The signals that a run has accepted: without their values if the run has secrets, which may be in them.

    Args:
        kept: What is kept of its signals: key, pickled value, and when it was written if that is known.
    """
    by_key = {key: (data, written) for key, data, written in kept}
    shows = SECRET not in by_key
    return [
        SignalRecord(key.removeprefix(VALUE), _moment(written), _value_in(data) if shows else None)
        for key, (data, written) in by_key.items()
        if key.startswith(VALUE)
    ]


def _moment(written: Any) -> float | None:
    """When something was written; ``None`` if the store does not say, or that is damaged."""
    return Fields({"written": written}).get("written", seconds, None)


def _value_in(data: Any) -> str | None:
    """How the value shows that is kept as *data*; ``None`` if it is no plain data, or damaged."""
    value = plain_value(data) if isinstance(data, bytes) else None
    return preview(value[0]) if type(value) is tuple and len(value) == 1 else None


def read_node_record(node_id: str, fields: Fields) -> NodeRecord:
    """The record of a node, from its ``task``, ``status`` and so on."""
    task, status = fields.get("task", text, ""), fields.need("status", text, "unknown")
    reason, error = fields.get("reason", text, None), fields.get("error", text, None)
    attempts, duration = fields.get("attempts", int, 0), fields.get("duration", seconds, 0.0)
    recorded, is_durable = fields.get("recorded", seconds, 0.0), fields.get("is_durable", bool, True)
    label = fields.get("label", text, None)
    detail, started = fields.get("detail", detail_of_text, None), fields.get("started", seconds, None)
    worker, said = fields.get("worker", text, None), fields.said(error)
    return NodeRecord(
        node_id,
        task,
        status,
        reason,
        attempts,
        duration,
        said,
        recorded,
        is_durable,
        label,
        detail,
        started,
        worker,
    )
