"""Reads the history of the runs in Redis, without changing it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import nlargest
from typing import Any, Final

from cascade.adapters.redis_client import Session, client_of, redis_library, told
from cascade.adapters.state.detail_text import UNREAD
from cascade.adapters.state.lenient import (
    Fields,
    read_node_record,
    read_run_record,
    read_signal_records,
    text,
)
from cascade.adapters.state.redis.lease import PREFIX, Lease
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.model.shown.urls import shown_url
from cascade.runtime.durability.history import NodeRecord, RunRecord
from cascade.runtime.durability.records import is_of_undo
from cascade.runtime.foundation.fairness import considerate

# Names of keys that are asked for at once.
_AT_ONCE: Final = 1000
_PURPOSE = "reading runs from Redis"


@contextmanager
def opened(url: str) -> Iterator[Session]:
    """A visit to the server at *url*."""
    library = redis_library(_PURPOSE)
    try:
        with client_of(url, _PURPOSE) as client:
            yield Session(client, library)
    except library.RedisError as error:
        told(error)
        raise StateError(f"Redis at {shown_url(url)!r} cannot be read: {describe(error)}") from error


def read_runs(url: str) -> list[RunRecord]:
    """All runs at *url*, without their nodes."""
    with opened(url) as session:
        now = now_at(session)
        found = [_run(session, name, now) for name in _names(session)]
        return [run for run in found if run is not None]


def read_run(url: str, run_id: str, most_written: int | None = None) -> RunRecord | None:
    """The run *run_id* at *url*, with its nodes; ``None`` if there is none.

    Args:
        url: The server.
        run_id: The run.
        most_written: Of how many nodes that succeeded what they wrote is read: of the newest ones. ``None``
            (default): of all.
    """
    with opened(url) as session:
        return _run(session, run_id.encode(), now_at(session), with_nodes=True, most_written=most_written)


def now_at(session: Session) -> float:
    """The server's clock, by which leases are judged."""
    seconds, micros = session.ask("time")
    return float(seconds + micros / 1e6)


def _names(session: Session) -> list[bytes]:
    prefix, suffix = PREFIX.encode(), b":meta"
    keys = session.client.scan_iter(f"{PREFIX}*:meta", _AT_ONCE)
    return [key[len(prefix) : -len(suffix)] for key in dict.fromkeys(considerate(keys))]


def named(session: Session) -> dict[str, bytes]:
    """The names of all runs in keys, by how they are shown: an id that is no UTF-8 was not written by us."""
    return {text(name): name for name in _names(session)}


def _run(
    session: Session, name: bytes, now: float, *, with_nodes: bool = False, most_written: int | None = None
) -> RunRecord | None:
    """The run called *name*; ``None`` if there is none."""
    fields: dict[str, Any] = {"run_id": text(name)}
    damaged: list[str] = []
    meta = _hash(session, name, "meta", damaged)
    texts = _hash(session, name, "nodes", damaged)
    if not meta and not damaged:
        return None
    fields |= {text(field): value for field, value in meta.items()}
    try:
        leased = session.ask("get", PREFIX.encode() + name + b":lease")
        lease = Lease.read(leased)
        fields |= {"epoch": lease.epoch, "owner": lease.owner, "until": lease.until}
    except (ValueError, session.library.ResponseError):
        damaged.append("lease")
    if with_nodes:
        details = _details(session, name, damaged, texts, most_written)
        fields["outline"] = _outline(session, name, damaged)
    else:  # of nodes that failed, to know whether that is handled
        details = _some_details(session, name, damaged, _failed(texts))
    nodes = [_node(text(node_id), value, details.get(node_id)) for node_id, value in considerate(texts.items())]
    nodes.sort(key=lambda node: (node.recorded, node.node_id))
    counts = Counter(node.counts_as for node in nodes if not is_of_undo(node.node_id))
    found = Fields(fields, damaged)
    if not with_nodes:
        return read_run_record(found, counts, (), lambda _, until: until - now)
    kept = _hash(session, name, "signals", damaged)
    accepted = read_signal_records((text(key), value, None) for key, value in kept.items())
    return read_run_record(found, counts, nodes, lambda _, until: until - now, accepted)


def _details(
    session: Session, name: bytes, damaged: list[str], texts: Mapping[bytes, bytes], most_written: int | None
) -> Mapping[bytes, Any]:
    if most_written is None:
        return _hash(session, name, "details", damaged)
    key = PREFIX.encode() + name + b":details"
    try:
        details: dict[bytes, Any] = dict.fromkeys(considerate(session.ask("hkeys", key)), UNREAD)
    except session.library.ResponseError:  # it is no hash
        damaged.append("details")
        return {}
    chosen = _to_read({node_id: texts[node_id] for node_id in details if node_id in texts}, most_written)
    return {**details, **_some_details(session, name, damaged, chosen)}


def _some_details(
    session: Session, name: bytes, damaged: list[str], chosen: Sequence[bytes]
) -> Mapping[bytes, Any]:
    """The details of the nodes *chosen*."""
    key, details = PREFIX.encode() + name + b":details", dict[bytes, Any]()
    try:
        for start in range(0, len(chosen), _AT_ONCE):
            part = chosen[start : start + _AT_ONCE]
            details.update(zip(part, session.ask("hmget", key, part), strict=True))
    except session.library.ResponseError:  # it is no hash
        damaged.append("details")
        return {}
    return details


def _failed(texts: Mapping[bytes, bytes]) -> list[bytes]:
    # Not every text is decoded twice: most are of nodes that succeeded.
    return [
        node_id
        for node_id, value in considerate(texts.items())
        if b"failed" in value and _node(text(node_id), value, None).status == "failed"
    ]


def _to_read(texts: Mapping[bytes, bytes], most_written: int) -> list[bytes]:
    """Of which nodes the details are read; those that succeeded have some only if they wrote something."""
    nodes = [(_node(text(node_id), value, None), node_id) for node_id, value in considerate(texts.items())]
    written = [
        (node.recorded if node.started is None else node.started + node.duration, node.node_id, node_id)
        for node, node_id in nodes
        if node.status == "succeeded" and not is_of_undo(node.node_id)
    ]
    return [node_id for node, node_id in nodes if node.status != "succeeded"] + [
        node_id for _, _, node_id in nlargest(most_written, written)
    ]


def _outline(session: Session, name: bytes, damaged: list[str]) -> bytes | None:
    try:
        found: bytes | None = session.ask("get", PREFIX.encode() + name + b":outline")
    except session.library.ResponseError:  # it is no text
        damaged.append("outline")
        return None
    return found


def _hash(session: Session, name: bytes, part: str, damaged: list[str]) -> dict[bytes, bytes]:
    try:
        found: dict[bytes, bytes] = session.ask("hgetall", PREFIX.encode() + name + f":{part}".encode())
    except session.library.ResponseError:  # it is no hash
        damaged.append(part)
        return {}
    return found


def _node(node_id: str, value: bytes, detail: Any) -> NodeRecord:
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    known = fields if isinstance(fields, dict) else {}
    return read_node_record(node_id, Fields({**known, "detail": detail}))
