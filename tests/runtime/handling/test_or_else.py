"""What stands in for a call that fails."""

from __future__ import annotations

from typing import Any

import pytest
from life import just, raising
from observed import observe
from plain_tasks import give, in_thread, step

import cascade
from cascade import Done, Failed, settled


@cascade.task
async def another(*_: Any) -> str:
    return "another"


@cascade.task
async def failing_too(error: Exception) -> Any:
    raise error


@cascade.task
async def down(count: int) -> Any:
    """Counts down; each turn is the alternative of a call that fails."""
    return raising(ValueError(count)).or_else(down(count - 1)) if count else "end"


async def test_the_alternative_stands_in_for_a_failure(schedule: Any, on_error: Any) -> None:
    flow = give(raising(ValueError()).or_else(another()))
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    assert (seen.value, seen.ran, seen.last.failures) == ("another", ["another", "give", "raising"], ())


async def test_the_alternative_does_not_run_if_nothing_fails(schedule: Any) -> None:
    seen = await observe(give(just(None).or_else(another(in_thread()))), schedule=schedule)
    assert (seen.value, seen.ran) == (None, ["give", "just"])
    assert seen.skipped == {"another": "Pruned", "in_thread": "Pruned"}


@pytest.mark.parametrize("other", [None, 0, [1, 2]], ids=str)
async def test_the_alternative_may_be_a_value(other: Any, schedule: Any) -> None:
    assert await cascade.run(raising(ValueError()).or_else(other), schedule=schedule) == other


async def test_the_alternative_may_be_a_container_of_calls(schedule: Any) -> None:
    flow = raising(ValueError()).or_else({"x": [just(1), another()]})
    assert await cascade.run(flow, schedule=schedule) == {"x": [1, "another"]}


async def test_a_failure_upstream_counts_as_one_of_the_call(schedule: Any) -> None:
    flow = step(in_thread(raising(ValueError()))).or_else(another())
    assert await cascade.run(flow, schedule=schedule) == "another"


async def test_a_chain_of_alternatives_is_tried_in_order(schedule: Any, on_error: Any) -> None:
    flow = raising(ValueError()).or_else(failing_too(KeyError())).or_else(another())
    assert await cascade.run(flow, schedule=schedule, on_error=on_error) == "another"


async def test_an_alternative_that_fails_is_the_failure(schedule: Any, on_error: Any) -> None:
    error = KeyError()
    seen = await observe(
        give(raising(ValueError()).or_else(failing_too(error))), schedule=schedule, on_error=on_error
    )
    assert seen.failures() == [error]
    flow = settled(raising(ValueError()).or_else(step(failing_too(error))))
    assert await cascade.run(flow, schedule=schedule, on_error=on_error) == Failed(error, "failing_too", 1)


@pytest.mark.parametrize(("on", "is_covered"), [(KeyError, False), ((KeyError, ValueError), True)], ids=str)
async def test_the_alternative_is_for_some_errors(on: Any, is_covered: bool, schedule: Any, on_error: Any) -> None:
    error = ValueError()
    seen = await observe(raising(error).or_else(another(), on=on), schedule=schedule, on_error=on_error)
    assert seen.value == ("another" if is_covered else None)
    assert seen.failures() == ([] if is_covered else [error])


async def test_a_group_is_covered_if_all_in_it_is(schedule: Any) -> None:
    def flow(*errors: Exception) -> Any:
        return settled(raising(ExceptionGroup("two", errors)).or_else("other", on=(KeyError, IndexError)))

    assert await cascade.run(flow(KeyError(), IndexError()), schedule=schedule) == Done("other")
    assert isinstance(await cascade.run(flow(KeyError(), ValueError()), schedule=schedule), Failed)


async def test_a_skip_passes_on(schedule: Any) -> None:
    def tried(on_skip: Any) -> Any:
        return step(just(7)).run_if(False, on_skip=on_skip).or_else(another())

    assert await cascade.run(give(tried("pass")), schedule=schedule) == 7
    seen = await observe(settled(give(tried("skip"))), schedule=schedule)
    assert seen.value == cascade.Skipped(cascade.SkipReason.UPSTREAM_DATA)
    assert seen.skipped["another"] == "Pruned"
    seen = await observe(settled(tried("skip")), schedule=schedule)
    assert seen.value == cascade.Skipped(cascade.SkipReason.CONDITION_FALSE)


async def test_an_alternative_joins_two_branches_without_a_router(schedule: Any) -> None:
    """The branch whose condition is true gives the value."""
    for is_big in (True, False):
        condition = give(is_big)
        big = settled(just("big").run_if(condition))
        small = settled(just("small").run_if(give(not is_big)))

        @cascade.task(mode="inline")
        def either(*outcomes: Any) -> Any:
            return next(outcome.value for outcome in outcomes if isinstance(outcome, Done))

        assert await cascade.run(either(big, small), schedule=schedule) == ("big" if is_big else "small")


async def test_the_alternative_may_need_what_failed(schedule: Any, on_error: Any) -> None:
    error = ValueError()
    failing = raising(error)
    seen = await observe(failing.or_else(step(failing)), schedule=schedule, on_error=on_error)
    assert seen.failures() == [error]


async def test_a_router_has_alternatives(schedule: Any) -> None:
    flow = cascade.Router(just("x"), {"x": raising(ValueError()), "y": just(1)}).or_else(another())
    assert await cascade.run(flow, schedule=schedule) == "another"
    flow = cascade.Router(just("z"), {"y": just(1)}).or_else(another(), on=LookupError)
    assert await cascade.run(flow, schedule=schedule) == "another"


async def test_alternatives_may_be_a_loop(schedule: Any) -> None:
    assert await cascade.run(down(20), schedule=schedule) == "end"


@pytest.mark.parametrize("on", [BaseException, KeyboardInterrupt, "ValueError", (ValueError, 5)], ids=str)
def test_other_kinds_cannot_be_handled(on: Any) -> None:
    with pytest.raises(ValueError, match="below Exception"):
        just(1).or_else(2, on=on)
