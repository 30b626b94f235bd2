"""A pause from another process: how long until nothing starts any more, of 100 000 no-ops that could.

They are ready nodes on the loop or in threads, or the turns of one loop of tail calls.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from harness import Figure, main, sized

import cascade
from cascade.runtime.control.remote_client import Remote
from cascade.runtime.engine.urls import open_connector

NODES = 100_000
GOAL_MILLISECONDS = 50.0
TURNS = {"async turns", "sync turns"}
KINDS = {"async": "ready async nodes", "sync": "ready sync nodes"} | {kind: kind for kind in sorted(TURNS)}
# Until the pause is in force so many must not have been able to start, also with ``--quick``.
LEAST_NODES = 50_000


class Ticks:
    """Nodes that do nothing but count, and ask for a pause once enough of them have."""

    def __init__(self, other: subprocess.Popen[str], nodes: int) -> None:
        self.other = other
        self.nodes = nodes
        self.count = 0
        self.last = 0.0

    def tick(self) -> None:
        """A node starts."""
        self.count += 1
        self.last = time.monotonic()
        if self.count == self.nodes // 10:
            assert self.other.stdin is not None
            self.other.stdin.write("pause\n")
            self.other.stdin.flush()

    def flow(self, kind: str) -> object:
        """All of them."""
        tick = self.tick
        if kind in TURNS:
            return self.turns(kind)

        async def tick_on_the_loop() -> None:
            tick()

        function: Callable[[], object] = tick_on_the_loop if kind == "async" else tick
        task = cascade.task(name="tick")(function)
        return [task() for _ in range(self.nodes)]

    def turns(self, kind: str) -> object:
        """As a loop."""

        def turn(number: int) -> object:
            self.tick()
            return task(number + 1) if number < self.nodes else None

        async def turn_on_the_loop(number: int) -> object:
            return turn(number)

        function: Callable[[int], object] = turn_on_the_loop if kind == "async turns" else turn
        task = cascade.task(name="tick")(function)
        return task(1)


@contextmanager
def other_process(url: str) -> Iterator[subprocess.Popen[str]]:
    """Somebody who pauses."""
    words = [sys.executable, str(Path(__file__).with_name("other_process.py")), url]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.stdin.close()


async def milliseconds(url: str, kind: str, other: subprocess.Popen[str], nodes: int) -> float:
    """From the other process's word to the last start after it."""
    assert other.stdout is not None
    ticks = Ticks(other, nodes)
    async with cascade.start(ticks.flow(kind), control=url) as run:
        began = float(await run_sync(other.stdout.readline))
        seen = -1
        while seen != ticks.count:  # nothing starts any more when nothing has for a while
            seen = ticks.count
            await anyio.sleep(0.3)
        assert seen < nodes, "the flow was over before the pause came"
        run.cancel()
    connector = open_connector(url)
    await connector.connect()
    await Remote(connector).say(lifted=[("task:tick", "pause")])
    await connector.disconnect()
    return max(ticks.last - began, 0) * 1000


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Nodes on the loop, and in threads."""
    nodes = max(sized(options, NODES), LEAST_NODES)
    figures = []
    for kind, words in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            url = f"local:{folder}/control.db"
            with other_process(url) as other:
                taken = [await milliseconds(url, kind, other, nodes) for _ in range(rounds)]
        figures.append(Figure("pause", backend, "ms", statistics.median(taken), GOAL_MILLISECONDS, variant=words))
    return figures


if __name__ == "__main__":
    main(cases)
