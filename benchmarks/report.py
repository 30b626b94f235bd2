"""Runs every benchmark on both loops and prints one table: goal, measured value, verdict, and the same by hand."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import environment, table

HERE = Path(__file__).parent


def figures_of(path: Path, rounds: int) -> list[dict[str, Any]]:
    """What one benchmark file measures, in a process of its own."""
    command = [sys.executable, str(path), "--json", "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    """Measure all, or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of file names, such as chain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    figures: list[dict[str, Any]] = []
    for path in sorted(HERE.glob("bench_*.py")):
        if not options.names or any(name in path.name for name in options.names):
            print(f"{path.name} ...", file=sys.stderr)
            figures += figures_of(path, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"{environment()}\n")
    print(table(figures))


if __name__ == "__main__":
    main()
