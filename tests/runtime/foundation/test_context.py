"""Context variables: what tasks see of their caller's, and that nobody sees theirs; and cascade.current()."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread
from life import just

import cascade
from cascade.runtime.foundation.step_in_context import call_in, drive

variable: ContextVar[str] = ContextVar("variable", default="unset")


def see_and_set() -> str:
    """What is seen, before it is changed for whoever comes after."""
    seen = variable.get()
    variable.set("leaked")
    return seen


async def see_and_set_on_loop() -> str:
    seen = see_and_set()
    await anyio.lowlevel.checkpoint()
    assert variable.get() == "leaked"
    return seen


def task_of(mode: Any, **settings: Any) -> Any:
    if mode in ("async", "task"):
        return cascade.task(mode="task" if mode == "task" else None, **settings)(see_and_set_on_loop)
    if mode == "abandonable":
        return cascade.task(abandon_on_cancel=True, **settings)(see_and_set)
    return cascade.task(mode=mode, **settings)(see_and_set)


@pytest.fixture(params=["async", "task", "thread", "inline", "abandonable"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_tasks_see_the_variables_of_their_caller(mode: str, schedule: Any) -> None:
    variable.set("the caller's")
    assert await cascade.run(task_of(mode)(), schedule=schedule) == "the caller's"


async def test_what_a_task_sets_does_not_leak_to_the_next_one(mode: str, schedule: Any) -> None:
    see = task_of(mode)
    first = see()
    second = see().after(first)
    assert await cascade.run([first, second, see().after(second)], schedule=schedule) == ["unset"] * 3


async def test_what_a_task_sets_does_not_leak_to_its_caller(mode: str) -> None:
    await cascade.run(task_of(mode)())
    assert variable.get() == "unset"


async def test_what_an_attempt_sets_does_not_leak_to_the_next_one(mode: Any) -> None:
    seen: list[str] = []

    def note(value: str) -> None:
        seen.append(value)
        if len(seen) < 3:
            raise ValueError

    async def on_loop() -> None:
        note(await see_and_set_on_loop())

    def off_loop() -> None:
        note(see_and_set())

    retry = cascade.Retry(max_attempts=3)
    if mode in ("async", "task"):
        flow = cascade.task(mode="task" if mode == "task" else None, retry=retry)(on_loop)()
    elif mode == "abandonable":
        flow = cascade.task(abandon_on_cancel=True, retry=retry)(off_loop)()
    else:
        flow = cascade.task(mode=mode, retry=retry)(off_loop)()
    await cascade.run(flow)
    assert seen == ["unset"] * 3


@pytest.mark.parametrize("concurrency", [1, 2, None])
async def test_what_an_item_of_a_map_sets_does_not_leak_to_the_next_one(concurrency: int | None) -> None:
    @cascade.task
    async def see(x: int) -> str:
        return await see_and_set_on_loop()

    assert await cascade.run(see.map(x=[1, 2, 3]).with_concurrency(concurrency)) == ["unset"] * 3


async def test_the_turns_of_a_tail_call_do_not_see_each_others_variables() -> None:
    seen: list[str] = []

    @cascade.task
    async def turn(left: int) -> Any:
        seen.append(await see_and_set_on_loop())
        return turn(left - 1) if left else "done"

    assert await cascade.run(turn(3)) == "done"
    assert seen == ["unset"] * 4


async def test_a_flow_run_in_place_sees_the_variables_of_the_runs_caller(mode: str) -> None:
    variable.set("the caller's")
    see = task_of(mode)

    @cascade.task
    async def asks_for_more() -> Any:
        variable.set("leaked")
        return see()

    assert await cascade.run(just(asks_for_more())) == "the caller's"


async def test_a_nested_run_sees_the_variables_of_the_task_around_it(mode: str) -> None:
    see = task_of(mode)

    @cascade.task
    async def outer() -> Any:
        variable.set("the task's")
        return await cascade.run(see())

    assert await cascade.run(outer()) == "the task's"


async def test_what_a_condition_sets_does_not_leak() -> None:
    class Sneaky:
        def __bool__(self) -> bool:
            variable.set("leaked")
            return True

    see = task_of("async")
    assert await cascade.run(see().run_if(just(Sneaky()))) == "unset"


async def test_the_body_of_start_cannot_change_what_tasks_see() -> None:
    variable.set("before")
    async with cascade.start(task_of("async")()) as run:
        variable.set("after")
        assert await run.result() == "before"


async def test_a_context_variable_can_be_reset_with_its_token_across_awaits() -> None:
    @cascade.task
    async def resets() -> str:
        token = variable.set("inside")
        await anyio.lowlevel.checkpoint()
        variable.reset(token)
        return variable.get()

    assert await cascade.run(resets()) == "unset"


async def test_threads_and_tasks_started_by_a_task_see_its_variables() -> None:
    seen: list[str] = []

    async def look() -> None:
        seen.append(variable.get())

    @cascade.task
    async def starts() -> None:
        variable.set("the task's")
        seen.append(await to_thread.run_sync(variable.get))
        async with anyio.create_task_group() as group:
            group.start_soon(look)

    await cascade.run(starts())
    assert seen == ["the task's"] * 2


async def test_what_a_provider_sets_does_not_leak_to_tasks() -> None:
    @cascade.resource
    async def on_loop() -> AsyncIterator[str]:
        yield see_and_set()

    @cascade.resource
    def in_thread() -> Iterator[str]:
        yield see_and_set()

    @cascade.task
    async def use(a: str = cascade.inject("on_loop"), b: str = cascade.inject("in_thread")) -> list[str]:
        return [a, b, variable.get()]

    assert await cascade.run(use(), providers=[on_loop, in_thread]) == ["unset"] * 3


# -- cascade.current() -----------------------------------------------------------------------------------------


def where() -> tuple[str, str, int]:
    context = cascade.current()
    return context.run_id, context.node_id, context.attempt


@cascade.task
async def where_on_loop() -> Any:
    return where()


@cascade.task
def where_in_thread() -> Any:
    return where()


@cascade.task(mode="inline")
def where_inline() -> Any:
    return where()


@cascade.task(abandon_on_cancel=True)
def where_in_daemon() -> Any:
    return where()


@cascade.task
async def where_in_helper_thread() -> Any:
    return await to_thread.run_sync(where)


WHERE = [where_on_loop, where_in_thread, where_inline, where_in_daemon, where_in_helper_thread]


@pytest.mark.parametrize("ask", WHERE, ids=lambda task: task.name)
async def test_a_task_can_ask_where_it_is(ask: Any, schedule: Any) -> None:
    assert await cascade.run(ask(), run_id="nightly", schedule=schedule) == ("nightly", ask.name, 1)


async def test_an_item_of_a_map_knows_its_index() -> None:
    @cascade.task
    async def ask(x: int) -> str:
        return cascade.current().node_id

    assert await cascade.run(ask.map(x=[7, 8])) == ["ask[0]", "ask[1]"]


async def test_the_task_around_a_nested_run_is_itself_again_afterwards() -> None:
    @cascade.task
    async def outer() -> list[str]:
        before = cascade.current().node_id
        inner = await cascade.run(where_on_loop())
        return [before, inner[1], cascade.current().node_id]

    assert await cascade.run(outer()) == ["outer", "where_on_loop", "outer"]


async def test_the_idempotency_key_is_the_same_in_all_attempts() -> None:
    keys: list[str] = []

    @cascade.task(retry=cascade.Retry(3))
    async def charge() -> None:
        keys.append(cascade.current().idempotency_key)
        if len(keys) < 3:
            raise ValueError

    await cascade.run(charge())
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_the_idempotency_key_differs_between_nodes_items_and_runs() -> None:
    keys: list[str] = []

    @cascade.task
    async def charge(x: int) -> None:
        keys.append(cascade.current().idempotency_key)

    for _ in range(2):
        await cascade.run([charge(1), charge(1), charge.map(x=[1, 1])])
    assert len(set(keys)) == len(keys) == 8


async def test_the_idempotency_key_is_the_same_when_a_run_is_repeated_under_its_id() -> None:
    @cascade.task
    async def charge() -> str:
        return cascade.current().idempotency_key

    assert await cascade.run(charge(), run_id="a") == await cascade.run(charge(), run_id="a")


async def test_callers_of_run_are_in_no_task() -> None:
    await cascade.run(where_on_loop())
    with pytest.raises(RuntimeError, match="task of a flow"):
        cascade.current()


# -- what is stepped by hand -----------------------------------------------------------------------------------


class Ready:
    """Can be awaited, and is no coroutine."""

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from anyio.lowlevel.checkpoint().__await__()
        return stepped.get()


stepped: ContextVar[str] = ContextVar("stepped", default="outside")


def inside() -> Context:
    context = copy_context()
    context.run(stepped.set, "inside")
    return context


async def test_an_awaitable_that_is_no_coroutine_is_awaited_inside_the_context() -> None:
    assert await call_in(inside(), Ready, (), {}, is_async=True) == "inside"
    assert stepped.get() == "outside"


def test_a_coroutine_that_is_closed_is_closed_inside_its_context() -> None:
    seen = []

    class Once:
        def __await__(self) -> Generator[Any, Any, Any]:
            yield

    async def work() -> None:
        try:
            await Once()
        finally:
            seen.append(stepped.get())

    async def outer() -> None:
        await drive(inside(), work())

    stepping = outer()
    stepping.send(None)
    stepping.close()
    assert seen == ["inside"]
