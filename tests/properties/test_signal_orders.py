"""Signals in any order of sends, kills, resumes, timeouts: none is lost, counts twice, or is awaited again.

The process is killed at a write to the store, or the run is cancelled or suspended. Between two of its lives,
other processes send to the store. Whatever a sender was told is accepted stands from then on.
"""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st
from virtual_time import pass_time

import cascade
from cascade.runtime.engine.sending import put_signal
from cascade.state import InMemoryStateBackend
from cascade.testing import Crash, FaultPlan, Simulation, simulate

pytestmark = pytest.mark.needs("trio")
NAMES = ("a", "b", "c", "d")
TIMEOUT, DEFAULT = 30.0, 99

got: list[tuple[Any, ...]] = []


@cascade.task
async def build(seconds: float) -> int:
    await pass_time(seconds)
    return 1


@cascade.task
async def ask() -> Any:
    return cascade.signal("c", int)


@cascade.task
async def ship(*values: Any) -> tuple[Any, ...]:
    got.append(values)
    return values


def flow() -> Any:
    """Signals as an argument, with a timeout after a call, in a sub-flow, and behind a router."""
    b = cascade.signal("b", int, default=DEFAULT, timeout=TIMEOUT).after(build(10))
    a = cascade.signal("a", int)
    return ship(a, b, ask(), cascade.Router(a, {}, default=cascade.signal("d", int)))


@attrs.frozen
class Life:
    """One execution of the run.

    Attributes:
        sent: What is sent to it: by name, when and which value.
        kill_at: The write to the store in which the process ends, and whether before or after it.
        cancel_at: When it is cancelled.
        suspends: Whether it ends when it can only wait.
        between: What is sent to the store after it: names and values.
    """

    sent: dict[str, tuple[float, Any]]
    kill_at: tuple[int, Any] | None
    cancel_at: float
    suspends: bool
    between: list[tuple[str, Any]]


VALUES = st.sampled_from([1, 2, "1", "bad"])
MOMENTS = st.sampled_from([0.0, 1.0, 10.0, 39.0, 40.0, 41.0])
LIVES = st.builds(
    Life,
    st.dictionaries(st.sampled_from(NAMES), st.tuples(MOMENTS, VALUES)),
    st.none() | st.tuples(st.integers(1, 12), st.sampled_from(["before", "after"])),
    st.sampled_from([5.0, 45.0, 100.0]),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=3),
)


def live(life: Life, store: Any, **more: Any) -> Simulation:
    """Execute the run once."""
    crash = None if life.kill_at is None else Crash(at=life.kill_at[0], when=life.kill_at[1])
    plan = FaultPlan(store=crash, cancel_at=life.cancel_at)
    when_idle: Any = "suspend" if life.suspends else "wait"
    return simulate(
        flow(), run_id="r", state=lambda _: store, faults=plan, signals=life.sent, when_idle=when_idle, **more
    )


@attrs.define
class Ledger:
    """What senders were told, and what the run has shown."""

    store: InMemoryStateBackend
    stands: dict[str, int] = attrs.field(factory=dict)

    def accepted(self, name: str, value: Any) -> None:
        """A sender was told that the value stands."""
        assert self.stands.setdefault(name, int(value)) == int(value)

    def send(self, name: str, value: Any) -> None:
        """Send to the store, as another process does."""
        assert self.store.signals is not None
        try:
            anyio.run(put_signal, self.store.signals, "r", name, value)
        except cascade.InputError as error:
            refusal = str(error)
        else:
            self.accepted(name, value)
            return
        is_known = f"has no signal {name!r}" not in refusal
        assert value == "bad" or not is_known or self.kept()[name] != int(value), refusal

    def kept(self) -> dict[str, int]:
        """The values in the store, by name."""
        assert self.store.signals is not None
        found = anyio.run(self.store.signals.all)
        return {key.removeprefix("value:"): kept[0] for key, kept in found.items() if key.startswith("value:")}

    def hear(self, life: Life, made: Simulation) -> None:
        """See that a life of the run agrees with what was known before, and learn from it."""
        before = dict(self.stands)
        for happening in made.trace.happenings:
            event = happening.event
            if isinstance(event, cascade.SignalAwaited):
                assert event.signal not in before, "it was waited for again"
            elif isinstance(event, cascade.SignalReceived):
                self.accepted(event.signal, event.preview)
            elif isinstance(event, str) and event.startswith("Signal accepted"):
                name = event.split("'")[1]
                self.accepted(name, life.sent[name][1])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
# A tenth of the usual number, as each example is a handful of runs: 1 000 at night.
@settings(max_examples=max(20, settings().max_examples // 10))
# The signal d comes to be wanted in a stage that is tried again.
@example(lives=[Life({}, None, 45.0, suspends=False, between=[])], seed=24, is_eager=False)
@given(lives=st.lists(LIVES, max_size=4), seed=st.integers(0, 1000), is_eager=st.booleans())
def test_no_order_of_sends_and_ends_loses_a_signal(
    lives: list[Life], seed: int, is_eager: bool, backend: Any
) -> None:
    got.clear()
    ledger = Ledger(InMemoryStateBackend("r"))
    chosen: dict[str, Any] = {"seed": seed, "schedule": "eager" if is_eager else "stages", "backend": backend}
    for life in lives:
        made = live(life, ledger.store, **chosen)
        note(str(made))
        ledger.hear(life, made)
        if made.error is None:
            break
        assert made.has_crashed or isinstance(made.error, (cascade.RunCancelled, cascade.RunSuspended))
        for name, value in life.between:
            ledger.send(name, value)
    kept = ledger.kept()
    assert ledger.stands.items() <= kept.items()
    rest = {name: (1.0 + number, kept.get(name, 5)) for number, name in enumerate(NAMES)}
    life = Life(rest, None, 1000.0, suspends=False, between=[])
    last = live(life, ledger.store, **chosen)
    note(str(last))
    ledger.hear(life, last)
    expected = tuple(ledger.kept()[name] for name in NAMES)
    assert {**kept, **ledger.stands}.items() <= ledger.kept().items()
    assert last.result() == expected
    assert set(got) == {expected}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 15))
def test_the_process_may_end_at_every_write(at: int, when: Any, backend_name: Any, schedule: Any) -> None:
    got.clear()
    ledger = Ledger(InMemoryStateBackend("r"))
    sent: dict[str, tuple[float, Any]] = {name: (2.0 * number, number) for number, name in enumerate(NAMES)}
    chosen: dict[str, Any] = {"schedule": schedule, "backend": backend_name}
    killed = Life(sent, (at, when), 1000.0, suspends=False, between=[])
    made = live(killed, ledger.store, **chosen)
    assert made.has_crashed or made.error is None
    ledger.hear(killed, made)
    last = live(attrs.evolve(killed, kill_at=None), ledger.store, **chosen)
    assert last.result() == (0, 1, 2, 3)
    assert set(got) == {(0, 1, 2, 3)}
