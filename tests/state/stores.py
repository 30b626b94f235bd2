"""The stores under test: each one real, and empty."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from ports import free_port
from real_time import look_until

from cascade.state import InMemoryStateBackend, StateBackend
from cascade.testing.faults import LoseStore
from cascade.testing.faulty_store import FaultyStore


class MinimalBackend(StateBackend):
    """What a user writes who reads the abstract methods only."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.results: dict[str, Any] = {}
        self.skips: dict[str, str] = {}

    async def put_result(self, node_id: str, result: Any) -> None:
        self.results[node_id] = result

    async def get_result(self, node_id: str) -> Any:
        return self.results.get(node_id)

    async def has_result(self, node_id: str) -> bool:
        return node_id in self.results

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        self.skips[node_id] = reason

    async def get_skip_reason(self, node_id: str) -> str | None:
        return self.skips.get(node_id)

    async def clear(self) -> None:
        self.results.clear()
        self.skips.clear()


@attrs.define
class Kept:
    """A factory that gives every run id a backend of its own, again and again."""

    make: Callable[[str], StateBackend]
    backends: dict[str, StateBackend] = attrs.field(factory=dict)

    def __call__(self, run_id: str) -> StateBackend:
        return self.backends.setdefault(run_id, self.make(run_id))


@attrs.frozen
class StoreUnderTest:
    """One kind of store.

    Attributes:
        name: Its kind.
        state: What ``state=`` takes.
        open: A backend of a run; another call with the same id sees the same records.
        close: Closes the backends that were opened so.
    """

    name: str
    state: Any
    open: Callable[[str], StateBackend]
    close: Callable[[], None] = lambda: None


def kept(name: str, make: Callable[[str], StateBackend]) -> StoreUnderTest:
    """A store that lives in objects of this process."""
    factory = Kept(make)
    return StoreUnderTest(name, factory, factory)


def memory_store() -> StoreUnderTest:
    """The store in memory."""
    return kept("memory", InMemoryStateBackend)


def minimal_store() -> StoreUnderTest:
    """A backend of single operations only."""
    return kept("minimal", MinimalBackend)


def faulty_store() -> StoreUnderTest:
    """The store in memory, in a simulation in which nothing befalls it."""

    def make(run_id: str) -> StateBackend:
        return FaultyStore(InMemoryStateBackend(run_id), LoseStore(at=10**9), lambda _: None, lambda: None)

    return kept("faulty", make)


def store_at(name: str, url: str) -> StoreUnderTest:
    """The store at *url*."""
    from cascade.runtime.engine.urls import open_backend

    opened: list[Any] = []

    def open_run(run_id: str) -> StateBackend:
        backend = open_backend(url, run_id)
        assert backend is not None
        opened.append(backend)
        return backend

    def close() -> None:
        for backend in opened:
            (backend._file if name == "sqlite" else backend._line).close()

    return StoreUnderTest(name, url, open_run, close)


def empty_redis(url: str) -> StoreUnderTest:
    """The Redis store at *url*, without what earlier tests have left there."""
    import redis

    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return store_at("redis", url)


def redis_program() -> str | None:
    """Where redis-server is, if it is on this machine."""
    return shutil.which("redis-server")


@attrs.define
class RedisServer:
    """A Redis server on a free port of the loopback interface."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, on the port that it had before, with the data that it had."""
        program = redis_program()
        assert program is not None
        self.port = self.port or free_port()
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr)
        _wait_until_it_listens(self.port, self.process)

    def stop(self) -> None:
        """Stop it, and nothing else."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
        self.process = None


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A Redis server, for as long as the block lasts."""
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _wait_until_it_listens(port: int, server: subprocess.Popen[bytes]) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    look_until(lambda: server.poll() is not None or listens(), 60)
    if server.poll() is not None or not listens():
        raise RuntimeError("redis-server does not listen")
