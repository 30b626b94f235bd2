"""Chained copies are the same call: it runs once, with all that is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.graph.build import build
from cascade.graph.nodes import Node, Terms
from cascade.graph.slots import Constant


@cascade.task(mode="inline")
def work(x: Any = None) -> Any:
    return x


@cascade.task(mode="inline")
def flag(value: Any = True) -> Any:
    return value


@cascade.task(mode="inline", retry=cascade.Retry(7), timeout=7.0, constraints={"gpu": 7})
def settled(x: Any = None) -> Any:
    return x


def terms(*reached: Any, task: Any = work) -> Terms:
    """What holds for the one call of *task* in a flow that reaches all these."""
    found = [node for node in build(list(reached)).nodes if isinstance(node, Node) and node.task is task]
    assert len(found) == 1
    return found[0].terms


CHAINS: dict[str, Callable[[Any], Any]] = {
    "with_retry": lambda lazy: lazy.with_retry(2),
    "with_timeout": lambda lazy: lazy.with_timeout(2),
    "with_cache": lambda lazy: lazy.with_cache(InputCache(MemoryCacheStore())),
    "with_constraints": lambda lazy: lazy.with_constraints(gpu=1),
    "run_if": lambda lazy: lazy.run_if(flag()),
    "after": lambda lazy: lazy.after(flag()),
}
every_chain = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)


# -- one call --------------------------------------------------------------------------------------------------


@every_chain
@pytest.mark.parametrize("order", [lambda a, b: [a, b], lambda a, b: [b, a]], ids=["original first", "copy first"])
def test_original_and_copy_are_one_node(chain: Callable[[Any], Any], order: Callable[..., Any]) -> None:
    original = work(1)
    terms(*order(original, chain(original)))


@every_chain
async def test_original_and_copy_run_once(schedule: Any, chain: Callable[[Any], Any]) -> None:
    ran: list[int] = []

    @cascade.task(mode="inline")
    def note() -> int:
        ran.append(1)
        return 5

    original = note()
    flow = [original, work(chain(original)), work([original])]
    values = await cascade.run(flow, schedule=schedule, system_resources={"gpu": 2})
    assert (values, ran) == ([5, 5, [5]], [1])


@pytest.mark.parametrize(
    "reach",
    [
        pytest.param(lambda a, b: [work([a]), work(b)], id="arguments"),
        pytest.param(lambda a, b: work([a, {"k": b}]), id="one argument"),
        pytest.param(lambda a, b: work(a).run_if(b), id="condition"),
        pytest.param(lambda a, b: work(a).after(b), id="predecessor"),
        pytest.param(lambda a, b: work(a).with_constraints(gpu=b), id="amount"),
        pytest.param(lambda a, b: work.map(x=[a, b]), id="column"),
        pytest.param(lambda a, b: cascade.Router(a, {1: b}), id="router"),
        pytest.param(lambda a, b: cascade.sequence([work(a), work(b)]), id="sequence"),
        pytest.param(lambda a, b: {a, b}, id="set"),
    ],
)
def test_a_copy_is_the_call_wherever_it_is_reached(reach: Callable[..., Any]) -> None:
    original = settled(1)
    assert terms(reach(original, original.with_timeout(2)), task=settled).timeout == 2


def test_a_copy_of_a_map_is_the_same_map() -> None:
    original = work.map(x=[1])
    assert terms(original, original.with_concurrency(2)).concurrency == 2


# -- what is said together -------------------------------------------------------------------------------------


def test_what_different_copies_say_holds_together() -> None:
    original = work()
    together = terms(original.with_retry(2), original.with_timeout(3), original.with_constraints(gpu=1))
    assert (together.retry, together.timeout, together.amounts) == (cascade.Retry(2), 3, (("gpu", Constant(1)),))


def test_predecessors_of_copies_unite() -> None:
    original = work()
    assert len(terms(original.after(flag()), original.after(flag()), original).after) == 2


def test_a_predecessor_said_of_two_copies_counts_once() -> None:
    original, before = work(), flag()
    assert len(terms(original.after(before), original.after(before)).after) == 1


def test_conditions_of_copies_conjoin() -> None:
    original = work()
    assert len(terms(original.run_if(flag()), original.run_if(flag())).conditions) == 2


async def test_a_false_condition_of_one_copy_skips_the_call(schedule: Any) -> None:
    original = work(1)
    with pytest.raises(cascade.DependencyMissingError, match="ConditionFalse"):
        await cascade.run([original, original.run_if(flag(False)), original.run_if(flag())], schedule=schedule)


def test_the_condition_of_a_copy_holds_for_the_original() -> None:
    original = work()
    assert len(terms(original, [original.run_if(flag())]).conditions) == 1


def test_the_later_word_of_one_line_holds() -> None:
    first = work().with_timeout(1)
    assert terms(first, first.with_timeout(2)).timeout == 2


def test_the_later_word_of_one_line_holds_whatever_lies_between() -> None:
    first = work().with_timeout(1)
    assert terms(first, first.run_if(True).with_retry(2).with_timeout(2)).timeout == 2


def test_what_is_not_said_later_stays() -> None:
    first = work().with_timeout(1)
    assert terms(first, first.with_retry(2)).timeout == 1


def test_a_word_of_a_copy_goes_before_the_default_of_the_task() -> None:
    original = settled()
    assert terms(original, original.with_retry(2), task=settled).retry == cascade.Retry(2)


@pytest.mark.parametrize("field", ["retry", "timeout"])
def test_a_default_can_be_lifted_in_a_copy(field: str) -> None:
    original = settled()
    assert getattr(terms(original, original.with_retry(None).with_timeout(None), task=settled), field) is None


def test_two_copies_that_agree_do_not_contradict_each_other() -> None:
    original = work()
    assert terms(original.with_retry(2), original.with_retry(2)).retry == cascade.Retry(2)


# -- contradictions --------------------------------------------------------------------------------------------

CONTRADICTIONS = [
    pytest.param(lambda lazy: (lazy.with_retry(2), lazy.with_retry(3)), id="retry"),
    pytest.param(lambda lazy: (lazy.with_retry(2), lazy.with_retry(None)), id="retry or none"),
    pytest.param(lambda lazy: (lazy.with_timeout(2), lazy.with_timeout(3)), id="timeout"),
    pytest.param(lambda lazy: (lazy.with_constraints(gpu=1), lazy.with_constraints(gpu=2)), id="amount"),
    pytest.param(lambda lazy: (lazy.with_constraints(gpu=1), lazy.with_constraints(cpu=1)), id="resource"),
    pytest.param(
        lambda lazy: (lazy.with_constraints(gpu=flag()), lazy.with_constraints(gpu=flag())), id="computed amount"
    ),
    pytest.param(
        lambda lazy: (lazy.with_cache(InputCache(MemoryCacheStore())), lazy.with_cache(None)), id="cache or none"
    ),
    pytest.param(
        lambda lazy: (lazy.run_if(True, on_skip="skip"), lazy.run_if(True, on_skip="pass")), id="on_skip"
    ),
    pytest.param(
        lambda lazy: (lazy.with_timeout(1).with_timeout(2), lazy.with_timeout(1).with_timeout(3)), id="two lines"
    ),
]


@pytest.mark.parametrize("make", CONTRADICTIONS)
@pytest.mark.parametrize(
    "reach", [lambda a, b: [a, b], lambda a, b: work([a, [b]]), lambda a, b: work(a).after(b)]
)
def test_copies_that_contradict_each_other_are_refused(
    make: Callable[..., Any], reach: Callable[..., Any]
) -> None:
    with pytest.raises(cascade.GraphError, match="settled"):
        build(reach(*make(settled())))


def test_maps_that_contradict_each_other_are_refused() -> None:
    mapped = work.map(x=[1])
    with pytest.raises(cascade.GraphError, match="concurrency"):
        build([mapped.with_concurrency(1), mapped.with_concurrency(2)])


async def test_a_contradiction_is_refused_before_anything_runs() -> None:
    ran: list[int] = []

    @cascade.task(mode="inline")
    def note() -> None:
        ran.append(1)

    original = note()
    with pytest.raises(cascade.GraphError, match="note"):
        await cascade.run([note(), original.with_retry(2), original.with_retry(3)])
    assert ran == []


def test_a_contradiction_that_comes_into_reach_by_another_copy_is_found() -> None:
    original, other = work(), flag()
    later = other.after(original.with_timeout(2))
    with pytest.raises(cascade.GraphError, match="work"):
        build([other, original.with_timeout(3), later])


# -- copies that bring others into reach -----------------------------------------------------------------------


async def test_a_predecessor_that_only_a_later_copy_names_runs_before(schedule: Any) -> None:
    order: list[str] = []

    @cascade.task
    async def note(name: str) -> str:
        order.append(name)
        return name

    first, second = note("first"), note("second")
    await cascade.run([second, work(second.after(first))], schedule=schedule)
    assert order == ["first", "second"]


def test_copies_may_bring_each_other_into_reach_many_times() -> None:
    calls = [work(number) for number in range(20)]
    flow: Any = calls[0]
    for call, before in zip(calls[1:], calls, strict=False):
        flow = [call, call.after(before), flow]
    assert len(build(flow).nodes) == 20


# -- order does not matter -------------------------------------------------------------------------------------

STEPS = st.lists(st.sampled_from(["retry", "timeout", "gpu", "if", "after"]), max_size=4)


def _chained(lazy: Any, steps: list[str], conditions: list[Any]) -> Any:
    for step in steps:
        match step:
            case "retry":
                lazy = lazy.with_retry(2)
            case "timeout":
                lazy = lazy.with_timeout(2)
            case "gpu":
                lazy = lazy.with_constraints(gpu=1)
            case "if":
                lazy = lazy.run_if(conditions[0])
            case "after":
                lazy = lazy.after(conditions[1])
    return lazy


@given(st.lists(STEPS, min_size=2, max_size=4), st.data())
def test_the_order_in_which_copies_are_reached_does_not_matter(
    lines: list[list[str]], data: st.DataObject
) -> None:
    def said(copies: list[Any]) -> Any:
        found = terms(*copies)
        return found.retry, found.timeout, found.amounts, len(set(found.conditions)), len(found.after)

    original, conditions = work(), [flag(1), flag(2)]
    copies = [original, *[_chained(original, line, conditions) for line in lines]]
    assert said(copies) == said(data.draw(st.permutations(copies)))


@given(st.lists(STEPS, min_size=1, max_size=4))
def test_copies_say_together_what_each_says(lines: list[list[str]]) -> None:
    original, conditions = work(), [flag(1), flag(2)]
    together = terms(original, *[_chained(original, line, conditions) for line in lines])
    said = {step for line in lines for step in line}
    assert (together.retry is not None, together.timeout is not None, len(together.amounts)) == (
        "retry" in said, "timeout" in said, "gpu" in said
    )  # fmt: skip
