"""State in Redis: a few keys for each run, all of which expire.

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
    JSON: ``epoch`` (times it was begun), ``owner`` (who executes it, or null), ``until``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter, current_time

from cascade.adapters.redis_client import check_client, client_of, redis_library
from cascade.adapters.state.batched import BatchedBackend
from cascade.adapters.state.ownership import HEARTBEAT, LEASE, Owner, overtaken, refuse_if_alive
from cascade.adapters.state.pickling import Sealed, loaded, pickled, result_of, values_of, with_values
from cascade.model.errors import StateError, describe, shown_url
from cascade.runtime.state import (
    Batch,
    Closing,
    Entry,
    NotDurable,
    Opening,
    Past,
    Record,
)
from cascade.runtime.threads import LoopLimiter, in_thread

T = TypeVar("T")

TTL: Final = 86_400
# Seconds for which a lost connection is tried again, and the pauses between.
PATIENCE: Final = 20.0
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
# Values that are asked for at once: a reply is held in memory as a whole.
_AT_ONCE: Final = 1000

PREFIX: Final = "cascade:run:"
_PARTS: Final = ("results", "skipped", "nodes", "meta", "lease")


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
        """What :meth:`written` made of one; the first, if there is none."""
        if text is None:
            return cls()
        fields = json.loads(text)
        owner = None if fields["owner"] is None else Owner.read(json.dumps(fields["owner"]))
        return cls(fields["epoch"], owner, fields["until"])

    def written(self) -> str:
        """As it stands in the store: JSON."""
        owner = None if self.owner is None else attrs.asdict(self.owner)
        return json.dumps({"epoch": self.epoch, "owner": owner, "until": self.until})


class RedisStateBackend(BatchedBackend):
    """The outcomes of one run in Redis.

    Every write is one MULTI with the renewal of the keys' expiry. How much of what the server has accepted
    survives a crash of its machine is its own setting (``appendonly``, ``appendfsync``). A connection that is lost
    is tried again for 20 seconds. Values are pickled: the server must be trusted as code is.

    Args:
        run_id: The run.
        client: A ``redis.Redis``, made without ``decode_responses``. It is not closed here.
        ttl: Seconds after the last write for which records are kept.

    Raises:
        ImportError: If the redis library is not installed.
        TypeError: If *client* is no client of the synchronous kind.
        ValueError: If it decodes responses, or *ttl* is no whole number from 1.
    """

    keeps_loops = True
    heartbeat_every: float | None = HEARTBEAT

    def __init__(self, run_id: str, client: Any, ttl: int = TTL) -> None:
        super().__init__(run_id)
        self._redis = redis_library("RedisStateBackend")
        check_client(client, "RedisStateBackend")
        if isinstance(ttl, bool) or not isinstance(ttl, int) or ttl < 1:
            raise ValueError(f"ttl is a whole number of seconds from 1, not {ttl!r}")
        self.client = client
        self.ttl = ttl
        self._limiter = LoopLimiter(1)
        self._owner: Owner | None = None
        self._epoch: int | None = None
        self._owns_client = False
        self._keys = {part: f"{PREFIX}{run_id}:{part}" for part in _PARTS}

    @property
    def limiter(self) -> CapacityLimiter:
        """What bounds this backend's threads: one at a time, so that operations keep their order."""
        return self._limiter.get()

    async def _do(self, func: Callable[[], T]) -> T:
        """Call *func* in a thread, again while there is no connection. All that is done here may be done twice."""
        lost = (self._redis.ConnectionError, self._redis.TimeoutError)
        give_up, pause = current_time() + PATIENCE, FIRST_PAUSE
        while True:
            try:
                # Accepted means written: a cancelled caller must not leave a write half-way in line.
                with CancelScope(shield=True):
                    done = await in_thread(func, self.limiter)
                return done  # noqa: RET504  # to mypy, a scope may swallow what is raised inside
            except lost:
                if current_time() + pause > give_up:
                    raise
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    # -- in the thread -------------------------------------------------------------------------------------

    def _change(self, change: Callable[[Any], None], renewed: Callable[[Lease], Lease] | None = None) -> Lease:
        """Make *change* in one MULTI, unless somebody else has the run; returns the lease as it is then.

        Args:
            change: Queues commands.
            renewed: The lease after that; judged before anything is written.
        """
        while True:
            with self.client.pipeline(transaction=True) as pipe, suppress(self._redis.WatchError):
                return self._changed(pipe, change, renewed or self._renewed)
            # Somebody took the run meanwhile, or gave it up: judge that anew.

    def _changed(self, pipe: Any, change: Callable[[Any], None], renewed: Callable[[Lease], Lease]) -> Lease:
        key = self._keys["lease"]
        pipe.watch(key)
        lease = renewed(Lease.read(pipe.get(key)))
        pipe.multi()
        change(pipe)
        if lease.epoch:
            pipe.set(key, lease.written())
        for name in self._keys.values():
            pipe.expire(name, self.ttl)
        pipe.execute()
        return lease

    def _renewed(self, lease: Lease) -> Lease:
        if self._epoch is None:
            return lease
        if lease.epoch != self._epoch:
            raise StateError(overtaken(self.run_id, lease.owner))
        return attrs.evolve(lease, until=time.time() + LEASE)

    def _taken(self, lease: Lease, mine: Owner) -> Lease:
        if lease.owner is not None and lease.owner != mine:
            refuse_if_alive(self.run_id, lease.owner, lease.until)
        # The answer to the first try may have been lost: then the lease is ours already.
        epoch = lease.epoch if lease.owner == mine else lease.epoch + 1
        return Lease(epoch, mine, time.time() + LEASE)

    def _begin(self, opening: Opening, mine: Owner) -> Past:
        keys, now = self._keys, time.time()
        known = {name.decode(): value for name, value in self.client.hgetall(keys["meta"]).items()}
        meta = {
            "status": known.get("status") if known.get("status") == b"succeeded" else "running",
            "flow": json.dumps(opening.flow),
            "params": json.dumps(dict(opening.params)),
            "flow_digest": known.get("flow_digest", opening.flow_digest),
            "created": known.get("created", now),
            "updated": now,
        }
        if opening.origin is not None:
            meta["origin"] = opening.origin

        def change(pipe: Any) -> None:
            pipe.hset(keys["meta"], mapping=meta)
            pipe.hdel(keys["meta"], "error")

        lease = self._change(change, lambda lease: self._taken(lease, mine))
        self._owner, self._epoch = mine, lease.epoch
        # Read again, now that nobody else may write.
        known = {**known, **{name.decode(): value for name, value in self.client.hgetall(keys["meta"]).items()}}
        nodes, retrying = self._listed()
        is_known, status, digest = (
            lease.epoch > 1 or bool(nodes),
            known["status"].decode(),
            known.get("flow_digest"),
        )
        finished = float(known["finished"]) if "finished" in known else None
        past = Past(is_known, status, digest, nodes, epoch=lease.epoch, retrying=retrying, finished=finished)
        turn = None if known.get("turn") is None else int(known["turn"])
        return with_values(past, self.run_id, known.get("result"), turn, known.get("continuation"))

    def _listed(self) -> tuple[list[str], dict[str, tuple[bytes | None, int]]]:
        """The nodes that have a record, and those that were going to be attempted again."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hkeys(self._keys["results"])
            pipe.hkeys(self._keys["skipped"])
            pipe.hgetall(self._keys["nodes"])
            results, skipped, nodes = pipe.execute()
        named = {name.decode(): None for name in (*results, *skipped)}
        noted = {name.decode(): json.loads(text) for name, text in nodes.items()}
        named.update({name: None for name, node in noted.items() if _is_done(node)})
        retrying = {
            name: (_digest(node), node["attempts"]) for name, node in noted.items() if node["status"] == "retrying"
        }
        return list(named), retrying

    def _loaded(self, data: bytes, what: str) -> Any:
        return loaded(data, what, self.run_id)

    def _write(self, batch: Batch) -> NotDurable:
        missing: list[tuple[str, Exception]] = []
        keys, going_on = self._keys, batch.continuation
        meta: dict[str, Any] = {}
        if going_on is not None:
            meta = {"turn": going_on.turn, "continuation": pickled(going_on.value)}
        entries = list(values_of([*batch.entries, *batch.notes], missing))
        meta["updated"] = now = time.time()
        results = {entry.node_id: value for entry, value, _ in entries if value is not None}
        skips = {e.node_id: str(e.reason) for e, *_ in entries if e.reason is not None}
        nodes = {entry.node_id: _noted(entry, now, is_durable=durable) for entry, _, durable in entries}

        def change(pipe: Any) -> None:
            if going_on is not None:
                pipe.delete(keys["results"], keys["skipped"], keys["nodes"])
            if self._epoch is not None:
                pipe.hset(keys["meta"], mapping=meta)
            for part, fields in (("results", results), ("skipped", skips), ("nodes", nodes)):
                if fields:
                    pipe.hset(keys[part], mapping=fields)
            for part, others in (("results", skips), ("skipped", results)):
                if others:
                    pipe.hdel(keys[part], *others)

        self._change(change)
        return missing

    def _clear(self) -> None:
        keys = self._keys

        def change(pipe: Any) -> None:
            pipe.delete(keys["results"], keys["skipped"], keys["nodes"])
            if self._epoch is None:
                pipe.delete(keys["meta"])
            else:
                pipe.hdel(keys["meta"], "turn", "continuation", "result", "flow_digest")

        self._change(change)

    def _adopt(self, flow_digest: bytes) -> None:
        def change(pipe: Any) -> None:
            pipe.hset(self._keys["meta"], mapping={"status": "running", "flow_digest": flow_digest})
            pipe.hdel(self._keys["meta"], "result", "finished")

        self._change(change)

    def _forget(self, node_ids: Sequence[str]) -> None:
        def change(pipe: Any) -> None:
            for part in ("results", "skipped", "nodes"):
                if node_ids:
                    pipe.hdel(self._keys[part], *node_ids)

        self._change(change)

    def _finish(self, closing: Closing) -> NotDurable:
        missing: list[tuple[str, Exception]] = []
        result, now = result_of(closing, missing), time.time()
        meta: dict[str, Any] = {"status": closing.status, "updated": now, "finished": now}
        if closing.error is not None:
            meta["error"] = closing.error
        if result is not None:
            meta["result"] = result
        self._change(
            lambda pipe: pipe.hset(self._keys["meta"], mapping=meta),
            lambda lease: attrs.evolve(self._renewed(lease), owner=None, until=0.0),
        )
        self._disown()
        return missing

    def _disown(self) -> None:
        if self._owner is not None:
            self._owner.release()
        self._owner = None

    def _give_up(self) -> None:
        """Let go of the lease of a run that was cut short."""
        try:
            if self._owner is not None:
                self._change(lambda _: None, self._given_up)
        finally:
            self._disown()

    def _given_up(self, lease: Lease) -> Lease:
        return lease if lease.epoch != self._epoch else attrs.evolve(lease, owner=None, until=0.0)

    def _recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        found = {}
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            with self.client.pipeline(transaction=False) as pipe:
                pipe.hmget(self._keys["nodes"], some)
                pipe.hmget(self._keys["skipped"], some)
                for node_id in some:
                    pipe.hexists(self._keys["results"], node_id)
                nodes, skipped, *results = pipe.execute()
            for node_id, node, reason, has_result in zip(some, nodes, skipped, results, strict=True):
                record = _record(node, reason, has_result=bool(has_result))
                if record is not None:
                    found[node_id] = record
        return found

    def _results(self, node_ids: Sequence[str]) -> dict[str, Any]:
        found = {}
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            for node_id, value in zip(some, self.client.hmget(self._keys["results"], some), strict=True):
                if value is not None:
                    found[node_id] = self._loaded(value, f"the result of {node_id!r}")
        return found

    # -- the operations ------------------------------------------------------------------------------------

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        wanted = list(node_ids)
        return await self._do(lambda: self._results(wanted))

    async def has_result(self, node_id: str) -> bool:
        return bool(await self._do(lambda: self.client.hexists(self._keys["results"], node_id)))

    async def get_skip_reason(self, node_id: str) -> str | None:
        reason = await self._do(lambda: self.client.hget(self._keys["skipped"], node_id))
        return None if reason is None else str(reason, "utf-8")

    async def clear(self) -> None:
        await self._do(self._clear)

    async def begin(self, opening: Opening) -> Past:
        mine = Owner.here()
        try:
            return await self._do(lambda: self._begin(opening, mine))
        except self._redis.RedisError as error:
            raise StateError(f"Redis cannot be used for run {self.run_id!r}: {describe(error)}") from error
        finally:
            if self._owner is not mine:
                mine.release()

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        return await self._do(lambda: self._recall(node_ids))

    async def write(self, batch: Batch) -> NotDurable:
        return await self._do(lambda: self._write(batch))

    async def forget(self, node_ids: Iterable[str]) -> None:
        gone = list(node_ids)
        await self._do(lambda: self._forget(gone))

    async def adopt(self, flow_digest: bytes) -> None:
        await self._do(lambda: self._adopt(flow_digest))

    async def heartbeat(self) -> None:
        await self._do(lambda: self._change(lambda _: None))

    def sealed(self, value: Any) -> Sealed:
        return Sealed(pickled(value))

    async def finish(self, closing: Closing) -> NotDurable:
        return await self._do(lambda: self._finish(closing))

    async def aclose(self) -> None:
        with CancelScope(shield=True), suppress(self._redis.ConnectionError, self._redis.TimeoutError):
            # Not tried again: where the server cannot be told, the lease runs out by itself.
            await in_thread(self._give_up, self.limiter)
        if self._owns_client:
            await self._do(self.client.close)

    @classmethod
    def of_url(cls, url: str, run_id: str) -> RedisStateBackend:
        """The backend of *run_id* at *url*, with a client of its own."""
        backend = cls(run_id, client_of(url, "RedisStateBackend"))
        backend._owns_client = True
        return backend


def _is_done(node: Mapping[str, Any]) -> bool:
    return node["status"] in ("succeeded", "skipped")


def _digest(node: Mapping[str, Any]) -> bytes | None:
    digest = node.get("digest")
    return None if digest is None else bytes.fromhex(digest)


def _noted(entry: Entry, now: float, *, is_durable: bool) -> str:
    digest = None if entry.digest is None else entry.digest.hex()
    return json.dumps({
        "status": entry.status, "digest": digest, "task": entry.task_name, "reason": entry.reason,
        "attempts": entry.attempts, "duration": entry.duration, "error": entry.error, "recorded": now,
        "is_durable": is_durable,
    })  # fmt: skip


def _record(node: bytes | None, reason: bytes | None, *, has_result: bool) -> Record | None:
    """What the hashes together say of a node; the results alone may be there, written by somebody else."""
    fields = {} if node is None else json.loads(node)
    if not has_result and reason is None and not (fields and _is_done(fields)):
        return None
    return Record(_digest(fields), None if reason is None else reason.decode(), fields.get("is_durable", True))


def check_url(url: str) -> None:
    """See that *url* says where a server is, and what else its library knows. Connects to nothing.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If it does not.
    """
    reason = ""
    if _is_place(url):
        try:
            client_of(url, "RedisStateBackend").connection_pool.make_connection()
        except (TypeError, ValueError, redis_library("RedisStateBackend").RedisError) as error:
            reason = f" ({error})"
        else:
            return
    raise ValueError(f"a state URL of Redis is redis://host:port/number, not {shown_url(url)!r}{reason}")


def _is_place(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:  # its text may quote a piece of a password
        return False
    return has_port and url.partition(":")[2].startswith("//") and bool(re.fullmatch(r"/?|/\d+", parts.path))


def open_url(url: str, run_id: str) -> RedisStateBackend:
    """The backend of *run_id* at ``redis://host:port/number``."""
    return RedisStateBackend.of_url(url, run_id)
