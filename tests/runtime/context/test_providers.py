"""Providers: what is checked before anything runs, and how one is replaced by another."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from resourceful import log_of_providers, use
from strategies_runtime import Log

import cascade

DB, A, B = map(cascade.inject, ("db", "a", "b"))
log = log_of_providers


@cascade.task
async def use_a(value: Any = None, a: Any = A) -> Any:
    return a


def fake() -> Iterator[str]:
    yield "fake"


# -- checks ----------------------------------------------------------------------------------------------------


async def test_a_missing_provider_is_an_error_before_anything_runs(log: Log, schedule: Any) -> None:
    @cascade.task
    async def first() -> None:
        log.append("ran")

    with pytest.raises(cascade.ResourceNotFoundError) as caught:
        await cascade.run(use(first()), providers=[log.provider("other")], schedule=schedule)
    assert (caught.value.name, caught.value.needed_by) == ("db", "use")
    assert log == []


async def test_a_provider_that_lacks_what_it_injects_is_an_error_before_anything_runs(log: Log) -> None:
    with pytest.raises(cascade.ResourceNotFoundError) as caught:
        await cascade.run(use(), providers=[log.provider("db", needs="pool")])
    assert (caught.value.name, caught.value.needed_by) == ("pool", "db")
    assert log == []


async def test_a_missing_provider_of_an_injection_inside_an_argument_is_found(log: Log) -> None:
    with pytest.raises(cascade.ResourceNotFoundError):
        await cascade.run(use({"deep": [cascade.inject("other")]}), providers=[log.provider("db")])
    assert log == []


async def test_a_missing_provider_of_a_flow_that_a_task_returned_fails_the_run() -> None:
    @cascade.task
    async def expand() -> Any:
        return use()

    with pytest.raises(cascade.ResourceNotFoundError, match="'db'"):
        await cascade.run([expand()])


@pytest.mark.parametrize(
    "needs", [{"db": "db"}, {"db": "a", "a": "db"}, {"db": "a", "a": "b", "b": "a"}], ids=["one", "two", "inner"]
)
@pytest.mark.parametrize("scope", ["run", "task"])
async def test_providers_that_need_each_other_are_an_error_before_anything_runs(
    log: Log, needs: dict[str, str], scope: str
) -> None:
    providers = [log.provider(name, scope, needs=needed) for name, needed in needs.items()]
    with pytest.raises(cascade.GraphError, match=" -> "):
        await cascade.run(use(), providers=providers)
    assert log == []


@pytest.mark.parametrize("order", [["a"], ["a", "db"], ["db", "a"]], ids=" ".join)
async def test_a_run_s_resource_cannot_live_on_a_task_s(log: Log, order: list[str]) -> None:
    flows = {"db": use(), "a": use_a()}
    providers = [log.provider("a", "run", needs="db"), log.provider("db", "task")]
    with pytest.raises(cascade.GraphError, match="lives as long as"):
        await cascade.run([flows[name] for name in order], providers=providers)
    assert log == []


async def test_a_long_chain_of_providers_is_fine(log: Log) -> None:
    names = ["db", *(f"layer {number}" for number in range(100))]
    providers = [log.provider(name, needs=needed) for name, needed in itertools.pairwise(names)]
    await cascade.run(use(), providers=[*providers, log.provider(names[-1])])
    assert len(log) == 2 * len(names)


async def test_two_providers_of_one_name_are_refused(log: Log) -> None:
    with pytest.raises(ValueError, match="'db'"):
        await cascade.run(use(), providers=[log.provider("db"), log.provider("db")])


@pytest.mark.parametrize("provider", [5, "db", lambda: 5, int])
async def test_what_cannot_provide_is_refused(provider: Any) -> None:
    with pytest.raises(TypeError, match="generator"):
        await cascade.run(use(), providers=[provider])


@pytest.mark.parametrize("scope", ["session", "", 1])
def test_a_scope_that_does_not_exist_is_refused(scope: Any) -> None:
    with pytest.raises(ValueError, match="scope"):
        cascade.resource(scope=scope)(fake)


@pytest.mark.parametrize("name", ["", 5])
def test_a_name_that_is_none_cannot_be_injected(name: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        cascade.inject(name)


# -- registering -----------------------------------------------------------------------------------------------


async def test_a_provider_registered_later_serves_the_runs_that_start_then(log: Log) -> None:
    engine = cascade.Engine()
    with pytest.raises(cascade.ResourceNotFoundError):
        await engine.run(use())
    engine.register(log.provider("db"))
    assert await engine.run(use()) == "db 1"


async def test_a_provider_registered_again_replaces_the_one_before(log: Log) -> None:
    engine = cascade.Engine(providers=[log.provider("db")])
    engine.register(cascade.resource(name="db")(fake))
    assert await engine.run(use()) == "fake"


async def test_a_run_keeps_the_providers_it_began_with(log: Log) -> None:
    may_go_on = anyio.Event()

    @cascade.task
    async def wait() -> None:
        await may_go_on.wait()

    engine = cascade.Engine(providers=[log.provider("db")])
    async with engine.start(use(wait())) as run:
        await anyio.wait_all_tasks_blocked()
        engine.register(cascade.resource(name="db")(fake))
        may_go_on.set()
        assert await run.result() == "db 1"


# -- overriding ------------------------------------------------------------------------------------------------


async def test_an_override_serves_runs_that_start_inside_it_and_no_others(log: Log) -> None:
    engine = cascade.Engine(providers=[log.provider("db")])
    before = await engine.run(use())
    with cascade.override_resource(engine, "db", fake):
        inside = await engine.run(use())
    assert [before, inside, await engine.run(use())] == ["db 1", "fake", "db 2"]


async def test_an_override_may_be_an_async_generator_function(log: Log) -> None:
    async def other() -> AsyncIterator[str]:
        yield "other"

    engine = cascade.Engine(providers=[log.provider("db")])
    with cascade.override_resource(engine, "db", other):
        assert await engine.run(use()) == "other"


async def test_an_override_may_be_a_resource_of_another_name(log: Log) -> None:
    engine = cascade.Engine(providers=[log.provider("db")])
    with cascade.override_resource(engine, "db", log.provider("test db")):
        assert await engine.run(use()) == "test db 1"


async def test_an_override_by_a_bare_function_lives_as_long_as_what_it_replaces(log: Log) -> None:
    opened: list[int] = []

    def count() -> Iterator[int]:
        opened.append(1)
        yield len(opened)

    engine = cascade.Engine(providers=[log.provider("db", "task")])
    with cascade.override_resource(engine, "db", count):
        assert await engine.run(use(use(use()))) == 3


async def test_the_innermost_override_wins_and_the_outer_one_comes_back(log: Log) -> None:
    def fakest() -> Iterator[str]:
        yield "fakest"

    engine = cascade.Engine(providers=[log.provider("db")])
    with cascade.override_resource(engine, "db", fake):
        with cascade.override_resource(engine, "db", fakest):
            assert await engine.run(use()) == "fakest"
        assert await engine.run(use()) == "fake"


async def test_an_override_ends_with_its_block_also_when_that_raises(log: Log) -> None:
    engine = cascade.Engine(providers=[log.provider("db")])
    with pytest.raises(ValueError, match="no luck"), cascade.override_resource(engine, "db", fake):
        raise ValueError("no luck")
    assert await engine.run(use()) == "db 1"


async def test_a_run_that_began_inside_an_override_keeps_it() -> None:
    may_go_on = anyio.Event()

    @cascade.task
    async def wait() -> None:
        await may_go_on.wait()

    engine = cascade.Engine()
    async with anyio.create_task_group() as group:
        with cascade.override_resource(engine, "db", fake):
            run = await group.start(_serve, engine, use(wait()))
        may_go_on.set()
        assert await run.result() == "fake"


async def _serve(engine: cascade.Engine, flow: Any, *, task_status: anyio.abc.TaskStatus[cascade.Run]) -> None:
    async with engine.start(flow) as run:
        task_status.started(run)


async def test_a_run_that_began_before_an_override_does_not_see_it(log: Log) -> None:
    may_go_on = anyio.Event()

    @cascade.task
    async def wait() -> None:
        await may_go_on.wait()

    engine = cascade.Engine(providers=[log.provider("db")])
    async with engine.start(use(wait())) as run:
        with cascade.override_resource(engine, "db", fake):
            may_go_on.set()
            assert await run.result() == "db 1"


async def test_an_override_reaches_resources_that_inject_what_it_replaces(log: Log) -> None:
    engine = cascade.Engine(providers=[log.provider("a", needs="db"), log.provider("db")])
    with cascade.override_resource(engine, "db", fake):
        assert await engine.run(use_a()) == "a 1 of fake"


async def test_an_override_may_provide_what_nobody_else_does() -> None:
    engine = cascade.Engine()
    with cascade.override_resource(engine, "db", fake):
        assert await engine.run(use()) == "fake"


async def test_an_override_may_stand_around_a_nested_run_s_parent(log: Log) -> None:
    @cascade.task
    async def nest() -> Any:
        return await cascade.run(use())

    engine = cascade.Engine(providers=[log.provider("db")])
    with cascade.override_resource(engine, "db", fake):
        assert await engine.run(nest()) == "fake"
