"""What can be run, and what comes back: lazies, containers of them, plain values; gather, sequence, pipeline."""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, NamedTuple

import anyio
import attrs
import pytest
from labels import label
from observed import observe
from plain_tasks import give, in_thread

import cascade


@cascade.task
async def on_loop(value: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return value


@cascade.task(mode="task")
async def in_own_task(value: Any) -> Any:
    return value


class Pair(NamedTuple):
    left: Any
    right: Any


class Items(list[Any]):
    pass


@dataclass
class Data:
    one: Any
    other: Any = field(default=0, init=False)


@dataclass(frozen=True, slots=True)
class FrozenData:
    one: Any


@attrs.define
class Record:
    one: Any


@attrs.frozen
class FrozenRecord:
    one: Any
    rest: tuple[Any, ...] = ()


def containers(make: Any) -> dict[str, Any]:
    """A container of each kind with ``make(1)`` in it."""
    one = make(1)
    return {
        "list": [one, 2],
        "tuple": (0, one),
        "dict": {"a": one, "b": 2},
        "set": {one},
        "frozenset": frozenset([one]),
        "named tuple": Pair(one, 2),
        "list subclass": Items([one, 2]),
        "ordered dict": OrderedDict(b=one, a=2),
        "default dict": defaultdict(int, a=one),
        "dataclass": Data(one),
        "frozen dataclass with slots": FrozenData(one),
        "attrs class": Record(one),
        "frozen attrs class": FrozenRecord(one, (one, 3)),
        "nested": [{"k": (FrozenRecord([one]), frozenset([(one, 2)]))}, Data([Pair(0, one)])],
    }


KINDS = list(containers(lambda value: value))


@pytest.mark.parametrize("task", [in_thread, give, on_loop, in_own_task], ids=lambda task: str(task.name))
@pytest.mark.parametrize("value", [None, False, 0, "", (), [1]], ids=label)
async def test_the_value_of_a_lazy_is_what_its_function_returned(task: Any, value: Any, schedule: Any) -> None:
    assert await cascade.run(task(value), schedule=schedule) is value


@pytest.mark.parametrize(
    "value", [5, None, False, "text", [1, {"a": (2, {3})}], (), {}, object(), [give]], ids=label
)
async def test_a_plain_value_is_returned_as_it_is(value: Any, schedule: Any) -> None:
    assert await cascade.run(value, schedule=schedule) is value


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_container_is_returned_in_the_same_shape(kind: str, schedule: Any) -> None:
    expected = containers(lambda value: value)[kind]
    value = await cascade.run(containers(give)[kind], schedule=schedule)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize("kind", KINDS)
async def test_lazies_in_an_argument_are_replaced_by_their_values(kind: str, schedule: Any) -> None:
    expected = containers(lambda value: value)[kind]
    value = await cascade.run(on_loop(containers(give)[kind]), schedule=schedule)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize("kind", KINDS)
async def test_lazies_in_a_keyword_argument_are_replaced_by_their_values(kind: str, schedule: Any) -> None:
    expected = containers(lambda value: value)[kind]
    assert await cascade.run(in_thread(value=containers(give)[kind]), schedule=schedule) == expected


@pytest.mark.parametrize(
    ("placeholder", "params"),
    [
        (cascade.Param("p"), {"p": "value"}),
        (cascade.Param("p", default="value"), {}),
        (cascade.Env("CASCADE_TEST_UNSET", default="value"), {}),
        (cascade.Router("k", {"k": "value"}), {}),
        (cascade.Router("other", {"k": 0}, default=cascade.Param("p")), {"p": "value"}),
    ],
    ids=["Param", "default of a Param", "Env", "Router", "Param in a Router"],
)
async def test_every_placeholder_may_be_a_target_or_stand_in_one(
    placeholder: Any, params: dict[str, Any], schedule: Any
) -> None:
    flow = [placeholder, {"k": (placeholder, FrozenRecord(placeholder))}, give([placeholder])]
    expected = ["value", {"k": ("value", FrozenRecord("value"))}, ["value"]]
    assert await cascade.run(flow, params, schedule=schedule) == expected
    assert await cascade.run(placeholder, params, schedule=schedule) == "value"


@pytest.mark.parametrize("kind", KINDS)
async def test_running_a_container_leaves_it_as_it_was(kind: str, schedule: Any) -> None:
    one = give(1)
    container = containers(lambda _: one)[kind]
    await cascade.run([container, give(container)], schedule=schedule)
    assert container == containers(lambda _: one)[kind]


async def test_a_container_without_placeholders_reaches_the_task_as_the_same_object(schedule: Any) -> None:
    value = [1, {"a": [2]}, Record(3)]
    assert await cascade.run(on_loop([value, give(0)]), schedule=schedule) == [value, 0]
    received = await cascade.run(on_loop(value), schedule=schedule)
    assert received is value


async def test_what_is_not_replaced_in_a_container_stays_the_same_object(schedule: Any) -> None:
    plain = Record([1])
    received = await cascade.run(on_loop([plain, give(0)]), schedule=schedule)
    assert received[0] is plain


async def test_consumers_get_the_very_object_that_was_returned(schedule: Any) -> None:
    thing = object()
    one = give(thing)
    received = await cascade.run([one, on_loop(one), in_thread({"k": one})], schedule=schedule)
    assert received[0] is received[1] is received[2]["k"] is thing


async def test_containers_nest_as_deep_as_one_likes(schedule: Any) -> None:
    depth = 5000
    nested: Any = give(1)
    for _ in range(depth):
        nested = [nested]
    value = await cascade.run(on_loop(nested), schedule=schedule)
    for _ in range(depth):
        (value,) = value
    assert value == 1


async def test_a_task_may_return_data_that_refers_to_itself(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def tree() -> Data:
        root = Data([])
        root.one.append(Data(root))
        return root

    root = await cascade.run(tree(), schedule=schedule)
    assert root.one[0].one is root


async def test_a_value_that_cannot_stand_in_a_set_fails_the_node_that_was_to_get_it(schedule: Any) -> None:
    seen = await observe(on_loop({give([1])}), schedule=schedule)
    assert isinstance(seen.error, TypeError)
    assert "on_loop" in str(seen.error)
    assert seen.finished == {"give": "Succeeded", "on_loop": "Failed"}


async def test_each_member_of_a_target_is_judged_as_a_target_of_its_own(schedule: Any) -> None:
    off = give("off").run_if(False)
    assert await cascade.run([give(1), give(2).after(off)], schedule=schedule) == [1, None]
    with pytest.raises(cascade.DependencyMissingError, match=r"was skipped \(Reason: ConditionFalse\)") as caught:
        await cascade.run({"a": give(1), "b": (off,)}, schedule=schedule)
    assert caught.value.node_id == "give#2"


# -- gather, sequence, pipeline --------------------------------------------------------------------------------


async def test_gather_gives_a_tuple_in_order(schedule: Any) -> None:
    flow = cascade.gather(on_loop(1), in_thread(2), give(3), 4, [give(5)])
    assert await cascade.run(flow, schedule=schedule) == (1, 2, 3, 4, [5])


async def test_gather_of_nothing_is_an_empty_tuple(schedule: Any) -> None:
    assert await cascade.run(cascade.gather(), schedule=schedule) == ()


async def test_a_gathered_tuple_can_be_passed_on(schedule: Any) -> None:
    assert await cascade.run(give([cascade.gather(give(1))]), schedule=schedule) == [(1,)]


async def test_a_sequence_runs_its_members_one_after_another_and_gives_the_last_value(schedule: Any) -> None:
    log: list[str] = []

    @cascade.task
    async def step(name: str) -> str:
        log.append(f"{name} begins")
        await anyio.wait_all_tasks_blocked()
        log.append(f"{name} ends")
        return name

    flow = cascade.sequence([step("a"), step("b"), step("c")])
    assert await cascade.run(flow, schedule=schedule) == "c"
    assert log == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


async def test_only_the_members_of_a_sequence_are_ordered_and_not_what_they_take(schedule: Any) -> None:
    ready = anyio.Event()

    @cascade.task
    async def prepare() -> int:
        ready.set()
        return 1

    @cascade.task
    async def wait_for_it() -> None:
        await ready.wait()

    flow = cascade.sequence([wait_for_it(), give([prepare()])])
    with anyio.fail_after(60):
        assert await cascade.run(flow, schedule=schedule) == [1]


async def test_a_member_of_a_sequence_that_is_used_elsewhere_too_runs_once(schedule: Any) -> None:
    first, second = give(1), give(2)
    seen = await observe([cascade.sequence([first, second]), first, give([second])], schedule=schedule)
    assert seen.value == [2, 1, [2]]
    assert seen.started == ["give", "give#2", "give#3"]


async def test_a_pipeline_passes_a_value_through_tasks_partials_and_functions(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def plus(n: int, m: int) -> int:
        return n + m

    def twice(lazy: Any) -> Any:
        return plus(lazy, lazy)

    flow = cascade.pipeline(give(1), [on_loop, plus.partial(m=10), twice, lambda lazy: [lazy]])
    assert await cascade.run(flow, schedule=schedule) == [22]


@pytest.mark.parametrize("initial", [7, cascade.Router("k", {"k": 7})], ids=["value", "Router"])
async def test_a_pipeline_may_begin_with_anything_and_have_no_steps(initial: Any, schedule: Any) -> None:
    assert await cascade.run(cascade.pipeline(initial, []), schedule=schedule) == 7
    assert await cascade.run(cascade.pipeline(initial, [give, on_loop]), schedule=schedule) == 7


# -- what is one call ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: give(1),
        lambda: give(value=1),
        lambda: give([1]),
        lambda: give(1).with_retry(2),
        lambda: give(cascade.Param("p", default=1)),
        lambda: give.map(value=[]),
    ],
)
async def test_an_impure_task_called_twice_runs_twice(call: Callable[[], Any], schedule: Any) -> None:
    seen = await observe([call(), call()], schedule=schedule)
    assert seen.ran == ["give", "give#2"]


async def test_one_call_used_in_many_places_runs_once(schedule: Any) -> None:
    one = give(1)
    seen = await observe([one, {one}, on_loop([one, (one,)]), one.with_retry(2)], schedule=schedule)
    assert seen.value == [1, {1}, [1, (1,)], 1]
    assert seen.started == ["give", "on_loop"]


async def test_copies_of_one_call_say_together_how_it_is_run(schedule: Any) -> None:
    call, first, second = give("call"), on_loop("first"), in_thread("second")
    seen = await observe([call.after(first), call.after(second).run_if(give(True)), call], schedule=schedule)
    assert seen.value == ["call"] * 3
    assert set(seen.started[:-1]) == {"on_loop", "in_thread", "give"}
    assert seen.started[-1] == "give#2"
    off = give(0).run_if(False)
    assert await cascade.run([call.after(first), call.after(off)], schedule=schedule) == [None, None]


@cascade.task(pure=True, mode="inline")
def same(*values: Any) -> Any:
    return values


async def test_equal_calls_of_a_pure_task_run_once(schedule: Any) -> None:
    upstream = give(2)
    seen = await observe([same(1, [upstream]), on_loop(same(1, [upstream]))], schedule=schedule)
    assert seen.value == [(1, [2]), (1, [2])]
    assert seen.started == ["give", "same", "on_loop"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (same(1), same(2)),
        (same(1), same(True)),
        (same(1), same(1.0)),
        (same(0.0), same(-0.0)),
        (same([1]), same((1,))),
        (same(give(1)), same(give(1))),
        (same(1), same(1).with_retry(2)),
        (same(1), same(1).run_if(give(True))),
        (same(1), same(1).after(give(0))),
    ],
    ids=label,
)
async def test_calls_of_a_pure_task_that_differ_in_anything_both_run(one: Any, other: Any, schedule: Any) -> None:
    seen = await observe([one, other], schedule=schedule)
    assert [name for name in seen.ran if name.startswith("same")] == ["same", "same#2"]
    assert [type(value) for value in seen.value] == [tuple, tuple]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})])
async def test_a_chain_of_a_hundred_thousand_calls_runs_and_goes(anyio_backend: Any) -> None:
    lazy = give(0)
    for _ in range(100_000):
        lazy = give(lazy)
    assert await cascade.run(lazy, schedule="eager") == 0
    del lazy


@cascade.task
async def uncalled(x: int = 1) -> int:
    return x


async def coroutine_of_somebody() -> None: ...


class Crowd:
    def gather(self) -> None: ...


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uncalled, r"'uncalled' is a task, not a call.*uncalled\(\.\.\.\)"),
        (lambda: uncalled.partial(x=2), "'uncalled' is a task, not a call"),
        (lambda: coroutine_of_somebody, r"is a function, not a flow.*coroutine_of_somebody\(\.\.\.\)"),
        (lambda: Crowd().gather, "is a function, not a flow"),
        (lambda: MethodType(functools.partial(print), 1), "is a function, not a flow"),
        (lambda: coroutine_of_somebody(), "a coroutine is no flow: make 'coroutine_of_somebody' a task"),
    ],
    ids=["task", "partial", "function", "method", "nameless method", "coroutine"],
)
async def test_what_has_not_been_called_is_no_flow(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await cascade.run(make())
    with pytest.raises(TypeError, match=message):
        cascade.plan(make())
