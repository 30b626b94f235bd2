"""Why a node is skipped, what its consumers get then, and what a skipped target means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from labels import label
from observed import Observed, observe
from plain_tasks import crash, give, off

import cascade

Router = cascade.Router


@cascade.task
def use(*values: Any, **more: Any) -> Any:
    return [*values, *more.values()]


@cascade.task
def subject(*values: Any, **more: Any) -> Any:
    raise AssertionError("it should have been skipped")


@cascade.task(mode="inline")
def last(value: Any) -> Any:
    return ("last", value)


# -- each reason -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (lambda: subject().run_if(False), "ConditionFalse"),
        (lambda: subject().run_if(give(0)), "ConditionFalse"),
        (lambda: subject().run_if(give(True)).run_if([]), "ConditionFalse"),
        (lambda: subject().run_if(Router("k", {"k": give(None)})), "ConditionFalse"),
        (lambda: subject().run_if(off(give(True))), "UpstreamSkipped_Condition"),
        (lambda: subject().run_if(give(give(True)).run_if(False)), "UpstreamSkipped_Condition"),
        (lambda: subject().run_if(Router("k", {"k": off(give(True))})), "UpstreamSkipped_Condition"),
        (lambda: subject().after(off(give())), "UpstreamSkipped_Sequence"),
        (lambda: subject().after(give(), give(give(1)).run_if(False)), "UpstreamSkipped_Sequence"),
        (lambda: subject(Router("k", {"k": off(give())})), "UpstreamSkipped_Route"),
        (lambda: subject(Router("k", {"k": give(give(1)).run_if(False)})), "UpstreamSkipped_Route"),
        (lambda: subject([Router("k", {"k": [give(), off(give())]})]), "UpstreamSkipped_Route"),
        (lambda: subject(Router("k", {"k": Router("k", {"k": off(give())})})), "UpstreamSkipped_Route"),
        (lambda: subject(off(give())), "UpstreamSkipped_Data"),
        (lambda: subject(more=[give(), {"k": off(give())}]), "UpstreamSkipped_Data"),
        (lambda: subject(use(off(give()))), "UpstreamSkipped_Data"),
        (lambda: subject(Router(off(give("k")), {"k": give()})), "UpstreamSkipped_Data"),
        (lambda: subject().with_constraints(gpu=off(give(1))), "UpstreamSkipped_Data"),
        (lambda: subject().with_constraints(gpu=give(give(1)).run_if(False)), "UpstreamSkipped_Data"),
        (lambda: subject.map(value=[off(give())]), "UpstreamSkipped_Data"),
        (lambda: subject.map(value=[1, 2]).run_if(False), "ConditionFalse"),
    ],
)
async def test_a_skipped_node_says_why(flow: Callable[[], Any], reason: str, schedule: Any) -> None:
    seen = await observe(flow(), schedule=schedule)
    assert seen.skipped["subject"] == reason
    assert "subject" not in seen.started


async def test_a_node_behind_a_failure_is_skipped_where_the_run_goes_on(schedule: Any) -> None:
    broken = crash()
    nodes = {
        "data": use(broken),
        "condition": use().run_if(broken),
        "order": use().after(broken),
        "claim": use().with_constraints(gpu=broken),
        "behind": use(use(broken)),
        "route": use(Router("k", {"k": broken})),
        "selector": use(Router(broken, {"k": give()})),
    }
    seen = await observe(nodes, schedule=schedule, on_error="continue")
    uses = {name: reason for name, reason in seen.skipped.items() if name.startswith("use")}
    assert uses == dict.fromkeys(["use", *(f"use#{n}" for n in range(2, 9))], "UpstreamFailed")
    assert seen.ran == ["crash"]


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (lambda: use(crash()).run_if(False).after(off(give())), "UpstreamFailed"),
        (lambda: use(off(give())).run_if(off(give(True))).run_if(give(0)).after(off(give())), "ConditionFalse"),
        (lambda: use(off(give())).run_if(off(give(True))).after(off(give())), "UpstreamSkipped_Condition"),
        (lambda: use(off(give()), Router("k", {"k": off(give())})).after(off(give())), "UpstreamSkipped_Sequence"),
        (lambda: use(off(give()), Router("k", {"k": off(give())})), "UpstreamSkipped_Route"),
        (lambda: use(Router("k", {"k": off(give())})).with_constraints(gpu=off(give(1))), "UpstreamSkipped_Route"),
        (lambda: [broken := crash(), Router(give("k"), {"k": 1, 0: use(broken).run_if(False)})], "Pruned"),
    ],
    ids=["failed", "false", "condition", "sequence", "route", "route before claim", "pruned"],
)
async def test_of_several_reasons_the_first_in_order_is_given(
    flow: Callable[[], Any], reason: str, schedule: Any
) -> None:
    seen = await observe(flow(), schedule=schedule, on_error="continue")
    assert seen.skipped["use"] == reason


async def test_a_condition_does_not_prune_what_the_node_takes(schedule: Any) -> None:
    seen = await observe([use(give(1), give(2)).run_if(False), give(3)], schedule=schedule)
    assert seen.ran == ["give", "give#2", "give#3"]


async def test_a_node_is_judged_only_when_all_its_inputs_have_settled(schedule: Any) -> None:
    asked = anyio.Event()

    @cascade.task
    async def slow() -> None:
        await anyio.wait_all_tasks_blocked()
        asked.set()

    class Condition:
        def __bool__(self) -> bool:
            assert asked.is_set()
            return False

    seen = await observe([use(slow()).run_if(Condition()), give(1)], schedule=schedule)
    assert seen.skipped["use"] == "ConditionFalse"


async def test_a_skipped_node_has_one_event_and_no_other(schedule: Any) -> None:
    seen = await observe(give(use().run_if(False)), schedule=schedule)
    assert [type(event).__name__ for event in seen.recorded.about("use")] == ["TaskSkipped"]
    assert seen.last.counts["skipped"] == 2


# -- conditions that raise -------------------------------------------------------------------------------------


class NoTruth:
    def __bool__(self) -> bool:
        raise ValueError("no truth")


@pytest.mark.parametrize("condition", [NoTruth, lambda: give(NoTruth())], ids=["value", "lazy"])
async def test_a_condition_without_truth_fails_the_run(condition: Callable[[], Any], schedule: Any) -> None:
    seen = await observe(use().run_if(condition()), schedule=schedule)
    assert isinstance(seen.error, ValueError)
    assert str(seen.error) == "no truth"
    assert seen.skipped == {}
    assert "use" not in seen.started


async def test_a_condition_that_raises_fails_the_run_and_is_never_false(schedule: Any) -> None:
    seen = await observe(last(use(give(1)).run_if(crash())), schedule=schedule)
    assert isinstance(seen.error, ZeroDivisionError)
    assert seen.skipped == {}
    assert "last" not in seen.started


@pytest.mark.parametrize("condition", [True, 1, "text", [0], object()], ids=label)
async def test_anything_true_is_a_condition_that_holds(condition: Any, schedule: Any) -> None:
    assert await cascade.run(use(1).run_if(condition), schedule=schedule) == [1]
    assert await cascade.run(use(1).run_if(give(condition)), schedule=schedule) == [1]


# -- what passes through ---------------------------------------------------------------------------------------

STEPS: dict[str, Callable[[Any], Any]] = {
    "false condition": lambda lazy: lazy.run_if(give(False)),
    "skipped condition": lambda lazy: lazy.run_if(off(give(True))),
    "sequence": lambda lazy: lazy.after(off(give())),
}


@pytest.mark.parametrize("how", STEPS)
@pytest.mark.parametrize("value", [1, None, False, 0, ""], ids=label)
async def test_a_skipped_step_is_transparent(how: str, value: Any, schedule: Any) -> None:
    assert await cascade.run(last(STEPS[how](use(give(value)))), schedule=schedule) == ("last", value)


async def test_several_skipped_steps_in_a_row_are_transparent(schedule: Any) -> None:
    steps = [lambda lazy, how=how: how(use(lazy)) for how in STEPS.values()]
    flow = cascade.pipeline(give(7), [*steps, *steps, last])
    assert await cascade.run(flow, schedule=schedule) == ("last", 7)


@pytest.mark.parametrize("how", STEPS)
async def test_what_passes_through_may_have_been_chosen_by_a_router(how: str, schedule: Any) -> None:
    chosen = Router(give("a"), {"a": give(1), "b": give(2)})
    assert await cascade.run(last(STEPS[how](use(chosen))), schedule=schedule) == ("last", 1)


@pytest.mark.parametrize("how", STEPS)
async def test_a_skipped_map_hands_its_sole_column_on(how: str, schedule: Any) -> None:
    column = give([1, 2])
    assert await cascade.run(last(STEPS[how](last.map(value=column))), schedule=schedule) == ("last", [1, 2])


@pytest.mark.parametrize("how", STEPS)
@pytest.mark.parametrize(
    "step",
    [lambda: use(), lambda: use(1), lambda: use(give(1), give(2)), lambda: use([give(1), give(2)])],
    ids=["nothing", "plain value", "two calls", "two calls in a list"],
)
async def test_without_a_sole_upstream_call_the_consumer_is_skipped(
    how: str, step: Callable[[], Any], schedule: Any
) -> None:
    seen = await observe(last(STEPS[how](step())), schedule=schedule)
    assert seen.skipped["last"] == "UpstreamSkipped_Data"


@pytest.mark.parametrize("how", STEPS)
async def test_nothing_passes_through_a_step_that_says_skip(how: str, schedule: Any) -> None:
    step = STEPS[how](use(give(1))).run_if(True, on_skip="skip")
    seen = await observe(last(step), schedule=schedule)
    assert seen.skipped["last"] == "UpstreamSkipped_Data"


async def test_the_last_word_on_what_a_skip_does_holds(schedule: Any) -> None:
    step = use(give(1)).run_if(False, on_skip="skip").run_if(True, on_skip="pass")
    assert await cascade.run(last(step), schedule=schedule) == ("last", 1)


@pytest.mark.parametrize(
    "step",
    [use(use(off(give()))), use(Router("k", {"k": off(give(1))}))],
    ids=["UpstreamSkipped_Data", "UpstreamSkipped_Route"],
)
async def test_nothing_passes_through_a_step_that_was_skipped_for_its_data(step: Any, schedule: Any) -> None:
    seen = await observe(last(step), schedule=schedule)
    assert seen.skipped["last"] == "UpstreamSkipped_Data"


async def test_what_passes_through_serves_as_condition_or_order_of_nobody(schedule: Any) -> None:
    step = use(give(True)).run_if(False)
    seen = await observe({"a": last(step), "b": use(1).run_if(step), "c": use(2).after(step)}, schedule=schedule)
    assert seen.skipped == {
        "use": "ConditionFalse",
        "use#2": "UpstreamSkipped_Condition",
        "use#3": "UpstreamSkipped_Sequence",
    }
    assert "last" in seen.started


# -- skipped targets -------------------------------------------------------------------------------------------


async def test_a_target_skipped_by_its_place_in_a_sequence_is_none(schedule: Any) -> None:
    flow = cascade.sequence([off(give(1)), give(2), give(3)])
    seen = await observe(flow, schedule=schedule)
    assert (seen.value, seen.error) == (None, None)
    assert seen.last.status == "Succeeded"
    assert seen.skipped == {
        "give": "ConditionFalse",
        "give#2": "UpstreamSkipped_Sequence",
        "give#3": "UpstreamSkipped_Sequence",
    }


async def test_a_target_skipped_by_its_place_in_a_sequence_is_none_although_a_value_could_pass(
    schedule: Any,
) -> None:
    assert await cascade.run(use(give(1)).after(off(give())), schedule=schedule) is None


def check_missing(seen: Observed, chain: list[tuple[str, str]]) -> None:
    """See that the error names the target, its reason and what led to it, in the run's error and last event."""
    error = seen.error
    assert isinstance(error, cascade.DependencyMissingError)
    assert error.chain == tuple(chain)
    assert (error.node_id, error.reason) == chain[0]
    assert f"was skipped (Reason: {chain[0][1]})" in str(error)
    assert all(name in str(error) and reason in str(error) for name, reason in chain)
    assert seen.last.status == "Failed"
    assert seen.last.error == f"DependencyMissingError: {error}"


@pytest.mark.parametrize(
    ("flow", "chain"),
    [
        (lambda: use(give(1)).run_if(False), [("use", "ConditionFalse")]),
        (
            lambda: use().run_if(off(give(True))),
            [("use", "UpstreamSkipped_Condition"), ("give", "ConditionFalse")],
        ),
        (
            lambda: last(use(1).after(off(give()))),
            [("last", "UpstreamSkipped_Data"), ("use", "UpstreamSkipped_Sequence"), ("give", "ConditionFalse")],
        ),
        (
            lambda: last(Router("k", {"k": off(give())})),
            [("last", "UpstreamSkipped_Route"), ("router", "UpstreamSkipped_Route"), ("give", "ConditionFalse")],
        ),
        (
            lambda: use(give(1), give(2)).with_constraints(gpu=off(give(3))),
            [("use", "UpstreamSkipped_Data"), ("give#3", "ConditionFalse")],
        ),
    ],
)
async def test_a_skipped_target_is_an_error_with_the_chain_of_reasons(
    flow: Callable[[], Any], chain: list[tuple[str, str]], schedule: Any
) -> None:
    check_missing(await observe(flow(), schedule=schedule), chain)


async def test_a_long_chain_of_skips_does_not_make_an_endless_message(schedule: Any) -> None:
    flow = off(give())
    for _ in range(500):
        flow = last(flow)
    seen = await observe(flow, schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert len(str(seen.error)) < 5000


# -- many at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
async def test_many_nodes_skipped_at_once_are_all_followed_up(count: int, schedule: Any) -> None:
    flow = use(*[give(n).run_if(False) for n in range(count)])
    seen = await observe(flow, schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert seen.skipped["use"] == "UpstreamSkipped_Data"
    assert seen.last.counts == {"pending": 0, "succeeded": 0, "skipped": count + 1, "failed": 0, "cancelled": 0}


@pytest.mark.parametrize("count", [33, 100])
async def test_what_follows_many_skipped_nodes_runs(count: int, schedule: Any) -> None:
    one = give(1)
    steps = [last(one).run_if(False) for _ in range(count)]
    assert await cascade.run(use(*[last(step) for step in steps]), schedule=schedule) == [("last", 1)] * count


async def test_a_long_chain_of_skipped_nodes_needs_no_stack(schedule: Any) -> None:
    flow = give("value")
    for _ in range(2000):
        flow = use(flow).run_if(False)
    assert await cascade.run(last(flow), schedule=schedule) == ("last", "value")
