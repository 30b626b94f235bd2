"""The remote executors that tests ask the same questions of. Another kind needs one more entry of ``KINDS``."""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
from clusters import shared_dask, shared_ray

from cascade.executors import FuturesExecutor, RemoteExecutor

# Bytes from which values stay in these executors: little, so that tests need not be large.
KEEP_ABOVE = 10_000


@attrs.frozen
class Kind:
    """A kind of remote executor.

    Attributes:
        name: Its name in the ids of tests.
        opened: Gives one with two workers, open as long as the block lasts; takes options of ``RemoteExecutor``.
        has_processes: Whether its workers are processes that can be killed.
        marks: Marks of all tests with it.
    """

    name: str
    opened: Callable[..., AbstractContextManager[RemoteExecutor]]
    has_processes: bool = True
    marks: Any = ()


@contextmanager
def kept_open(executor: RemoteExecutor) -> Iterator[RemoteExecutor]:
    """*executor*, opened for all runs of the block."""
    anyio.run(executor.open)
    try:
        yield executor
    finally:
        anyio.run(executor.aclose)


def process_pool() -> ProcessPoolExecutor:
    """Two processes, started by a server that has imported what they need: a second for each, otherwise."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cascade.adapters.remote.futures", "cascade.adapters.serialization.by_value"])
    return ProcessPoolExecutor(2, mp_context=context)


def _threads(**options: Any) -> AbstractContextManager[RemoteExecutor]:
    return kept_open(FuturesExecutor(partial(ThreadPoolExecutor, 2), **{"keep_above": KEEP_ABOVE, **options}))


def _processes(**options: Any) -> AbstractContextManager[RemoteExecutor]:
    return kept_open(FuturesExecutor(process_pool, **{"keep_above": KEEP_ABOVE, **options}))


def _dask(**options: Any) -> AbstractContextManager[RemoteExecutor]:
    from cascade.executors import DaskExecutor

    return kept_open(DaskExecutor(shared_dask().address, **{"keep_above": KEEP_ABOVE, **options}))


def _ray(**options: Any) -> AbstractContextManager[RemoteExecutor]:
    from cascade.executors import RayExecutor

    shared_ray()
    return kept_open(RayExecutor(**{"keep_above": KEEP_ABOVE, **options}))


KINDS = [
    Kind("threads", _threads, has_processes=False),
    Kind("processes", _processes),
    Kind("dask", _dask, marks=pytest.mark.needs("distributed")),
    Kind("ray", _ray, marks=[pytest.mark.needs("ray"), pytest.mark.ray]),
]


def params(*, are_processes: bool = False) -> list[Any]:
    """The kinds, as parameters of a test or fixture."""
    kinds = [kind for kind in KINDS if kind.has_processes or not are_processes]
    return [pytest.param(kind, id=kind.name, marks=kind.marks) for kind in kinds]


def is_installed(*libraries: str) -> bool:
    """Whether all *libraries* can be imported."""
    return all(map(importlib.util.find_spec, libraries))
