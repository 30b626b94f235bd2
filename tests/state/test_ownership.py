"""One run id, one process: leases, epochs, and who is dead."""

from __future__ import annotations

import json
import selectors
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from plain_tasks import step

import cascade
from cascade.adapters.state import ownership
from cascade.adapters.state.ownership import LEASE, Owner, UncertainHolderError, Vigil
from cascade.runtime.durability.records import Opening
from cascade.state import StateBackend
from state.stores import StoreUnderTest

OPENING = Opening(False, ("target",), b"flow", {})


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
    """A holder on another machine."""
    return attrs.evolve(Owner.here(), host="moon/1", boot="of the moon")


def set_lease(store: StoreUnderTest, until: float) -> None:
    """Have the lease of ``night`` end at *until*, by the clock of the store."""
    if store.name == "sqlite":
        with sqlite3.connect(str(store.state).removeprefix("sqlite:///")) as file:
            file.execute("UPDATE runs SET lease_until = ?", (until,))
        file.close()
        return
    import redis

    with redis.Redis.from_url(store.state) as client:
        lease: Any = client.get("cascade:run:night:lease")
        client.set("cascade:run:night:lease", json.dumps({**json.loads(lease), "until": until}))


# -- who is dead -----------------------------------------------------------------------------------------------


def test_an_owner_is_what_is_read_of_what_was_written() -> None:
    owner = Owner.here()
    assert Owner.read(owner.written()) == owner
    assert set(json.loads(owner.written())) == {"host", "boot", "pid", "started", "token", "until"}
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


def test_equal_names_of_hosts_do_not_make_two_machines_one() -> None:
    other = attrs.evolve(Owner.here(), boot="of another machine", pid=ended_process())
    assert other.host == Owner.here().host
    assert not other.is_dead()


def test_nothing_is_known_where_the_start_of_the_machine_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_boot", lambda: "")
    assert not attrs.evolve(Owner.here(), pid=ended_process()).is_dead()


@pytest.mark.parametrize("table", ["/0", "/1", ""])
def test_nothing_is_known_of_processes_in_another_table(table: str) -> None:
    name = Owner.here().host.partition("/")[0]
    assert not attrs.evolve(Owner.here(), host=name + table, pid=ended_process()).is_dead()


def test_a_host_that_gets_another_name_is_the_same() -> None:
    table = Owner.here().host.rpartition("/")[2]
    assert attrs.evolve(Owner.here(), host=f"renamed/{table}", pid=ended_process()).is_dead()


def test_a_process_that_may_not_be_looked_at_may_be_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        alive = attrs.evolve(Owner.here(), pid=process.pid, started=ownership._started(process.pid))
        monkeypatch.setattr(ownership, "_started", lambda _: "")
        assert not alive.is_dead()
        process.kill()


def test_nothing_is_known_of_other_hosts() -> None:
    assert not attrs.evolve(elsewhere(), pid=ended_process()).is_dead()


@pytest.mark.parametrize("text", ["", "[]", "{}", "5", "null", '{"pid": 1}', '{"pid": "x"}'])
def test_what_names_no_holder_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no holder|Expecting value"):
        Owner.read(text)


# -- whether a run may be taken --------------------------------------------------------------------------------


def judged(vigil: Vigil, now: float, left: float, *, is_certain: bool, lease: str = "lease") -> str:
    vigil.now = now
    try:
        vigil.refuse_if_alive(elsewhere(), lease, left, is_certain=is_certain)
    except cascade.RunInProgressError:
        return "alive"
    except UncertainHolderError:
        return "uncertain"
    return "free"


@pytest.mark.parametrize("is_certain", [True, False])
@pytest.mark.parametrize("left", [0.1, LEASE])
def test_a_lease_that_holds_is_respected(left: float, is_certain: bool) -> None:
    assert judged(Vigil("night"), 0, left, is_certain=is_certain) == "alive"


def test_a_lease_that_has_ended_by_its_own_clock_is_free() -> None:
    assert judged(Vigil("night"), 0, 0, is_certain=True) == "free"


@pytest.mark.parametrize(("left", "is_certain"), [(0, False), (-1e9, False), (LEASE + 1, False), (1e9, True)])
def test_a_lease_by_clocks_that_disagree_is_free_once_it_has_been_as_it_is_for_long(
    left: float, is_certain: bool
) -> None:
    vigil = Vigil("night")
    said = [judged(vigil, now, left, is_certain=is_certain) for now in (5, 6, 5 + LEASE - 1, 5 + LEASE)]
    assert said == ["uncertain", "uncertain", "uncertain", "free"]


def test_a_lease_that_is_renewed_while_it_is_watched_is_respected() -> None:
    vigil = Vigil("night")
    assert judged(vigil, 0, -1, is_certain=False) == "uncertain"
    assert judged(vigil, LEASE, -1, is_certain=False, lease="renewed") == "alive"


# -- leases ----------------------------------------------------------------------------------------------------


async def test_a_dead_process_on_this_host_is_taken_over_at_once(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await take(durable, monkeypatch, attrs.evolve(Owner.here(), pid=ended_process()))
    assert await cascade.run(step(1), state=durable.state, run_id="night", on_change="recompute") == 1
    with pytest.raises(cascade.StateError, match="taken over by"):
        await left.put_result("a", 1)


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
