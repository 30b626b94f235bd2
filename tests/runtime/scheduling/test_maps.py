"""Maps: one call per row, in a nursery of their own, with a list in input order as their value."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from labels import label
from observed import observe
from plain_tasks import give

import cascade
import cascade.cache
from cascade.testing import record_events


@cascade.task
def double(n: Any, m: Any = 2) -> Any:
    return n * m


@cascade.task
async def on_loop(n: Any, m: Any = 2) -> Any:
    return n * m


@cascade.task(mode="inline")
def inline(n: Any, m: Any = 2) -> Any:
    return n * m


@cascade.task
async def fail_on(n: int, bad: Any) -> int:
    if n in bad:
        raise ZeroDivisionError(f"item value {n}")
    return n


@pytest.mark.parametrize("task", [double, on_loop, inline], ids=lambda task: str(task.name))
async def test_a_map_gives_the_results_in_input_order(task: Any, schedule: Any) -> None:
    assert await cascade.run(task.map(n=range(10)), schedule=schedule) == [2 * n for n in range(10)]


async def test_results_are_in_input_order_whatever_order_items_end_in(schedule: Any) -> None:
    events = [anyio.Event() for _ in range(4)]

    @cascade.task
    async def backwards(n: int) -> int:
        if n < 3:
            await events[n + 1].wait()
        events[n].set()
        return n

    assert await cascade.run(backwards.map(n=range(4)), schedule=schedule) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "column",
    [
        [1, 2],
        (1, 2),
        range(1, 3),
        deque([1, 2]),
        iter([1, 2]),
        (n for n in (1, 2)),
        {1: "a", 2: "b"}.keys(),
        give([1, 2]),
        give((1, 2)),
        [give(1), 2],
        cascade.Router(give("k"), {"k": give([1, 2]), "other": give([])}),
        on_loop.map(n=[0.5, 1]),
    ],
    ids=lambda column: type(column).__name__,
)
async def test_a_column_may_be_any_sequence_or_a_lazy_of_one(column: Any, schedule: Any) -> None:
    if type(column).__name__ in ("list_iterator", "generator"):
        column = iter((1, 2))  # each run of this test needs one of its own
    assert await cascade.run(inline.map(n=column), schedule=schedule) == [2, 4]


async def test_an_iterator_is_read_when_map_is_called(schedule: Any) -> None:
    source = iter([1, 2])
    flow = inline.map(n=source)
    assert list(source) == []
    assert await cascade.run([flow, inline.map(n=[1])], schedule=schedule) == [[2, 4], [2]]
    assert await cascade.run(flow, schedule=schedule) == [2, 4]


async def test_rows_are_made_of_the_columns_and_the_fixed_arguments(schedule: Any) -> None:
    @cascade.task
    def row(fixed: Any, a: Any, b: Any, *, late: Any = "default") -> Any:
        return fixed, a, b, late

    flow = row.partial(fixed=[give("f")]).map(a=[1, give(2)], b=("x", "y"))
    assert await cascade.run(flow, schedule=schedule) == [(["f"], 1, "x", "default"), (["f"], 2, "y", "default")]


async def test_all_items_get_the_same_fixed_object(schedule: Any) -> None:
    thing = object()

    @cascade.task
    def fixed_of(n: int, fixed: Any) -> Any:
        return fixed

    values = await cascade.run(fixed_of.partial(fixed=give(thing)).map(n=[0, 1]), schedule=schedule)
    assert all(value is thing for value in values)


async def test_an_empty_map_is_an_empty_list(schedule: Any) -> None:
    seen = await observe([inline.map(n=[]), double.map(n=give([])), inline.map(n=(), m=[])], schedule=schedule)
    assert seen.value == [[], [], []]
    assert not [name for name in seen.started if "[" in name]


@pytest.mark.parametrize("column", ["ab", b"ab", bytearray(b"ab"), {"a": 1}, 5, None], ids=label)
async def test_text_mappings_and_what_is_no_sequence_are_refused_as_columns(column: Any, schedule: Any) -> None:
    with pytest.raises(TypeError, match=r"inline\.map\(\): column 'n'"):
        inline.map(n=column)
    seen = await observe(inline.map(n=give(column)), schedule=schedule)
    assert isinstance(seen.error, TypeError)
    assert "column 'n'" in str(seen.error)
    assert not [name for name in seen.started if "[" in name]


async def test_columns_of_different_lengths_are_an_error_before_any_item_starts(schedule: Any) -> None:
    with pytest.raises(ValueError, match=r"mismatched lengths.*n: 2, m: 3"):
        inline.map(n=[1, 2], m=[1, 2, 3])
    for flow in (inline.map(n=give([1, 2]), m=[1, 2, 3]), inline.map(n=[1, 2], m=give([1, 2, 3]))):
        seen = await observe(flow, schedule=schedule)
        assert isinstance(seen.error, ValueError)
        assert "mismatched lengths (n: 2, m: 3)" in str(seen.error)
        assert not [name for name in seen.started if "[" in name]


# -- items -----------------------------------------------------------------------------------------------------


async def test_items_have_ids_with_their_index(schedule: Any) -> None:
    seen = await observe([inline.map(n=[1, 2]), inline.map(n=[3])], schedule=schedule)
    assert seen.ran == sorted(["inline", "inline[0]", "inline[1]", "inline#2", "inline#2[0]"])
    assert set(seen.finished.values()) == {"Succeeded"}
    assert {event.task_name for event in seen.recorded.of(cascade.NodeEvent)} == {"inline"}


async def test_a_task_in_an_item_knows_its_id(schedule: Any) -> None:
    @cascade.task
    async def me(n: int) -> tuple[str, str]:
        return cascade.current().node_id, cascade.current().idempotency_key.rpartition("/")[2]

    assert await cascade.run(me.map(n=[1, 2]), schedule=schedule) == [("me[0]", "me[0]"), ("me[1]", "me[1]")]


async def test_items_run_side_by_side(schedule: Any) -> None:
    arrived: list[int] = []
    everyone = anyio.Event()

    @cascade.task
    async def meet(n: int) -> int:
        arrived.append(n)
        if len(arrived) == 50:
            everyone.set()
        await everyone.wait()
        return n

    with anyio.fail_after(60):
        assert await cascade.run(meet.map(n=range(50)), schedule=schedule) == [*range(50)]


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_concurrency_caps_the_items_in_flight(limit: int, schedule: Any) -> None:
    in_flight, most = 0, 0

    @cascade.task
    async def count(n: int) -> Any:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await anyio.wait_all_tasks_blocked()
        in_flight -= 1
        return n

    assert await cascade.run(count.map(n=range(15)).with_concurrency(limit), schedule=schedule) == [*range(15)]
    assert most == limit


async def test_an_item_is_in_flight_until_the_flow_that_it_returned_has_ended(schedule: Any) -> None:
    in_flight, most = 0, 0

    @cascade.task
    async def leave(n: int) -> int:
        nonlocal in_flight
        await anyio.wait_all_tasks_blocked()
        in_flight -= 1
        return n

    @cascade.task
    async def enter(n: int) -> Any:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        return leave(n)

    assert await cascade.run(enter.map(n=range(6)).with_concurrency(2), schedule=schedule) == [*range(6)]
    assert most == 2


async def test_items_share_the_limits_of_the_run_and_the_map_itself_claims_nothing(schedule: Any) -> None:
    in_flight, most = 0, 0

    @cascade.task
    async def count(n: int) -> int:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await anyio.wait_all_tasks_blocked()
        in_flight -= 1
        return n

    flow = count.map(n=range(6)).with_constraints(gpu=give(1))
    with anyio.fail_after(60):
        value = await cascade.run(flow, schedule=schedule, system_resources={"gpu": 2})
    assert value == [*range(6)]
    assert most == 2


async def test_a_map_holds_no_thread_while_its_items_need_one(schedule: Any) -> None:
    @cascade.task
    def row(n: int) -> Any:
        return double.map(n=range(n))

    flow = double.map(n=row.map(n=[1, 2, 3]))
    with anyio.fail_after(60):
        value = await cascade.run(flow, schedule=schedule, max_threads=1)
    assert value == [[0, 0], [0, 2, 0, 2], [0, 2, 4, 0, 2, 4]]


async def test_items_get_the_retry_of_the_map_each_for_itself(schedule: Any) -> None:
    tries: Counter[int] = Counter()

    @cascade.task
    async def flaky(n: int) -> int:
        tries[n] += 1
        if tries[n] <= n:
            raise OSError(n)
        return n

    seen = await observe(flaky.map(n=[0, 1, 2]).with_retry(3), schedule=schedule)
    assert seen.value == [0, 1, 2]
    assert tries == {0: 1, 1: 2, 2: 3}
    assert sorted(event.task_id for event in seen.recorded.of(cascade.TaskRetrying)) == ["flaky[1]"] + 2 * [
        "flaky[2]"
    ]


async def test_items_get_the_cache_of_the_map_each_for_itself(schedule: Any) -> None:
    asked: list[Any] = []

    class Odd:
        """Knows the doubles of odd numbers."""

        async def check(self, task_id: str, inputs: Any) -> Any:
            asked.append((task_id, dict(inputs)))
            return cascade.cache.Hit(-1) if inputs["n"] % 2 else cascade.cache.MISS

        async def save(self, task_id: str, inputs: Any, result: Any) -> None:
            asked.append((task_id, result))

    seen = await observe(inline.map(n=[1, 2]).with_cache(Odd()), schedule=schedule)
    assert seen.value == [-1, 4]
    assert seen.skipped == {"inline[0]": "CacheHit"}
    assert sorted(asked, key=repr) == sorted(
        [("inline[0]", {"n": 1, "m": 2}), ("inline[1]", {"n": 2, "m": 2}), ("inline[1]", 4)], key=repr
    )


# -- failures --------------------------------------------------------------------------------------------------


async def test_a_failing_item_names_its_index(schedule: Any) -> None:
    seen = await observe(give(fail_on.partial(bad=[3]).map(n=[1, 2, 3])), schedule=schedule)
    assert isinstance(seen.error, ZeroDivisionError)
    assert any("'fail_on[2]'" in note and "item 2" in note for note in seen.error.__notes__)
    assert seen.finished["fail_on[2]"] == "Failed"
    assert seen.last.failures == ("ZeroDivisionError: item value 3",)


async def test_a_failing_item_cancels_the_others(schedule: Any) -> None:
    others = anyio.Event()

    @cascade.task
    async def item(n: int) -> None:
        if n == 1:
            await others.wait()
            raise ZeroDivisionError
        others.set()
        await anyio.sleep_forever()

    seen = await observe(item.map(n=[0, 1]), schedule=schedule)
    assert isinstance(seen.error, ZeroDivisionError)
    assert seen.finished["item[0]"] == "Cancelled"
    assert seen.finished["item[1]"] == "Failed"


async def test_a_map_whose_item_fails_has_a_last_event_too(schedule: Any) -> None:
    seen = await observe(fail_on.partial(bad=[1]).map(n=[1, 2]), schedule=schedule)
    assert seen.finished.keys() == set(seen.started)


async def test_a_map_that_is_cancelled_has_a_last_event_too(schedule: Any) -> None:
    began = [anyio.Event(), anyio.Event()]

    @cascade.task
    async def item(n: int) -> None:
        began[n].set()
        await anyio.sleep_forever()

    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        async with engine.start(item.map(n=[0, 1])) as run:
            for event in began:
                await event.wait()
            run.cancel()
    ended = {event.task_id: event.status for event in recorded.of(cascade.TaskExecutionFinished)}
    assert ended == {"item": "Cancelled", "item[0]": "Cancelled", "item[1]": "Cancelled"}


@pytest.mark.parametrize("limit", [None, 1, 2])
async def test_the_other_items_run_where_the_run_goes_on_after_failures(limit: int | None, schedule: Any) -> None:
    flow = give(fail_on.partial(bad=[1, 3]).map(n=[0, 1, 2, 3, 4]).with_concurrency(limit))
    seen = await observe(flow, schedule=schedule, on_error="continue")
    assert [str(error) for error in seen.failures()] == ["item value 1", "item value 3"]
    assert len([name for name, status in seen.finished.items() if status == "Succeeded"]) == 3
    assert seen.skipped == {"give": "UpstreamFailed"}


async def test_an_item_whose_computed_claim_is_no_amount_fails(schedule: Any) -> None:
    seen = await observe(inline.map(n=[1]).with_constraints(gpu=give(-1)), schedule=schedule)
    assert isinstance(seen.error, ValueError)
    assert not [name for name in seen.started if "[" in name]


# -- flows in items --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda n: inline(n), [2, 4]),
        (lambda n: [inline(n), n], [[2, 1], [4, 2]]),
        (lambda n: inline.map(n=range(n)), [[0], [0, 2]]),
        (lambda n: cascade.Router(n, {1: "one", 2: inline("two")}), ["one", "twotwo"]),
        (lambda n: n if n == 1 else inline(inline(n)), [1, 8]),
    ],
)
async def test_an_item_may_return_a_flow(make: Callable[[int], Any], expected: Any, schedule: Any) -> None:
    @cascade.task
    async def item(n: int) -> Any:
        return make(n)

    seen = await observe(give(item.map(n=[1, 2])), schedule=schedule)
    assert seen.value == expected
    inner = [name for name in seen.started if name.startswith("item[") and "/" in name]
    assert all(name.split("/")[0] in ("item[0]", "item[1]") for name in inner)
