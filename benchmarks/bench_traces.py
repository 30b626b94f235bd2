"""g. Traces of real workflows, replayed in virtual time: makespan over a lower bound.

The bound is the critical path; with a number of slots also the work that these have to do, after what comes
before it and before what follows from it (``bound``). No schedule can do better; which one reaches
it is not known in general.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
from harness import Figure, main

import cascade
from cascade.runtime.context.durations import OF_PROCESS
from cascade.testing import virtual_backends

SLOTS = (None, 64, 8)
# What is known of the flow, and the goals by number of slots.
KNOWN = ("nothing known", "run before", "costs said")
GOALS: Sequence[Mapping[int | None, float]] = ({None: 1.01, 8: 1.1}, {8: 1.03}, {8: 1.1})
# By what part a cost that is said may be wrong.
ERROR = 0.3
Trace = Sequence[Mapping[str, Any]]


async def replay(seconds: float, *_: object) -> None:
    """Take as long as the task took."""
    await anyio.sleep(seconds)


def flow_of(trace: Trace, slots: int | None, costs: Mapping[str, float]) -> list[Any]:
    """The workflow, each task of which holds a slot; programs are tasks. Of some it is said what they cost."""
    claims = None if slots is None else {"slot": 1}
    programs = {name: cascade.task(name=name, constraints=claims)(replay) for name in {t["name"] for t in trace}}
    calls: dict[str, Any] = {}
    for entry in in_order(trace):
        parents = [calls[parent] for parent in entry["parents"]]
        call = programs[entry["name"]](entry["runtime_s"], *parents)
        calls[entry["id"]] = call.with_cost(costs.get(entry["id"]))
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
    """Seconds that no schedule can beat.

    With a number of slots: of the tasks that cannot begin before some time, and are followed by at least so much,
    all the work has to be done by these slots in between.
    """
    tasks = in_order(trace)
    heads, tails = _around(tasks)
    seconds = {entry["id"]: entry["runtime_s"] for entry in tasks}
    longest: float = max(heads[key] + seconds[key] + tails[key] for key in seconds)
    if slots is None:
        return longest
    for head in set(heads.values()):
        work = 0.0
        for key in sorted((key for key in seconds if heads[key] >= head), key=tails.__getitem__, reverse=True):
            work += seconds[key]
            longest = max(longest, head + work / slots + tails[key])
    return longest


def _around(tasks: Trace) -> tuple[dict[str, float], dict[str, float]]:
    """By task, the longest chain of work before it, and the longest after it."""
    heads: dict[str, float] = {}
    tails = {entry["id"]: 0.0 for entry in tasks}
    seconds = {entry["id"]: entry["runtime_s"] for entry in tasks}
    for entry in tasks:
        heads[entry["id"]] = max((heads[parent] + seconds[parent] for parent in entry["parents"]), default=0.0)
    for entry in reversed(tasks):
        for parent in entry["parents"]:
            tails[parent] = max(tails[parent], tails[entry["id"]] + entry["runtime_s"])
    return heads, tails


def guessed(trace: Trace) -> dict[str, float]:
    """What a user may say that each task takes: a third more or less."""
    random = Random(1)
    return {entry["id"]: entry["runtime_s"] * random.uniform(1 - ERROR, 1 + ERROR) for entry in trace}


async def makespans(trace: Trace, slots: int | None, schedule: Any) -> Sequence[float]:
    """Virtual seconds of a first run, of a second one, which knows how long nodes take, and of one with costs."""
    resources = {} if slots is None else {"slot": slots}
    engine = cascade.Engine(system_resources=resources, schedule=schedule)
    taken: list[float] = []
    for costs in ({}, {}, guessed(trace)):
        if costs or not taken:
            OF_PROCESS.forget()
            engine = cascade.Engine(system_resources=resources, schedule=schedule)
        began = anyio.current_time()
        await engine.run(flow_of(trace, slots, costs))
        taken.append(anyio.current_time() - began)
    return taken


def figures(backend: str, options_of_loop: Mapping[str, Any], traces: Sequence[Trace]) -> list[Figure]:
    """Medians over all traces."""
    found = []
    for schedule in ("eager", "stages"):
        for slots in SLOTS:
            ratios: list[Sequence[float]] = []
            for trace in traces:
                run = partial(makespans, trace, slots, schedule)
                taken = anyio.run(run, backend=backend, backend_options=dict(options_of_loop))
                least = bound(trace, slots)
                ratios.append([seconds / least for seconds in taken])
            where = "unlimited" if slots is None else f"{slots} slots"
            for name, goals, column in zip(KNOWN, GOALS, zip(*ratios, strict=True), strict=True):
                goal = goals.get(slots) if schedule == "eager" else None
                case = f"g. traces, {schedule}, {where}, {name}"
                beside = {"worst": max(column)}
                found.append(Figure(case, backend, "x bound", statistics.median(column), goal, baselines=beside))
                if schedule == "stages" or slots is None:
                    break  # there the order does not depend on what is known
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
