"""What the scripts of this folder share: sizes, timing, and a failure among siblings."""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import attrs

SIBLINGS = 20
FAILS_AFTER = 0.1  # seconds
TAKES = 0.5  # seconds that each sibling of the failing task needs
PATIENCE = 3.0  # seconds in which siblings may still end when the call has raised

Sleep = Callable[[float], Awaitable[object]]
Outcome = dict[str, str | float]


class Trouble(Exception):
    """What the failing task raises."""


@attrs.define
class Siblings:
    """Counts what becomes of the siblings of a task that fails."""

    started: int = 0
    finished: int = 0
    cancelled: int = 0

    async def wait(self, sleep: Sleep) -> None:
        """One async sibling, with the sleep of its event loop."""
        self.started += 1
        try:
            await sleep(TAKES)
        except BaseException:
            self.cancelled += 1
            raise
        self.finished += 1

    def block(self) -> None:
        """One sync sibling."""
        self.started += 1
        time.sleep(TAKES)
        self.finished += 1

    def at_the(self, error: Exception, seconds: float) -> Outcome:
        """As it is when the call raises."""
        return {
            "raises": type(error).__name__,
            "after": round(seconds, 2),
            "not started": SIBLINGS - self.started,
            "cancelled": self.cancelled,
            "finished": self.finished,
            "still running": self.started - self.cancelled - self.finished,
        }

    def in_the_end(self, at_once: Outcome) -> Outcome:
        """What has finished since."""
        return {**at_once, "finished later": self.finished - int(at_once["finished"])}


def outcome(run: Callable[[Siblings], object]) -> Outcome:
    """Run a flow in which one task fails while others are under way, and say what became of them."""
    siblings = Siblings()
    began = time.perf_counter()
    try:
        run(siblings)
    except Exception as error:
        at_once = siblings.at_the(error, time.perf_counter() - began)
    else:
        raise RuntimeError("the failure of a task is lost")
    time.sleep(PATIENCE)
    return siblings.in_the_end(at_once)


async def async_outcome(run: Callable[[Siblings], Awaitable[object]], sleep: Sleep) -> Outcome:
    """The same, in an event loop that goes on afterwards, as that of a service does."""
    siblings = Siblings()
    began = time.perf_counter()
    try:
        await run(siblings)
    except Exception as error:
        at_once = siblings.at_the(error, time.perf_counter() - began)
    else:
        raise RuntimeError("the failure of a task is lost")
    await sleep(PATIENCE)
    return siblings.in_the_end(at_once)


# How many tasks, items, turns or nodes a case has; engines that take long are given fewer.
SIZES = {"a": 1_000, "b": 10_000, "c": 10_000, "d": 100_000, "e": 5_000, "j": 10_000}
LAYERS, PARENTS = 50, 3
LEAST = {**dict.fromkeys(SIZES, 10), "e": LAYERS * PARENTS}


def parents(nodes: int) -> list[list[list[int]]]:
    """For each node of each of 50 layers three nodes of the layer before, by lot."""
    rng = random.Random(0)
    width = max(nodes // LAYERS, PARENTS)
    layer = [[rng.sample(range(width), PARENTS) for _ in range(width)] for _ in range(LAYERS - 1)]
    return [[[] for _ in range(width)], *layer]


def us_per_task(work: Callable[[int], object], size: int) -> float:
    """Microseconds; a small one goes before, so that what is loaded or started once does not count."""
    work(10)
    gc.collect()
    began = time.perf_counter()
    work(size)
    return (time.perf_counter() - began) / size * 1e6


def report(
    cases: Mapping[str, Callable[[int], object]],
    failures: Mapping[str, Callable[[], Outcome]],
    *,
    smaller: int = 1,
) -> None:
    """Measure each case once, at a size so many times smaller than usual, and print it as JSON.

    With ``--quick`` cases are a hundred times smaller still.
    """
    if "--quick" in sys.argv:
        smaller *= 100
    found: dict[str, object] = {
        "us": {name: us_per_task(work, max(SIZES[name] // smaller, LEAST[name])) for name, work in cases.items()},
        "failures": {name: failure() for name, failure in failures.items()},
    }
    print(json.dumps(found))
