"""Reading what Redis says about runs; changes nothing there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cascade.adapters.redis_client import client_of, redis_library
from cascade.adapters.state.ownership import run_state
from cascade.adapters.state.redis import PREFIX, Lease
from cascade.model.errors import StateError, describe, shown_url
from cascade.runtime.ledger import NodeRecord, RunRecord

_PURPOSE = "reading runs from Redis"


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    library = redis_library(_PURPOSE)
    try:
        with client_of(url, _PURPOSE) as client:
            yield client
    except library.RedisError as error:
        raise StateError(f"Redis at {shown_url(url)!r} cannot be read: {describe(error)}") from error


def read_runs(url: str) -> list[RunRecord]:
    """All runs at *url*, without nodes."""
    with _opened(url) as client:
        ids = [key.decode()[len(PREFIX) : -len(":meta")] for key in client.scan_iter(f"{PREFIX}*:meta", 1000)]
        found = [_run(client, run_id, with_nodes=False) for run_id in ids]
        return [run for run in found if run is not None]


def read_run(url: str, run_id: str) -> RunRecord | None:
    """One run at *url*."""
    with _opened(url) as client:
        return _run(client, run_id, with_nodes=True)


def _run(client: Any, run_id: str, *, with_nodes: bool) -> RunRecord | None:
    with client.pipeline(transaction=True) as pipe:
        pipe.hgetall(f"{PREFIX}{run_id}:meta")
        pipe.get(f"{PREFIX}{run_id}:lease")
        pipe.hgetall(f"{PREFIX}{run_id}:nodes")
        fields, leased, texts = pipe.execute()
    if not fields:
        return None
    meta = {name.decode(): value for name, value in fields.items()}
    lease = Lease.read(leased)
    nodes = [_node(name.decode(), json.loads(text)) for name, text in texts.items()]
    nodes.sort(key=lambda node: (node.recorded, node.node_id))
    return RunRecord(
        run_id, run_state(_text(meta, "status") or "running", lease.owner, lease.until),
        json.loads(_text(meta, "flow") or "[]"), json.loads(_text(meta, "params") or "{}"),
        float(meta["created"]), float(meta["updated"]), float(meta["finished"]) if "finished" in meta else None,
        _text(meta, "error"), lease.epoch, int(meta["turn"]) if "turn" in meta else None,
        None if lease.owner is None else str(lease.owner), _text(meta, "origin"),
        Counter(node.status for node in nodes), nodes if with_nodes else (),
    )  # fmt: skip


def _text(meta: Mapping[str, bytes], name: str) -> str | None:
    return meta[name].decode() if name in meta else None


def _node(node_id: str, node: Mapping[str, Any]) -> NodeRecord:
    return NodeRecord(
        node_id, node["task"], node["status"], node["reason"], node["attempts"], node["duration"], node["error"],
        node["recorded"], node["is_durable"],
    )  # fmt: skip
