"""Maps that end as a whole, while others take how their items end."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from life import until
from observed import Observed, observe
from outcome_tasks import WAYS, collected, odd_ones_fail, said, tell
from plain_tasks import give

import cascade
from cascade import Failed, Skipped, settled

run_eager = partial(cascade.run, schedule="eager")


@pytest.fixture(params=["first", "group", "continue"])
def on_error(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def is_handled(seen: Observed, name: str) -> bool:
    """Whether it was told of the failure of a node that it is handled."""
    (finished,) = [end for end in seen.recorded.of(cascade.TaskExecutionFinished) if end.task_id == name]
    return finished.handled


async def test_what_a_settled_map_needs_is_not_handled_by_its_outcomes(schedule: Any, on_error: Any) -> None:
    @cascade.task
    async def broken() -> list[int]:
        raise OSError("no rows")

    followers = tell.map(x=settled(odd_ones_fail.map(n=broken())))
    seen = await observe([followers, give(5)], schedule=schedule, on_error=on_error)
    (error,) = seen.failures()
    assert str(error) == "no rows"
    assert not is_handled(seen, "broken")
    if on_error == "continue":
        assert seen.skipped == {"odd_ones_fail": "UpstreamFailed", "tell": "UpstreamFailed"}
    for rescued in (settled(followers), followers.or_else("nothing")):
        seen = await observe(rescued, schedule=schedule, on_error=on_error)
        assert seen.value == "nothing" or said(seen.value) == "OSError no rows of broken (1), None"
        assert seen.last.failures == ()
        assert is_handled(seen, "broken")


@pytest.mark.parametrize("fails", ["column", "argument"])
async def test_a_map_that_cannot_begin_fails_as_a_whole(fails: str, schedule: Any) -> None:
    @cascade.task
    async def two(a: Any, b: Any) -> Any:
        return a, b

    if fails == "column":
        mapped = two.map(a=give([1, 2]), b=give([1, 2, 3]))
    else:
        mapped = two.partial(b={give([])}).map(a=[1, 2])
    seen = await observe(tell.map(x=settled(mapped)), schedule=schedule)
    assert isinstance(seen.error, ValueError if fails == "column" else TypeError)
    assert not [name for name in seen.started if name.startswith("tell")]
    assert said(await cascade.run(settled(tell.map(x=settled(mapped))), schedule=schedule)).endswith(
        " of two (0), None"
    )


async def test_a_map_that_was_skipped_skips_who_takes_its_outcomes(schedule: Any) -> None:
    skipped = odd_ones_fail.map(n=give([1, 2])).run_if(give(False))
    seen = await observe(tell.map(x=settled(skipped)), schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert "UpstreamSkipped_Data" in str(seen.error)
    assert "odd_ones_fail" in str(seen.error)
    assert seen.skipped == {"odd_ones_fail": "ConditionFalse", "tell": "UpstreamSkipped_Data"}
    assert await cascade.run(settled(tell.map(x=settled(skipped))), schedule=schedule) == Skipped(
        cascade.SkipReason.UPSTREAM_DATA
    )


async def test_an_upstream_map_that_fails_ends_a_follower_that_has_begun(schedule: Any) -> None:
    middle = give.map(value=odd_ones_fail.map(n=[0, 1, 2]))
    seen = await observe(settled(tell.map(x=settled(middle))), schedule=schedule)
    assert said(seen.value) == "ValueError 1 of odd_ones_fail[1] (1), None"
    assert seen.skipped["tell"] == "UpstreamFailed"
    seen = await observe(tell.map(x=settled(middle)), schedule=schedule)
    assert isinstance(seen.error, ValueError)


@pytest.mark.parametrize("way", WAYS)
async def test_a_map_of_which_too_many_fail_ends_its_followers(way: Any, schedule: Any) -> None:
    mapped = odd_ones_fail.map(n=[0, 1, 2, 3, 4]).with_errors("collect", 4)
    column = mapped if way is collected else settled(mapped)
    seen = await observe(tell.map(x=column), schedule=schedule)
    assert isinstance(seen.error, cascade.MapFailed)
    assert not is_handled(seen, "odd_ones_fail")
    assert seen.finished.keys() == set(seen.started)
    seen = await observe(settled(tell.map(x=column)), schedule=schedule)
    assert isinstance(seen.value, Failed)
    assert isinstance(seen.value.error, cascade.MapFailed)
    assert seen.skipped["tell"] == "UpstreamFailed"
    assert seen.last.failures == ()
    enough = odd_ones_fail.map(n=[0, 1, 2, 3, 4]).with_errors("collect", 3)
    assert (
        len(await cascade.run(tell.map(x=enough if way is collected else settled(enough)), schedule=schedule)) == 5
    )


async def test_a_settled_map_that_somebody_wants_as_it_is_fails_the_run(schedule: Any) -> None:
    mapped = odd_ones_fail.map(n=[0, 1])
    for flow in ([tell.map(x=settled(mapped)), mapped], [tell.map(x=settled(mapped)), give(mapped)]):
        seen = await observe(flow, schedule=schedule)
        assert isinstance(seen.error, ValueError)
    seen = await observe(
        [tell.map(x=settled(mapped)), settled(give.map(value=mapped)), settled(mapped)], schedule=schedule
    )
    assert seen.value[0] == [("done", 0), "ValueError 1 of odd_ones_fail[1] (1), 1"]
    assert "give[1]" not in seen.started
    assert [said(one) for one in seen.value[1:]] == 2 * ["ValueError 1 of odd_ones_fail[1] (1), None"]


async def test_only_exceptions_are_handled(schedule: Any) -> None:
    told: list[Any] = []

    @cascade.task
    async def leave(n: int) -> int:
        raise SystemExit(n)

    @cascade.task
    async def hear(x: Any) -> None:
        told.append(x)

    for way in WAYS:
        with pytest.raises(SystemExit):
            await cascade.run(hear.map(x=way(leave.map(n=[3]))), schedule=schedule)
    assert not told


@pytest.mark.parametrize("whole", [False, True])
async def test_a_cancelled_item_is_a_failure_and_a_cancelled_map_fails_as_a_whole(
    whole: bool, schedule: Any
) -> None:
    @cascade.task
    async def wait(n: int) -> int:
        if n == 1:
            await anyio.sleep_forever()
        return n

    async with cascade.start(settled(tell.map(x=settled(wait.map(n=range(3))))), schedule=schedule) as run:
        await until(lambda: run.status().counts["succeeded"] >= (4 if schedule == "eager" else 2))
        run.cancel_node("wait" if whole else "wait[1]")
        outcome = await run.result()
    if whole:
        assert isinstance(outcome.error, cascade.TaskCancelledError)
        assert outcome.task_id == "wait"
    else:
        assert [kind[:4] for kind in outcome.value] == [("done", 0), "Task", ("done", 2)]


@pytest.mark.parametrize("way", WAYS)
async def test_maps_that_have_lost_a_race_are_cancelled(way: Any) -> None:
    begun = anyio.Event()

    @cascade.task
    async def wait(n: int) -> int:
        if n:
            await anyio.sleep_forever()
        return n

    @cascade.task
    async def follow(x: Any) -> Any:
        begun.set()
        return x

    @cascade.task
    async def quick() -> str:
        await begun.wait()
        return "quick"

    with anyio.fail_after(60):
        seen = await observe(cascade.race(follow.map(x=way(wait.map(n=[0, 1]))), quick()), schedule="eager")
    assert seen.value == "quick"
    assert seen.finished["wait"] == seen.finished["follow"] == seen.finished["wait[1]"] == "Cancelled"
