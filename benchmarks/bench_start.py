"""l. Start: what `import cascade` takes, and what a run of one node takes beyond the start of its event loop.

All times are of the processor, as programs that begin are the first to suffer from what else a machine does.
Imports are measured in interpreters of their own, and what a bare interpreter takes is left out. Beside them stand
`import anyio`, the first run of a program beyond an empty program with AnyIO, and the number of modules imported.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import environ
from pathlib import Path

import anyio
from harness import Figure, main

import cascade

ROOT = Path(__file__).resolve().parent.parent
GOAL_IMPORT_S = 0.15
GOAL_RUN_MS = 0.3
RUNS = 200

BARE = "pass"
EMPTY_LOOP = "import anyio\nasync def nothing(): pass\nanyio.run(nothing, backend={backend!r})"
FIRST_RUN = (
    "import anyio, cascade\n@cascade.task\nasync def one(): return 1\n"
    "anyio.run(cascade.run, one(), backend={backend!r})"
)
COUNT = "import sys\nbefore = len(sys.modules)\nimport cascade\nprint(len(sys.modules) - before)"


@cascade.task
async def one() -> int:
    """Nothing, on the loop."""
    return 1


async def nothing() -> None:
    """What a loop is started for, to see what that takes."""


def processor_time() -> float:
    """Seconds of the processor that this process and the programs it has waited for have taken."""
    programs = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + programs.ru_utime + programs.ru_stime


def medians(rounds: int, works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each of *works*, in turns; one round before the first does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = processor_time()
            work()
            if number:
                seconds[name].append(processor_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def program(text: str, cache: str) -> str:
    """What an interpreter of its own prints that runs *text*, and finds compiled modules in *cache*."""
    # As installed packages are compiled already, these are too, also where bytecode is not to be written.
    settings = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        [sys.executable, "-c", text], env={**environ, **settings}, check=True, capture_output=True, text=True
    )
    return done.stdout


def imports(backend: str, rounds: int) -> Figure:
    """The import, and what the first run adds."""
    texts = {
        "bare": BARE,
        "cascade": "import cascade",
        "anyio": "import anyio",
        "loop": EMPTY_LOOP.format(backend=backend),
        "run": FIRST_RUN.format(backend=backend),
    }
    with tempfile.TemporaryDirectory() as cache:
        modules = float(program(COUNT, cache))
        taken = medians(max(rounds, 9), {name: partial(program, text, cache) for name, text in texts.items()})
    beside = {
        "import anyio": taken["anyio"] - taken["bare"],
        "first run beyond an empty loop": taken["run"] - taken["loop"],
        "modules": modules,
    }
    took = taken["cascade"] - taken["bare"]
    return Figure("l. start, import", backend, "s", took, GOAL_IMPORT_S, baselines=beside)


def one_node(backend: str, rounds: int) -> Figure:
    """Runs of one node, each on a loop of its own, and loops on which nothing runs."""

    def empty() -> None:
        anyio.run(nothing, backend=backend)

    def run() -> None:
        anyio.run(cascade.run, one(), backend=backend)

    async def many() -> float:
        took: list[float] = []
        for _ in range(RUNS):
            began = time.process_time()
            await cascade.run(one())
            took.append(time.process_time() - began)
        return statistics.median(took)

    taken = medians(rounds * RUNS // 5, {"empty": empty, "run": run})
    beside = {"empty loop": taken["empty"] * 1e3, "on a loop that is up": anyio.run(many, backend=backend) * 1e3}
    took = (taken["run"] - taken["empty"]) * 1e3
    return Figure("l. start, one node", backend, "ms beyond its loop", took, GOAL_RUN_MS, baselines=beside)


def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """The import, and one node."""
    del options
    return [imports(backend, rounds), one_node(backend, rounds)]


if __name__ == "__main__":
    main(cases)
