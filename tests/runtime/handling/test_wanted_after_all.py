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
