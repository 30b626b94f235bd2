"""Plain remote nodes go in batches, which changes nothing in what a run means."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from carried import Unreadable
from observed import observe
from real_time import hold_thread
from remote_executors import KEEP_ABOVE, kept_open
from remote_tasks import CustomError, add, chooses, fail, takes_anything, total, unpicklable

import cascade
from cascade.executors import FuturesExecutor, RemoteCall, RemoteOutcome


class Counting(FuturesExecutor):
    """Keeps how many calls each batch had."""

    def __init__(self) -> None:
        super().__init__(partial(ThreadPoolExecutor, 2), keep_above=KEEP_ABOVE)
        self.sizes: list[int] = []

    async def execute_many(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        self.sizes.append(len(calls))
        return await super().execute_many(calls, keep, started)


@pytest.fixture(scope="module")
def shared() -> Iterator[Counting]:
    """One for all tests here: what is in a batch is the same for all kinds."""
    with kept_open(Counting()) as executor:
        assert isinstance(executor, Counting)
        yield executor


@pytest.fixture
def counting(shared: Counting) -> Counting:
    """The same, with nothing counted."""
    shared.sizes.clear()
    return shared


async def test_many_calls_go_in_few_batches(counting: Counting, schedule: Any) -> None:
    flow = total([add(number) for number in range(200)])

    assert await cascade.run(flow, executor=counting, schedule=schedule) == sum(range(1, 201))
    assert len(counting.sizes) < 60
    assert sum(counting.sizes) >= 201


async def test_items_go_in_batches_too(counting: Counting, schedule: Any) -> None:
    found = await cascade.run(add.map(one=list(range(200))), executor=counting, schedule=schedule)

    assert found == list(range(1, 201))
    assert len(counting.sizes) < 60


async def test_a_chain_is_one_call(counting: Counting, schedule: Any) -> None:
    value = add(0)
    for _ in range(49):
        value = add(value)

    assert await cascade.run(value, executor=counting, schedule=schedule) == 50
    assert counting.sizes == [50]


async def test_a_branching_flow_is_what_it_is_here(counting: Counting, schedule: Any) -> None:
    first = add(1)
    left, right = add(add(first)), add(first, 10)
    flow = [total([left, right, first]), add(other=left, one=right)]

    assert await cascade.run(flow, executor=counting, schedule=schedule) == [4 + 12 + 2, 16]


async def test_what_follows_a_failure_does_not_run(counting: Counting, schedule: Any) -> None:
    flow = add(add(fail(3)))

    observed = await observe(flow, executor=counting, schedule=schedule)

    assert isinstance(observed.error, CustomError)
    assert observed.ran == ["fail"]


async def test_a_failure_tells_what_the_call_before_it_gave(counting: Counting, schedule: Any) -> None:
    with pytest.raises(CustomError) as caught:
        await cascade.run(fail(add(6)), executor=counting, schedule=schedule)
    assert counting.sizes == [2]
    assert caught.value.__notes__[-1].endswith("called with code=7")


async def test_the_rest_goes_on_if_it_is_to(counting: Counting, schedule: Any) -> None:
    flow = [add(1), add(fail(3)), *[add(number) for number in range(20)]]

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(flow, executor=counting, schedule=schedule, on_error="continue")

    assert [type(error) for error in caught.value.exceptions] == [CustomError]
    assert sorted(map(str, caught.value.results.values())) == sorted(map(str, [2, *range(1, 21)]))


@pytest.mark.needs("cloudpickle")  # its functions have no importable names
async def test_failed_items_can_be_collected(counting: Counting, schedule: Any) -> None:
    @cascade.task(mode="remote")
    def half(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number // 2

    flow = half.map(number=list(range(10))).with_errors("collect")
    found = await cascade.run(flow, executor=counting, schedule=schedule)

    assert [type(value).__name__ for value in found] == ["int", "Failed"] * 5


async def test_one_call_that_cannot_be_sent_spoils_no_other(counting: Counting) -> None:
    import threading

    flow = [add(1), takes_anything(threading.Lock()), unpicklable(), *[add(number) for number in range(30)]]

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(flow, executor=counting, on_error="continue")

    assert [type(error) for error in caught.value.exceptions] == [TypeError, TypeError]
    assert len(caught.value.results) == 31


async def test_one_argument_that_cannot_be_read_there_spoils_no_other(counting: Counting) -> None:
    flow = [takes_anything(Unreadable()), *[add(number) for number in range(30)]]

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(flow, executor=counting, on_error="continue")

    (error,) = caught.value.exceptions
    assert "cannot be read in the other process" in str(error)
    assert len(caught.value.results) == 30


async def test_a_call_that_a_node_of_a_chain_returns_runs_in_its_place(counting: Counting, schedule: Any) -> None:
    assert await cascade.run(add(add(chooses(1))), executor=counting, schedule=schedule) == 13


async def test_whoever_listens_hears_of_each_node_once(counting: Counting, schedule: Any) -> None:
    value = add(0)
    for _ in range(9):
        value = add(value)
    observed = await observe([value, *[add(number) for number in range(30)]], executor=counting, schedule=schedule)

    begun = Counter(event.task_id for event in observed.recorded.of(cascade.TaskExecutionStarted))
    ended = Counter(event.task_id for event in observed.recorded.of(cascade.TaskExecutionFinished))
    assert begun == ended
    assert set(begun.values()) == {1}
    assert len(begun) == 40
    assert all(event.worker for event in observed.recorded.of(cascade.TaskExecutionFinished))


@pytest.mark.needs("cloudpickle")  # its functions have no importable names
async def test_long_calls_are_not_kept_together(counting: Counting, tmp_path: Path) -> None:
    @cascade.task(mode="remote")
    def long(number: int) -> str:
        hold_thread(0.12)
        return threading.current_thread().name + str(number)

    names = await cascade.run(long.map(number=list(range(8))), executor=counting)

    assert len({name[:-1] for name in names}) == 2


async def test_outcomes_are_recorded_and_used_again(counting: Counting, tmp_path: Path, schedule: Any) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    sum_up = total([add(number) for number in range(50)])
    flow = [sum_up, fail(1).after(sum_up)]

    for _ in range(2):
        with pytest.raises(CustomError):
            await cascade.run(flow, executor=counting, state=state, run_id="a", schedule=schedule)

    assert sum(counting.sizes) <= 51 + 1 + 1


async def test_a_rule_that_comes_meanwhile_holds_what_is_not_handed_over(counting: Counting) -> None:
    flow = total([add(number) for number in range(300)])

    async with cascade.start(flow, executor=counting) as run:
        await run.pause()
        handed_over = sum(counting.sizes)
        await cascade.run(add(1), executor=counting)  # another run goes on
        assert sum(counting.sizes) == handed_over + 1
        await run.limit(concurrency=1)
        await run.resume()
        assert await run.result() == sum(range(1, 301))


async def test_workers_that_come_late_get_their_share() -> None:
    """At first there is no worker, and later there are four: eight batches are under way then."""

    class Growing(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.under_way, self.are_all_busy = 0, anyio.Event()

        @property
        def slots(self) -> int:
            return 4 if len(self.sizes) > 2 else 0

        async def execute_many(
            self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
        ) -> Sequence[RemoteOutcome]:
            outcomes = await super().execute_many(calls, keep, started)
            self.under_way += 1
            if self.under_way == 8:
                self.are_all_busy.set()
            if self.slots:
                await self.are_all_busy.wait()
            self.under_way -= 1
            return outcomes

    with anyio.fail_after(30):
        found = await cascade.run(add.map(one=list(range(5_000))), executor=Growing())
    assert found == list(range(1, 5_001))


async def test_a_lost_batch_is_made_again_call_by_call() -> None:
    """The worker is lost once, with whatever it had begun; nobody hears of that twice."""

    class Losing(Counting):
        is_lost = False

        async def execute_many(
            self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
        ) -> Sequence[RemoteOutcome]:
            outcomes = await super().execute_many(calls, keep, started)
            if len(calls) > 1 and not self.is_lost:
                self.is_lost = True
                started(0, "the worker")
                raise cascade.WorkerLost("the worker", "it is a test")
            return outcomes

    losing = Losing()
    observed = await observe(total([add(number) for number in range(60)]), executor=losing)

    assert observed.value == sum(range(1, 61))
    begun = Counter(event.task_id for event in observed.recorded.of(cascade.TaskExecutionStarted))
    assert set(begun.values()) == {1}
    assert losing.sizes.count(1) >= 2


async def test_a_batch_that_is_lost_before_it_begins_is_handed_over_again() -> None:
    class Losing(Counting):
        losses = 2

        async def execute_many(
            self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
        ) -> Sequence[RemoteOutcome]:
            if self.losses:
                self.losses -= 1
                raise cascade.WorkerLost("the worker", "it is a test")
            return await super().execute_many(calls, keep, started)

    assert await cascade.run([add(1), add(2).with_retry(2)], executor=Losing()) == [2, 3]


@pytest.mark.parametrize("call", [add(1), add(1).with_timeout(60)])
async def test_one_that_is_lost_again_and_again_fails(call: Any) -> None:
    class Losing(Counting):
        async def execute_many(self, *_: Any) -> Sequence[RemoteOutcome]:
            self.sizes.append(1)
            raise cascade.WorkerLost("the worker", "it is a test")

    losing = Losing()
    with pytest.raises(cascade.WorkerLost, match="worker 'the worker' was lost: it is a test") as raised:
        await cascade.run(call, executor=losing)
    assert len(losing.sizes) == 4
    assert not raised.value.has_begun
    assert "Retry" not in str(raised.value)
    assert "before the call began" in str(raised.value)


async def test_a_retry_makes_no_attempt_of_one_that_is_lost_again_and_again_before_it_begins() -> None:
    class Losing(Counting):
        async def execute_many(self, *args: Any) -> Sequence[RemoteOutcome]:
            if self.sizes:
                self.sizes.append(1)
                raise cascade.WorkerLost("the worker", "it is a test")
            return await super().execute_many(*args)

    losing = Losing()
    with anyio.fail_after(30), pytest.raises(cascade.WorkerLost, match="before the call began"):
        await cascade.run(fail(1).with_retry(3), executor=losing)
    assert len(losing.sizes) == 5


async def test_a_retry_ends_when_the_cluster_is_gone() -> None:
    class Gone(Counting):
        async def execute_many(self, *args: Any) -> Sequence[RemoteOutcome]:
            if self.sizes:
                self.sizes.append(1)
                raise ConnectionError("the cluster is gone")
            return await super().execute_many(*args)

    gone = Gone()
    with anyio.fail_after(30), pytest.raises(ConnectionError, match="the cluster is gone"):
        await cascade.run(fail(1).with_retry(3), executor=gone)
    assert len(gone.sizes) == 2


async def test_a_cluster_that_is_gone_fails_the_run_once() -> None:
    class Gone(Counting):
        async def execute_many(self, *_: Any) -> Sequence[RemoteOutcome]:
            raise ConnectionError("the cluster is gone")

    async with cascade.start(add.map(one=list(range(500))), executor=Gone()) as run:
        with pytest.raises(ConnectionError, match="the cluster is gone"):
            await run.result()
    assert len(run.failures) <= 4
