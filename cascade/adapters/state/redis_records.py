"""The keys of one run in Redis. All of it happens in threads.

Keys, each beginning with ``cascade:run:{run_id}:``; times are seconds since the epoch:

``results``
    Hash: node id to pickled value.
``skipped``
    Hash: node id to the reason, UTF-8.
``nodes``
    Hash: node id to JSON: ``status``, ``digest`` (hexadecimal), ``task``, ``reason``, ``attempts``, ``duration``
    (seconds), ``error``, ``recorded``, ``is_durable``.
``meta``
    Hash: ``status``, ``flow`` (JSON), ``params`` (JSON), ``origin`` (JSON), ``flow_digest``, ``created``,
    ``updated``, ``finished``, ``error``, ``turn`` and ``continuation`` (pickle) of a loop, ``result`` (pickle).
``lease``
    JSON: ``epoch`` (times it was begun), ``owner`` (who executes it, or null), ``until`` (by the server's clock).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from cascade.adapters.redis_client import Session
from cascade.adapters.state.ownership import LEASE, Owner, Vigil, overtaken, steady_time, vanished
from cascade.adapters.state.pickling import Row, Sealing, loaded_all, shortened, with_values
from cascade.model.errors import StateError
from cascade.runtime.slices import considerate
from cascade.runtime.state import Closing, Opening, Past, Record, RecordedStatus

PREFIX: Final = "cascade:run:"
_PARTS: Final = ("results", "skipped", "nodes", "meta", "lease")
# Values, and names, that are asked for at once: a reply is held in memory as a whole.
_AT_ONCE: Final = 200
# Bytes of values that are written in one MULTI, which the server holds in memory until it is complete.
MOST_AT_ONCE: Final = 64 * 1024 * 1024
# What a server takes of one value if it does not say otherwise, and what is left for all that is no value.
_LARGEST: Final = 512 * 1024 * 1024
_MARGIN: Final = 1_000_000


@attrs.frozen
class Lease:
    """Who may write.

    Attributes:
        epoch: Counts the times that the run was begun.
        owner: Who executes it, if anybody does.
        until: When that ends to hold.
    """

    epoch: int = 0
    owner: Owner | None = None
    until: float = 0.0

    @classmethod
    def read(cls, text: bytes | None) -> Lease:
        """What :meth:`written` made of one; the first, if there is none.

        Raises:
            ValueError: If it is nothing of the kind.
        """
        if text is None:
            return cls()
        fields = json.loads(text)
        try:
            epoch, owner, until = int(fields["epoch"]), fields["owner"], float(fields["until"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"{text!r:.100} is no lease") from error
        return cls(epoch, None if owner is None else Owner.of_fields(owner), until)

    def written(self) -> str:
        """As it stands in the store: JSON."""
        owner = None if self.owner is None else attrs.asdict(self.owner)
        return json.dumps({"epoch": self.epoch, "owner": owner, "until": self.until})


@attrs.define(eq=False)
class RunKeys:
    """One run in Redis, and the lease that this process has on it.

    Attributes:
        run_id: The run.
        ttl: Seconds after the last write for which it is kept.
        owner: Who has the lease; ``None`` as long as the run is not executed here.
        largest: How many bytes a value can have.
        renewed: When the lease was renewed, by the steady clock of this machine.
    """

    run_id: str
    ttl: int
    owner: Owner | None = None
    largest: int = _LARGEST
    renewed: float = 0.0
    names: Mapping[str, str] = attrs.field(init=False)
    # Ends of the lease, one of which must stand there: that of the last write, and of one without an answer.
    _ends: set[float] = attrs.field(factory=set)
    # Keys that the last write has left.
    _left: tuple[str, ...] = ()
    # What the server's clock is ahead of the steady one.
    _ahead: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.names = {part: f"{PREFIX}{self.run_id}:{part}" for part in _PARTS}

    # -- the lease -----------------------------------------------------------------------------------------

    def change(
        self, session: Session, change: Callable[[Any], None], renewed: Callable[[Lease], Lease] | None = None
    ) -> Lease:
        """Make *change* in one MULTI, unless somebody else has the run; returns the lease as it is then.

        Args:
            session: The visit to the server.
            change: Queues commands.
            renewed: The lease after that; judged before anything is written.

        Raises:
            StateError: If somebody else has the run, or the server has lost what was written before.
            redis.WatchError: If somebody has changed the lease in this moment.
        """
        key = self.names["lease"]
        with session.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            lease = (renewed or self._renewed)(Lease.read(pipe.get(key)))
            pipe.multi()
            must = self._left
            if must:
                pipe.exists(*must)
            change(pipe)
            if lease.epoch:
                pipe.set(key, lease.written())
                self._ends.add(lease.until)
            for name in self.names.values():
                pipe.expire(name, self.ttl)
            self._left = ()  # unknown, until there is an answer
            answers = pipe.execute()
        self._ends = {lease.until}
        self.renewed = steady_time()
        if must and answers[0] != len(must):
            raise StateError(self._has_lost())
        there = zip(self.names.values(), answers[-len(self.names) :], strict=True)
        self._left = () if self.owner is None else tuple(name for name, is_there in there if is_there)
        return lease

    def _has_lost(self) -> str:
        return (
            f"Redis has lost records of run {self.run_id!r}: keys were deleted, flushed or evicted, or the server "
            "was replaced by an older state; let it evict nothing (maxmemory-policy noeviction), and run again"
        )

    def _renewed(self, lease: Lease) -> Lease:
        if self.owner is None:
            return lease
        if not lease.epoch:
            raise StateError(vanished(self.run_id))
        if lease.owner is None and lease.until in self._ends:
            return lease  # it was given up by a try of which no answer came
        # By the token: the count of beginnings starts anew where keys were lost.
        if lease.owner is None or lease.owner.token != self.owner.token:
            raise StateError(overtaken(self.run_id, lease.owner))
        if lease.until not in self._ends:
            raise StateError(self._has_lost())
        return attrs.evolve(lease, until=self._now() + LEASE)

    def _now(self) -> float:
        """Seconds on the clock of the server, by which all who use it judge leases."""
        return self._ahead + steady_time()

    def set_clock(self, session: Session) -> None:
        """Find out what the clock of the server says."""
        seconds, micros = session.ask("time")
        self._ahead = seconds + micros / 1e6 - steady_time()

    def begin(self, session: Session, opening: Opening, mine: Owner, vigil: Vigil) -> Past:
        """Take the run as *mine*, and say what is known of it.

        Raises:
            RunInProgressError: If somebody else executes it.
            UncertainHolderError: If that cannot be told yet.
        """
        self.owner, self._left, self._ends = None, (), set()
        self.set_clock(session)
        self._learn_limits(session)
        known = self._meta(session)
        meta = _opened(opening, known, time.time())

        def change(pipe: Any) -> None:
            pipe.hset(self.names["meta"], mapping=meta)
            pipe.hdel(self.names["meta"], "error")

        lease = self.change(session, change, lambda lease: self._taken(lease, mine, vigil))
        self.owner = mine
        # Read again, now that nobody else may write.
        known = {**known, **self._meta(session)}
        nodes, retrying, is_whole = self._listed(session)
        is_known = lease.epoch > 1 or bool(nodes)
        status = cast("RecordedStatus", known["status"].decode())
        past = Past(
            is_known, status, known.get("flow_digest"), nodes, epoch=lease.epoch, retrying=retrying
        )  # fmt: skip
        if lease.epoch > 1 and not is_whole:
            return attrs.evolve(past, unreadable=StateError(f'{self._has_lost()} with on_change="recompute"'))
        turn = None if known.get("turn") is None else int(known["turn"])
        return with_values(past, self.run_id, known.get("result"), turn, known.get("continuation"))

    def _taken(self, lease: Lease, mine: Owner, vigil: Vigil) -> Lease:
        if lease.owner is not None and lease.owner != mine:
            left = lease.until - self._now()
            is_certain = left <= LEASE  # else the server's clock has been set
            vigil.refuse_if_alive(lease.owner, lease, left, is_certain=is_certain)
        # The answer to the first try may have been lost: then the lease is ours already.
        epoch = lease.epoch if lease.owner == mine else lease.epoch + 1
        return Lease(epoch, mine, self._now() + LEASE)

    def _learn_limits(self, session: Session) -> None:
        """Find out how large a value can be, where the server tells."""
        found = []
        for name in ("proto-max-bulk-len", "client-query-buffer-limit"):
            try:
                found.append(int(session.ask("config_get", name)[name]) - _MARGIN)
            except (KeyError, ValueError):  # a server that knows no such limit
                continue
            except session.library.ResponseError:  # one that tells nobody
                continue
        self.largest = max(min(found, default=_LARGEST), _MARGIN)

    def _meta(self, session: Session) -> dict[str, bytes]:
        fields = session.ask("hgetall", self.names["meta"])
        return {name.decode(): value for name, value in fields.items()}

    def _listed(self, session: Session) -> tuple[list[str], dict[str, tuple[bytes | None, int]], bool]:
        """The nodes that have a record, those that were going to be attempted again, and whether no key is lost.

        A server that evicts keys takes whole hashes; single results may have been put there by others.
        """
        noted = {name.decode(): json.loads(text) for name, text in considerate(self._scan(session, "nodes"))}
        named = dict.fromkeys(name for name, node in considerate(noted.items()) if _is_done(node))
        for part in ("results", "skipped"):
            # Without the values, which may be large.
            for name in considerate(session.ask("hkeys", self.names[part])):
                named[name.decode()] = None
        retrying = {
            name: (_digest(node), node["attempts"])
            for name, node in considerate(noted.items())
            if node["status"] == "retrying"
        }
        return list(named), retrying, bool(noted) or not named

    def _scan(self, session: Session, part: str) -> Iterator[tuple[bytes, bytes]]:
        """The fields of a hash, asked for in portions."""
        cursor = -1
        while cursor:
            cursor, some = session.ask("hscan", self.names[part], max(cursor, 0), count=_AT_ONCE)
            yield from some.items()

    def given_up(self, lease: Lease) -> Lease:
        """*lease* as it is once this has let go of the run, if it had it."""
        if self.owner is None or lease.owner is None or lease.owner.token != self.owner.token:
            return lease
        return attrs.evolve(lease, owner=None, until=0.0)

    def disown(self) -> None:
        """Note that the run is not executed here any more."""
        if self.owner is not None:
            self.owner.release()
        self.owner, self._left = None, ()

    # -- records -------------------------------------------------------------------------------------------

    def write(self, session: Session, rows: Sequence[Row], sealing: Sealing | None) -> None:
        """Record *rows*, and where the loop goes on if *sealing* says so."""
        names, now = self.names, time.time()
        going_on = None if sealing is None else sealing.batch.continuation
        meta: dict[str, Any] = {"updated": now}
        if sealing is not None and going_on is not None:
            meta |= {"turn": going_on.turn, "continuation": sealing.continuation()}
        results = {row.entry.node_id: row.value for row in rows if row.value is not None}
        skips = {row.entry.node_id: str(row.entry.reason) for row in rows if row.entry.reason is not None}
        nodes = {row.entry.node_id: _noted(row, now) for row in considerate(rows)}

        def change(pipe: Any) -> None:
            if going_on is not None:
                pipe.delete(names["results"], names["skipped"], names["nodes"])
            if self.owner is not None:
                pipe.hset(names["meta"], mapping=meta)
            for part, fields in (("results", results), ("skipped", skips), ("nodes", nodes)):
                if fields:
                    pipe.hset(names[part], mapping=fields)
            for part, others in (("results", skips), ("skipped", results)):
                if others:
                    pipe.hdel(names[part], *others)

        self.change(session, change)

    def clear(self, session: Session) -> None:
        """Forget everything but that the run has begun."""
        names = self.names

        def change(pipe: Any) -> None:
            pipe.delete(names["results"], names["skipped"], names["nodes"])
            if self.owner is None:
                pipe.delete(names["meta"])
            else:
                pipe.hdel(names["meta"], "turn", "continuation", "result", "flow_digest")

        self.change(session, change)

    def adopt(self, session: Session, flow_digest: bytes) -> None:
        """The records are those of the flow with this digest, and there is no result."""

        def change(pipe: Any) -> None:
            pipe.hset(self.names["meta"], mapping={"status": "running", "flow_digest": flow_digest})
            pipe.hdel(self.names["meta"], "result", "finished")

        self.change(session, change)

    def forget(self, session: Session, node_ids: Sequence[str]) -> None:
        """Forget nodes."""

        def change(pipe: Any) -> None:
            for part in ("results", "skipped", "nodes"):
                for start in range(0, len(node_ids), _AT_ONCE):
                    pipe.hdel(self.names[part], *node_ids[start : start + _AT_ONCE])

        self.change(session, change)

    def finish(self, session: Session, closing: Closing, result: bytes | None) -> None:
        """Record how the run ended, with its pickled result, and give up the lease."""
        now = time.time()
        meta: dict[str, Any] = {"status": closing.status, "updated": now, "finished": now}
        if closing.error is not None:
            meta["error"] = shortened(closing.error)
        if result is not None:
            meta["result"] = result
        self.change(
            session,
            lambda pipe: pipe.hset(self.names["meta"], mapping=meta),
            lambda lease: attrs.evolve(self._renewed(lease), owner=None, until=0.0),
        )

    def records(self, session: Session, node_ids: Sequence[str]) -> dict[str, Record]:
        """What is recorded of *node_ids*, without values."""
        found = {}
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            with session.pipeline() as pipe:
                pipe.hmget(self.names["nodes"], some)
                pipe.hmget(self.names["skipped"], some)
                for node_id in some:
                    pipe.hexists(self.names["results"], node_id)
                nodes, skipped, *results = pipe.execute()
            rows = zip(some, nodes, skipped, results, strict=True)
            for node_id, node, reason, has_result in considerate(rows):
                record = _record(node, reason, has_result=bool(has_result))
                if record is not None:
                    found[node_id] = record
        return found

    def results(self, session: Session, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        """The results among *node_ids*; without those that cannot be read, if that is wanted."""
        values: dict[str, Any] = {}
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            pickles = session.ask("hmget", self.names["results"], some)
            found = {name: data for name, data in zip(some, pickles, strict=True) if data is not None}
            values |= loaded_all(found, self.run_id, is_lenient=is_lenient)
        return values


def _opened(opening: Opening, known: Mapping[str, bytes], now: float) -> dict[str, Any]:
    """What ``meta`` says of a run that begins, of which *known* is known."""
    flow = ", ".join(json.dumps(name) for name in considerate(opening.flow))
    meta = {
        "status": known.get("status") if known.get("status") == b"succeeded" else "running",
        "flow": f"[{flow}]",
        "params": json.dumps(dict(opening.params)),
        "flow_digest": known.get("flow_digest", opening.flow_digest),
        "created": known.get("created", now),
        "updated": now,
    }
    return meta if opening.origin is None else {**meta, "origin": opening.origin}


def _is_done(node: Mapping[str, Any]) -> bool:
    return node["status"] in ("succeeded", "skipped")


def _digest(node: Mapping[str, Any]) -> bytes | None:
    digest = node.get("digest")
    return None if digest is None else bytes.fromhex(digest)


def _noted(row: Row, now: float) -> str:
    entry = row.entry
    digest = None if entry.digest is None else entry.digest.hex()
    return json.dumps({
        "status": entry.status, "digest": digest, "task": entry.task_name, "reason": entry.reason,
        "attempts": entry.attempts, "duration": entry.duration, "error": row.error, "recorded": now,
        "is_durable": row.is_durable,
    })  # fmt: skip


def _record(node: bytes | None, reason: bytes | None, *, has_result: bool) -> Record | None:
    """What the hashes together say of a node; the results alone may be there, written by somebody else."""
    fields = {} if node is None else json.loads(node)
    if not has_result and reason is None and not (fields and _is_done(fields)):
        return None
    return Record(_digest(fields), None if reason is None else reason.decode(), fields.get("is_durable", True))
