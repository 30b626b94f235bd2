"""One run id, one process: leases, epochs, and who is dead."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

import cascade
from cascade.adapters.state import ownership
from cascade.adapters.state.ownership import Owner
from cascade.runtime.state import Opening
from cascade.state import StateBackend
from state.stores import StoreUnderTest

OPENING = Opening(False, ("target",), b"flow", {})


@cascade.task
async def step(value: Any = None) -> Any:
    return value


async def take(store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch, owner: Owner) -> StateBackend:
    """Begin the run ``night`` as *owner*."""
    backend = store.open("night")
    with monkeypatch.context() as patched:
        patched.setattr(Owner, "here", lambda: owner)
        await backend.begin(OPENING)
    return backend


def ended_process() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def elsewhere() -> Owner:
    return attrs.evolve(Owner.here(), host="moon/1")


# -- who is dead -----------------------------------------------------------------------------------------------


def test_an_owner_is_what_is_read_of_what_was_written() -> None:
    owner = Owner.here()
    assert Owner.read(owner.written()) == owner
    assert set(json.loads(owner.written())) == {"host", "boot", "pid", "started", "token"}
    owner.release()


def test_an_owner_in_this_process_lives_until_it_is_released() -> None:
    owner = Owner.here()
    assert not owner.is_dead()
    owner.release()
    assert owner.is_dead()


def test_a_process_that_has_ended_is_dead() -> None:
    assert attrs.evolve(Owner.here(), pid=ended_process()).is_dead()


def test_another_process_with_the_same_number_is_another() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        alive = attrs.evolve(Owner.here(), pid=process.pid, started=ownership._started(process.pid))
        assert not alive.is_dead()
        assert attrs.evolve(alive, started="1").is_dead()
        process.kill()
        process.wait()
    assert alive.is_dead()


def test_nothing_outlives_a_start_of_the_host() -> None:
    assert attrs.evolve(Owner.here(), boot="before").is_dead()


def test_nothing_is_known_of_other_hosts() -> None:
    assert not attrs.evolve(elsewhere(), pid=ended_process()).is_dead()


# -- leases ----------------------------------------------------------------------------------------------------


async def test_a_dead_process_on_this_host_is_taken_over_at_once(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await take(durable, monkeypatch, attrs.evolve(Owner.here(), pid=ended_process()))
    assert await cascade.run(step(1), state=durable.state, run_id="night", on_change="recompute") == 1
    with pytest.raises(cascade.StateError, match="taken over by"):
        await left.put_result("a", 1)


async def test_a_process_elsewhere_is_taken_over_when_its_lease_has_expired(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await take(durable, monkeypatch, elsewhere())
    with pytest.raises(
        cascade.RunInProgressError, match=r"process \d+ on moon; its lease holds for another \d+ s"
    ):
        await cascade.run(step(1), state=durable.state, run_id="night")
    later = time.time() + ownership.LEASE + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert await cascade.run(step(1), state=durable.state, run_id="night", on_change="recompute") == 1
    with pytest.raises(cascade.StateError, match="taken over by"):
        await left.heartbeat()


async def test_a_heartbeat_renews_the_lease(durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    left = await take(durable, monkeypatch, elsewhere())
    later = time.time() + ownership.LEASE - 1
    monkeypatch.setattr(time, "time", lambda: later)
    await left.heartbeat()
    much_later = later + ownership.LEASE - 1
    monkeypatch.setattr(time, "time", lambda: much_later)
    with pytest.raises(cascade.RunInProgressError):
        await cascade.run(step(1), state=durable.state, run_id="night")


async def test_a_second_run_of_one_id_is_refused_and_the_first_goes_on(durable: StoreUnderTest) -> None:
    entered, may_end = anyio.Event(), anyio.Event()

    @cascade.task
    async def wait() -> str:
        entered.set()
        await may_end.wait()
        return "first"

    async def second() -> None:
        await entered.wait()
        with pytest.raises(cascade.RunInProgressError, match="'night' is being executed by process"):
            await cascade.run(wait(), state=durable.state, run_id="night")
        may_end.set()

    async with anyio.create_task_group() as group:
        group.start_soon(second)
        assert await cascade.run(wait(), state=durable.state, run_id="night") == "first"


async def test_a_run_that_has_lost_its_id_ends_in_a_state_error(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    @cascade.task
    async def lose() -> None:
        thief = durable.open("night")
        with monkeypatch.context() as patched:
            patched.setattr(Owner, "is_dead", lambda _: True)
            await thief.begin(OPENING)
        await thief.aclose()

    with pytest.raises(cascade.StateError, match="taken over"):
        await cascade.run(step(lose()), state=durable.state, run_id="night")


async def test_a_run_that_cannot_be_resumed_gives_its_lease_back(durable: StoreUnderTest) -> None:
    await cascade.run(step(1), state=durable.state, run_id="night")
    for _ in range(2):
        with pytest.raises(cascade.FlowChangedError):
            await cascade.run(step(2), state=durable.state, run_id="night")
    assert await cascade.run(step(1), state=durable.state, run_id="night") == 1


async def test_a_run_that_was_cancelled_gives_its_lease_back(durable: StoreUnderTest) -> None:
    entered = anyio.Event()

    @cascade.task(version="1")
    async def once() -> str:
        if not entered.is_set():
            entered.set()
            await anyio.sleep_forever()
        return "done"

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: cascade.run(once(), state=durable.state, run_id="night"))
        await entered.wait()
        group.cancel_scope.cancel()
    assert await cascade.run(once(), state=durable.state, run_id="night") == "done"


RACER = """
import sys
import cascade
sys.path.insert(0, {tests!r})
from state.racing import flow

print("ready", flush=True)
sys.stdin.readline()
try:
    print(cascade.run_sync(flow, state={url!r}, run_id="night"), flush=True)
except cascade.RunInProgressError:
    print("refused", flush=True)
sys.stdin.readline()
"""


def test_of_two_processes_that_race_for_one_id_exactly_one_runs(durable: StoreUnderTest) -> None:
    code = RACER.format(tests=str(Path(__file__).parents[1]), url=durable.state)
    racers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    with selectors.DefaultSelector() as selector:
        for racer in racers:
            assert racer.stdout is not None
            selector.register(racer.stdout, selectors.EVENT_READ)
        selector.select(timeout=60)  # who has the run says nothing before it is told to end
    said = [racer.communicate("\n", timeout=60)[0] for racer in racers]
    assert sorted(said) == ["raced\n", "refused\n"]
