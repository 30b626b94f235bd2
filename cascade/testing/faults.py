"""Faults for simulated runs: planned, drawn from the seed, or both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final, Literal

import anyio
import attrs

from cascade.model.typed.numbers import plain_number
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Batch, Closing, NotDurable, Opening, Past, Record


class InjectedError(Exception):
    """A failure that a fault plan caused."""


class StoreLostError(InjectedError):
    """The state store has failed, because a fault plan says so."""


class SimulatedCrashError(InjectedError):
    """The process has crashed, because a fault plan says so."""


@attrs.frozen
class Fail:
    """Fault: the attempt raises an error instead of calling the function.

    Args:
        error: The error. ``None`` (default): an :class:`InjectedError`.
    """

    error: Exception | None = None


@attrs.frozen
class Hang:
    """Fault: the attempt waits until it is cancelled or times out."""


@attrs.frozen
class Slow:
    """Fault: the attempt waits before it calls the function.

    Args:
        seconds: Virtual seconds, from 0; 1 by default.
    """

    seconds: float = 1.0


Fault = Fail | Hang | Slow


Moment = Literal["before", "during", "after"]
_MOMENTS: Final[tuple[Moment, ...]] = ("before", "during", "after")


@attrs.frozen
class LoseStore:
    """Fault: the state store raises from one of its writes on.

    Args:
        at: Number of the first write that fails, from 1; 1 by default.
    """

    at: int = 1


@attrs.frozen
class Crash:
    """Fault: the process crashes at one of the writes to the state store.

    Args:
        at: Number of the write, from 1; 1 by default.
        when: ``"before"`` (default): nothing of the write is in the store. ``"during"``: half of the batch is.
            ``"after"``: all of it is, but the engine has not been told.
    """

    at: int = 1
    when: Moment = "before"


def _check_share(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} is a probability from 0 to 1, not {value!r}")


def _check_at(_: object, __: object, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"FaultPlan.at maps node ids to faults, such as {{'fetch': Fail()}}, not {value!r:.100}")
    for name, faults in value.items():
        several = faults if isinstance(faults, Sequence) and not isinstance(faults, str) else [faults]
        for fault in several:
            is_nothing = fault is None and several is faults
            if not is_nothing and not isinstance(fault, Fault):
                raise TypeError(
                    f"FaultPlan.at[{name!r}] is Fail(error), Hang(), Slow(seconds) or a sequence of these, "
                    f"not {fault!r:.100}"
                )


def _share() -> Any:
    return attrs.field(default=0.0, converter=plain_number, validator=_check_share)


@attrs.frozen(kw_only=True)
class FaultPlan:
    """What goes wrong in a simulated run.

    Faults that are planned strike in each simulation. Faults with a probability are decided by the seed.

    Args:
        at: Node id, or a pattern such as ``"fetch*"``, to faults: one fault for every attempt, or a sequence for
            the first, second and further attempts, with ``None`` for an attempt without a fault. The first pattern
            that matches counts. A pattern that matches no node is an error, if the run succeeds and has no state.
            Empty by default.
        fail: Probability, from 0 to 1, that an attempt raises an :class:`InjectedError`; 0 by default.
        hang: Probability, from 0 to 1, that an attempt waits until it is cancelled or times out; 0 by default.
        slow: Probability, from 0 to 1, that an attempt is slow; 0 by default.
        most_seconds: Longest wait of a slow attempt, in virtual seconds from 0; 10 by default.
        cancel: Probability, from 0 to 1, that the run is cancelled from outside after one of its first 50 events;
            0 by default.
        cancel_at: Virtual seconds, from 0, after which the run is cancelled from outside. ``None`` (default): it
            is not.
        cancel_at_event: Number of events, from 0, after which the run is cancelled from outside. ``None``
            (default): it is not.
        store: A fault of the state store. ``None`` (default): none is planned.
        lose_store: Probability, from 0 to 1, that the store fails at one of its first 10 writes; 0 by default.
        crash: Probability, from 0 to 1, that the process crashes at one of these writes; 0 by default.

    Raises:
        TypeError: If *at* or *store* has something that is no fault.
        ValueError: If a probability is not from 0 to 1.
    """

    at: Mapping[str, Fault | Sequence[Fault | None]] = attrs.field(factory=dict, validator=_check_at)
    fail: float = _share()
    hang: float = _share()
    slow: float = _share()
    most_seconds: float = 10.0
    cancel: float = _share()
    cancel_at: float | None = None
    cancel_at_event: int | None = None
    store: LoseStore | Crash | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of((LoseStore, Crash)))
    )
    lose_store: float = _share()
    crash: float = _share()


# Chance looks no further than this many events, and writes to the store.
_EVENTS: Final = 50
_WRITES: Final = 10


@attrs.define(eq=False)
class Faults:
    """A plan, with what the seed makes of it.

    Attributes:
        seed: The seed.
        plan: The plan.
        on_strike: Told of each fault that strikes.
        on_crash: Called when the process is to end.
        cancel_at_event: Number of events after which the run is cancelled.
    """

    seed: int
    plan: FaultPlan
    on_strike: Callable[[str], None]
    on_crash: Callable[[], None]
    cancel_at_event: int | None = None
    _store_fault: LoseStore | Crash | None = None
    _begun: Counter[str] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        plan, chance = self.plan, self._chance("the run")
        self.cancel_at_event = plan.cancel_at_event
        if chance.random() < plan.cancel and plan.cancel_at_event is None:
            self.cancel_at_event = chance.randint(1, _EVENTS)
        self._store_fault = plan.store
        if chance.random() < plan.lose_store and self._store_fault is None:
            self._store_fault = LoseStore(chance.randint(1, _WRITES))
        if chance.random() < plan.crash and self._store_fault is None:
            self._store_fault = Crash(chance.randint(1, _WRITES), chance.choice(_MOMENTS))

    def _chance(self, about: str) -> Random:
        # One source for each matter: so what befalls one attempt does not depend on which came before it.
        return Random(f"{self.seed}/{about}")

    async def strike(self, node_id: str, attempt: int) -> None:
        """Do to this attempt, which has just begun, what is planned for it."""
        self._begun[node_id] += 1
        fault = self._planned(node_id, attempt) or self._drawn(node_id, self._begun[node_id])
        if fault is None:
            return
        self.on_strike(f"{type(fault).__name__} {node_id} attempt={attempt}")
        match fault:
            case Slow(seconds=seconds):
                await anyio.sleep(seconds)
            case Hang():
                await anyio.sleep_forever()
            case Fail(error=error):
                raise InjectedError(f"injected into {node_id!r}, attempt {attempt}") if error is None else error

    def _planned(self, node_id: str, attempt: int) -> Fault | None:
        for pattern, faults in self.plan.at.items():
            if pattern == node_id or fnmatchcase(node_id, pattern):
                if not isinstance(faults, Sequence):
                    return faults
                return faults[attempt - 1] if attempt <= len(faults) else None
        return None

    def _drawn(self, node_id: str, count: int) -> Fault | None:
        plan = self.plan
        chance = self._chance(f"{node_id}/{count}")
        if chance.random() < plan.fail:
            return Fail()
        if chance.random() < plan.hang:
            return Hang()
        return Slow(chance.uniform(0, plan.most_seconds)) if chance.random() < plan.slow else None

    def around(self, backend: StateBackend) -> StateBackend:
        """*backend*, to which what is planned for it happens."""
        if self._store_fault is None:
            return backend
        return FaultyStore(backend, self._store_fault, self.on_strike, self.on_crash)


class FaultyStore(StateBackend):
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
        self.inner = inner
        self._fault = fault
        self._on_strike = on_strike
        self._on_crash = on_crash
        self._writes = 0
        self._end: InjectedError | None = None

        self.keeps_loops: bool = inner.keeps_loops
        self.can_resume: bool = inner.can_resume
        self.heartbeat_every: float | None = inner.heartbeat_every

    def _check(self) -> None:
        if self._end is not None:
            raise self._end

    async def write(self, batch: Batch) -> NotDurable:
        """Record *batch*, unless its number is that of the fault; nothing is recorded after that."""
        self._check()
        self._writes += 1
        fault = self._fault
        if self._writes < fault.at:
            return await self.inner.write(batch)
        self._on_strike(f"{fault}")
        if isinstance(fault, LoseStore):
            self._end = StoreLostError(f"the state store was lost at write {fault.at}")
            raise self._end
        self._end = SimulatedCrashError(f"the process ended {fault.when} write {fault.at}")
        if fault.when != "before":
            half = attrs.evolve(batch, entries=batch.entries[: len(batch.entries) // 2], notes=())
            await self.inner.write(half if fault.when == "during" else batch)
        self._on_crash()
        raise self._end

    # -- all else is the store's own ---------------------------------------------------------------------------

    async def begin(self, opening: Opening) -> Past:
        return await self.inner.begin(opening)

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        self._check()
        return await self.inner.recall(node_ids)

    async def forget(self, node_ids: Iterable[str]) -> None:
        self._check()
        await self.inner.forget(node_ids)

    async def adopt(self, flow_digest: bytes) -> None:
        self._check()
        await self.inner.adopt(flow_digest)

    async def heartbeat(self) -> None:
        self._check()
        await self.inner.heartbeat()

    def sealed(self, value: Any) -> Any:
        return self.inner.sealed(value)

    async def finish(self, closing: Closing) -> NotDurable:
        self._check()
        return await self.inner.finish(closing)

    async def put_results(self, results: Mapping[str, Any]) -> None:
        self._check()
        await self.inner.put_results(results)

    async def put_result(self, node_id: str, result: Any) -> None:
        await self.put_results({node_id: result})

    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
        self._check()
        await self.inner.mark_all_skipped(reasons)

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        await self.mark_all_skipped({node_id: reason})

    async def get_result(self, node_id: str) -> Any:
        self._check()
        return await self.inner.get_result(node_id)

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        self._check()
        return await self.inner.get_results(node_ids)

    async def has_result(self, node_id: str) -> bool:
        self._check()
        return await self.inner.has_result(node_id)

    async def get_skip_reason(self, node_id: str) -> str | None:
        self._check()
        return await self.inner.get_skip_reason(node_id)

    async def clear(self) -> None:
        self._check()
        await self.inner.clear()

    async def aclose(self) -> None:
        await self.inner.aclose()
