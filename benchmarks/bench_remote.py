"""r. Tasks on two worker processes: a map, a fan-out, a chain and a large value, by the library's means and ours.

The workers are dask's, or with ``--on processes`` those of ``concurrent.futures``. The share of the engine is what
a call takes of the processor if a batch runs in place: everything but the way to a worker and back.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import multiprocessing
import os
import statistics
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import anyio
import attrs
from harness import Comparison, Figure, Work, main, medians, sized

import cascade
from cascade.adapters.remote.entry import Site, run_batch
from cascade.adapters.remote.wire import pack, unpack
from cascade.executors import FuturesExecutor, KeptValue, RemoteCall, RemoteExecutor, RemoteOutcome

ITEMS, FAN, CHAIN, LARGE, READERS = 10_000, 1_000, 200, 40_000_000, 6
CHUNKS = 8
# Times what the executor takes by its own means, and microseconds of a call without any executor.
GOAL_MAP, GOAL_FAN, GOAL_CHAIN, GOAL_LARGE, GOAL_SHARE = 2.0, 0.5, 0.1, 0.3, 40.0
# Kibibytes of this process, dask's scheduler included, for an item at the peak; and what part of its due the
# worker with the fewest items gets.
GOAL_PEAK, GOAL_FAIR = 1.0, 0.5


@cascade.task(mode="remote")
def same(value: Any) -> Any:
    """Nothing."""
    return value


@cascade.task(mode="remote")
def worker_of(value: Any) -> int:
    """The process that it runs in, after a fifth of a millisecond."""
    del value
    time.sleep(0.0002)
    return os.getpid()


@cascade.task(mode="remote")
def count(values: Sequence[Any]) -> int:
    """The one gather."""
    return len(values)


@cascade.task(mode="remote")
def large(size: int) -> bytes:
    """A large value."""
    return bytes(size)


@cascade.task(mode="remote")
def read(value: bytes, number: int) -> int:
    """A reader of it."""
    return len(value) + number


def one(value: Any) -> Any:
    """What a worker is given by hand."""
    return value


def chunk(values: Sequence[Any]) -> list[Any]:
    """Many calls in one, by hand."""
    return [one(value) for value in values]


@attrs.frozen
class ByHand:
    """How the executor's own interface does the same.

    Attributes:
        submit: Calls a function on a worker, and gives a future that can be an argument of another call.
        gather: The values of futures.
        executor: Makes ours for the same workers.
    """

    submit: Callable[..., Any]
    gather: Callable[[Sequence[Any]], list[Any]]
    executor: Callable[..., RemoteExecutor]

    def chunks(self, size: int) -> None:
        """A map in a few chunks."""
        width = max(size // CHUNKS, 1)
        parts = [self.submit(chunk, list(range(start, start + width))) for start in range(0, size, width)]
        assert sum(map(len, self.gather(parts))) >= size

    def fan(self, size: int) -> None:
        """A call for each, all at once."""
        assert len(self.gather([self.submit(one, number) for number in range(size)])) == size

    def chain(self, size: int) -> None:
        """A call for each, one after another."""
        value: Any = 0
        for _ in range(size):
            value = self.submit(one, value)
        assert self.gather([value]) == [0]


@contextmanager
def on_dask() -> Iterator[ByHand]:
    """Two dask workers with a thread each."""
    import distributed

    from cascade import executors

    library: Any = distributed  # which has no annotations
    with (
        library.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        library.Client(cluster, set_as_default=False) as client,
    ):
        dask_executor: Any = getattr(executors, "DaskExecutor")  # noqa: B009  # to mypy, it may not be there
        yield ByHand(partial(client.submit, pure=False), client.gather, partial(dask_executor, client))


@contextmanager
def on_processes() -> Iterator[ByHand]:
    """Two processes of a pool, whose futures are no arguments: a chain has to wait for each."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:

        def submit(function: Callable[..., Any], argument: Any) -> Future[Any]:
            return pool.submit(function, argument.result() if isinstance(argument, Future) else argument)

        yield ByHand(
            submit, lambda futures: [future.result() for future in futures], partial(FuturesExecutor, pool)
        )


class InPlace(RemoteExecutor):
    """Runs batches where they are made."""

    slots = 2

    async def open(self) -> None:
        """Nothing to open."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def execute_many(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        """As any other, but for the way to a worker and back."""
        packed = pack(calls, [False] * len(keep), self.keep_above)
        started(0, "here")
        return unpack(packed, run_batch(packed.header, packed.payload, (), Site()))

    async def fetch(self, value: KeptValue) -> Any:
        """Nothing stays."""
        raise NotImplementedError(value)

    def drop(self, handles: Sequence[object]) -> None:
        """Nothing stays."""


def mapped(size: int) -> Any:
    """A map."""
    return same.map(value=list(range(size)))


def fanned(size: int) -> Any:
    """A fan-out."""
    return count([same(number) for number in range(size)])


def chained(size: int) -> Any:
    """A chain."""
    value = same(0)
    for _ in range(size - 1):
        value = same(value)
    return value


def read_by_many(size: int) -> Any:
    """A large value and its readers."""
    value = large(size)
    return count([read(value, number) for number in range(READERS)])


@asynccontextmanager
async def engine_on(executor: RemoteExecutor) -> AsyncIterator[Callable[[Callable[[], Any]], Work]]:
    """Makes work of flows, which run on *executor*."""
    async with cascade.Engine(executor=executor) as engine:

        def work(flow: Callable[[], Any]) -> Work:
            async def run() -> None:
                await engine.run(flow())

            return run

        yield work


async def compared(backend: str, rounds: int, options: argparse.Namespace, by_hand: ByHand) -> list[Figure]:
    """All cases that need workers."""
    large_size = LARGE // 1000 if options.quick else LARGE
    figures: list[Figure] = []
    async with engine_on(by_hand.executor()) as work, engine_on(by_hand.executor(keep_above=1e12)) as pulling:
        cases: list[tuple[str, int, Callable[[int], Any], Callable[[int], None], float]] = [
            ("map", sized(options, ITEMS), mapped, by_hand.chunks, GOAL_MAP),
            ("fan-out", sized(options, FAN), fanned, by_hand.fan, GOAL_FAN),
            ("chain", sized(options, CHAIN), chained, by_hand.chain, GOAL_CHAIN),
        ]
        for name, size, flow, native, goal in cases:
            in_thread = partial(anyio.to_thread.run_sync, native, size)
            taken = await medians(rounds, ours=work(partial(flow, size)), native=in_thread)
            comparison = Comparison(f"r. remote {name}", backend, taken, size, ["native"])
            figures.append(comparison.figure("ours", "native", goal))
        flow_of_value = partial(read_by_many, large_size)
        taken = await medians(rounds, stays=work(flow_of_value), pulled=pulling(flow_of_value))
        comparison = Comparison("r. remote large value", backend, taken, READERS, ["pulled"])
        figures.append(comparison.figure("stays", "pulled", GOAL_LARGE))
    return figures


async def memory_and_shares(backend: str, size: int, by_hand: ByHand) -> list[Figure]:
    """What a map of many items takes of the memory of this process, and how the workers share it."""
    async with cascade.Engine(executor=by_hand.executor()) as engine:
        await engine.run(worker_of.map(value=list(range(max(size // 10, 1)))))
        gc.collect()
        tracemalloc.start()
        places: Counter[int] = Counter(await engine.run(worker_of.map(value=list(range(size)))))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    fair = 2 * min(places.values()) / size if len(places) == 2 else 0.0
    name = f"r. remote map of {size}"
    return [
        Figure(name, backend, "KiB/item", peak / size / 1024, GOAL_PEAK, variant="memory, peak"),
        Figure(name, backend, "of its due", fair, GOAL_FAIR, more_is_better=True, variant="least worker"),
    ]


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """The share of the engine, and all that needs workers."""
    size = sized(options, ITEMS)
    async with engine_on(InPlace()) as work:
        seconds = await processor_seconds(rounds, work(partial(mapped, size)))
    share = Figure("r. remote map", backend, "us", seconds / size * 1e6, GOAL_SHARE, variant="engine share")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dask, about versions and ports
        with on_dask() if options.on == "dask" else on_processes() as by_hand:
            figures = [share, *await compared(backend, rounds, options, by_hand)]
            if options.items:
                figures += await memory_and_shares(backend, options.items, by_hand)
            return figures


async def processor_seconds(rounds: int, work: Work) -> float:
    """Processor time of this process for *work*, all of which is here: other programs do not count."""
    taken = []
    for _ in range(rounds + 1):
        began = time.process_time()
        await work()
        taken.append(time.process_time() - began)
    return statistics.median(taken[1:])


def has_dask() -> bool:
    """Whether dask and our executor for it are there."""
    return bool(
        importlib.util.find_spec("distributed") and importlib.util.find_spec("cascade.adapters.remote.dask")
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the workers come from."""
    default = "dask" if has_dask() else "processes"
    parser.add_argument("--on", choices=("dask", "processes"), default=default, help="workers (%(default)s)")
    parser.add_argument(
        "--items", type=int, help="also the memory and the shares of the workers in a map of so many"
    )


if __name__ == "__main__":
    main(cases, add_options)
