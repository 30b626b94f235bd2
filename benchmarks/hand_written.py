"""The same work without an engine: what a programmer would write with a task group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import trio
from anyio.to_thread import run_sync


async def one(value: Any) -> Any:
    """An async function that does nothing."""
    return value


async def in_anyio_group(values: Sequence[Any], func: Callable[[Any], Any] = one) -> list[Any]:
    """One AnyIO task for each value."""
    results: list[Any] = [None] * len(values)

    async def work(index: int) -> None:
        results[index] = await func(values[index])

    async with anyio.create_task_group() as group:
        for index in range(len(values)):
            group.start_soon(work, index)
    return results


async def in_asyncio_group(values: Sequence[Any], func: Callable[[Any], Any] = one) -> list[Any]:
    """One asyncio task for each value."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(func(value)) for value in values]
    return [task.result() for task in tasks]


async def in_trio_nursery(values: Sequence[Any], func: Callable[[Any], Any] = one) -> list[Any]:
    """One Trio task for each value."""
    results: list[Any] = [None] * len(values)

    async def work(index: int) -> None:
        results[index] = await func(values[index])

    async with trio.open_nursery() as nursery:
        for index in range(len(values)):
            nursery.start_soon(work, index)
    return results


def native_group(backend: str) -> Callable[..., Any]:
    """One task for each value, with what the backend itself offers."""
    return in_asyncio_group if backend == "asyncio" else in_trio_nursery


async def chain_of_tasks(length: int) -> int:
    """A task for each link."""
    value = 0

    async def link() -> None:
        nonlocal value
        value = await one(value)

    for _ in range(length):
        async with anyio.create_task_group() as group:
            group.start_soon(link)
    return value


async def chain_awaited(length: int) -> int:
    """Each link awaited in place: the least that is possible."""
    value = 0
    for _ in range(length):
        value = await one(value)
    return value


async def chain_of_threads(length: int) -> int:
    """A thread hop for each link."""
    value = 0
    for _ in range(length):
        value = await run_sync(lambda given: given, value)
    return value


async def layers(parents: Sequence[Sequence[Sequence[int]]], func: Callable[..., Any]) -> list[Any]:
    """A layered graph, one AnyIO task for each node, a barrier after each layer."""
    values: list[Any] = []
    for layer in parents:
        results: list[Any] = [None] * len(layer)

        async def work(
            index: int, sources: Sequence[int], given: list[Any] = values, into: list[Any] = results
        ) -> None:
            into[index] = await func(*[given[source] for source in sources])

        async with anyio.create_task_group() as group:
            for index, sources in enumerate(layer):
                group.start_soon(work, index, sources)
        values = results
    return values
