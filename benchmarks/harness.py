"""What the benchmarks share: timing in one process, baselines beside it, goals and verdicts.

The machine is noisy, so every figure is the median of several rounds, and each round measures the flow and its
hand-written baselines right after one another.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

Work = Callable[[], Awaitable[object]]


@dataclass
class Figure:
    """One measured figure.

    Attributes:
        case: Letter and name of the case.
        backend: The event loop.
        unit: What ``value`` counts.
        value: The median.
        goal: What it should be: at most, or at least if ``more_is_better``.
        baselines: The same work written by hand, in the same unit.
    """

    case: str
    backend: str
    unit: str
    value: float
    goal: float | None = None
    more_is_better: bool = False
    baselines: dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return ""
        is_met = self.value >= self.goal if self.more_is_better else self.value <= self.goal
        return "met" if is_met else "missed"


async def timed(work: Work) -> float:
    """Seconds that *work* takes, garbage of earlier work collected before."""
    gc.collect()
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def medians(rounds: int, **works: Work) -> dict[str, float]:
    """Median seconds of each of *works*, measured in turns; one round before the first does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = await timed(work)
            if number:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


# Those that need no loop of real time return their figures at once.
Cases = Callable[[str, int, argparse.Namespace], Awaitable[Sequence[Figure]] | Sequence[Figure]]


def main(cases: Cases, add_options: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    """Run a benchmark file: on one backend or both, as a table or as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=("asyncio", "trio", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is taken")
    parser.add_argument("--json", action="store_true", help="one JSON object per figure")
    if add_options is not None:
        add_options(parser)
    options = parser.parse_args()
    figures: list[Figure] = []
    for backend in ("asyncio", "trio") if options.backend == "both" else (options.backend,):
        if inspect.iscoroutinefunction(cases):
            figures += anyio.run(partial(cases, backend, options.rounds, options), backend=backend)
        else:
            figures += cast("Sequence[Figure]", cases(backend, options.rounds, options))
    if options.json:
        for figure in figures:
            print(json.dumps({**asdict(figure), "verdict": figure.verdict}))
    else:
        print(table([{**asdict(figure), "verdict": figure.verdict} for figure in figures]))


def shown(value: float) -> str:
    """A figure with three digits that mean something."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def table(figures: Sequence[dict[str, Any]]) -> str:
    """Figures as a markdown table."""
    lines = ["| case | loop | goal | measured | verdict | by hand |", "|---|---|--:|--:|---|---|"]
    for figure in figures:
        sign = ">=" if figure["more_is_better"] else "<="
        goal = f"{sign} {shown(figure['goal'])}" if figure["goal"] is not None else ""
        by_hand = ", ".join(f"{name} {shown(value)}" for name, value in figure["baselines"].items())
        measured = f"{shown(figure['value'])} {figure['unit']}"
        lines.append(
            f"| {figure['case']} | {figure['backend']} | {goal} | {measured} | {figure['verdict']} | {by_hand} |"
        )
    return "\n".join(lines)


def environment() -> str:
    """Where the figures come from."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("anyio", "trio"))
    return f"Python {platform.python_version()}, {packages}, {platform.machine()}"
