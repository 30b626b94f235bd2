"""The records of one run in Redis; ``lease.py`` lists the keys. Called in worker threads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from cascade.adapters.redis_client import Session
from cascade.adapters.state.detail_text import HANDLED_MARK
from cascade.adapters.state.ownership import Owner, Vigil
from cascade.adapters.state.pickling import Row, Sealing, loaded_all, shortened, with_values
from cascade.adapters.state.redis.durations import Writing
from cascade.adapters.state.redis.lease import FORMAT, RunLease
from cascade.model.errors import StateError
from cascade.runtime.durability.records import (
    UNDO_TIMES,
    Closing,
    Opening,
    Past,
    Record,
    RecordedStatus,
    is_of_undo,
)
from cascade.runtime.foundation.fairness import considerate

# Values, or names, that are asked for at once: a reply is in memory as a whole.
_AT_ONCE: Final = 200
# Bytes of values that are written in one MULTI: the server keeps it in memory until it is complete.
MOST_AT_ONCE: Final = 64 * 1024 * 1024
# Bytes that a value may have if the server does not tell its limit, and bytes kept free for everything else.
_LARGEST: Final = 512 * 1024 * 1024
_MARGIN: Final = 1_000_000


@attrs.define(eq=False)
class RunKeys:
    """The records of one run in Redis.

    Attributes:
        lease: The lease of the run, without which nothing is written.
        largest: Bytes that a value may have.
        keeps: Whether there are records of undos, which outlive the turns of a loop.
        detailed: Nodes of which there may be details; a node that is not among them has none.
        about: The fields of ``meta`` about the flow that is run now.
        outline: What that is made of, as text.
    """

    lease: RunLease
    largest: int = _LARGEST
    keeps: bool = False
    detailed: set[str] = attrs.field(factory=set)
    about: Mapping[str, Any] = attrs.field(factory=dict)
    outline: str | None = None

    @property
    def _names(self) -> Mapping[str, str]:
        return self.lease.names

    def begin(self, session: Session, opening: Opening, mine: Owner, vigil: Vigil) -> Past:
        """Take the lease of the run for *mine*; returns what is known of the run.

        Raises:
            RunInProgressError: If another process or task executes the run.
            StateError: If another version of the library recorded it.
            UncertainHolderError: If that cannot be told yet.
        """
        self._learn_limits(session)
        known = self._meta(session)
        if "created" in known and known.get("format") != FORMAT:
            version = known.get("format", b"1").decode()
            raise StateError(
                f"run {self.lease.run_id!r} was recorded by another version of cascade: it has format {version}, "
                f"and this one reads {FORMAT.decode()}; finish it with the version that recorded it, or use "
                "another run_id"
            )
        now = time.time()
        meta: dict[str, Any] = {"format": FORMAT, "created": known.get("created", now), "updated": now}
        self.about, self.outline = _about(opening), opening.outline
        # Else the records, and how the run stands, are of another flow, until this one is adopted.
        is_known_flow = known.get("flow_digest", opening.flow_digest) == opening.flow_digest
        if is_known_flow:
            status = "succeeded" if known.get("status") == b"succeeded" else "running"
            meta |= {**self.about, "status": status, "flow_digest": opening.flow_digest}

        def change(pipe: Any) -> None:
            pipe.hset(self._names["meta"], mapping=meta)
            if is_known_flow:
                pipe.hdel(self._names["meta"], "error")
                if self.outline is not None:
                    pipe.set(self._names["outline"], self.outline)

        epoch = self.lease.take(session, change, mine, vigil)
        # Read again: before the lease was taken, others could write.
        known = {**known, **self._meta(session)}
        nodes, failed, retrying, is_whole = self._listed(session)
        self.keeps = any(map(is_of_undo, nodes))
        self.detailed = {name.decode() for name in considerate(session.ask("hkeys", self._names["details"]))}
        is_known = epoch > 1 or bool(nodes)
        status = cast("RecordedStatus", known.get("status", b"running").decode())
        finished = float(known["finished"]) if "finished" in known else None
        digest = known.get("flow_digest")
        past = Past(
            is_known, status, digest, nodes, epoch=epoch, retrying=retrying, finished=finished, failed=failed
        )
        if epoch > 1 and not is_whole:
            return attrs.evolve(past, unreadable=StateError(f'{self.lease.has_lost()} with on_change="recompute"'))
        turn = None if known.get("turn") is None else int(known["turn"])
        return with_values(past, self.lease.run_id, known.get("result"), turn, known.get("continuation"))

    def _learn_limits(self, session: Session) -> None:
        """Ask the server how large a value can be."""
        found = []
        for name in ("proto-max-bulk-len", "client-query-buffer-limit"):
            try:
                found.append(int(session.ask("config_get", name)[name]) - _MARGIN)
            except (KeyError, ValueError):  # the server has no such limit
                continue
            except session.library.ResponseError:  # the server does not allow CONFIG GET
                continue
        self.largest = max(min(found, default=_LARGEST), _MARGIN)

    def _meta(self, session: Session) -> dict[str, bytes]:
        fields = session.ask("hgetall", self._names["meta"])
        return {name.decode(): value for name, value in fields.items()}

    def _listed(
        self, session: Session
    ) -> tuple[list[str], dict[str, bool], dict[str, tuple[bytes | None, int]], bool]:
        """The nodes that have a record, those that failed or were cancelled with whether that was handled, those
        that waited for another attempt, and whether no key is lost.

        A server that evicts keys removes whole hashes, so results without any node mean a loss.
        """
        noted = {name.decode(): json.loads(text) for name, text in considerate(self._scan(session, "nodes"))}
        named = dict.fromkeys(name for name, node in considerate(noted.items()) if _is_done(node))
        for part in ("results", "skipped"):
            # Names only: the values may be large.
            for name in considerate(session.ask("hkeys", self._names[part])):
                named[name.decode()] = None
        retrying = {
            name: (_digest(node), node["attempts"])
            for name, node in considerate(noted.items())
            if node["status"] == "retrying"
        }
        failed = {
            name: bool(node.get("handled"))
            for name, node in considerate(noted.items())
            if node["status"] in ("failed", "cancelled")
        }
        return list(named), failed, retrying, bool(noted) or not named

    def _scan(self, session: Session, part: str) -> Iterator[tuple[bytes, bytes]]:
        """The fields of a hash, read in portions."""
        cursor = -1
        while cursor:
            cursor, some = session.ask("hscan", self._names[part], max(cursor, 0), count=_AT_ONCE)
            yield from some.items()

    def write(
        self, session: Session, rows: Sequence[Row], details: Mapping[str, str], sealing: Sealing | None = None
    ) -> None:
        """Record *rows*, with those of *details* that are theirs, and the continuation of *sealing*, if any."""
        names, now = self._names, time.time()
        going_on = None if sealing is None else sealing.batch.continuation
        meta: dict[str, Any] = {"updated": now}
        if sealing is not None and going_on is not None:
            meta |= {"turn": going_on.turn, "continuation": sealing.continuation()}
        results = {row.node_id: row.value for row in rows if row.value is not None}
        skips = {row.node_id: str(row.reason) for row in rows if row.reason is not None}
        nodes = {
            row.node_id: _noted(row, now, is_handled=HANDLED_MARK in details.get(row.node_id, ""))
            for row in considerate(rows)
        }
        self.keeps = self.keeps or any(map(is_of_undo, nodes))
        gone: Sequence[bytes] = self._gone(session) if going_on is not None and self.keeps else ()

        def change(pipe: Any) -> None:
            self._change_details(pipe, nodes, details, is_new_turn=going_on is not None)
            if going_on is not None and not self.keeps:
                pipe.delete(names["results"], names["skipped"], names["nodes"])
            for start in range(0, len(gone), _AT_ONCE):
                for part in ("results", "skipped", "nodes"):
                    pipe.hdel(names[part], *gone[start : start + _AT_ONCE])
            if self.lease.owner is not None:
                pipe.hset(names["meta"], mapping=meta)
            for part, fields in (("results", results), ("skipped", skips), ("nodes", nodes)):
                if fields:
                    pipe.hset(names[part], mapping=fields)
            for part, fields in (("results", results), ("skipped", skips)):
                others = [node_id for node_id in nodes if node_id not in fields]
                if others:  # how a node has ended last counts
                    pipe.hdel(names[part], *others)

        self.lease.change(session, change)

    def _change_details(
        self, pipe: Any, written: Mapping[str, str], details: Mapping[str, str], *, is_new_turn: bool
    ) -> None:
        """Queue what gives the nodes *written* those of *details* that are theirs, and no others."""
        key = self._names["details"]
        stale = [name for name in written if name in self.detailed] if self.detailed else ()
        if is_new_turn:
            pipe.delete(key)
        elif stale:
            pipe.hdel(key, *stale)
        theirs = {name: text for name, text in details.items() if name in written}
        if theirs:
            self.detailed.update(theirs)
            pipe.hset(key, mapping=theirs)

    def _gone(self, session: Session) -> list[bytes]:
        """The records that go when a turn takes their place: all but those of undos."""
        names = {
            name: None
            for part in ("nodes", "results", "skipped")
            for name in session.ask("hkeys", self._names[part])
        }
        return [name for name in considerate(names) if not is_of_undo(name.decode())]

    def clear(self, session: Session) -> None:
        """Forget everything except that the run has begun, its signals, and how often its nodes were undone."""
        names = self._names
        times = {part: session.ask("hget", names[part], UNDO_TIMES) for part in ("results", "nodes")}

        def change(pipe: Any) -> None:
            pipe.delete(names["results"], names["skipped"], names["nodes"], names["details"], names["outline"])
            for part, value in times.items():
                if value is not None:
                    pipe.hset(names[part], UNDO_TIMES, value)
            if self.lease.owner is None:
                pipe.delete(names["meta"])
            else:
                pipe.hdel(names["meta"], "turn", "continuation", "result", "flow_digest")

        self.lease.change(session, change)

    def adopt(self, session: Session, flow_digest: bytes) -> None:
        """Forget the result of the run; from now on its records belong to the flow with this digest."""

        def change(pipe: Any) -> None:
            adopted = {**self.about, "status": "running", "flow_digest": flow_digest}
            pipe.hset(self._names["meta"], mapping=adopted)
            pipe.hdel(self._names["meta"], "result", "finished", "error")
            if self.outline is not None:
                pipe.set(self._names["outline"], self.outline)

        self.lease.change(session, change)

    def forget(self, session: Session, node_ids: Sequence[str]) -> None:
        """Forget the records of *node_ids*."""

        def change(pipe: Any) -> None:
            for part in ("results", "skipped", "nodes", "details"):
                for start in range(0, len(node_ids), _AT_ONCE):
                    pipe.hdel(self._names[part], *node_ids[start : start + _AT_ONCE])

        self.lease.change(session, change)

    def finish(self, session: Session, closing: Closing, result: bytes | None) -> None:
        """Record how the run ended, with its pickled result, and give up the lease."""
        now = time.time()
        meta: dict[str, Any] = {"status": closing.status, "updated": now, "finished": now}
        if closing.error is not None:
            meta["error"] = shortened(closing.error)
        if result is not None:
            meta["result"] = result
        durations = Writing(session, closing.durations, now)

        def change(pipe: Any) -> None:
            pipe.hset(self._names["meta"], mapping=meta)
            durations.queue(pipe, self.lease.ttl)

        self.lease.change(session, change, self.lease.ended)

    def records(self, session: Session, node_ids: Sequence[str]) -> dict[str, Record]:
        """The records of *node_ids*, without values."""
        found = {}
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            with session.pipeline() as pipe:
                pipe.hmget(self._names["nodes"], some)
                pipe.hmget(self._names["skipped"], some)
                for node_id in some:
                    pipe.hexists(self._names["results"], node_id)
                nodes, skipped, *results = pipe.execute()
            rows = zip(some, nodes, skipped, results, strict=True)
            for node_id, node, reason, has_result in considerate(rows):
                record = _record(node, reason, has_result=bool(has_result))
                if record is not None:
                    found[node_id] = record
        return found

    def results(self, session: Session, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        """The results among *node_ids*. If *is_lenient*, leaves out those that cannot be read."""
        values: dict[str, Any] = {}
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            pickles = session.ask("hmget", self._names["results"], some)
            found = {name: data for name, data in zip(some, pickles, strict=True) if data is not None}
            values |= loaded_all(found, self.lease.run_id, is_lenient=is_lenient)
        return values


def _about(opening: Opening) -> dict[str, Any]:
    """The fields of ``meta`` about the flow that is run."""
    flow = ", ".join(json.dumps(name) for name in considerate(opening.flow))
    about = {"flow": f"[{flow}]", "params": json.dumps(dict(opening.params))}
    return about if opening.origin is None else {**about, "origin": opening.origin}


def _is_done(node: Mapping[str, Any]) -> bool:
    return node["status"] in ("succeeded", "skipped")


def _digest(node: Mapping[str, Any]) -> bytes | None:
    digest = node.get("digest")
    return None if digest is None else bytes.fromhex(digest)


def _noted(row: Row, now: float, *, is_handled: bool) -> str:
    digest = None if row.digest is None else row.digest.hex()
    noted: dict[str, Any] = {
        "status": row.status, "digest": digest, "task": row.task, "reason": row.reason,
        "attempts": row.attempts, "duration": row.duration, "error": row.error, "recorded": now,
        "is_durable": row.is_durable,
    }  # fmt: skip
    if row.label is not None:
        noted["label"] = row.label
    if row.started is not None:
        noted["started"] = round(row.started, 6)
    if row.worker is not None:
        noted["worker"] = row.worker
    if is_handled:
        noted["handled"] = True
    return json.dumps(noted)


def _record(node: bytes | None, reason: bytes | None, *, has_result: bool) -> Record | None:
    """The record of a node, from its fields in the hashes; a result counts even if nothing else is there."""
    fields = {} if node is None else json.loads(node)
    if not has_result and reason is None and not (fields and _is_done(fields)):
        return None
    return Record(_digest(fields), None if reason is None else reason.decode(), fields.get("is_durable", True))
