"""A flow that is killed again and again, and a loop that is; run in processes of their own."""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
from real_time import hold_thread

import cascade

# Where executions are noted, one line each; written in one go, so that lines never mix.
LOG = int(os.environ.get("CRASH_LOG_FD", "-1"))


def note(text: str | None = None) -> None:
    os.write(LOG, f"{text or cascade.current().node_id}\n".encode())


@cascade.task
async def fetch(n: int) -> int:
    note()
    await anyio.sleep(0.002)  # may be killed meanwhile
    return n


@cascade.task
def parse(n: int) -> int:
    note()
    hold_thread(0.001)
    return n + 1


@cascade.task
def tally(*numbers: int) -> int:
    note()
    return sum(numbers)


@cascade.task
async def is_even(n: int) -> bool:
    note()
    return n % 2 == 0


@cascade.task
async def pick(n: int) -> str:
    note()
    return "odd" if n % 2 else "even"


@cascade.task
async def spin(n: int) -> Any:
    note()
    return n if n >= 8 else spin(n + 1)


@cascade.task(retry=cascade.Retry(max_attempts=3))
async def flaky(n: int) -> int:
    note()
    if cascade.current().attempt < 2:
        raise ValueError("not yet")
    return n


def make_flow() -> Any:
    """239 nodes and items: sync and async, skips, a map, routes and loops."""
    fetched = [fetch(n) for n in range(50)]
    parsed = [parse(value) for value in fetched]
    items = parse.map(n=range(60))
    skipped = [parse(value).run_if(is_even(value)) for value in parsed[:10]]
    routed = [cascade.Router(pick(value), {"odd": parse(value), "even": fetch(value)}) for value in parsed[10:20]]
    spun = [spin(n) for n in range(3)]
    tallies = [tally(*parsed[start : start + 10]) for start in range(0, 50, 10)]
    return tally(*tallies, cascade.pipeline(items, [total]), *skipped, *routed, *spun, flaky(5))


@cascade.task
async def total(numbers: list[int]) -> int:
    note()
    return sum(numbers)


def expected() -> int:
    parsed = [n + 1 for n in range(50)]
    skipped = [n + 1 if n % 2 == 0 else n for n in parsed[:10]]
    routed = [n + 1 if n % 2 else n for n in parsed[10:20]]
    return sum(parsed) + sum(n + 1 for n in range(60)) + sum(skipped) + sum(routed) + 3 * 8 + 5


@cascade.task
async def shaky(n: int) -> int:
    note()
    await anyio.sleep(0.002)  # may be killed meanwhile
    if fails(n):
        raise ValueError(n)
    return n


@cascade.task
async def weigh(outcome: cascade.Outcome[int]) -> int:
    note()
    await anyio.sleep(0.001)
    return outcome.value if isinstance(outcome, cascade.Done) else 1000


def fails(n: int) -> bool:
    return n % 5 == 0


def make_outcomes() -> Any:
    """241 nodes and items: maps that take, item by item, how the items of others end."""
    settled = weigh.map(outcome=cascade.settled(shaky.map(n=range(60)).with_concurrency(8)))
    again = parse.map(n=settled)
    return total(parse.map(n=again))


def expected_of_outcomes() -> int:
    return sum((1000 if fails(n) else n) + 2 for n in range(60))


@cascade.task
async def count(n: int, end: int) -> Any:
    if not turns_made:
        note(f"first {n}")
    turns_made.append(n)
    del turns_made[1:]
    return n if n >= end else count(n + 1, end)


turns_made: list[int] = []


def main() -> None:
    kind, url, backend, end = sys.argv[1:]
    flow = {"flow": make_flow, "outcomes": make_outcomes}.get(kind, lambda: count(1, int(end)))()
    settings: Any = {"durability": "task"} if kind != "loop" else {}
    if kind == "outcomes":
        settings["schedule"] = "eager"
    note("begins")
    print(cascade.run_sync(flow, backend=backend, state=url, run_id="night", **settings), flush=True)


if __name__ == "__main__":
    main()
