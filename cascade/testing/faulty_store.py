"""A state store that fails, or in whose writes the process ends, as a fault plan says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from cascade.adapters.state.batched import BatchedBackend
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Batch, Closing, NotDurable, Opening, Past, Record
from cascade.runtime.durability.signal_records import SignalRecords
from cascade.testing.faults import Crash, InjectedError, LoseStore, SimulatedCrashError, StoreLostError


@attrs.define(eq=False)
class StoreFault:
    """When the fault of a store strikes, and that nothing can be done with the store after that.

    Attributes:
        fault: What happens.
        on_strike: Told when it does.
        on_crash: Called when the process is to end.
    """

    fault: LoseStore | Crash
    on_strike: Callable[[str], None]
    on_crash: Callable[[], None]
    _writes: int = 0
    _end: InjectedError | None = None

    def check(self) -> None:
        """See that it has not struck.

        Raises:
            InjectedError: If it has.
        """
        if self._end is not None:
            raise self._end

    def strikes_now(self) -> bool:
        """Count a write; returns whether this is the one in which it strikes."""
        self._writes += 1
        return self._writes >= self.fault.at

    def strike(self, batch: Batch) -> Batch | None:
        """Strike in the write of *batch*; returns what of it is in the store all the same."""
        fault = self.fault
        self.on_strike(f"{fault}")
        if isinstance(fault, LoseStore):
            self._end = StoreLostError(f"the state store was lost at write {fault.at}")
            return None
        self._end = SimulatedCrashError(f"the process ended {fault.when} write {fault.at}")
        if fault.when == "before":
            return None
        half = attrs.evolve(batch, entries=batch.entries[: len(batch.entries) // 2], notes=())
        return half if fault.when == "during" else batch

    def end(self) -> InjectedError:
        """End the process, if it crashes; returns what the write raises."""
        if isinstance(self.fault, Crash):
            self.on_crash()
        assert self._end is not None
        return self._end


@attrs.define(eq=False)
class FaultySignals(SignalRecords):
    """The signals in such a store: a write of one is a write of the store, of which nothing is done by halves.

    Attributes:
        inner: Those of the store itself.
        fault: What happens.
    """

    inner: SignalRecords
    fault: StoreFault

    async def accept(self, key: str, value: Any, *, replaces: bool = False) -> Any:
        """Record a value, unless the number of the write is that of the fault."""
        self.fault.check()
        if not self.fault.strikes_now():
            return await self.inner.accept(key, value, replaces=replaces)
        if self.fault.strike(Batch()) is not None:
            await self.inner.accept(key, value, replaces=replaces)
        raise self.fault.end()

    async def all(self) -> Mapping[str, Any]:
        """What is recorded."""
        self.fault.check()
        return await self.inner.all()

    async def forget(self) -> None:
        """Forget all of it, unless the number of the write is that of the fault."""
        self.fault.check()
        if not self.fault.strikes_now():
            await self.inner.forget()
            return
        if self.fault.strike(Batch()) is not None:
            await self.inner.forget()
        raise self.fault.end()


class FaultyStore(BatchedBackend):
    """A state store that is lost, or in whose writes the process ends.

    Args:
        inner: The store itself.
        fault: What happens.
        on_strike: Told when it does.
        on_crash: Called when the process is to end.
    """

    def __init__(
        self,
        inner: StateBackend,
        fault: LoseStore | Crash,
        on_strike: Callable[[str], None],
        on_crash: Callable[[], None],
    ) -> None:
        super().__init__(inner.run_id)
        self._inner = inner
        self._fault = StoreFault(fault, on_strike, on_crash)

        self.keeps_loops: bool = inner.keeps_loops
        self.can_resume: bool = inner.can_resume
        self.heartbeat_every: float | None = inner.heartbeat_every
        self.signals: SignalRecords | None = None
        if inner.signals is not None:
            self.signals = FaultySignals(inner.signals, self._fault)

    async def write(self, batch: Batch) -> NotDurable:
        """Record *batch*, unless its number is that of the fault; nothing is recorded after that."""
        self._fault.check()
        if not self._fault.strikes_now():
            return await self._inner.write(batch)
        share = self._fault.strike(batch)
        if share is not None:
            await self._inner.write(share)
        raise self._fault.end()

    # -- all else is the store's own ---------------------------------------------------------------------------

    async def begin(self, opening: Opening) -> Past:
        return await self._inner.begin(opening)

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        self._fault.check()
        return await self._inner.recall(node_ids)

    async def forget(self, node_ids: Iterable[str]) -> None:
        self._fault.check()
        await self._inner.forget(node_ids)

    async def adopt(self, flow_digest: bytes) -> None:
        self._fault.check()
        await self._inner.adopt(flow_digest)

    async def durations(self) -> Mapping[bytes, bytes]:
        self._fault.check()
        return await self._inner.durations()

    async def heartbeat(self) -> None:
        self._fault.check()
        await self._inner.heartbeat()

    def sealed(self, value: Any) -> Any:
        return self._inner.sealed(value)

    async def finish(self, closing: Closing) -> NotDurable:
        self._fault.check()
        return await self._inner.finish(closing)

    async def _results(self, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        self._fault.check()
        get = self._inner.get_readable_results if is_lenient else self._inner.get_results
        return await get(node_ids)

    async def clear(self) -> None:
        self._fault.check()
        await self._inner.clear()

    async def aclose(self) -> None:
        await self._inner.aclose()
