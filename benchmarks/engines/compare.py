"""Runs the scripts of this folder in turns, a process each, and prints medians beside ours of the same round.

Needs dask, sf-hamilton, pydantic-graph, dbos and prefect; ``nox -s bench_peers`` installs them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SCRIPTS: dict[str, list[str]] = {
    "cascade": ["on_cascade.py"],
    "cascade, SQLite, each outcome before its use": ["on_cascade.py", "durable"],
    "hamilton": ["on_hamilton.py"],
    "pydantic-graph, asyncio": ["on_pydantic_graph.py"],
    "pydantic-graph, trio": ["on_pydantic_graph.py", "trio"],
    "dask, threads": ["on_dask.py"],
    "dbos, SQLite": ["on_dbos.py"],
    "prefect, its own server": ["on_prefect.py"],
}


def measured(words: list[str]) -> dict[str, Any]:
    """What one script prints."""
    done = subprocess.run(
        [sys.executable, FOLDER / words[0], *words[1:]],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent.parent)},
    )
    for line in done.stdout.splitlines():
        if line.startswith('{"fan-out"'):  # some engines print lines of their own
            found: dict[str, Any] = json.loads(line)
            return found
    raise RuntimeError(f"{words} printed no figures: {done.stderr[-2000:]}")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="what each script printed in each round")
    options = parser.parse_args()
    rounds = [{name: measured(words) for name, words in SCRIPTS.items()} for _ in range(options.rounds)]
    if options.json:
        print(json.dumps(rounds, indent=1))
        return
    print("| engine | fan-out, us a task | ratio | chain, us a task | ratio |\n|---|--:|--:|--:|--:|")
    for name in SCRIPTS:
        cells = [name]
        for case in ("fan-out", "chain"):
            taken = statistics.median(one[name][case] for one in rounds)
            ratio = statistics.median(one[name][case] / one["cascade"][case] for one in rounds)
            cells += [f"{taken:,.0f}", f"{ratio:,.3g}"]
        print("| " + " | ".join(cells) + " |")
    print()
    for name in SCRIPTS:
        for kind, outcome in rounds[-1][name]["failures"].items():
            print(f"{name}, {kind}: " + ", ".join(f"{key} {value}" for key, value in outcome.items()))


if __name__ == "__main__":
    main()
