"""Random flows under random rules: nothing starts under a pause, no limit and no rate is exceeded, all ends."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import anyio
import attrs
from anyio import current_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.control import ControlPlane
from cascade.model.rules import matcher

anyio_backend = virtual_loops


@attrs.frozen
class Call:
    """A task: its name, how long it takes, what it comes after, what it claims, how often it fails before."""

    task: str
    seconds: float
    after: tuple[int, ...]
    slots: int
    failures: int
    is_map: bool


@attrs.frozen
class Change:
    """A word to the plane, some time after the one before."""

    pause: float
    verb: str
    scope: str
    number: int
    ttl: float | None


TASKS = ("fetch", "parse")
SCOPES = ("global", "task:fetch", "task:*.parse", "run:it", "run:other")
_seconds = st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0])
_call = st.builds(
    Call,
    st.sampled_from(TASKS),
    _seconds,
    st.lists(st.integers(0, 9), max_size=2).map(tuple),
    st.sampled_from([0, 0, 1, 2]),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from([False, False, False, True]),
)
_change = st.builds(
    Change,
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),
    st.sampled_from(["pause", "pause", "resume", "concurrency", "rate", "burst", "unlimit", "clear"]),
    st.sampled_from(SCOPES),
    st.integers(1, 4),
    st.sampled_from([None, None, 0.75, 2.0]),
)


@attrs.define
class Bucket:
    """A rate as a plain program would keep it: exact, in fractions of a second."""

    rate: Fraction
    burst: int
    tokens: Fraction
    since: float

    def refill(self, now: float) -> None:
        self.tokens = min(self.tokens + self.rate * Fraction(now - self.since), Fraction(self.burst))
        self.since = now


@attrs.define
class Witness:
    """Knows by itself which rules stand, and sees every start and end."""

    paused: dict[str, float | None] = attrs.field(factory=dict)
    limits: dict[str, tuple[int, float | None]] = attrs.field(factory=dict)
    rates: dict[str, tuple[Bucket, float | None]] = attrs.field(factory=dict)
    running: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(TASKS, 0))
    faults: list[str] = attrs.field(factory=list)

    def covers(self, scope: str, task: str) -> bool:
        kind, _, name = scope.partition(":")
        if kind == "task":
            return fnmatch.fnmatchcase(task, name) or fnmatch.fnmatchcase(f"test_rules.{task}", name)
        return kind == "global" or name == "it"

    def start(self, task: str) -> None:
        now = current_time()
        for scope, until in self.paused.items():
            if self.covers(scope, task) and not _is_over(until, now):
                self.faults.append(f"{task} started at {now} under a pause of {scope}")
        self.running[task] += 1
        for scope, (limit, until) in self.limits.items():
            if self.covers(scope, task) and not _is_over(until, now):
                count = sum(number for name, number in self.running.items() if self.covers(scope, name))
                if count > limit:
                    self.faults.append(f"{count} ran at {now} under a limit of {limit} for {scope}")
        for scope, (bucket, until) in self.rates.items():
            if self.covers(scope, task) and not _is_over(until, now):
                bucket.refill(now)
                bucket.tokens -= 1
                if bucket.tokens < Fraction(-1, 10**6):
                    self.faults.append(f"{task} started at {now} without a token of {scope}")

    def end(self, task: str) -> None:
        self.running[task] -= 1

    async def say(self, plane: ControlPlane, change: Change) -> None:
        """Have *change* in force, here and there, in such an order that neither knows less than is promised."""
        now = current_time()
        until = None if change.ttl is None else now + change.ttl
        match change.verb:
            case "pause":
                await plane.pause(change.scope, ttl=change.ttl)
                self.paused[change.scope] = until
            case "resume":
                self.paused.pop(change.scope, None)
                await plane.resume(change.scope)
            case "concurrency":
                # Who runs already may stay: only those who start later are judged.
                self.limits.pop(change.scope, None)
                await plane.limit(change.scope, concurrency=change.number, ttl=change.ttl)
                self.limits[change.scope] = (change.number, until)
            case "rate" | "burst":
                self.rates.pop(change.scope, None)
                burst = change.number if change.verb == "burst" else 1
                await plane.limit(change.scope, rate=f"{change.number}/2s", burst=burst, ttl=change.ttl)
                rate = Fraction(change.number, 2)
                self.rates[change.scope] = (Bucket(rate, burst, Fraction(burst), now), until)
            case "unlimit":
                self.limits.pop(change.scope, None)
                self.rates.pop(change.scope, None)
                await plane.limit(change.scope, concurrency=None, rate=None)
            case _:
                for rules in (self.paused, self.limits, self.rates):
                    rules.pop(change.scope, None)
                await plane.clear(change.scope)


def _is_over(until: float | None, now: float) -> bool:
    return until is not None and now >= until


def flow_of(calls: list[Call], witness: Witness) -> list[Any]:
    """The flow that *calls* describe; each comes after some of those before it."""
    made: list[Any] = []
    for call in calls:
        task = cascade.task(name=call.task)(_body(call, witness))
        lazy: Any = task.map(_=range(4)) if call.is_map else task(0)
        if call.slots:
            lazy = lazy.with_constraints(slot=call.slots)
        if call.failures:
            lazy = lazy.with_retry(max_attempts=20, delay=0.25)
        sources = {number % len(made) for number in call.after} if made else ()
        made.append(lazy.after(*(made[number] for number in sources)) if sources else lazy)
    return made


def _body(call: Call, witness: Witness) -> Callable[[int], Any]:
    left = call.failures

    async def body(_: int) -> None:
        nonlocal left
        witness.start(call.task)
        try:
            await pass_time(call.seconds)
            if left:
                left -= 1
                raise ValueError
        finally:
            witness.end(call.task)

    body.__module__ = "test_rules"
    return body


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(_call, min_size=1, max_size=10),
    changes=st.lists(_change, max_size=12),
    before=st.integers(0, 3),
    is_eager=st.booleans(),
)
async def test_rules_hold_whatever_happens(
    calls: list[Call], changes: list[Change], before: int, is_eager: bool
) -> None:
    plane, witness = ControlPlane(), Witness()
    for change in changes[:before]:
        await witness.say(plane, change)
    engine = cascade.Engine(
        system_resources={"slot": 2}, schedule="eager" if is_eager else "stages", control=plane
    )
    with anyio.fail_after(10_000):
        async with engine.start(flow_of(calls, witness), run_id="it") as run:
            for change in changes[before:]:
                await pass_time(change.pause)
                await witness.say(plane, change)
            for scope in SCOPES:
                await witness.say(plane, Change(0, "clear", scope, 1, None))
            await run.result()
    assert witness.faults == []
    assert engine.capacity() == {"slot": (0, 2)}
    assert not engine._admission.holdings.active
    assert plane.rules() == ()


def test_a_pattern_covers_the_same_tasks_however_many_it_was_asked_of() -> None:
    covers = matcher("task:even*")
    for _ in range(2):
        for number in range(10_100):  # more than are remembered
            name = f"{('even', 'odd')[number % 2]}{number}"
            assert covers(name, f"module.{name}", "run") == (number % 2 == 0)
