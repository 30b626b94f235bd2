"""Injected resources: what is opened when, by whom, with what, and in which order it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from resourceful import async_or_sync, log_of_providers, use
from strategies_runtime import Log

import cascade

DB = cascade.inject("db")
is_async = async_or_sync
log = log_of_providers


@cascade.task
async def plain(value: Any = None) -> Any:
    return value


# -- injection -------------------------------------------------------------------------------------------------


async def test_a_default_that_injects_gives_what_the_provider_yields(
    log: Log, is_async: bool, schedule: Any
) -> None:
    provider = log.provider("db", is_async=is_async)
    assert await cascade.run(use(), providers=[provider], schedule=schedule) == "db 1"
    assert log == ["open db", "close db"]


async def test_a_bare_generator_function_is_a_provider_called_as_it_is() -> None:
    def db() -> Iterator[str]:
        yield "bare"

    assert await cascade.run(use(), providers=[db]) == "bare"


async def test_a_resource_may_stand_inside_an_argument(log: Log) -> None:
    flow = plain({"a": [cascade.inject("db"), plain(2)]})
    assert await cascade.run(flow, providers=[log.provider("db")]) == {"a": ["db 1", 2]}


async def test_a_parameter_may_stand_beside_a_resource(log: Log, schedule: Any) -> None:
    @cascade.resource(scope="task")
    async def opened() -> Any:
        yield "open"

    @cascade.task
    async def use(*values: Any) -> Any:
        return values

    flow = use([cascade.Param("p"), cascade.inject("opened")], cascade.Param("p"))
    assert await cascade.run(flow, {"p": "x"}, providers=[opened], schedule=schedule) == (["x", "open"], "x")


async def test_a_sync_task_can_inject_too(log: Log) -> None:
    @cascade.task
    def use_in_thread(db: Any = DB) -> Any:
        return db

    assert await cascade.run(use_in_thread(), providers=[log.provider("db")]) == "db 1"


async def test_an_argument_that_is_given_needs_no_provider() -> None:
    assert await cascade.run(use(db="given")) == "given"


async def test_items_of_a_map_share_a_run_s_resource_and_have_their_own_of_a_task_s(log: Log) -> None:
    shared = await cascade.run(use.map(value=[1, 2, 3]), providers=[log.provider("db")])
    own = await cascade.run(use.map(value=[1, 2, 3]), providers=[log.provider("db", "task")])
    assert shared == ["db 1"] * 3
    assert sorted(own) == ["db 1", "db 2", "db 3"]


async def test_a_decorated_provider_can_still_be_called_as_the_generator_function_it_is() -> None:
    @cascade.resource
    def numbers() -> Iterator[int]:
        yield 3

    assert next(numbers()) == 3


async def test_a_provider_that_does_not_generate_is_refused() -> None:
    with pytest.raises(TypeError, match="yield"):
        cascade.resource(lambda: 5)


# -- how long they live ----------------------------------------------------------------------------------------


async def test_a_run_has_one_instance_of_a_run_s_resource(log: Log, is_async: bool, schedule: Any) -> None:
    flow = [use(use(use())), use(), use()]
    values = await cascade.run(flow, providers=[log.provider("db", is_async=is_async)], schedule=schedule)
    assert values == ["db 1"] * 3
    assert log == ["open db", "close db"]


async def test_each_node_has_its_own_instance_of_a_task_s_resource(
    log: Log, is_async: bool, schedule: Any
) -> None:
    provider = log.provider("db", "task", is_async=is_async)
    flow = use(use())
    assert await cascade.run(flow, providers=[provider], schedule=schedule) == "db 2"
    assert log == ["open db", "close db", "open db", "close db"]


async def test_each_run_has_its_own_instances(log: Log) -> None:
    async with cascade.Engine(providers=[log.provider("db")]) as engine:
        assert [await engine.run(use()), await engine.run(use())] == ["db 1", "db 2"]
    assert log == ["open db", "close db"] * 2


async def test_a_nested_run_has_its_own_instances(log: Log) -> None:
    @cascade.task
    async def nest(db: Any = DB) -> Any:
        return [db, await cascade.run(use())]

    assert await cascade.run(nest(), providers=[log.provider("db")]) == ["db 1", "db 2"]


async def test_a_flow_that_a_task_returned_shares_the_run_s_instances(log: Log) -> None:
    @cascade.task
    async def expand(db: Any = DB) -> Any:
        return [db, use()]

    assert await cascade.run([expand()], providers=[log.provider("db")]) == [["db 1", "db 1"]]


async def test_a_resource_is_opened_right_before_the_first_node_that_needs_it(log: Log) -> None:
    @cascade.task
    async def note(name: str, _: Any = None) -> None:
        log.append(name)

    @cascade.task
    async def note_with_db(name: str, _: Any = None, db: Any = DB) -> None:
        log.append(name)

    flow = note("last", note_with_db("needs it", note("first")))
    await cascade.run(flow, providers=[log.provider("db")])
    assert log == ["first", "open db", "needs it", "last", "close db"]


async def test_a_resource_that_no_node_comes_to_need_is_never_opened(log: Log, schedule: Any) -> None:
    flow = cascade.Router(plain("a"), {"a": plain("chosen"), "b": use()})
    assert await cascade.run(flow, providers=[log.provider("db")], schedule=schedule) == "chosen"
    assert log == []


async def test_attempts_of_a_node_keep_its_instance(log: Log, is_async: bool) -> None:
    seen: list[Any] = []

    @cascade.task
    async def fragile(db: Any = DB) -> None:
        seen.append(db)
        if len(seen) < 3:
            raise OSError

    await cascade.run(fragile().with_retry(3), providers=[log.provider("db", "task", is_async=is_async)])
    assert seen == ["db 1"] * 3
    assert log == ["open db", "close db"]


@pytest.mark.parametrize(("scope", "instances"), [("run", 1), ("task", 4)])
async def test_turns_of_a_loop_share_a_run_s_resource_and_have_their_own_of_a_task_s(
    log: Log, scope: str, instances: int
) -> None:
    @cascade.task
    async def count(n: int, db: Any = DB) -> Any:
        return count(n - 1) if n else db

    assert await cascade.run(count(3), providers=[log.provider("db", scope)]) == f"db {instances}"
    assert log == ["open db", "close db"] * instances


async def test_a_task_s_resource_is_closed_before_its_consumers_start(log: Log, schedule: Any) -> None:
    @cascade.task
    async def consume(_: Any) -> None:
        log.append("consumer")

    await cascade.run(consume(use()), providers=[log.provider("db", "task")], schedule=schedule)
    assert log == ["open db", "close db", "consumer"]


async def test_a_task_s_resource_is_opened_once_the_task_has_what_it_claims(log: Log) -> None:
    holding = anyio.Event()
    may_end = anyio.Event()

    @cascade.task
    async def hold() -> None:
        holding.set()
        await may_end.wait()

    engine = cascade.Engine(system_resources={"gpu": 1}, providers=[log.provider("db", "task")])
    async with engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, hold().with_constraints(gpu=1))
        await holding.wait()
        group.start_soon(engine.run, use().with_constraints(gpu=1))
        await anyio.wait_all_tasks_blocked()
        assert log == []
        may_end.set()
