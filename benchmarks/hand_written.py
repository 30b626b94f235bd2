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


async def chain_in_anyio_group(length: int) -> int:
    """An AnyIO task for each link; each starts the next."""
    last = 0

    async def link(value: int, left: int) -> None:
        nonlocal last
        last = await one(value)
        if left:
            group.start_soon(link, last, left - 1)

    async with anyio.create_task_group() as group:
        group.start_soon(link, 0, length - 1)
    return last


async def chain_in_asyncio_group(length: int) -> int:
    """An asyncio task for each link; each starts the next."""
    last = 0

    async def link(value: int, left: int) -> None:
        nonlocal last
        last = await one(value)
        if left:
            group.create_task(link(last, left - 1))

    async with asyncio.TaskGroup() as group:
        group.create_task(link(0, length - 1))
    return last


async def chain_in_eager_tasks(length: int) -> int:
    """An asyncio task for each link, one after another: eager ones that start each other would nest."""
    value = 0
    async with asyncio.TaskGroup() as group:
        for _ in range(length):
            value = await group.create_task(one(value))
    return value


async def chain_in_trio_nursery(length: int) -> int:
    """A Trio task for each link; each starts the next."""
    last = 0

    async def link(value: int, left: int) -> None:
        nonlocal last
        last = await one(value)
        if left:
            nursery.start_soon(link, last, left - 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link, 0, length - 1)
    return last


def native_chain(backend: str) -> Callable[[int], Any]:
    """A chain of what the backend itself offers."""
    return chain_in_asyncio_group if backend == "asyncio" else chain_in_trio_nursery


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


async def layers(
    parents: Sequence[Sequence[Sequence[int]]], func: Callable[..., Any], in_group: Callable[..., Any]
) -> list[Any]:
    """A layered graph, each layer in a group of its own, so that none starts before the one above has ended."""
    values: list[Any] = []
    for layer in parents:

        async def work(sources: Sequence[int], given: list[Any] = values) -> Any:
            return await func(*[given[source] for source in sources])

        values = await in_group(layer, work)
    return values
