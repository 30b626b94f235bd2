"""Failures that were handled when they happened, and that somebody turns out to need: all are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from life import failure_of, finished, just, raising, until

import cascade
from cascade import settled
from cascade.runtime.frame.handling import Handling
from cascade.testing import record_events


@cascade.task
async def fail_with(number: int) -> Any:
    raise ValueError(number)


@cascade.task
async def pack(*values: Any) -> Any:
    return values


@cascade.task
async def ask() -> Any:
    return [fail_with(1), pack(fail_with(2))]


@cascade.task
async def ask_for_a_map() -> Any:
    return fail_with.map(number=[1, 2])


MADE: dict[str, Callable[[], Any]] = {
    "arguments": lambda: pack(fail_with(1), fail_with(2)),
    "items": lambda: fail_with.map(number=[1, 2]),
    "flow": ask,
    "flow with items": ask_for_a_map,
    "behind others": lambda: pack(pack(fail_with(1)), [pack(fail_with(2))]),
}


def numbers(error: BaseException) -> list[Any]:
    assert isinstance(error, cascade.RunFailed)
    return sorted(each.args[0] for each in error.exceptions)


@pytest.mark.parametrize("made", MADE)
async def test_all_failures_of_a_call_are_told_that_stands_in_for_itself(made: str, schedule: Any) -> None:
    call = MADE[made]()
    error = await failure_of(call.or_else(call), on_error="continue", schedule=schedule)
    assert numbers(error) == [1, 2]


@pytest.mark.parametrize("made", MADE)
async def test_all_failures_of_a_call_are_told_that_a_router_chooses_later(made: str, schedule: Any) -> None:
    call = MADE[made]()
    router = cascade.Router(pack(settled(call)).after(just(1)), {}, default=call)
    error = await failure_of(router, on_error="continue", schedule=schedule)
    assert numbers(error) == [1, 2]


async def test_one_that_is_known_hides_none_that_is_not(schedule: Any) -> None:
    first = fail_with(1)
    call = pack(first, fail_with(2))
    router = cascade.Router(pack(settled(call)), {}, default=call)
    assert numbers(await failure_of([first, router], on_error="continue", schedule=schedule)) == [1, 2]


async def test_the_note_on_the_first_counts_the_others(schedule: Any) -> None:
    call = fail_with.map(number=[1, 2])
    error = await failure_of(call.or_else(call), schedule=schedule)
    assert isinstance(error, ValueError)
    assert any("1 other failure" in note for note in error.__notes__)


async def test_failures_of_what_stands_in_for_them_do_not_count(schedule: Any) -> None:
    call = fail_with.map(number=[1, 2])
    async with cascade.Engine(on_error="continue", schedule=schedule) as engine:
        with record_events(engine) as recorded, pytest.raises(cascade.RunFailed):
            await engine.run(call.or_else(raising(KeyError("other"))))
    assert finished(recorded).failures == ("KeyError: 'other'",)


async def test_whether_a_failure_is_handled_is_asked_once_and_not_of_each_call_behind_it(
    monkeypatch: pytest.MonkeyPatch, schedule: Any
) -> None:
    asked: list[int] = []
    is_handled = Handling.is_handled

    def count(self: Handling, index: int, error: BaseException) -> bool:
        asked.append(index)
        return is_handled(self, index, error)

    monkeypatch.setattr(Handling, "is_handled", count)
    call = fail_with(1)
    for _ in range(50):
        call = pack(call)
    assert isinstance(await cascade.run(settled(call), schedule=schedule), cascade.Failed)
    assert len(asked) == 1


class Late:
    """A router that chooses a call once two calls have failed; a third one of it ends after that."""

    def __init__(self) -> None:
        self.may_choose, self.may_end = anyio.Event(), anyio.Event()

    def run(self, kind: str, schedule: Any) -> Any:
        @cascade.task
        async def fail_or_wait(number: int) -> Any:
            if number:
                raise ValueError(number)
            await self.may_end.wait()

        @cascade.task
        async def ask_for_all(numbers: list[int]) -> Any:
            return [fail_or_wait(number) for number in numbers]

        @cascade.task
        async def choose() -> str:
            await self.may_choose.wait()
            return "it"

        calls: dict[str, Callable[[], Any]] = {
            "map": lambda: fail_or_wait.map(number=[0, 1, 2]),
            "flow": lambda: ask_for_all([0, 1, 2]),
            "map of flows": lambda: ask_for_all.map(numbers=[[0, 1, 2]]),
        }
        call = calls[kind]()
        flow = [settled(call), cascade.Router(choose(), {"it": pack(call)})]
        return cascade.start(flow, schedule=schedule)


@pytest.mark.parametrize("kind", ["map", "flow", "map of flows"])
async def test_those_before_are_told_with_the_one_that_ends_the_run(kind: str, schedule: Any) -> None:
    late = Late()
    async with late.run(kind, schedule) as run:
        await until(lambda: run.status().counts["failed"] == 2)
        late.may_choose.set()
        await until(lambda: run.status().counts["succeeded"] == 1)
        late.may_end.set()
        with pytest.raises(ValueError, match=r"^1\n") as raised:
            await run.result()
    assert [str(failure.error) for failure in run.failures] == ["1", "2"]
    assert any("1 other failure" in note for note in raised.value.__notes__)


class Beside:
    """A call has failed, and that is handled; then a router wants somebody who still waits for something else."""

    def __init__(self) -> None:
        self.may_choose, self.never = anyio.Event(), anyio.Event()
        self.failing = 1

    def flow(self, kind: str) -> Any:
        @cascade.task
        async def slow() -> None:
            await self.never.wait()

        @cascade.task
        async def choose() -> str:
            await self.may_choose.wait()
            return "it"

        @cascade.task
        async def fail_or_wait(number: int) -> Any:
            if number:
                raise ValueError(number)
            await self.never.wait()

        @cascade.task
        async def ask_for_all() -> Any:
            return [fail_with(1), slow()]

        failing: Any = fail_with(1)
        tried = raising(KeyError("tried"))
        common = pack(failing, slow())
        items = fail_or_wait.map(number=[0, 1])
        asking = ask_for_all()
        kinds: dict[str, tuple[Any, Any]] = {
            "a call": (settled(failing), pack(failing, slow())),
            "a list": (settled(failing), [failing, slow()]),
            "a call that others want": (settled(common), pack(common)),
            "or_else": ([settled(failing), settled(tried)], pack(tried.or_else(pack(failing, slow())))),
            "a map under way": (settled(items), pack(items)),
            "a flow under way": (settled(asking), pack(asking)),
        }
        taken, wanted = kinds[kind]
        self.failing = 2 if kind == "or_else" else 1
        return [taken, slow(), cascade.Router(choose(), {"it": wanted, "other": just(0)})]


BESIDE = ["a call", "a list", "a call that others want", "or_else", "a map under way", "a flow under way"]


@pytest.mark.parametrize("kind", BESIDE)
async def test_a_failure_ends_the_run_as_soon_as_somebody_who_waits_is_wanted(kind: str, schedule: Any) -> None:
    beside = Beside()
    with anyio.fail_after(30):
        async with cascade.start(beside.flow(kind), schedule=schedule) as run:
            await until(lambda: run.status().counts["failed"] == beside.failing)
            beside.may_choose.set()
            with pytest.raises(ValueError, match=r"^1\n"):
                await run.result()
    assert [str(failure.error) for failure in run.failures] == ["1"]


@pytest.mark.parametrize("kind", BESIDE)
async def test_a_failure_that_came_to_be_wanted_is_told_though_something_else_ends_the_run(
    kind: str, schedule: Any
) -> None:
    beside = Beside()
    with anyio.fail_after(30):
        async with cascade.start(beside.flow(kind), schedule=schedule, on_error="continue") as run:
            await until(lambda: run.status().counts["failed"] == beside.failing)
            beside.may_choose.set()
            await until(lambda: run.status().counts["succeeded"] == 1)
            run.cancel()
            with pytest.raises(cascade.RunFailed) as raised:
                await run.result()
    assert numbers(raised.value) == [1]


async def test_a_failure_stays_handled_if_what_a_router_wants_handles_it(schedule: Any) -> None:
    failing: Any = fail_with(1)
    chosen = pack(settled(pack(failing, just(2))))
    router = cascade.Router(just("it").after(settled(failing)), {"it": chosen, "other": just(0)})
    outcome, value = await cascade.run([settled(failing), router], schedule=schedule)
    assert isinstance(outcome, cascade.Failed)
    assert isinstance(value[0], cascade.Failed)


@cascade.task
async def inverse(x: float) -> float:
    return 1 / x


@cascade.task
async def ask_for_inverses(xs: list[float]) -> Any:
    return inverse.map(x=xs)


KEPT: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "map": (lambda: inverse.map(x=[1, 0, 2]), {"inverse[0]", "inverse[2]"}),
    "map behind a call": (lambda: pack(inverse.map(x=[1, 0, 2])), {"inverse[0]", "inverse[2]"}),
    "flow": (lambda: ask_for_inverses([1, 0]), {"ask_for_inverses/inverse[0]"}),
    "map of flows": (
        lambda: ask_for_inverses.map(xs=[[1], [1, 0]]),
        {"ask_for_inverses[0]", "ask_for_inverses[1]/inverse[0]"},
    ),
    "collecting map of flows": (
        lambda: ask_for_inverses.map(xs=[[1, 0], [2, 0]]).with_errors("collect", min_success=1),
        {"ask_for_inverses[0]/inverse[0]", "ask_for_inverses[1]/inverse[0]"},
    ),
    "race": (lambda: cascade.race(inverse.map(x=[1, 0]), inverse.map(x=[0, 2])), {"inverse[0]", "inverse#2[1]"}),
}


@pytest.mark.parametrize("kind", KEPT)
async def test_values_of_items_are_kept_if_the_failure_of_their_map_turns_out_to_be_one_of_the_run(
    kind: str, schedule: Any
) -> None:
    make, expected = KEPT[kind]
    call = make()
    flows = {
        "later": [settled(call), cascade.Router(pack(settled(call)), {}, default=pack(call))],
        "in its own place": call.or_else(call) if hasattr(call, "or_else") else call,
        "at once": pack(call),
    }
    for when, flow in flows.items():
        error = await failure_of(flow, on_error="continue", schedule=schedule)
        assert isinstance(error, cascade.RunFailed)
        assert {name for name in error.results if "[" in name} == expected, when


async def test_values_of_items_of_a_map_whose_failure_stays_handled_are_not_among_the_results(
    schedule: Any,
) -> None:
    flow = [settled(inverse.map(x=[1, 0])), inverse(0)]
    error = await failure_of(flow, on_error="continue", schedule=schedule)
    assert isinstance(error, cascade.RunFailed)
    assert error.results == {}


async def test_values_of_items_of_a_flow_under_way_are_kept_if_their_failure_is_told_before_it_ends(
    schedule: Any,
) -> None:
    never, may_choose = anyio.Event(), anyio.Event()

    @cascade.task
    async def slow() -> None:
        await never.wait()

    @cascade.task
    async def ask_for_more() -> Any:
        return [inverse.map(x=[1, 0]), slow()]

    @cascade.task
    async def choose() -> str:
        await may_choose.wait()
        return "it"

    call = ask_for_more()
    flow = [settled(call), cascade.Router(choose(), {"it": pack(call)})]
    with anyio.fail_after(30):
        async with cascade.start(flow, schedule=schedule, on_error="continue") as run:
            await until(lambda: run.status().counts["failed"] == 2)
            may_choose.set()
            await until(lambda: bool(run.failures))
            run.cancel()
            with pytest.raises(cascade.RunFailed) as raised:
                await run.result()
    assert raised.value.results["ask_for_more/inverse[0]"] == 1.0
