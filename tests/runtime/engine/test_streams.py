"""``run.stream``: outcomes as they come, values themselves."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from life import until

import cascade
from cascade.model.outcomes import Done, Failed, Skipped
from cascade.state import InMemoryStateBackend


@cascade.task
async def double(n: Any) -> Any:
    return 2 * n


@cascade.task(mode="inline")
def box(n: Any) -> list[Any]:
    return [n]


@cascade.task
def in_thread(n: Any) -> Any:
    return 2 * n


async def outcomes(run: Any, x: Any, **settings: Any) -> list[tuple[Any, Any]]:
    async with run.stream(x, **settings) as values:
        return [pair async for pair in values]


@pytest.mark.parametrize("task", [double, in_thread], ids=["async", "thread"])
@pytest.mark.parametrize("by_id", [False, True])
async def test_the_items_of_a_map_come_with_their_values(task: Any, by_id: bool, schedule: Any) -> None:
    flow = task.map(n=range(700))
    async with cascade.start(flow, schedule=schedule) as run:
        found = await outcomes(run, task.name if by_id else flow)
        assert sorted(found) == [(n, Done(2 * n)) for n in range(700)]
        assert await run.result() == [2 * n for n in range(700)]


async def test_items_come_as_they_end_and_not_in_order(schedule: Any) -> None:
    ended = [anyio.Event() for _ in range(3)]

    @cascade.task
    async def wait(n: int) -> int:
        await ended[n].wait()
        return n

    flow = wait.map(n=range(3))
    async with cascade.start(flow, schedule=schedule) as run, run.stream(flow) as values:
        for n in (1, 2, 0):
            ended[n].set()
            assert await anext(values) == (n, Done(n))
        with pytest.raises(StopAsyncIteration):
            await anext(values)


async def test_values_are_the_objects_themselves(schedule: Any) -> None:
    flow = box.map(n=[1])
    async with cascade.start(flow, schedule=schedule) as run:
        ((_, outcome),) = await outcomes(run, flow)
        assert outcome.unwrap() is (await run.result())[0]


async def test_the_members_of_a_container_come_by_position_or_key(schedule: Any) -> None:
    one, many = double(1), double.map(n=[1, 2])
    target = [one, many, one]
    async with cascade.start(target, schedule=schedule) as run, anyio.create_task_group() as group:
        found: dict[str, Any] = {}

        async def keep(name: str, x: Any) -> None:
            found[name] = await outcomes(run, x)

        for name, x in {"target": target, "named": {"a": one, "b": many}, "one": one, "none": ()}.items():
            group.start_soon(keep, name, x)
    assert sorted(found["target"], key=str) == [(0, Done(2)), (1, Done([2, 4])), (2, Done(2))]
    assert dict(found["named"]) == {"a": Done(2), "b": Done([2, 4])}
    assert found["one"] == [(0, Done(2))]
    assert found["none"] == []


async def test_maps_that_follow_each_other_are_streamed_whole_or_by_item() -> None:
    first = double.map(n=range(3))
    last = double.map(n=first)
    async with cascade.start(last, schedule="eager") as run:
        whole, items = run.stream([first, last]), run.stream(first)
        async with whole as values:
            assert [pair async for pair in values] == [(0, Done([0, 2, 4])), (1, Done([0, 4, 8]))]
        async with items as values:
            assert sorted([pair async for pair in values]) == [(0, Done(0)), (1, Done(2)), (2, Done(4))]


async def test_a_list_that_is_kept_no_more_cannot_be_streamed_whole() -> None:
    go_on = anyio.Event()

    @cascade.task
    async def wait(n: int) -> int:
        await go_on.wait()
        return n

    first = wait.map(n=range(3))
    async with cascade.start(double.map(n=first), schedule="eager") as run:
        await until(lambda: "double" in run.status().running)
        with pytest.raises(ValueError, match="keeps no list"):
            run.stream([first])
        go_on.set()
        assert sorted(await outcomes(run, first)) == [(n, Done(n)) for n in range(3)]


async def test_failed_and_skipped_calls_have_outcomes(schedule: Any) -> None:
    @cascade.task
    async def fail(n: int) -> int:
        if n:
            raise ZeroDivisionError
        return n

    failing = fail.map(n=[0, 1]).with_retry(2)
    skipped = double(1).run_if(double(0))
    settings: dict[str, Any] = {"schedule": schedule, "on_error": "continue"}
    with pytest.raises(cascade.RunFailed):
        async with cascade.start([failing, skipped, double(failing)], **settings) as run:
            items, others = run.stream(failing), run.stream({"skipped": skipped, "below": "double#3"})
            async with items as values:
                found = dict([pair async for pair in values])
            async with others as values:
                rest = dict([pair async for pair in values])
    assert found[0] == Done(0)
    assert isinstance(found[1], Failed)
    assert isinstance(found[1].error, ZeroDivisionError)
    assert (found[1].task_id, found[1].attempts) == ("fail[1]", 2)
    with pytest.raises(ZeroDivisionError):
        found[1].unwrap()
    reasons = cascade.SkipReason
    assert rest == {"skipped": Skipped(reasons.CONDITION_FALSE), "below": Skipped(reasons.UPSTREAM_FAILED)}
    with pytest.raises(cascade.DependencyMissingError):
        rest["skipped"].unwrap()


@pytest.mark.parametrize("task", [double, box, in_thread], ids=["async", "inline", "thread"])
async def test_no_attempt_starts_while_too_much_is_unread(task: Any, schedule: Any) -> None:
    begun: list[int] = []

    async def note(n: int) -> int:
        begun.append(n)
        return n

    def note_sync(n: int) -> int:
        begun.append(n)
        return n

    made = cascade.task(note) if task is double else cascade.task(note_sync, mode=task.mode)
    flow = made.map(n=range(100))
    async with cascade.start(flow, schedule=schedule, max_threads=2) as run, run.stream(flow, buffer=3) as values:
        await until(lambda: values.statistics().unread >= 3)
        await anyio.wait_all_tasks_blocked()
        assert len(begun) <= 6
        assert "unread" in str(run.explain()) or not run.explain()
        count = 0
        async for _ in values:
            count += 1
            assert len(begun) <= count + 6
        assert count == 100


async def test_whoever_leaves_early_holds_nothing_up(schedule: Any) -> None:
    flow = double.map(n=range(100))
    async with cascade.start(flow, schedule=schedule) as run:
        async with run.stream(flow, buffer=1) as values:
            await anext(values)
        assert await run.result() == [2 * n for n in range(100)]


async def test_a_stream_ends_with_the_run() -> None:
    @cascade.task
    async def forever(n: int) -> None:
        await anyio.sleep_forever()

    flow = forever.map(n=range(3))
    async with cascade.start(flow) as run, run.stream(flow) as values:
        await until(lambda: "forever" in run.status().running)
        run.cancel()
        assert [pair async for pair in values] == []
    assert await outcomes(run, flow) == []


async def test_what_has_ended_before_is_left_out() -> None:
    go_on = anyio.Event()

    @cascade.task
    async def wait(n: Any) -> Any:
        await go_on.wait()
        return n

    first = double(2)
    async with cascade.start(wait(first)) as run:
        await until(lambda: "wait" in run.status().running)
        assert await outcomes(run, first) == []
        go_on.set()
        assert await outcomes(run, "wait") == [(0, Done(4))]


async def test_items_that_a_record_has_come_too(schedule: Any) -> None:
    stores: dict[str, InMemoryStateBackend] = {}
    is_broken = [True]

    @cascade.task(version="1")
    async def break_off(values: Any) -> Any:
        if is_broken:
            raise ZeroDivisionError
        return values

    first = double.map(n=range(3))
    engine = cascade.Engine(
        schedule=schedule, state=lambda run_id: stores.setdefault("one", InMemoryStateBackend("one"))
    )
    with pytest.raises(ZeroDivisionError):
        await engine.run(break_off(first), run_id="one")
    is_broken.clear()
    async with engine.start(break_off(first), run_id="one") as run:
        assert await outcomes(run, first) == [(n, Done(2 * n)) for n in range(3)]


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (5, TypeError, "stream takes a call"),
        ([5], TypeError, "stream takes calls"),
        (double(2), ValueError, "is no call of the flow"),
        ("nothing", ValueError, "is no call of the flow"),
    ],
    ids=repr,
)
async def test_what_is_not_in_the_flow_cannot_be_streamed(x: Any, error: Any, match: str) -> None:
    async with cascade.start(double(1)) as run:
        with pytest.raises(error, match=match):
            run.stream(x)
        with pytest.raises(ValueError, match="buffer"):
            run.stream("double", buffer=0)


async def test_a_copy_that_says_more_of_a_call_is_the_same_call() -> None:
    flow = double.map(n=[1]).with_retry(2)
    async with cascade.start(flow) as run:
        stream = run.stream(flow.with_concurrency(1))
        async with stream as values:
            assert [pair async for pair in values] == [(0, Done(2))]
        assert "items of 'double'" in repr(stream)


async def test_recorded_failures_of_a_collected_map_are_failures(schedule: Any) -> None:
    is_broken = True

    @cascade.task
    async def fragile(n: int) -> int:
        if n:
            raise ValueError("one")
        return n

    @cascade.task
    async def final(values: list[Any]) -> int:
        if is_broken:
            raise RuntimeError("not yet")
        return len(values)

    mapped = fragile.map(n=[0, 1]).with_errors("collect")
    state = cascade.state.InMemoryStateBackend("r")
    settings: Any = {"state": lambda _: state, "run_id": "r", "schedule": schedule}
    with pytest.raises(RuntimeError, match="not yet"):
        await cascade.run(final(mapped), **settings)
    is_broken = False
    async with cascade.start(final(mapped), **settings) as run, run.stream(mapped) as values:
        found = dict([pair async for pair in values])
    assert found[0] == Done(0)
    assert isinstance(found[1], Failed)
    assert str(found[1].error) == "one"


@cascade.task(mode="inline")
def same(n: Any) -> Any:
    return n


@cascade.task(mode="inline")
def count_down(n: int, last: Any = None) -> Any:
    return count_down(n - 1, same(n)) if n else ("done", last)


@cascade.task
async def count_down_async(n: int) -> Any:
    await anyio.lowlevel.checkpoint()
    return count_down_async(n - 1) if n else ("done", n)


@cascade.task
def count_down_in_thread(n: int) -> Any:
    return count_down_in_thread(n - 1) if n else ("done", n)


@cascade.task
async def begin(n: int) -> Any:
    return same(count_down_async(n))


COUNTED = [
    (count_down(5, same(9)), ("done", 1)),
    (count_down_async(5), ("done", 0)),
    (count_down_in_thread(5), ("done", 0)),
    (begin(2), ("done", 0)),  # the node whose value it is has another name than the first
]


@pytest.mark.parametrize(("flow", "value"), COUNTED, ids=["inline", "async", "thread", "another target"])
async def test_of_a_loop_the_last_value_is_the_outcome(flow: Any, value: Any, schedule: Any) -> None:
    async with cascade.start(flow, schedule=schedule) as run:
        assert await outcomes(run, flow) == [(0, Done(value))]
        assert await run.result() == value


async def test_what_has_the_id_of_the_target_in_a_later_turn_is_another_node(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def again(n: int) -> Any:
        return box(again(n - 1)) if n else 7

    flow = again(1)
    async with cascade.start([flow], schedule=schedule) as run:
        assert await outcomes(run, flow) == [(0, Done([7]))]
    async with cascade.start(flow, schedule=schedule) as run:
        assert await outcomes(run, [flow]) == [(0, Done([7]))]


async def test_other_nodes_of_a_loop_are_those_of_its_first_turn(schedule: Any) -> None:
    first = same(9)
    flow = count_down(3, first)
    async with cascade.start(flow, schedule=schedule) as run:
        assert await outcomes(run, [first, flow]) == [(0, Done(9)), (1, Done(("done", 1)))]


async def test_a_router_of_loops_gives_the_value_of_the_one_that_is_taken(schedule: Any) -> None:
    one, other = count_down_async(3), count_down(3)
    flow = cascade.Router(same("one"), {"one": one, "other": other})
    async with cascade.start(flow, schedule=schedule) as run:
        found = await outcomes(run, [one, other])
    assert found == [
        (1, Skipped(cascade.SkipReason.PRUNED)),
        (0, Done(("done", 0))),
    ]


@pytest.mark.parametrize("on_error", ["first", "continue"])
@pytest.mark.parametrize("fails_in", ["target", "argument"])
async def test_a_loop_that_fails_is_a_failure_of_its_target(on_error: Any, fails_in: str, schedule: Any) -> None:
    error = ZeroDivisionError("bad")

    @cascade.task(mode="inline")
    def fail(_: Any) -> Any:
        raise error

    @cascade.task(mode="inline")
    def turn(n: int, _: Any = None) -> Any:
        if n == 0:
            raise error
        return turn(n - 1, fail(n) if n == 2 and fails_in == "argument" else same(n))

    flow = turn(4)
    async with cascade.start(flow, schedule=schedule, on_error=on_error) as run:
        ((index, outcome),) = await outcomes(run, flow)
        with pytest.raises((ZeroDivisionError, cascade.RunFailed)):
            await run.result()
    assert (index, type(outcome)) == (0, Failed)
    assert (outcome.error, outcome.task_id) == (error, "turn")


async def test_a_loop_that_is_cancelled_has_no_outcome(schedule: Any) -> None:
    is_late = anyio.Event()

    @cascade.task
    async def turn(n: int) -> Any:
        if n:
            return turn(n - 1)
        is_late.set()
        return await anyio.sleep_forever()

    flow = turn(3)
    async with cascade.start(flow, schedule=schedule) as run:
        async with run.stream(flow) as values:
            await is_late.wait()
            run.cancel()
            assert [pair async for pair in values] == []
        with pytest.raises(cascade.RunCancelled):
            await run.result()


@pytest.mark.parametrize("waits", ["async", "inline"])
async def test_a_stream_may_be_opened_in_a_later_turn(waits: str, schedule: Any) -> None:
    turned, go_on = anyio.Event(), anyio.Event()
    left = 2_000

    @cascade.task(mode="inline")
    def turn(n: int, _: Any) -> Any:
        if n == left - 1_000:
            turned.set()
        return turn(n - 1 if go_on.is_set() or n > 2 else n, same(n)) if n else "done"

    @cascade.task
    async def turn_async(n: int, _: Any) -> Any:
        if n == 1:
            turned.set()
            await go_on.wait()
        return turn_async(n - 1, same(n)) if n else "done"

    first = same(0)
    flow = (turn_async if waits == "async" else turn)(left, first)
    async with cascade.start(flow, schedule=schedule) as run:
        await turned.wait()
        streams = [run.stream(first), run.stream(flow)]
        go_on.set()
        found = []
        for stream in streams:
            async with stream as values:
                found.append([pair async for pair in values])
    assert found == [[], [(0, Done("done"))]]


async def test_a_loop_that_is_resumed_later_gives_the_value_too(schedule: Any) -> None:
    stores: dict[str, InMemoryStateBackend] = {}
    is_broken = True

    @cascade.task(version="1")
    async def turn(n: int) -> Any:
        if n == 2 and is_broken:
            raise ZeroDivisionError
        return turn(n - 1) if n else "done"

    engine = cascade.Engine(
        schedule=schedule,
        loop_record=(1, 0),
        state=lambda run_id: stores.setdefault("one", InMemoryStateBackend("one")),
    )
    flow = turn(5)
    with pytest.raises(ZeroDivisionError):
        await engine.run(flow, run_id="one")
    is_broken = False
    async with engine.start(flow, run_id="one") as run:
        assert await outcomes(run, flow) == [(0, Done("done"))]
