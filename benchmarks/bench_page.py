"""p. The live page of a run, open in chromium, while the run makes 6 000 events a second.

Items of a map end at set times, so that a run which nothing holds back takes as long as these say. A script in
the page writes down ten times a second how many nodes the page *shows* as ended, and how large the document is.
How far the page is behind is the time since so many had ended. Flat out, items do nothing, and the run makes as
many events as it can. Without Playwright and chromium nothing is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import resource
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Queue
from typing import Any

import anyio
import attrs
from harness import Figure, main

import cascade

# Items a second, each of which makes two events; seconds; items at a time, and where very many are at work.
RATE, SECONDS, AT_A_TIME, VERY_MANY = 3_000, 15, 100, 10_000
FLAT_OUT = 100_000
# Events a second; seconds that the page may be behind, and that the run may take longer than it has to.
GOAL_RATE, GOAL_BEHIND, GOAL_LATE = 5_000.0, 1.0, 0.5
# Mebibytes that this process may grow by after the first third of a run, and how many times as large the document
# and the memory of its script may be in the last third as in the second one.
GOAL_GROWTH, GOAL_LARGER = 5.0, 1.5

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# What writes down what the page shows.
WATCH = """() => {
  window.seen = [];
  window.watching = setInterval(() => {
    const text = document.querySelector('#summary dd')?.textContent || '';
    const ended = /([\\d\\u202f]+) succeeded/.exec(text);
    const heap = performance.memory ? performance.memory.usedJSHeapSize : 0;
    window.seen.push([
      Date.now() / 1000, ended ? Number(ended[1].replace(/\\u202f/g, '')) : 0,
      document.getElementsByTagName('*').length, heap,
    ]);
  }, 100);
}"""


@attrs.frozen
class Seen:
    """What a script in the page has written down.

    Attributes:
        at: Seconds since the epoch.
        ended: Nodes that the page showed as ended.
        elements: Elements of the document.
        heap: Bytes of its script.
    """

    at: float
    ended: int
    elements: int
    heap: int


@attrs.define(eq=False)
class Run:
    """One run, and when its items have ended.

    Attributes:
        items: How many there are.
        rate: How many of them end in a second.
        at_a_time: How many are at work at a time.
        begun: When the first one was to end, in seconds since the epoch; 0 before that.
        ends: When each has ended.
        memory: Bytes of this process, now and then.
    """

    items: int
    rate: float
    at_a_time: int = AT_A_TIME
    begun: float = 0.0
    ends: list[float] = attrs.field(factory=list)
    memory: list[int] = attrs.field(factory=list)

    def flow(self) -> Any:
        """The map, once somebody watches."""

        @cascade.task
        async def item(number: int) -> None:
            if not self.begun:  # the first ones have begun when one is to end
                self.begun = time.time() + self.at_a_time / RATE
            left = self.begun + number / self.rate - time.time()
            if left > 0:
                await anyio.sleep(left)
            self.ends.append(time.time())
            if not number % (RATE // 10):
                self.memory.append(resident())

        items = item.map(number=list(range(self.items))).with_concurrency(self.at_a_time)
        return items.after(cascade.signal("go"))

    def behind(self, seen: Seen) -> float:
        """Seconds since as many items had ended as the page showed: since the first that it did not show."""
        return max(seen.at - self.ends[seen.ended], 0.0) if seen.ended < len(self.ends) else 0.0


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def watch(link: str, watches: threading.Event, found: Queue[list[Seen]]) -> None:
    """Open the page, and keep what it shows until the run is over and the page says so."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(link)
        page.wait_for_selector("#connection[data-state=live]")
        page.evaluate(WATCH)
        watches.set()
        page.wait_for_selector("#connection[data-state=ended]", timeout=120_000)
        page.wait_for_timeout(500)
        found.put([Seen(*row) for row in page.evaluate("window.seen")])
        browser.close()


async def measured(run: Run) -> tuple[Run, list[Seen]]:
    """Run the map with its page open, and keep what that shows."""
    links, found, watches = Queue[str](), Queue[list[Seen]](), threading.Event()
    page = cascade.Page(on_link=links.put)
    async with cascade.start(run.flow(), page=page, schedule="eager") as handle:
        link = await anyio.to_thread.run_sync(links.get)
        threading.Thread(target=watch, args=(link, watches, found)).start()
        await anyio.to_thread.run_sync(watches.wait)
        await handle.send("go", "now")
        await handle.result()
    return run, await anyio.to_thread.run_sync(found.get)


async def unwatched(items: int) -> Run:
    """The same without a page, flat out."""
    run = Run(items, math.inf)
    async with cascade.start(run.flow(), schedule="eager") as handle:
        await handle.send("go", "now")
        await handle.result()
    return run


def figures_of(run: Run, seen: Sequence[Seen], backend: str) -> list[Figure]:
    """What a run at a set rate has shown."""
    case = f"p. page, {run.at_a_time:,} at work"
    took, due = run.ends[-1] - run.begun, (run.items - 1) / run.rate
    inside = [one for one in seen if run.begun < one.at < run.ends[-1]]
    behind = [run.behind(one) for one in inside]
    told = next(one.at for one in seen if one.ended >= run.items) - run.ends[-1]
    third = len(inside) // 3
    second, last = inside[third:-third], inside[-third:]
    grown = (run.memory[-1] - run.memory[len(run.memory) // 3]) / 2**20

    def larger(size: Callable[[Seen], int]) -> float:
        return max(map(size, last)) / max(map(size, second))

    def figure(variant: str, unit: str, value: float, goal: float, **more: Any) -> Figure:
        return Figure(case, backend, unit, value, goal, variant=variant, **more)

    return [
        figure("events", "/s", 2 * run.items / took, GOAL_RATE, more_is_better=True),
        figure("run later than set", "s", took - due, GOAL_LATE),
        figure("page behind, median", "s", statistics.median(behind), GOAL_BEHIND),
        figure("page behind, most", "s", max(behind), GOAL_BEHIND),
        figure("end shown after", "s", max(told, 0.0), GOAL_BEHIND),
        figure("process grown", "MiB", grown, GOAL_GROWTH),
        figure("elements, last third", "x second", larger(lambda one: one.elements), GOAL_LARGER),
        figure("script, last third", "x second", larger(lambda one: one.heap), GOAL_LARGER),
    ]


async def flat_out(items: int, backend: str) -> list[Figure]:
    """As many events a second as there can be, and how far the page is behind then."""
    bare = await unwatched(items)
    run, seen = await measured(Run(items, math.inf))
    behind = [run.behind(one) for one in seen if run.begun < one.at < run.ends[-1]]
    rates = [2 * items / (one.ends[-1] - one.begun) for one in (run, bare)]
    by_hand = {"no page": rates[1]}
    return [
        Figure(
            "p. page", backend, "/s", rates[0], GOAL_RATE, more_is_better=True, baselines=by_hand,
            variant="events, flat out", against="no page", ratio=rates[1] / rates[0],
        ),
        Figure("p. page", backend, "s", max(behind, default=0.0), GOAL_BEHIND, variant="behind, flat out"),
    ]  # fmt: skip


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """A run at a set rate, and one flat out. There is one round: it is long enough."""
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        return []
    items = RATE if options.quick else RATE * SECONDS
    figures = []
    for at_a_time in (AT_A_TIME, VERY_MANY):
        figures += figures_of(*await measured(Run(items, RATE, at_a_time)), backend)
    return [*figures, *await flat_out(1000 if options.quick else FLAT_OUT, backend)]


if __name__ == "__main__":
    main(cases)
