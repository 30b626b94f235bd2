"""What the benchmarks share: timing in turns, baselines in the same process, goals, verdicts and the table.

A machine is never quiet. So each round measures a flow and its baselines right after one another, a figure is the
median of the rounds, and a ratio is the median of the ratios of each round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import json
import math
import os
import platform
import statistics
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import anyio
import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

Work = Callable[[], Awaitable[object]]
# Columns of a terminal that the table fits.
WIDTH = 120
# How much smaller everything is with ``--quick``, and the least that is left of it.
QUICK_FACTOR, QUICK_LEAST = 1000, 10


@attrs.frozen
class Figure:
    """One measured figure.

    Attributes:
        case: Letter and name of the case.
        backend: The event loop.
        unit: What ``value`` counts.
        value: The median of the rounds.
        goal: What ``value`` should be: at most, or at least if ``more_is_better``. None: no such goal.
        more_is_better: Whether ``value`` is a speed rather than a time.
        baselines: The same work done in other ways, in the same unit, by name.
        variant: Which kind of task or schedule.
        against: The baseline that ``ratio`` refers to.
        ratio: How many times the baseline's time it takes: the median of the ratios of each round.
        goal_ratio: What ``ratio`` should be at most. With ``goal`` as well, one of the two is enough.
    """

    case: str
    backend: str
    unit: str
    value: float
    goal: float | None = None
    more_is_better: bool = False
    baselines: Mapping[str, float] = attrs.field(factory=dict)
    variant: str = ""
    against: str = ""
    ratio: float | None = None
    goal_ratio: float | None = None

    @property
    def excess(self) -> float | None:
        """How many times the nearest goal is exceeded: at most 1 if one is met, None without any."""
        factors = []
        if self.goal is not None:
            over, under = (self.goal, self.value) if self.more_is_better else (self.value, self.goal)
            factors.append(over / under if under else math.inf)
        if self.goal_ratio is not None and self.ratio is not None:
            factors.append(self.ratio / self.goal_ratio)
        return min(factors, default=None)

    @property
    def verdict(self) -> str:
        """``met``, ``missed by 12 %``, or ``missed by 3.5x`` from twice the goal on; empty without a goal."""
        excess = self.excess
        if excess is None:
            return ""
        if excess <= 1:
            return "met"
        if excess < 2:
            return f"missed by {math.ceil((excess - 1) * 100)} %"
        return f"missed by {shown(excess)}x"

    @property
    def goal_text(self) -> str:
        """Such as ``<= 1.3x``."""
        ratio = [] if self.goal_ratio is None else [f"<= {shown(self.goal_ratio)}x"]
        value = [] if self.goal is None else [f"{'>=' if self.more_is_better else '<='} {shown(self.goal)}"]
        return " or ".join(ratio + value)

    @property
    def names(self) -> tuple[str, str]:
        """Case and variant. What follows a comma in the case is the variant if there is none."""
        case, _, rest = self.case.partition(", ")
        return (self.case, self.variant) if self.variant else (case, rest)

    def cells(self) -> list[str]:
        """Its row of the table."""
        return [
            *self.names,
            self.backend,
            f"{shown(self.value)} {self.unit}",
            f"{self.against} {shown(self.baselines[self.against])}" if self.against else "",
            "" if self.ratio is None else f"{shown(self.ratio)}x",
            self.goal_text,
            self.verdict,
        ]

    def note(self) -> str:
        """The baselines that have no column; empty if there are none."""
        others = {name: value for name, value in self.baselines.items() if name != self.against}
        return ", ".join(f"{name} {shown(value)}" for name, value in others.items())

    def to_json(self) -> dict[str, Any]:
        """All attributes, and the verdict."""
        return {**attrs.asdict(self), "verdict": self.verdict}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Figure:
        """The figure that ``to_json`` has written."""
        return cls(**{name: value for name, value in entry.items() if name != "verdict"})


HEADINGS = ("case", "variant", "loop", "value", "baseline", "ratio", "goal", "verdict")
_RIGHT = frozenset({"value", "ratio"})


class Medians(dict[str, float]):
    """Median seconds by name; ``ratio`` compares two of them round by round."""

    def __init__(self, rounds: Mapping[str, Sequence[float]]) -> None:
        super().__init__({name: statistics.median(taken) for name, taken in rounds.items()})
        self._rounds = rounds

    def ratio(self, name: str, baseline: str) -> float:
        """How many times as long as *baseline* it took: the median of the ratios of each round."""
        pairs = zip(self._rounds[name], self._rounds[baseline], strict=True)
        return statistics.median(own / other for own, other in pairs)


@attrs.frozen
class Comparison:
    """Works of one case and its baselines, which did the same number of things in turns.

    Attributes:
        case: Letter and name.
        backend: The event loop.
        taken: Seconds of all.
        count: How many tasks, nodes or items each of them ran.
        by_hand: The names of the baselines.
    """

    case: str
    backend: str
    taken: Medians
    count: int
    by_hand: Collection[str]

    def figure(self, variant: str, against: str, goal_ratio: float) -> Figure:
        """Microseconds for each task of a work, beside one of the baselines."""
        us = {name: self.taken[name] / self.count * 1e6 for name in (variant, *self.by_hand)}
        value = us.pop(variant)
        ratio = self.taken.ratio(variant, against)
        return Figure(
            self.case,
            self.backend,
            "us",
            value,
            baselines=us,
            variant=variant,
            against=against,
            ratio=ratio,
            goal_ratio=goal_ratio,
        )


async def timed(work: Work) -> float:
    """Seconds that *work* takes, garbage of earlier work collected before."""
    gc.collect()
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def medians(rounds: int, **works: Work) -> Medians:
    """Median seconds of each of *works*, measured in turns; one round before the first does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = await timed(work)
            if number:
                seconds[name].append(taken)
    return Medians(seconds)


def eager_tasks(backend: str, work: Work) -> dict[str, Work]:
    """*work* with ``asyncio.eager_task_factory``, by name; nothing on Trio, and before Python 3.12."""
    factory = getattr(asyncio, "eager_task_factory", None)
    if backend != "asyncio" or factory is None:
        return {}

    async def with_factory() -> None:
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(factory)
        try:
            await work()
        finally:
            loop.set_task_factory(before)

    return {"eager_task_factory": with_factory}


def sized(options: argparse.Namespace, full: int) -> int:
    """*full*, or with ``--quick`` a thousandth of it and at least 10."""
    return max(full // QUICK_FACTOR, QUICK_LEAST) if options.quick else full


# Those that need no loop of real time return their figures at once.
Cases = Callable[[str, int, argparse.Namespace], Awaitable[Sequence[Figure]] | Sequence[Figure]]


def main(cases: Cases, add_options: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    """Run a benchmark file on one event loop or both, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=("asyncio", "trio", "both"), default="both")
    add_shared_options(parser)
    if add_options is not None:
        add_options(parser)
    options = parser.parse_args()
    figures: list[Figure] = []
    for backend in ("asyncio", "trio") if options.backend == "both" else (options.backend,):
        if inspect.iscoroutinefunction(cases):
            figures += anyio.run(partial(cases, backend, rounds_of(options), options), backend=backend)
        else:
            figures += cast("Sequence[Figure]", cases(backend, rounds_of(options), options))
    publish(figures, options)


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """What every benchmark and the report of all of them understand."""
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is taken (5)")
    parser.add_argument("--quick", action="store_true", help="one tiny round, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")


def rounds_of(options: argparse.Namespace) -> int:
    """How many rounds are measured."""
    return 1 if options.quick else int(options.rounds)


def save(figures: Sequence[Figure], options: argparse.Namespace) -> None:
    """Write the file of ``--json``, if one is asked for."""
    if options.json:
        about = environment(rounds_of(options))
        found = {"environment": about, "figures": [figure.to_json() for figure in figures]}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def publish(figures: Sequence[Figure], options: argparse.Namespace) -> None:
    """Print the table, and write the file if one is asked for."""
    about = environment(rounds_of(options))
    save(figures, options)
    print(textwrap.fill(", ".join(f"{name} {value}" for name, value in about.items()), WIDTH))
    print(f"\n{table(figures)}")
    beside = notes(figures)
    if beside:
        print(f"\nBeside these, in the unit of the value:\n{beside}")


def shown(value: float) -> str:
    """A figure with three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """Figures in columns, in no more than 120 characters: the variants are cut short if need be."""
    rows = [list(HEADINGS), *(figure.cells() for figure in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    gaps = 2 * (len(HEADINGS) - 1)
    widths[1] = min(widths[1], max(WIDTH - gaps - sum(widths) + widths[1], len(HEADINGS[1])))
    lines = []
    for row in rows:
        cells = []
        for cell, name, width in zip(row, HEADINGS, widths, strict=True):
            fitting = cell if len(cell) <= width else f"{cell[: width - 2]}.."
            cells.append(fitting.rjust(width) if name in _RIGHT else fitting.ljust(width))
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def notes(figures: Sequence[Figure]) -> str:
    """The baselines without a column, one line for all variants that share them."""
    variants: dict[tuple[str, str, str], list[str]] = {}
    for figure in figures:
        if note := figure.note():
            case, variant = figure.names
            variants.setdefault((case, figure.backend, note), []).append(variant)
    lines = []
    for (case, backend, note), found in variants.items():
        which = f" {found[0]}," if len(found) == 1 and found[0] else ""
        lines.append(textwrap.fill(f"{case},{which} {backend}: {note}", WIDTH, subsequent_indent="    "))
    return "\n".join(lines)


def environment(rounds: int) -> dict[str, str]:
    """When, on what and with what the figures are measured."""
    packages = {name: version(name) for name in ("anyio", "trio")}
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "Python": platform.python_version(),
        **packages,
        "cores": f"{os.cpu_count()} {processor()}",
        "load": load,
        "rounds": str(rounds),
    }


def processor() -> str:
    """The kind of processor, as the system names it."""
    about = Path("/proc/cpuinfo")
    for line in about.read_text("utf-8").splitlines() if about.exists() else ():
        if line.startswith("model name"):
            return f"{platform.machine()} ({line.partition(':')[2].strip()})"
    return platform.machine()
