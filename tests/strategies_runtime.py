"""What the tests of the runtime share: storms of claims for Hypothesis, events, and providers that keep a log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import anyio
import attrs
from hypothesis import strategies as st
from virtual_time import pass_time

import cascade
from cascade.runtime.admission.pool import Amount, Name, Slot
from cascade.state import InMemoryStateBackend
from cascade.testing import Recorded, record_events

# "free" has no total, so it is unlimited.
NAMES = ("cpu", "gpu", "mem", "free")
TASKS = ("fetch", "parse")


@attrs.frozen
class Ask:
    """Somebody of *task* asks for *amounts*, slots among them."""

    amounts: dict[Name, Amount]
    task: str


@attrs.frozen
class Rush:
    """All at once, in one step of the loop: some who hold let go, some are cancelled, a rule holds tasks or opens.

    Who is meant is said by numbers, each modulo the number of those who could be.

    Attributes:
        releases: Holders who let go.
        cancels: Members, waiting or holding, who are cancelled.
        cancels_first: Whether they are cancelled before the others let go.
        held: Tasks that a rule holds from now on; ``None`` leaves the rule as it is.
    """

    releases: tuple[int, ...]
    cancels: tuple[int, ...]
    cancels_first: bool
    held: frozenset[str] | None


@attrs.frozen
class SetTotal:
    """The total of *name* becomes *amount*."""

    name: str
    amount: Amount


Move = Ask | Rush | SetTotal

# Mostly what contends: whole amounts of few names.
amounts: st.SearchStrategy[Amount] = st.sampled_from([1, 1, 2, 2, 3, 0, Fraction(1, 2), Fraction(1, 10)])
_claim = st.dictionaries(st.sampled_from(("cpu", "cpu", *NAMES)), amounts, min_size=1, max_size=2)
_slots: st.SearchStrategy[dict[Name, Amount]] = st.sampled_from([{}, {Slot.THREAD: 1}, {Slot.PROCESS: 1}])
claims = st.builds(
    lambda claim, slot: {**claim, **slot},
    st.sampled_from([*[_claim] * 9, st.just({})]).flatmap(lambda s: s),
    _slots,
)
_number = st.integers(0, 6)
_numbers = st.lists(_number, max_size=3).map(tuple)
_held = st.sampled_from([None, frozenset(), frozenset({"fetch"}), frozenset(TASKS)])
_ask = st.builds(Ask, claims, st.sampled_from(TASKS))
_release = st.builds(Rush, st.tuples(_number), st.just(()), st.just(False), st.none())
_cancel = st.builds(Rush, st.just(()), st.tuples(_number), st.just(False), st.none())
_rush = st.builds(Rush, _numbers, _numbers, st.booleans(), _held)
_total = st.builds(SetTotal, st.sampled_from(NAMES[:-1]), st.sampled_from([1, 2, 3, 4, 0, Fraction(1, 2)]))
# one_of would not count what it is given twice; there have to be more who ask than who leave.
_kinds: list[st.SearchStrategy[Any]] = [*[_ask] * 10, *[_release] * 3, *[_cancel] * 3, _rush, _rush, _total]
_move: st.SearchStrategy[Move] = st.sampled_from(_kinds).flatmap(lambda s: s)

moves: st.SearchStrategy[list[Move]] = st.lists(_move, min_size=15, max_size=60)


def event(seq: int = 1) -> cascade.StateRecorded:
    return cascade.StateRecorded(seq=seq, timestamp=0.0, run_id="run", count=seq, total=seq)


def skipped(seq: int = 1) -> cascade.TaskSkipped:
    return cascade.TaskSkipped(seq=seq, timestamp=0.0, run_id="run", task_id="a", task_name="a", reason="Pruned")


def last(seq: int) -> cascade.RunFinished:
    return cascade.RunFinished(
        seq=seq, timestamp=0.0, run_id="run", status="Succeeded", duration=0.0, error=None, failures=(), counts={}
    )


async def rest(stream: Any) -> list[Any]:
    """All that *stream* still gives, up to its end."""
    with anyio.fail_after(60):
        return [event async for event in stream]


def leaves(error: BaseException | None) -> list[BaseException]:
    """What is in *error*, without the groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [] if error is None else [error]


async def raised_by(flow: Any, *providers: Any, **settings: Any) -> tuple[BaseException | None, Recorded]:
    """What a run of *flow* raises, and its events."""
    error: BaseException | None = None
    async with cascade.Engine(providers=providers, **settings) as engine:
        with record_events(engine) as recorded:
            try:
                await engine.run(flow)
            except Exception as raised:
                error = raised
    return error, recorded


def failures(recorded: Recorded) -> tuple[str, ...]:
    return recorded.of(cascade.RunFinished)[-1].failures


class Log(list[str]):
    """What happened, in order; makes providers that write to it."""

    def provider(self, name: str, scope: Any = "run", *, is_async: bool = True, needs: str | None = None) -> Any:
        """A resource whose value is its name and a number that counts its instances."""
        count = 0
        injected = cascade.inject(needs) if needs else None

        async def opened_on_the_loop(needed: Any = injected) -> AsyncIterator[str]:
            nonlocal count
            count += 1
            self.append(f"open {name}")
            try:
                yield f"{name} {count}" + (f" of {needed}" if needed else "")
            finally:
                self.append(f"close {name}")

        def opened_in_a_thread(needed: Any = injected) -> Iterator[str]:
            nonlocal count
            count += 1
            self.append(f"open {name}")
            try:
                yield f"{name} {count}" + (f" of {needed}" if needed else "")
            finally:
                self.append(f"close {name}")

        func: Any = opened_on_the_loop if is_async else opened_in_a_thread
        return cascade.resource(name=name, scope=scope)(func)


class Store(InMemoryStateBackend):
    """A backend that shows what it holds, notes its batches, and does what it is told before each write."""

    def __init__(self, run_id: str = "", before_write: Callable[[], Any] | None = None) -> None:
        super().__init__(run_id)
        self.batches: list[list[str]] = []
        self.held: dict[str, Any] = {}
        self.closed = 0
        self.before_write = before_write

    def __call__(self, run_id: str) -> Store:
        self.run_id = run_id
        return self

    async def put_results(self, results: Mapping[str, Any]) -> None:
        if self.before_write is not None:
            await self.before_write()
        await super().put_results(results)
        if results:
            self.batches.append(list(results))
        self.held.update(results)

    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
        await super().mark_all_skipped(reasons)
        self.held.update(reasons)

    async def aclose(self) -> None:
        self.closed += 1


@attrs.define(eq=False)
class Gauge:
    """Who is at work, how many were at once, and in which order they began."""

    now: int = 0
    most: int = 0
    order: list[str] = attrs.field(factory=list)

    async def work(self, name: str = "", seconds: float = 1.0) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.order.append(name)
        try:
            await pass_time(seconds)
        finally:
            self.now -= 1
