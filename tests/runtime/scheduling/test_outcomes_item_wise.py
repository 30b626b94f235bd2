"""Maps that follow maps which collect failures, or ``settled`` ones: an item gets how the item above ended."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from life import until
from observed import observe
from outcome_tasks import WAYS, collected, odd_ones_fail, odd_ones_fail_in_threads, said, slow, tell
from plain_tasks import give

import cascade
from cascade import Done, Failed, settled
from cascade.testing import simulate

run_eager = partial(cascade.run, schedule="eager")
TASKS = [odd_ones_fail, odd_ones_fail_in_threads]


@pytest.fixture(params=["first", "group", "continue"])
def on_error(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# -- what an item gets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS, ids=["async", "thread"])
async def test_an_item_gets_the_value_or_the_failure_of_the_item_above(
    task: Any, schedule: Any, on_error: Any
) -> None:
    flow = tell.map(x=task.map(n=range(3)).with_errors("collect"))
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    assert seen.value == [0, "ValueError 1 of odd_ones_fail[1] (1), 1", 2]
    assert seen.last.failures == ()


@pytest.mark.parametrize("task", TASKS, ids=["async", "thread"])
@pytest.mark.parametrize("collects", [False, True])
async def test_an_item_gets_the_outcome_of_the_item_above(
    task: Any, collects: bool, schedule: Any, on_error: Any
) -> None:
    mapped = task.map(n=give([0, 1, 2])).with_retry(2)
    flow = tell.map(x=settled(collected(mapped) if collects else mapped))
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    assert seen.value == [("done", 0), "ValueError 1 of odd_ones_fail[1] (2), 1", ("done", 2)]
    assert (seen.last.failures, seen.last.status) == ((), "Succeeded")
    failed = [event for event in seen.recorded.of(cascade.TaskExecutionFinished) if event.status == "Failed"]
    assert all(event.handled for event in failed)
    assert {event.task_id for event in failed} - {"odd_ones_fail"} == {"odd_ones_fail[1]"}
    assert seen.finished["odd_ones_fail"] == ("Succeeded" if collects else "Failed")


async def test_a_settled_map_is_one_outcome_everywhere_else(schedule: Any) -> None:
    outcome = settled(odd_ones_fail.map(n=[0, 2]))
    other = settled(odd_ones_fail.map(n=[0, 1]))
    flow = [outcome, tell.map(x=outcome), tell(other), tell.map(x=other), give([other]), tell.map(x=[other])]
    found = await cascade.run(flow, schedule=schedule)
    whole = "ValueError 1 of odd_ones_fail#2[1] (1), None"
    assert found[:2] == [Done([0, 2]), [("done", 0), ("done", 2)]]
    assert found[2:4] == [whole, [("done", 0), whole.replace("None", "1")]]
    assert [said(found[4][0]), found[5]] == [whole, [whole]]


async def test_a_row_may_have_values_failures_and_outcomes(schedule: Any) -> None:
    @cascade.task
    async def row(*, a: Any, b: Any, c: Any, d: Any) -> Any:
        return [said(each) for each in (a, b, c, d)]

    even = odd_ones_fail.map(n=[0, 2])
    odd = odd_ones_fail.map(n=[1, 4])
    flow = row.map(a=even, b=settled(even), c=settled(odd), d=settled(odd))
    failure = "ValueError 1 of odd_ones_fail#2[1] (1), 0".replace("[1]", "[0]")
    assert await cascade.run(flow, schedule=schedule) == [
        [0, ("done", 0), failure, failure],
        [2, ("done", 2), ("done", 4), ("done", 4)],
    ]


async def test_outcomes_go_on_through_several_maps(schedule: Any) -> None:
    @cascade.task
    async def value(x: Any) -> Any:
        return x.unwrap()

    flow = tell.map(x=settled(value.map(x=settled(odd_ones_fail.map(n=range(3))))))
    found = await cascade.run(flow, schedule=schedule)
    assert [found[0], found[2]] == [("done", 0), ("done", 2)]
    assert found[1].startswith("ValueError 1 of ")
    assert found[1].endswith(", 1")


async def test_outcomes_that_items_return_are_values(schedule: Any) -> None:
    flow = tell.map(x=settled(give.map(value=settled(odd_ones_fail.map(n=range(2))))))
    kinds = [(tag, type(value)) for tag, value in await cascade.run(flow, schedule=schedule)]
    assert kinds == [("done", Done), ("done", Failed)]


async def test_so_are_failures_that_items_return_whose_map_collects_failures(schedule: Any) -> None:
    @cascade.task
    async def hand_on(x: Any) -> Any:
        return x.unwrap() if isinstance(x, Done) else x

    @cascade.task
    async def twice(x: Any) -> Any:
        if isinstance(x, Failed):
            raise KeyError(x.task_id)
        return odd_ones_fail(n=1)

    handed = tell.map(x=settled(collected(hand_on.map(x=settled(odd_ones_fail.map(n=[0, 1]))))))
    failed = tell.map(x=settled(collected(twice.map(x=settled(odd_ones_fail.map(n=[0, 1]))))))
    found = await cascade.run([handed, failed], schedule=schedule)
    assert found[0][0] == ("done", 0)
    assert (found[0][1][0], said(found[0][1][1])) == ("done", "ValueError 1 of odd_ones_fail[1] (1), 1")
    assert found[1][0] == "ValueError 1 of twice[0]/odd_ones_fail (1), 0"
    assert found[1][1] == "KeyError 'odd_ones_fail#2[1]' of twice[1] (1), 1"


async def test_a_map_of_no_items_has_no_outcomes(schedule: Any) -> None:
    assert await cascade.run(tell.map(x=settled(odd_ones_fail.map(n=give([])))), schedule=schedule) == []


async def test_a_skipped_follower_hands_the_outcomes_on_as_a_list(schedule: Any) -> None:
    skipped = tell.map(x=settled(odd_ones_fail.map(n=[0, 1]))).run_if(give(False))
    value = await cascade.run(give(skipped), schedule=schedule)
    assert type(value) is list
    assert [said(outcome) for outcome in value] == [("done", 0), "ValueError 1 of odd_ones_fail[1] (1), 1"]


@pytest.mark.parametrize(
    "what", [give(1), cascade.Router(give(1), {1: give.map(value=[1])}), settled(give(1))], ids=repr
)
def test_the_outcome_of_what_is_no_map_is_no_column(what: Any) -> None:
    with pytest.raises(
        TypeError, match=r"tell\.map\(\): column 'x' is settled\(.*single outcome.*\.partial\(x="
    ) as raised:
        tell.map(x=settled(what))
    assert "settle a mapped lazy" in str(raised.value)


# -- where maps stand ------------------------------------------------------------------------------------------


def told_twice(values: Any) -> Any:
    return tell.map(x=settled(tell.map(x=collected(odd_ones_fail.map(n=values)))))


async def test_in_turns_of_loops_and_in_flows_that_are_returned(schedule: Any) -> None:
    @cascade.task
    async def count(outcomes: Any) -> int:
        return sum(isinstance(outcome, tuple) for outcome in outcomes)

    @cascade.task
    async def turn(found: int, left: int) -> Any:
        return turn(count(told_twice(range(found + 1))), left - 1) if left else found

    @cascade.task
    async def ask(n: int) -> Any:
        return count(told_twice(range(n)))

    assert await cascade.run(turn(1, 4), schedule=schedule) == 5
    assert await cascade.run(ask.map(n=settled(give.map(value=[1])).call), schedule=schedule) == [1]
    assert await cascade.run(ask.map(n=range(4)), schedule=schedule) == [0, 1, 2, 3]


@pytest.mark.parametrize("key", ["told", "other"])
async def test_behind_routers(key: str, schedule: Any) -> None:
    mapped = odd_ones_fail.map(n=[0, 1])
    routes = {"told": tell.map(x=settled(mapped)), "other": give("other")}
    seen = await observe(give(cascade.Router(give(key), routes)), schedule=schedule)
    if key == "told":
        assert seen.value == [("done", 0), "ValueError 1 of odd_ones_fail[1] (1), 1"]
    else:
        assert seen.value == "other"
        assert seen.skipped == {"odd_ones_fail": "Pruned", "tell": "Pruned"}


@pytest.mark.parametrize("way", [lambda mapped: mapped, settled], ids=["values", "outcomes"])
async def test_who_takes_how_a_map_ends_has_that_though_its_follower_loses_a_race(way: Any, schedule: Any) -> None:
    begun: list[str] = []
    may_win, may_end = anyio.Event(), anyio.Event()

    @cascade.task
    async def fetch(n: int) -> int:
        if n:
            begun.append("fetch")
            await may_end.wait()
        return n

    @cascade.task
    async def win() -> str:
        await may_win.wait()
        return "won"

    @cascade.task
    async def forever(x: Any) -> None:
        begun.append("forever")
        await anyio.sleep_forever()

    mapped = fetch.map(n=[0, 1])
    flow = [cascade.race(forever.map(x=way(mapped)), win()), settled(mapped)]
    async with cascade.start(flow, schedule=schedule) as run:
        await until(lambda: ("forever" if schedule == "eager" else "fetch") in begun)
        may_win.set()
        await until(lambda: run.status().counts["succeeded"] == 2)
        may_end.set()
        assert await run.result() == ["won", Done([0, 1])]


@pytest.mark.needs("trio")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("way", WAYS)
def test_a_simulation_is_the_same_on_both_backends(way: Any, seed: int) -> None:
    first = slow.map(n=range(6), pause=[0.1, 0.2, 0, 0, 1, 0.1], fails=[False, True] * 3)
    flow = tell.map(x=way(first))
    played = [simulate(flow, seed=seed, backend=name, schedule="eager") for name in ("asyncio", "trio")]
    assert played[0].value == played[1].value
    assert [str(value)[:10] for value in played[0].value[1::2]] == 3 * ["ValueError"]
    assert str(played[0].trace) == str(played[1].trace)


async def test_explain_names_the_map_whose_outcomes_are_missing(schedule: Any) -> None:
    @cascade.task
    async def wait(n: int) -> int:
        await anyio.sleep_forever()
        return n

    flow = tell.map(x=settled(wait.map(n=[1]))).run_if(give(False).after(wait.map(n=[2])))
    async with cascade.start(flow, schedule=schedule) as run:
        await until(lambda: "wait" in run.status().running)
        (why,) = [each for each in run.explain() if each.node_id == "tell"]
        assert "map 'wait' has not ended, of which it takes the outcomes" in str(why)
        run.cancel()


def test_pictures_show_that_it_is_an_outcome_for_each_item() -> None:
    flow = [tell.map(x=settled(odd_ones_fail.map(n=[1]))), tell(settled(odd_ones_fail.map(n=[1])))]
    text = cascade.visualize(flow, "text")
    assert "tell[...] <- settled[...]" in text
    assert "settled[...] <- odd_ones_fail[...] (outcome)" in text
    assert "settled#2 <- odd_ones_fail#2[...] (outcome)" in text
    assert 'label="settled[...]"' in cascade.visualize(flow, "dot")
    assert "settled" in cascade.visualize(flow, "svg")


@pytest.mark.parametrize("way", WAYS)
async def test_both_maps_can_be_streamed(way: Any, schedule: Any) -> None:
    first = odd_ones_fail.map(n=range(3))
    last = tell.map(x=way(first))
    async with (
        cascade.start(last, schedule=schedule) as run,
        run.stream("odd_ones_fail") as above,
        run.stream(last) as below,
    ):
        found = {index: said(outcome) async for index, outcome in above}
        told = {index: outcome.unwrap() async for index, outcome in below}
        value = await run.result()
    assert {index: str(one)[:16] for index, one in found.items()} == {
        0: "('done', 0)", 1: "ValueError 1 of ", 2: "('done', 2)",
    }  # fmt: skip
    assert [told[index] for index in range(3)] == value


def test_the_sizes_of_followers_are_known_before() -> None:
    async def main() -> None:
        flow = tell.map(x=settled(odd_ones_fail.map(n=range(7))))
        seen = await observe(flow, schedule="eager")
        assert seen.last.counts["succeeded"] == 7 + 4 + 1

    anyio.run(main)
