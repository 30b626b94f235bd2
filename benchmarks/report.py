"""Runs every benchmark on both loops and prints one table: goal, measured value, verdict, and the same by hand.

``--plot FILE`` draws how the cost of a task grows with the size of the flow (needs matplotlib).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import environment, table

HERE = Path(__file__).parent


def figures_of(path: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What one benchmark file measures, in a process of its own."""
    command = [sys.executable, str(path), "--json", "--rounds", str(options.rounds)]
    if path.stem == "bench_growth" and options.plot:
        command.append("--plot")
    if path.stem == "bench_traces" and options.traces:
        command += ["--traces", str(options.traces)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def draw(figures: list[dict[str, Any]], path: Path) -> None:
    """Draw microseconds per task over the number of tasks, as bench_growth.py has measured them."""
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(figsize=(7, 4))
    for figure in figures:
        sizes = {name: cost for name, cost in figure["baselines"].items() if name.startswith("us at ")}
        if sizes:
            numbers = [int(name.removeprefix("us at ")) for name in sizes]
            label = f"{figure['case'].removeprefix('h. growth, ')}, {figure['backend']}"
            axes.plot(numbers, list(sizes.values()), marker="o", label=label)
    axes.set(xscale="log", xlabel="tasks in the flow", ylabel="microseconds per task", ylim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    picture.savefig(path, bbox_inches="tight")


def main() -> None:
    """Measure all, or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of file names, such as chain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--plot", type=Path, help="a file for the picture of growth, such as growth.svg")
    parser.add_argument("--traces", type=Path, help="a folder of workflow traces for bench_traces.py")
    options = parser.parse_args()
    figures: list[dict[str, Any]] = []
    for path in sorted(HERE.glob("bench_*.py")):
        if not options.names or any(name in path.name for name in options.names):
            print(f"{path.name} ...", file=sys.stderr)
            figures += figures_of(path, options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        draw(figures, options.plot)
    print(f"{environment()}\n")
    print(table(figures))


if __name__ == "__main__":
    main()
