"""g. Traces of real workflows, replayed in virtual time: makespan over the lower bound.

The bound is the critical path, or with a number of slots the total work over these if that is longer. No schedule
can do better; which one reaches it is not known in general.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from harness import Figure, main

import cascade
from cascade.testing import virtual_backends

GOAL = 1.01
SLOTS = (None, 64, 8)
Trace = Sequence[Mapping[str, Any]]


async def replay(seconds: float, *_: object) -> None:
    """Take as long as the task took."""
    await anyio.sleep(seconds)


def flow_of(trace: Trace, slots: int | None) -> list[Any]:
    """The workflow, each task of which holds a slot; programs are tasks, so that durations can be learnt."""
    claims = None if slots is None else {"slot": 1}
    programs = {name: cascade.task(name=name, constraints=claims)(replay) for name in {t["name"] for t in trace}}
    calls: dict[str, Any] = {}
    for entry in in_order(trace):
        parents = [calls[parent] for parent in entry["parents"]]
        calls[entry["id"]] = programs[entry["name"]](entry["runtime_s"], *parents)
    return list(calls.values())


def in_order(trace: Trace) -> list[Mapping[str, Any]]:
    """The tasks, parents first."""
    left = {entry["id"]: entry for entry in trace}
    found: dict[str, Mapping[str, Any]] = {}
    while left:
        ready = [key for key, entry in left.items() if all(parent in found for parent in entry["parents"])]
        if not ready:
            raise ValueError("the trace has a cycle")
        found.update((key, left.pop(key)) for key in ready)
    return list(found.values())


def bound(trace: Trace, slots: int | None) -> float:
    """Seconds that no schedule can beat."""
    ends: dict[str, float] = {}
    for entry in in_order(trace):
        begins = max((ends[parent] for parent in entry["parents"]), default=0.0)
        ends[entry["id"]] = begins + entry["runtime_s"]
    longest = max(ends.values())
    return longest if slots is None else max(longest, sum(entry["runtime_s"] for entry in trace) / slots)


async def makespans(trace: Trace, slots: int | None, schedule: Any) -> tuple[float, float]:
    """Virtual seconds of a first run, and of a second one on the same engine, which knows how long tasks take."""
    resources = {} if slots is None else {"slot": slots}
    engine = cascade.Engine(system_resources=resources, schedule=schedule)
    taken = []
    for _ in range(2):
        began = anyio.current_time()
        await engine.run(flow_of(trace, slots))
        taken.append(anyio.current_time() - began)
    return taken[0], taken[1]


def figures(backend: str, options_of_loop: Mapping[str, Any], traces: Sequence[Trace]) -> list[Figure]:
    """Medians over all traces."""
    found = []
    for schedule in ("eager", "stages"):
        for slots in SLOTS:
            ratios: list[tuple[float, float]] = []
            for trace in traces:
                run = partial(makespans, trace, slots, schedule)
                first, second = anyio.run(run, backend=backend, backend_options=dict(options_of_loop))
                least = bound(trace, slots)
                ratios.append((first / least, second / least))
            where = "unlimited" if slots is None else f"{slots} slots"
            goal = GOAL if slots is None and schedule == "eager" else None
            median = statistics.median(first for first, _ in ratios)
            learnt = statistics.median(second for _, second in ratios)
            worst = max(first for first, _ in ratios)
            beside = {"worst": worst, "durations known": learnt}
            name = f"g. traces, {schedule}, {where}"
            found.append(Figure(name, backend, "x bound", median, goal, baselines=beside))
    return found


def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """All traces of a folder; none without one."""
    del rounds  # virtual time does not vary
    if options.traces is None:
        return []
    traces = [json.loads(path.read_text("utf-8"))["tasks"] for path in sorted(options.traces.glob("*.json"))]
    if not traces:
        raise SystemExit(f"no traces (*.json) in {options.traces}")
    return figures(backend, dict(virtual_backends())[backend], traces)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the traces are."""
    parser.add_argument("--traces", type=Path, help="a folder of JSON: tasks with id, name, runtime_s, parents")


if __name__ == "__main__":
    main(cases, add_options)
