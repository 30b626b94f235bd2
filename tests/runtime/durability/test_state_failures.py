"""State stores that fail, hang or are none: what becomes of the run, and what it says is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import attrs
import pytest
from anyio import sleep
from plain_tasks import fail, step
from strategies_runtime import Store, failures, raised_by
from virtual_time import virtual_loops

import cascade
from cascade.runtime.durability.records import Closing, NotDurable, Opening, Past
from cascade.state import StateBackend
from cascade.testing import record_events

anyio_backend = virtual_loops


@attrs.define(eq=False)
class Failing:
    """Fails from the n-th time on."""

    after: int
    error: Exception = attrs.field(factory=lambda: OSError("disk full"))
    count: int = 0

    async def __call__(self) -> None:
        self.count += 1
        if self.count > self.after:
            raise self.error


async def test_a_store_that_fails_ends_the_run_in_a_state_error_that_says_what_is_recorded(schedule: Any) -> None:
    failing = Failing(after=1)
    ran: list[int] = []

    @cascade.task
    async def note(_: Any) -> None:
        await sleep(1)
        ran.append(1)

    flow = note(note([note(step(1)), step(2)]))
    error, recorded = await raised_by(flow, state=Store(before_write=failing), schedule=schedule)
    assert isinstance(error, cascade.StateError)
    assert error.__cause__ is failing.error
    assert error.recorded == 2
    assert "note" in error.lost
    assert "2 settled nodes are recorded" in str(error)
    assert "OSError: disk full" in str(error)
    assert len(ran) <= 2
    assert len(failures(recorded)) == 1


async def test_a_store_that_fails_is_not_asked_again() -> None:
    failing = Failing(after=0)
    await raised_by(step(step(step())), state=Store(before_write=failing))
    assert failing.count == 1


async def test_a_store_that_fails_at_the_end_fails_the_run(schedule: Any) -> None:
    store = Store(before_write=Failing(after=0))
    error, recorded = await raised_by(step(), state=store, schedule=schedule, durability="exit")
    assert isinstance(error, cascade.StateError)
    assert recorded.of(cascade.RunFinished)[0].status == "Failed"
    assert store.closed == 1


async def test_a_store_that_fails_joins_the_failures_of_a_run_that_failed() -> None:
    store = Store(before_write=Failing(after=0))
    error, recorded = await raised_by(fail(step()), state=store, durability="exit")
    assert isinstance(error, ValueError)
    assert [failure.partition(":")[0] for failure in failures(recorded)] == ["ValueError", "StateError"]


async def test_what_is_recorded_is_counted_exactly_when_only_skips_cannot_be_written() -> None:
    class NoSkips(Store):
        async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
            if reasons:
                raise OSError("disk full")

    flow = cascade.Router(step("a"), {"a": step(1), "b": step(2)})
    error, _ = await raised_by(flow, state=NoSkips(), durability="exit")
    assert isinstance(error, cascade.StateError)
    assert (error.recorded, len(error.lost)) == (2, 1)


async def test_a_store_that_cannot_be_closed_fails_the_run_in_a_state_error() -> None:
    class NeverCloses(Store):
        async def aclose(self) -> None:
            raise OSError("still busy")

    error, recorded = await raised_by(step(), state=NeverCloses())
    assert isinstance(error, cascade.StateError)
    assert recorded.of(cascade.RunFinished)[0].status == "Failed"


async def test_a_store_that_hangs_at_the_end_is_cancelled_and_listed() -> None:
    async def hang() -> None:
        await sleep(1000)

    began = anyio.current_time()
    error, recorded = await raised_by(
        step(step()), state=Store(before_write=hang), durability="exit", cleanup_timeout=3
    )
    assert anyio.current_time() - began == pytest.approx(3)
    assert isinstance(error, TimeoutError)
    assert "state store" in failures(recorded)[0]


@pytest.mark.parametrize("made", [None, 5, "memory:"])
async def test_a_factory_that_makes_no_backend_is_refused_before_anything_runs(made: Any) -> None:
    ran: list[int] = []

    @cascade.task
    async def note() -> None:
        ran.append(1)

    with pytest.raises(TypeError, match="StateBackend"):
        await cascade.run(note(), state=lambda run_id: made)
    assert ran == []


async def test_a_factory_that_raises_fails_the_run_before_it_begins() -> None:
    def make(run_id: str) -> StateBackend:
        raise OSError("no store")

    with pytest.raises(OSError, match="no store"):
        await cascade.run(step(), state=make)


# -- signs of life ---------------------------------------------------------------------------------------------


class Beating(Store):
    """Says every second that the run is alive, if it can."""

    heartbeat_every = 1.0

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.beats = 0

    async def heartbeat(self) -> None:
        self.beats += 1
        if self.errors:
            raise self.errors.pop(0)


@cascade.task
async def take(seconds: float) -> float:
    await sleep(seconds)
    return seconds


async def test_a_heartbeat_that_fails_is_told_and_the_next_one_is_tried() -> None:
    store = Beating(OSError("no network"))
    engine = cascade.Engine(state=store)
    with record_events(engine) as recorded:
        assert await engine.run(take(3.5)) == 3.5
    [warning] = [event for event in recorded.of(cascade.EngineWarning) if event.code == "heartbeat-failed"]
    assert "OSError: no network" in warning.message
    assert store.beats == 3


async def test_a_run_that_somebody_else_has_taken_over_ends_at_the_next_heartbeat() -> None:
    overtaken = cascade.StateError("somebody else has taken it over")
    store = Beating(overtaken)
    error, recorded = await raised_by(take(100), state=store)
    assert error is overtaken
    assert store.beats == 1
    assert recorded.of(cascade.RunFinished)[0].duration < 2


# -- stores of a user's own that raise what is no error of cascade -----------------------------------------------


class Broken(Store):
    """Raises at one operation."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation
        self._past = attrs.evolve(self._past, epoch=1)

    async def begin(self, opening: Opening) -> Past:
        self.raise_at("begin")
        return await super().begin(opening)

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        self.raise_at("get_results")
        return await super().get_results(node_ids)

    def raise_at(self, operation: str) -> None:
        if operation == self.operation:
            raise OSError("no disk")


@pytest.mark.parametrize("operation", ["begin", "get_results"])
async def test_a_store_that_cannot_be_read_fails_the_run_that_resumes_before_anything_runs(operation: str) -> None:
    ran: list[int] = []
    store = Broken(operation)
    await store.put_results({"step": 1})

    @cascade.task
    async def note(_: Any) -> None:
        ran.append(1)

    with pytest.raises(cascade.StateError, match="cannot read the records of run 'night': OSError: no disk"):
        await cascade.run(note(step(1)), state=store, run_id="night")
    assert ran == []
    assert store.closed == 1


async def test_a_store_that_cannot_record_the_end_is_closed_all_the_same() -> None:
    class NeverEnds(Store):
        async def finish(self, closing: Closing) -> NotDurable:
            raise OSError("no disk")

    store = NeverEnds()
    error, recorded = await raised_by(step(), state=store)
    assert isinstance(error, cascade.StateError)
    assert store.closed == 1
    assert len(failures(recorded)) == 1


async def test_a_store_that_hangs_is_closed_and_hears_no_more_of_the_run() -> None:
    class Hanging(Beating):
        async def finish(self, closing: Closing) -> NotDurable:
            await sleep(1000)
            return ()

    store = Hanging()
    began = anyio.current_time()
    error, _ = await raised_by(take(2.5), state=store, cleanup_timeout=3)
    assert isinstance(error, TimeoutError)
    assert anyio.current_time() - began == pytest.approx(5.5)
    assert (store.closed, store.beats) == (1, 2)
