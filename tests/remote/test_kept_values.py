"""Large values stay where they were made, as long as only remote calls want them."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from observed import observe
from remote_executors import KEEP_ABOVE, kept_open
from remote_tasks import add, large, size_of, sizes_of, total

import cascade
from cascade.executors import (
    AttemptInfo,
    FuturesExecutor,
    KeptValue,
    RemoteCall,
    RemoteExecutor,
    RemoteOutcome,
    Returned,
    Stayed,
    ValuesLost,
)

SIZE = 2 * KEEP_ABOVE


@attrs.frozen
class Box:
    """A record around a value."""

    value: Any


@cascade.task(mode="remote")
def opened(box: Box) -> int:
    """How long what is in it is."""
    return len(box.value)


@cascade.task
def here_size(value: Any) -> int:
    """The same, in this process."""
    return len(value)


class Watching(FuturesExecutor):
    """Keeps what has stayed, and what was let go of; can lose values."""

    def __init__(self) -> None:
        super().__init__(partial(ThreadPoolExecutor, 2), keep_above=KEEP_ABOVE)
        self.begin()

    def begin(self) -> None:
        """Forget everything."""
        self.stayed: list[Any] = []
        self.dropped: list[Any] = []
        self.returned = 0
        self.losses = 0

    async def execute_many(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        if self.losses and any(call.task.name == "sizes_of" for call in calls):
            self.losses -= 1
            super().drop(self.stayed)
        outcomes = await super().execute_many(calls, keep, started)
        self.stayed += [outcome.handle for outcome in outcomes if isinstance(outcome, Stayed)]
        values = [outcome.value for outcome in outcomes if isinstance(outcome, Returned)]
        self.returned += sum(isinstance(value, bytes) and len(value) == SIZE for value in values)
        return outcomes

    def drop(self, handles: Sequence[object]) -> None:
        self.dropped += handles
        super().drop(handles)


@pytest.fixture(scope="module")
def shared() -> Iterator[Watching]:
    """One for all tests here."""
    with kept_open(Watching()) as executor:
        assert isinstance(executor, Watching)
        yield executor


@pytest.fixture
def watching(shared: Watching) -> Watching:
    """The same, that has seen nothing."""
    shared.begin()
    return shared


async def test_a_large_value_travels_by_reference(remote: RemoteExecutor, schedule: Any) -> None:
    value = large(SIZE)
    flow = [size_of(value), size_of(value).with_retry(2), sizes_of([value, value]), sizes_of({"a": value})]

    found = await cascade.run(flow, executor=remote, schedule=schedule)

    assert found == [SIZE, SIZE, [SIZE, SIZE], [SIZE]]


@pytest.mark.parametrize("with_retry", [False, True])
async def test_it_does_not_come_here_and_is_let_go_of_after_its_last_use(
    watching: Watching, schedule: Any, *, with_retry: bool
) -> None:
    value = large(SIZE).with_retry(2) if with_retry else large(SIZE)
    flow = [size_of(value), sizes_of((value,))]
    dropped_before_the_end: list[Any] = []

    @cascade.task
    def look(_: Any) -> None:
        dropped_before_the_end.extend(watching.dropped)

    await cascade.run([*flow, look(flow)], executor=watching, schedule=schedule)

    assert watching.returned == 0
    assert watching.stayed == watching.dropped == dropped_before_the_end
    assert len(watching.stayed) == 1


async def test_a_small_one_comes(watching: Watching) -> None:
    assert await cascade.run(size_of(large(10)), executor=watching) == 10
    assert watching.stayed == []


@pytest.mark.parametrize(
    "flow",
    [
        lambda value: value,
        lambda value: [value, size_of(value)],
        here_size,
        lambda value: [size_of(value), here_size(value)],
        lambda value: add(1).run_if(value),
        lambda value: size_of(value).run_if(add(1)),
        lambda value: cascade.settled(value),
        lambda value: cascade.Router(value, {}, default=add(1)),
        lambda value: opened(Box(value)),
        lambda value: size_of(value).after(value),
        lambda value: cascade.race(value, add(1).after(value)),
    ],
)
async def test_what_is_wanted_here_too_comes(watching: Watching, flow: Any) -> None:
    await cascade.run(flow(large(SIZE)), executor=watching)

    assert watching.stayed == []


async def test_values_of_items_stay_too(watching: Watching, schedule: Any) -> None:
    blocks = large.map(size=[SIZE] * 5)
    flow = [sizes_of(blocks), size_of.map(value=blocks)]

    found = await cascade.run(flow, executor=watching, schedule=schedule)

    assert found == [[SIZE] * 5, [SIZE] * 5]
    assert watching.returned == 0
    gc.collect()
    assert sorted(watching.dropped) == sorted(watching.stayed)
    assert len(watching.stayed) == 5


async def test_with_a_state_it_is_done_and_not_durable(watching: Watching, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"

    observed = await observe(size_of(large(SIZE)), executor=watching, state=state)

    assert observed.value == SIZE
    (warning,) = observed.recorded.of(cascade.EngineWarning)
    assert warning.code == "not-durable"
    assert "'large'" in warning.message
    assert len(watching.stayed) == 1


async def test_with_a_strict_state_it_comes(watching: Watching, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"

    assert await cascade.run(size_of(large(SIZE)), executor=watching, state=state, strict_state=True) == SIZE
    assert watching.stayed == []


@pytest.mark.parametrize("with_retry", [False, True])
async def test_a_lost_value_is_made_again(watching: Watching, schedule: Any, *, with_retry: bool) -> None:
    watching.losses = 1
    value = large(SIZE)
    reader = sizes_of([value])

    observed = await observe(
        [size_of(value), reader.with_retry(2) if with_retry else reader], executor=watching, schedule=schedule
    )

    assert observed.value == [SIZE, [SIZE]]
    (warning,) = observed.recorded.of(cascade.EngineWarning)
    assert warning.code == "value-lost"
    assert "'large' runs again" in warning.message


@pytest.mark.needs("cloudpickle")  # its functions have no importable names
async def test_so_is_one_that_was_made_of_another(watching: Watching) -> None:
    @cascade.task(mode="remote")
    def doubled(value: bytes) -> bytes:
        return value * 2

    watching.losses = 1
    flow = sizes_of([doubled(large(SIZE)).with_retry(2)])

    observed = await observe(flow, executor=watching)

    assert observed.value == [2 * SIZE]
    assert [event.code for event in observed.recorded.of(cascade.EngineWarning)] == ["value-lost"] * 2
    assert set(watching.dropped) >= set(watching.stayed)


async def test_so_is_one_of_a_chain_that_was_one_batch(watching: Watching, schedule: Any) -> None:
    watching.losses = 1

    found = await cascade.run(sizes_of([large(add(SIZE, 1))]), executor=watching, schedule=schedule)

    assert found == [SIZE + 1]
    assert len(watching.stayed) == 2


async def test_making_it_again_outlives_another_worker(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    blows = [1, 1]

    async def execute_many(calls: Sequence[RemoteCall], keep: Any, started: Any) -> Sequence[RemoteOutcome]:
        if watching.stayed and calls[0].task.name == "large" and blows:
            blows.pop()
            started(0, "the worker")
            raise cascade.WorkerLost("the worker", "it is a test")
        return await Watching.execute_many(watching, calls, keep, started)

    watching.losses = 1
    monkeypatch.setattr(watching, "execute_many", execute_many)

    assert await cascade.run(sizes_of([large(SIZE)]), executor=watching) == [SIZE]
    assert not blows


@pytest.mark.needs("cloudpickle")  # its functions have no importable names
async def test_one_that_cannot_be_made_again_spoils_no_other_call(
    watching: Watching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @cascade.task(mode="remote")
    def once(number: int) -> bytes:
        (tmp_path / str(number)).touch(exist_ok=number != 1)
        return bytes(SIZE)

    @cascade.task(mode="remote")
    def size_after(block: bytes, _: Any) -> int:
        return len(block)

    lost: list[int] = []

    async def execute_many(calls: Sequence[RemoteCall], keep: Any, started: Any) -> Sequence[RemoteOutcome]:
        if calls[0].task.name == "size_after" and not lost:
            lost.append(len(calls))
            FuturesExecutor.drop(watching, watching.stayed)
        return await Watching.execute_many(watching, calls, keep, started)

    monkeypatch.setattr(watching, "execute_many", execute_many)
    blocks = [once(number) for number in range(40)]
    together = total([size_of(block) for block in blocks])
    sizes = [size_after(block, together).or_else(-1) for block in blocks]
    found = await cascade.run(sizes, executor=watching)

    assert lost[0] > 1
    assert found == [SIZE, -1, *[SIZE] * 38]


@pytest.mark.needs("cloudpickle")  # its functions have no importable names
async def test_a_run_that_fails_lets_go_of_everything(watching: Watching) -> None:
    @cascade.task(mode="remote")
    def refuse(value: bytes) -> None:
        raise ValueError(len(value))

    with pytest.raises(ValueError, match=str(SIZE)):
        await cascade.run(refuse(large(SIZE)), executor=watching)

    gc.collect()
    assert set(watching.dropped) == set(watching.stayed) != set()


async def test_it_can_be_fetched(remote: RemoteExecutor) -> None:
    about = AttemptInfo("run", "large", 1, (), 0)
    call = RemoteCall(large, (SIZE,), {}, about)
    (outcome,) = await remote.execute_many([call], [True], lambda *_: None)
    assert isinstance(outcome, Stayed)
    value = KeptValue(outcome.handle, outcome.size, outcome.worker)

    assert await remote.fetch(value) == bytes([1]) * SIZE
    assert outcome.size == SIZE
    remote.drop([outcome.handle])
    with pytest.raises(ValuesLost):
        await remote.fetch(value)


def test_it_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="it has stayed on the cluster"):
        pickle.dumps(KeptValue("handle", 1, "worker"))
