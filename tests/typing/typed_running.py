"""Types of running flows; checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import anyio
import trio
from typed_tasks import number, word

import cascade
from cascade.observers import human_log, json_lines, progress
from cascade.testing import record_events


async def running() -> None:
    assert_type(await cascade.run(number()), int)
    assert_type(await cascade.run(word(number())), str)
    assert_type(await cascade.run(word.map(n=[1, 2])), list[str])
    assert_type(await cascade.run(number(), {"limit": 10}), int)
    assert_type(await cascade.run(number(), params={"limit": 10}, run_id="r1"), int)
    assert_type(await cascade.run(number().with_retry(3).with_timeout(1)), int)
    assert_type(await cascade.run(number(), schedule="eager", max_threads=2, observers=[human_log()]), int)
    together: tuple[Any, ...] = await cascade.run(cascade.gather(number()))
    del together
    assert_type(await cascade.run([number()]), list[int])
    assert_type(await cascade.run({"a": number()}), dict[str, int])
    assert_type(await cascade.run((number(), word(1))), tuple[int, str])
    assert_type(await cascade.run((number(), word(1), number())), tuple[int, str, int])
    assert_type(await cascade.run(cascade.gather(number(), word(1))), tuple[int, str])
    assert_type(await cascade.run(5), Any)


def in_a_script() -> None:
    assert_type(cascade.run_sync(number()), int)
    assert_type(cascade.run_sync(word(number()), {"limit": 10}, backend="trio"), str)
    assert_type(cascade.run_sync(word.map(n=[1]), params={}, schedule="eager"), list[str])


def in_a_loop() -> None:
    anyio.run(cascade.run, number())
    anyio.run(cascade.run, number(), {"limit": 10}, backend="trio")
    trio.run(cascade.run, number())


async def steering() -> None:
    async with cascade.start(number(), {"limit": 10}, schedule="eager") as run:
        assert_type(run, cascade.Run[int])
        assert_type(run.id, str)
        run.cancel()
        assert_type(await run.result(), int)
        assert_type(run.status().counts, dict[str, int])
        assert_type(run.status().running, tuple[str, ...])
        assert_type(run.explain()[0].blockers, tuple[str, ...])
        async with run.subscribe(cascade.TaskSkipped, buffer=256, policy="drop") as events:
            async for event in events:
                assert_type(event, cascade.Event)
                if isinstance(event, cascade.TaskSkipped):
                    assert_type(event.reason, str)


async def in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        run: cascade.Run = await nursery.start(cascade.serve, number())
        run.cancel()


async def in_a_group() -> None:
    async with anyio.create_task_group() as group:
        run: cascade.Run = await group.start(cascade.serve, number())
        run.cancel()


# -- engines -----------------------------------------------------------------------------------------------------


@cascade.resource
async def database() -> AsyncIterator[str]:
    yield "a connection"


@cascade.resource(scope="task", name="scratch")
def folder() -> Iterator[str]:
    yield "a folder"


def fake() -> Iterator[str]:
    yield "a fake"


@cascade.task
def query(database: str = cascade.inject("database")) -> int:
    return len(database)


async def engines() -> None:
    assert_type(database, cascade.Resource)
    assert_type(folder, cascade.Resource)
    engine = cascade.Engine(system_resources={"gpu": 2}, providers=[database])
    engine.register(folder)
    engine.register(fake)
    engine.set_capacity({"gpu": 4, "memory_gb": 0.5})
    async with engine as opened:
        assert_type(opened, cascade.Engine)
        with cascade.override_resource(engine, "database", fake):
            assert_type(await engine.run(query()), int)
        async with engine.start(query()) as run:
            assert_type(run, cascade.Run[int])
        with record_events(engine) as recorded:
            assert_type(recorded.names(), list[str])
            assert_type(recorded.of(cascade.TaskSkipped), list[cascade.TaskSkipped])
            assert_type(recorded.about("query"), list[cascade.NodeEvent])


async def observers() -> None:
    await cascade.run(number(), observers=[human_log(), json_lines("events.jsonl"), progress()])


# -- looking -----------------------------------------------------------------------------------------------------


def looking() -> None:
    assert_type(cascade.visualize(number(), format="dot"), str)
    assert_type(cascade.visualize(number()), str)
    assert_type(cascade.dry_run(number()), str)
    assert_type(cascade.plan(number()), cascade.Plan)
    assert_type(cascade.plan(number()).stages, tuple[tuple[str, ...], ...])


def in_a_task() -> None:
    assert_type(cascade.checkpoint(), None)
    assert_type(cascade.current().run_id, str)
    assert_type(cascade.current().node_id, str)
    assert_type(cascade.current().attempt, int)
    assert_type(cascade.current().idempotency_key, str)
    assert_type(cascade.current().remaining(), float)


async def errors() -> None:
    try:
        await cascade.run(number(), on_error="continue")
    except cascade.RunFailed as failed:
        assert_type(failed.exceptions, tuple[Exception | ExceptionGroup[Exception], ...])
        assert_type(failed.results["number"], object)
    except cascade.InputError as error:
        assert_type(error.problems, tuple[str, ...])
