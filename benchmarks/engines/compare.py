"""Runs the scripts of this folder in turns, a process each, and prints medians beside ours of the same round.

``nox -s bench_peers`` installs the engines. One that is not installed, or fails, says so in its row.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import attrs

FOLDER = Path(__file__).parent
sys.path.append(str(FOLDER.parent))

from harness import WIDTH, add_shared_options, environment, rounds_of, shown  # noqa: E402  (found by the line above)

# Seconds after which a script is given up.
PATIENCE = 600
CASES = {
    "a": "chain",
    "b": "fan-out",
    "c": "map",
    "d": "loop, a turn",
    "e": "layers",
    "j": "fan-out, with SQLite",
}
Measured = dict[str, Any]


@attrs.frozen
class Script:
    """A row of the table.

    Attributes:
        engine: What is measured.
        words: The file, and its arguments.
        package: The distribution that it needs; empty for none.
        use: How it is used, if there are several ways.
    """

    engine: str
    words: tuple[str, ...]
    package: str = ""
    use: str = ""

    @property
    def title(self) -> str:
        """The engine, its version, and how it is used."""
        known = f" {version(self.package)}" if self.package and not self.missing else ""
        return f"{self.engine}{known}{self.use and f', {self.use}'}"

    @property
    def missing(self) -> str:
        """Why it cannot be run; empty if it can."""
        try:
            version(self.package or "anyio")
        except PackageNotFoundError:
            return f"{self.package} is not installed"
        return ""


OURS = Script("cascade", ("on_cascade.py",))
SCRIPTS = (
    OURS,
    Script("cascade", ("on_cascade.py", "trio"), use="Trio"),
    Script("cascade", ("on_cascade.py", "durable"), use="durable"),
    Script("by hand", ("on_native.py",), use="asyncio"),
    Script("by hand", ("on_native.py", "trio"), use="Trio"),
    Script("joblib", ("on_joblib.py",), "joblib"),
    Script("taskiq", ("on_taskiq.py",), "taskiq"),
    Script("pipefunc", ("on_pipefunc.py",), "pipefunc"),
    Script("Hamilton", ("on_hamilton.py",), "sf-hamilton"),
    Script("pydantic-graph", ("on_pydantic_graph.py",), "pydantic-graph"),
    Script("pydantic-graph", ("on_pydantic_graph.py", "trio"), "pydantic-graph", "Trio"),
    Script("Dask", ("on_dask.py",), "dask"),
    Script("DBOS", ("on_dbos.py",), "dbos"),
    Script("Prefect", ("on_prefect.py",), "prefect"),
)


def measured(script: Script, *, quick: bool) -> Measured:
    """What one script prints, or why it prints nothing: ``{"error": ...}``."""
    if script.missing:
        return {"error": script.missing}
    words = [sys.executable, str(FOLDER / script.words[0]), *script.words[1:], *(["--quick"] if quick else [])]
    env = {**os.environ, "PYTHONPATH": str(FOLDER.parent.parent), "HAMILTON_TELEMETRY_ENABLED": "false"}
    try:
        done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False, env=env, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {PATIENCE} s"}
    for line in done.stdout.splitlines():
        if line.startswith('{"us"'):  # some engines print lines of their own
            found: Measured = json.loads(line)
            return found
    said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
    return {"error": f"failed: {said[-1]}"}


def row_of(script: Script, rounds: Sequence[Mapping[Script, Measured]]) -> dict[str, Any]:
    """Medians of what it measured, and of the ratios to ours in the same round."""
    own = [(one[script], one[OURS]) for one in rounds if "us" in one[script]]
    row: dict[str, Any] = {"name": script.title, "us": {}, "ratio": {}, "failures": {}, "error": ""}
    if not own:
        return {**row, "error": rounds[-1][script]["error"]}
    for case in own[-1][0]["us"]:
        row["us"][case] = statistics.median(found["us"][case] for found, _ in own)
        both = [found["us"][case] / ours["us"][case] for found, ours in own if case in ours.get("us", ())]
        if both:
            row["ratio"][case] = statistics.median(both)
    return {**row, "failures": own[-1][0]["failures"]}


def lines_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table: microseconds a task, and how many times ours that is."""
    table = [["engine", *CASES]]
    for row in rows:
        cells = [
            f"{shown(row['us'][case])} ({shown(row['ratio'].get(case, math.nan))}x)" if case in row["us"] else ""
            for case in CASES
        ]
        table.append([row["name"], *([row["error"]] if row["error"] else cells)])
    widths = [max(len(cells[place]) for cells in table if len(cells) > 2) for place in range(len(CASES) + 1)]
    widths[0] = max(len(cells[0]) for cells in table)
    return [
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])[:WIDTH].rstrip()
        if len(cells) > 2
        else f"{cells[0].ljust(widths[0])}  {cells[1]}"[:WIDTH]
        for cells in table
    ]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_shared_options(parser)
    parser.add_argument("--only", nargs="+", default=[], help="parts of names; ours is always measured")
    options = parser.parse_args()
    scripts = [
        one
        for one in SCRIPTS
        if one == OURS or not options.only or any(name in one.title for name in options.only)
    ]
    rounds = []
    for number in range(rounds_of(options)):
        found = {}
        for script in scripts:
            print(f"round {number + 1}, {script.title} ...", file=sys.stderr)
            found[script] = measured(script, quick=options.quick)
        rounds.append(found)
    rows = [row_of(script, rounds) for script in scripts]
    about = environment(rounds_of(options))
    if options.json:
        options.json.write_text(json.dumps({"environment": about, "engines": rows}, indent=1) + "\n", "utf-8")
    print(textwrap.fill(", ".join(f"{name} {value}" for name, value in about.items()), WIDTH))
    cases = ", ".join(f"{case} {words}" for case, words in CASES.items())
    print(f"\nMicroseconds a task, and how many times ours that is: {cases}.\n")
    print("\n".join(lines_of(rows)))
    print("\nWhat becomes of 20 siblings of half a second when a task fails after 0.1 s:\n")
    for row in rows:
        for kind, outcome in row["failures"].items():
            print(f"{row['name']}, {kind}: " + ", ".join(f"{key} {value}" for key, value in outcome.items()))


if __name__ == "__main__":
    main()
