"""Leases of runs that somebody else may execute, in time; and clocks that are set."""

from __future__ import annotations

import time

import anyio
import attrs
import pytest
from plain_tasks import step
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.adapters.state.ownership import LEASE, Owner
from state.stores import StoreUnderTest
from state.test_ownership import OPENING, elsewhere, ended_process, set_lease, take

anyio_backend = virtual_loops


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """Set the clock that people set."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)


async def test_a_process_elsewhere_is_refused_while_its_lease_holds(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(durable, monkeypatch, elsewhere())
    message = r"process \d+ on moon; its lease holds for another [23]\d s"
    with pytest.raises(cascade.RunInProgressError, match=message):
        await cascade.run(step(1), state=durable.state, run_id="night")


async def test_a_process_elsewhere_is_taken_over_when_its_lease_has_ended(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await take(durable, monkeypatch, elsewhere())
    set_lease(durable, time.time() - 1)
    began = anyio.current_time()
    assert await cascade.run(step(1), state=durable.state, run_id="night", on_change="recompute") == 1
    # The clock of a server is the same for all; those of two machines may not be.
    assert anyio.current_time() - began == pytest.approx(0 if durable.name == "redis" else LEASE, abs=2)
    with pytest.raises(cascade.StateError, match="taken over by"):
        await left.heartbeat()


async def test_a_machine_that_was_started_again_may_be_another_of_that_name(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(durable, monkeypatch, attrs.evolve(Owner.here(), boot="before", pid=ended_process()))
    with pytest.raises(cascade.RunInProgressError):
        await cascade.run(step(1), state=durable.state, run_id="night")


async def test_a_lease_that_ends_in_a_year_is_of_a_wrong_clock_and_watched(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(durable, monkeypatch, elsewhere())
    set_lease(durable, time.time() + 365 * 86_400)
    began = anyio.current_time()
    assert await cascade.run(step(1), state=durable.state, run_id="night", on_change="recompute") == 1
    assert anyio.current_time() - began == pytest.approx(LEASE, abs=2)


async def test_a_lease_that_is_renewed_while_it_is_watched_is_not_taken(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(durable, monkeypatch, elsewhere())
    set_lease(durable, time.time() + 365 * 86_400)

    async def renew() -> None:
        await pass_time(LEASE / 2)
        set_lease(durable, time.time() + 366 * 86_400)

    async with anyio.create_task_group() as group:
        group.start_soon(renew)
        with pytest.raises(cascade.RunInProgressError, match="has renewed its lease"):
            await cascade.run(step(1), state=durable.state, run_id="night")


async def test_who_is_cancelled_while_a_lease_is_watched_has_nothing(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(durable, monkeypatch, elsewhere())
    set_lease(durable, time.time() + 365 * 86_400)
    backend = durable.open("night")
    with anyio.move_on_after(5) as scope:
        await backend.begin(OPENING)
    assert scope.cancelled_caught
    await backend.aclose()


@pytest.mark.parametrize("ahead", [-86_400, 3600, 315e6])
@pytest.mark.parametrize("table", ["same", "other"])
async def test_a_run_that_lives_is_not_taken_because_a_clock_was_set(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch, ahead: float, table: str
) -> None:
    me = Owner.here()
    await take(durable, monkeypatch, me if table == "same" else attrs.evolve(me, host="container/1"))
    set_clock(monkeypatch, ahead)
    with pytest.raises(cascade.RunInProgressError):
        await cascade.run(step(1), state=durable.state, run_id="night")


async def test_a_heartbeat_renews_the_lease(durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    left = await take(durable, monkeypatch, elsewhere())
    set_clock(monkeypatch, LEASE - 1)
    await left.heartbeat()
    set_clock(monkeypatch, LEASE - 1)  # from there
    with pytest.raises(cascade.RunInProgressError):
        await cascade.run(step(1), state=durable.state, run_id="night")


async def test_a_heartbeat_of_a_run_that_was_taken_over_ends_it(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await take(durable, monkeypatch, attrs.evolve(Owner.here(), pid=ended_process()))
    taker = durable.open("night")
    await taker.begin(OPENING)
    with pytest.raises(cascade.StateError, match="taken over by process"):
        await left.heartbeat()
    await taker.aclose()
