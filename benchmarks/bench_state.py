"""j. Durable state: nodes a second into SQLite, by themselves and as part of a run; and what state costs a run.

With ``--demo FOLDER``, also what it costs the survey of sources, beside the same with state in memory.
"""

from __future__ import annotations

import argparse
import itertools
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from harness import Figure, main, medians, sized

import cascade
from cascade.runtime.durability.records import Batch, Entry, Opening
from cascade.state import SQLiteStateBackend

NODES = 20_000
BATCH = 1000
# Nodes a second; of a run, this or so many times what it takes without state.
GOAL, GOAL_RATIO = 50_000.0, 2.0
_numbers = itertools.count()
sys.path.append(str(Path(__file__).parents[1] / "examples"))


@cascade.task
async def part(n: int) -> int:
    """One of many."""
    return n


@cascade.task
async def gathered(parts: Sequence[int]) -> int:
    """What the parts give together."""
    return len(parts)


def fresh(folder: Path) -> Path:
    """A file that is not there yet."""
    return folder / f"{next(_numbers)}.db"


async def write_batches(folder: Path, nodes: int) -> None:
    """Record nodes in batches, as the journal does, and nothing else."""
    backend = SQLiteStateBackend("run", str(fresh(folder)))
    await backend.begin(Opening(True, ("gathered",), b"flow", {}))
    for start in range(0, nodes, BATCH):
        entries = [
            Entry(f"part#{n}", n, digest=b"d" * 32, task_name="part", attempts=1, duration=0.1)
            for n in range(start, min(start + BATCH, nodes))
        ]
        await backend.write(Batch(entries))
    await backend.aclose()


async def write_by_hand(folder: Path, nodes: int) -> None:
    """As many rows with nothing but the library of the language."""
    connection = sqlite3.connect(fresh(folder), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE nodes (node_id TEXT PRIMARY KEY, digest BLOB, value BLOB) WITHOUT ROWID")
    for start in range(0, nodes, BATCH):
        rows = [(f"part#{n}", b"d" * 32, b"%d" % n) for n in range(start, min(start + BATCH, nodes))]
        connection.execute("BEGIN")
        connection.executemany("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    connection.close()


async def run_with(folder: Path, nodes: int, state: str | None) -> None:
    """A fan-out whose nodes are recorded."""
    url = f"sqlite:///{fresh(folder)}" if state == "sqlite" else state
    flow = gathered([part(n) for n in range(nodes)])
    await cascade.run(flow, state=url, schedule="eager")


async def survey(folder: Path, root: str, state: str) -> None:
    """The example, with its state in memory or in a file."""
    url = f"sqlite:///{fresh(folder)}" if state == "sqlite" else state
    output = str(folder / "survey.md")
    flow = import_module("stdlib_survey").flow
    await cascade.run(
        flow, {"root": root, "output": output}, state=url, schedule="eager", system_resources={"parsers": 2}
    )


async def demo(backend: str, rounds: int, folder: Path, root: str) -> Figure:
    """How much longer the example takes with a file than with memory."""
    taken = await medians(
        rounds, memory=partial(survey, folder, root, "memory:"), sqlite=partial(survey, folder, root, "sqlite")
    )
    return Figure(
        "j. SQLite",
        backend,
        "s",
        taken["sqlite"],
        baselines={"memory:": taken["memory"]},
        variant="survey of sources",
        against="memory:",
        ratio=taken.ratio("sqlite", "memory"),
        goal_ratio=1.1,
    )


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Recording alone, runs with and without state."""
    nodes = sized(options, options.nodes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        works: dict[str, Any] = {
            "store": partial(write_batches, folder, nodes),
            "by_hand": partial(write_by_hand, folder, nodes),
            **{str(state): partial(run_with, folder, nodes, state) for state in (None, "memory:", "sqlite")},
        }
        taken = await medians(rounds, **works)
        demos = [await demo(backend, rounds, folder, options.demo)] if options.demo else []
    speeds = {name: nodes / seconds for name, seconds in taken.items()}
    speed = partial(Figure, "j. SQLite", backend, "nodes/s", goal=GOAL, more_is_better=True)
    store = speed(
        value=speeds["store"],
        baselines={"by hand": speeds["by_hand"]},
        variant="batches of 1 000",
        against="by hand",
        ratio=taken.ratio("store", "by_hand"),
    )
    run = speed(
        value=speeds["sqlite"],
        baselines={"no state": speeds["None"], "memory:": speeds["memory:"]},
        variant="whole run",
        against="no state",
        ratio=taken.ratio("sqlite", "None"),
        goal_ratio=GOAL_RATIO,
    )
    return [store, run, *demos]


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many nodes are recorded, and whether the survey is run too."""
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--demo", metavar="FOLDER", help="also survey the Python sources in this folder")


if __name__ == "__main__":
    main(cases, add_options)
