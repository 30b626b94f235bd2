"""The hash ``signals`` of a run in Redis; ``lease.py`` says what is in it."""

from __future__ import annotations

from typing import Any, Final

import attrs

from cascade.adapters.redis_client import RedisLine, Session
from cascade.adapters.state.pickling import loaded_signal, pickled_signal
from cascade.adapters.state.redis.lease import RunLease
from cascade.model.errors import StateError
from cascade.runtime.durability.signal_records import SignalRecords

# Seconds between two looks of a run that waits.
LOOK: Final = 1.0


@attrs.define(eq=False)
class RedisSignals(SignalRecords):
    """The signals of one run in Redis.

    Attributes:
        line: The way to the server.
        lease: The lease of the run. If this process had it, it must have it still.
    """

    line: RedisLine
    lease: RunLease
    look_every: float | None = LOOK

    async def accept(self, key: str, value: Any, *, replaces: bool = False) -> Any:
        data = pickled_signal(value)
        kept = await self.line.call(lambda session: self._accept(session, key, data, is_new=not replaces))
        return value if kept == data else loaded_signal(kept)

    def _accept(self, session: Session, key: str, data: bytes, *, is_new: bool) -> bytes:
        names = self.lease.names
        if self.lease.owner is None and not session.ask("exists", names["meta"]):
            raise StateError(f"there is no run {self.lease.run_id!r} in Redis")

        def change(pipe: Any) -> None:
            (pipe.hsetnx if is_new else pipe.hset)(names["signals"], key, data)

        self.lease.change(session, change)
        return bytes(session.ask("hget", names["signals"], key) or b"")

    async def all(self) -> dict[str, Any]:
        found = await self.line.call(lambda session: session.ask("hgetall", self.lease.names["signals"]))
        return {key.decode(): loaded_signal(data) for key, data in found.items()}

    async def forget(self) -> None:
        names = self.lease.names
        await self.line.call(
            lambda session: self.lease.change(session, lambda pipe: pipe.delete(names["signals"]))
        )
