"""State in Redis: a few keys for each run, all of which expire. ``lease.py`` lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
from anyio import CancelScope, CapacityLimiter, current_time

from cascade.adapters.redis_client import (
    RedisLine,
    check_client,
    client_of,
    redis_library,
)
from cascade.adapters.state.batched import BatchedBackend
from cascade.adapters.state.ownership import (
    HEARTBEAT,
    LEASE,
    Owner,
    UncertainHolderError,
    Vigil,
    steady_time,
)
from cascade.adapters.state.pickling import Sealed, Sealing, once, parts, pickled, result_of
from cascade.adapters.state.redis.durations import read as read_durations
from cascade.adapters.state.redis.lease import RunLease
from cascade.adapters.state.redis.records import MOST_AT_ONCE, RunKeys
from cascade.adapters.state.redis.signals import RedisSignals
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.model.shown.urls import shown_url
from cascade.model.typed.numbers import plain_number
from cascade.runtime.durability.backend import PartlyWrittenError
from cascade.runtime.durability.records import Batch, Closing, NotDurable, Opening, Past, Record
from cascade.runtime.durability.signal_records import SignalRecords

TTL: Final = 86_400
# Seconds between two looks at a lease whose holder may be dead.
_LOOK: Final = 1.0


class RedisStateBackend(BatchedBackend):
    """The outcomes of one run in Redis.

    Each write is one MULTI, with a renewal of the keys' expiry. A batch with more than 64 MiB of values is written
    in several. How much of that survives a crash of the server's machine is a setting of the server
    (``appendonly``, ``appendfsync``). A lost connection is tried again for 20 seconds, and so is a server that
    does not answer; then the run fails. It also fails if the server has lost what was written. Values are pickled,
    and a pickle is code: the server must be trusted.

    Args:
        run_id: The run.
        client: A ``redis.Redis``, made without ``decode_responses``. The backend makes and closes connections of
            its own, with the same options. A client of another class is used itself, with its own timeouts and
            retries.
        ttl: Seconds for which records are kept after the last write, at least 1; 86 400 (a day) by default.

    Attributes:
        heartbeat_every: Seconds between two heartbeats: 8, or a third of *ttl* if that is less.

    Raises:
        ImportError: If the redis library is not installed.
        TypeError: If *client* is no client of the synchronous kind.
        ValueError: If the client decodes responses, or *ttl* is no whole number from 1.
    """

    keeps_loops = True

    def __init__(self, run_id: str, client: Any, ttl: int = TTL) -> None:
        super().__init__(run_id)
        self._redis = redis_library("RedisStateBackend")
        check_client(client, "RedisStateBackend")
        ttl = plain_number(ttl)
        if isinstance(ttl, bool) or not isinstance(ttl, int) or ttl < 1:
            raise ValueError(f"ttl is a whole number of seconds from 1, not {ttl!r}")
        self.client = client
        self.ttl = ttl
        # The heartbeat renews the expiry, so it must come before that.
        self.heartbeat_every: float | None = min(HEARTBEAT, ttl / 3)
        self._line = RedisLine(client, f"run {run_id!r}")
        self._lease = RunLease(run_id, ttl)
        self._keys = RunKeys(self._lease)
        self.signals: SignalRecords | None = RedisSignals(self._line, self._lease)

    @property
    def limiter(self) -> CapacityLimiter:
        """The limiter of this backend's threads: one at a time, so that operations keep their order."""
        return self._line.limiter

    async def _results(self, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        return await self._line.call(lambda session: self._keys.results(session, node_ids, is_lenient=is_lenient))

    async def clear(self) -> None:
        await self._line.call(self._keys.clear)

    async def begin(self, opening: Opening) -> Past:
        mine, vigil = Owner.here(), Vigil(self.run_id)
        try:
            while True:
                vigil.now = current_time()
                try:
                    return await self._line.call(lambda visit: self._keys.begin(visit, opening, mine, vigil))
                except UncertainHolderError:
                    await anyio.sleep(_LOOK)
        except self._redis.RedisError as error:
            raise StateError(f"Redis cannot be used for run {self.run_id!r}: {describe(error)}") from error
        finally:
            if self._lease.owner is not mine:
                mine.release()

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        return await self._line.call(lambda session: self._keys.records(session, node_ids))

    async def write(self, batch: Batch) -> NotDurable:
        sealing = Sealing(batch, self._keys.largest)
        portions = once(lambda: list(parts(sealing.rows(), MOST_AT_ONCE)))
        # Pickled once, in the thread that writes the first portion.
        await self._line.call(lambda session: self._keys.write(session, portions()[0], sealing.details, sealing))
        written = [row.node_id for row in portions()[0]]
        for portion in portions()[1:]:
            try:
                await self._line.call(partial(self._keys.write, rows=portion, details=sealing.details))
            except Exception as error:
                raise PartlyWrittenError(error, written) from error
            written += [row.node_id for row in portion]
        return sealing.missing

    async def has_result(self, node_id: str) -> bool:
        # Not by the record of the node: other programs may write and delete results.
        key = self._lease.names["results"]
        return bool(await self._line.call(lambda session: session.ask("hexists", key, node_id)))

    async def forget(self, node_ids: Iterable[str]) -> None:
        gone = list(node_ids)
        await self._line.call(lambda session: self._keys.forget(session, gone))

    async def adopt(self, flow_digest: bytes) -> None:
        await self._line.call(lambda session: self._keys.adopt(session, flow_digest))

    async def durations(self) -> dict[bytes, bytes]:
        return await self._line.call(read_durations)

    async def heartbeat(self) -> None:
        try:
            await self._line.call(self._lease.beat)
        except self._redis.RedisError as error:
            if steady_time() - self._lease.renewed > LEASE - HEARTBEAT:
                raise StateError(
                    f"the lease of run {self.run_id!r} cannot be renewed in Redis and is about to end: "
                    f"{describe(error)}"
                ) from error
            raise

    def sealed(self, value: Any) -> Sealed:
        return Sealed(pickled(value, self._keys.largest))

    async def finish(self, closing: Closing) -> NotDurable:
        result = once(lambda: result_of(closing, self._keys.largest))
        await self._line.call(lambda session: self._keys.finish(session, closing, result()[0]))
        self._lease.disown()
        missing: NotDurable = result()[1]
        return missing

    async def aclose(self) -> None:
        try:
            # Tried once: if the server does not hear of it, the lease ends by itself.
            if self._lease.owner is not None and not self._line.is_lost:
                with suppress(StateError):
                    await self._line.call(self._lease.give_up, 0)
        finally:
            self._lease.disown()
            with CancelScope(shield=True):
                await self._line.call(lambda _: self._line.close())

    @classmethod
    def of_url(cls, url: str, run_id: str) -> RedisStateBackend:
        """The backend of a run at a URL.

        Args:
            url: The URL, such as ``redis://localhost:6379/0``.
            run_id: The run.

        Raises:
            ImportError: If the redis library is not installed.
            ValueError: If the URL is malformed.
        """
        return cls(run_id, client_of(url, "RedisStateBackend"))


def check_url(url: str) -> None:
    """Check that *url* names a server, with options that the redis library knows. Does not connect.

    Raises:
        ImportError: If the redis library is not installed.
        ValueError: If *url* does not, or has other options.
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
    except ValueError:  # not passed on: its text may quote a part of a password
        return False
    return has_port and url.partition(":")[2].startswith("//") and bool(re.fullmatch(r"/?|/\d+", parts.path))


def open_url(url: str, run_id: str) -> RedisStateBackend:
    """The backend of *run_id* at ``redis://host:port/number``."""
    return RedisStateBackend.of_url(url, run_id)
