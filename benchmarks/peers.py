"""The cases a, b and e on other engines, beside ours, in one process: microseconds per task, definition included.

Needs dask and sf-hamilton; ``nox -s bench_peers`` installs them.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import anyio
import dask
from bench_chain import LENGTH, async_link, run_chain
from bench_fan_out import SIZE, async_work, run_fan_out
from bench_layers import LAYERS, WIDTH, async_node, random_parents, run_layers
from hamilton import driver
from harness import environment, shown

# For each node, the names of those that it takes.
Names = dict[str, list[str]]


def chain_names(length: int = LENGTH) -> Names:
    """Each takes the one before."""
    return {f"n{number}": [f"n{number - 1}"] if number else [] for number in range(length)}


def fan_out_names(size: int = SIZE) -> Names:
    """All take the first, and the last takes all."""
    middle: Names = {f"n{number}": ["source"] for number in range(size)}
    return {"source": [], **middle, "last": list(middle)}


def layer_names() -> Names:
    """The layered graph."""
    found: Names = {}
    for depth, layer in enumerate(random_parents()):
        for place, sources in enumerate(layer):
            found[f"n{depth}_{place}"] = [f"n{depth - 1}_{source}" for source in sources]
    return {**found, "last": [f"n{LAYERS - 1}_{place}" for place in range(WIDTH)]}


def nothing(*_: object) -> int:
    """What every task does."""
    return 1


def on_dask(names: Names, scheduler: str) -> None:
    """``dask.delayed``, and one compute."""
    task = dask.delayed(nothing, pure=False)
    made: dict[str, Any] = {}
    for name, sources in names.items():
        made[name] = task(*[made[source] for source in sources])
    assert made[name].compute(scheduler=scheduler) == 1


def on_hamilton(names: Names) -> None:
    """A module of functions whose parameters name what they take."""
    module = sys.modules["generated"] = types.ModuleType("generated")  # where it looks for it
    for name, sources in names.items():
        setattr(module, name, _function(module, name, sources))
    flow = driver.Builder().with_modules(module).build()
    assert flow.execute([name])[name] == 1


def _function(module: types.ModuleType, name: str, sources: Sequence[str]) -> Callable[..., int]:
    def function(**_: int) -> int:
        return 1

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(source, kind, annotation=int) for source in sources]
    function.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    function.__annotations__ = {**dict.fromkeys(sources, int), "return": int}
    function.__name__ = function.__qualname__ = name
    function.__module__ = module.__name__
    return function


def on_cascade(run: Callable[[], Any], backend: str) -> None:
    """Ours, the loop's start included."""
    anyio.run(run, backend=backend)


def median_us(work: Callable[[], None], tasks: int, rounds: int) -> float:
    """Microseconds per task; one round before the first does not count."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:]) / tasks * 1e6


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sys.setrecursionlimit(50_000)  # some of them recurse along a chain
    cases: list[tuple[str, Names, int, Callable[[], Any]]] = [
        ("a. chain", chain_names(), LENGTH, partial(run_chain, async_link, "eager")),
        ("b. fan-out", fan_out_names(), SIZE, partial(run_fan_out, async_work, "eager")),
        ("e. layers", layer_names(), LAYERS * WIDTH, partial(run_layers, async_node, random_parents(), "eager")),
    ]
    rows = []
    for name, names, tasks, ours in cases:
        works: dict[str, Callable[[], None]] = {
            "cascade, asyncio": partial(on_cascade, ours, "asyncio"),
            "cascade, trio": partial(on_cascade, ours, "trio"),
            "dask, synchronous": partial(on_dask, names, "synchronous"),
            "dask, threads": partial(on_dask, names, "threads"),
            "hamilton": partial(on_hamilton, names),
        }
        rows.append({"case": name, **{who: median_us(work, tasks, options.rounds) for who, work in works.items()}})
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{environment()}, dask {version('dask')}, sf-hamilton {version('sf-hamilton')}; us per task\n")
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        cells = (shown(cell) if isinstance(cell, float) else str(cell) for cell in row.values())
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
