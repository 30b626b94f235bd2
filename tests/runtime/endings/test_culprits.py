"""Errors name whose they are: the task, the resource, the node whose skip began it; and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from virtual_time import pass_time, virtual_loops

import cascade

anyio_backend = virtual_loops


@cascade.task
async def passing(x: object, *more: object) -> object:
    return x


@cascade.task
async def culprit() -> int:
    return 1


@cascade.task
async def use(db: object = cascade.inject("db")) -> None:
    await pass_time(2)


@cascade.task
async def misuse(db: object = cascade.inject("db")) -> None:
    raise ValueError("bad")


# -- the end of an iterator ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["thread", "inline"])
@pytest.mark.parametrize("state", [None, "memory:"])
async def test_a_task_that_raises_stop_iteration_fails_once_and_by_name(
    mode: Any, state: Any, schedule: Any
) -> None:
    first = cascade.task(name="first", mode=mode)(lambda items: next(iter(items)))
    settings: dict[str, Any] = {"schedule": schedule, "state": state, "durability": "task"}
    with pytest.raises(RuntimeError) as caught:
        await cascade.run(first([]), **settings)
    assert any("'first'" in note for note in caught.value.__notes__)
    assert isinstance(caught.value.__cause__, StopIteration)
    with pytest.raises(cascade.RunFailed, match=r"^1 of the tasks|^a task") as all_of_them:
        await cascade.run([first([]), first([1])], on_error="continue", **settings)
    assert len(all_of_them.value.exceptions) == 1


# -- skips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "blamed"),
    [
        (passing(passing(passing(1)).run_if(False), culprit().run_if(False)), "culprit"),
        (passing(passing(1).run_if(False, on_skip="skip"), passing(2)).run_if(culprit().run_if(False)), "culprit"),
        (passing(passing(1).run_if(False)).after(culprit().run_if(False)), "culprit"),
        (passing(passing(passing(1)).run_if(False)).with_constraints(gpu=culprit().run_if(False)), "culprit"),
    ],
    ids=["data", "condition", "sequence", "amount"],
)
async def test_the_chain_of_reasons_leads_to_the_node_whose_skip_is_the_reason(
    flow: Any, blamed: str, schedule: Any
) -> None:
    with pytest.raises(cascade.DependencyMissingError) as caught:
        await cascade.run(cascade.task(name="last")(lambda *x: x)(flow, flow.with_timeout(9)), schedule=schedule)
    assert caught.value.chain[-1] == (blamed, "ConditionFalse")


# -- resources -------------------------------------------------------------------------------------------------


@cascade.resource(name="db")
async def crashes() -> AsyncIterator[int]:
    with anyio.fail_after(1):
        yield 1


@cascade.resource(name="db")
def fails_at_the_end() -> Iterator[int]:
    yield 1
    raise KeyError("id")


@cascade.resource(name="db")
async def fails_at_once() -> AsyncIterator[int]:
    raise OSError("no database")
    yield 1


@pytest.mark.parametrize(
    "provider", [crashes, fails_at_the_end, fails_at_once], ids=lambda given: given.func.__name__
)
async def test_what_a_provider_raises_names_the_resource(provider: Any, schedule: Any) -> None:
    with pytest.raises((TimeoutError, KeyError, OSError)) as caught:
        await cascade.run(use(), providers=[provider], schedule=schedule)
    assert "raised by the provider of resource 'db'" in caught.value.__notes__


@pytest.mark.parametrize("scope", ["run", "task"])
async def test_the_error_that_a_provider_gets_back_in_a_group_is_no_second_failure(
    scope: Any, schedule: Any
) -> None:
    @cascade.resource(name="db", scope=scope)
    async def grouped() -> AsyncIterator[int]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            async with anyio.create_task_group():
                yield 1

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(misuse(), providers=[grouped], on_error="group", schedule=schedule)
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('bad')"]


@pytest.mark.parametrize("scope", ["run", "task"])
async def test_a_failure_beside_the_error_that_a_provider_gets_back_is_one_more(scope: Any, schedule: Any) -> None:
    async def fails_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("another")

    @cascade.resource(name="db", scope=scope)
    async def grouped() -> AsyncIterator[int]:
        async with anyio.create_task_group() as group:
            group.start_soon(fails_when_cancelled)
            await pass_time(1)
            yield 1

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(misuse(), providers=[grouped], on_error="group", schedule=schedule)
    assert len(caught.value.exceptions) == 2


async def test_a_provider_sees_nothing_of_a_drain(schedule: Any) -> None:
    seen: list[object] = []

    @cascade.resource(name="db", scope="task")
    async def late() -> AsyncIterator[int]:
        await pass_time(2)
        try:
            yield 1
        except BaseException as error:
            seen.append(error)
            raise
        seen.append("closed")

    async with cascade.start(use(), providers=[late], schedule=schedule) as run:
        await pass_time(1)
        run.drain()
    assert run.status().state == "Drained"
    assert seen == ["closed"]


async def test_a_provider_that_ends_by_itself_while_its_resource_is_in_use_is_a_failure(schedule: Any) -> None:
    @cascade.resource(name="db")
    async def leaves() -> AsyncIterator[int]:
        with anyio.move_on_after(1):
            yield 1

    with pytest.raises(RuntimeError, match="the provider of the resource 'db' ended while that was in use"):
        await cascade.run(use(), providers=[leaves], schedule=schedule)
    assert anyio.current_time() == 1
