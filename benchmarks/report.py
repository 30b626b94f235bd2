"""Runs every benchmark on both event loops and prints one table: goal, value, verdict, and the same by hand.

``--json FILE`` keeps the figures; ``page.py`` puts them into the documentation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Figure, add_shared_options, publish, save

HERE = Path(__file__).parent


def words_for(path: Path, options: argparse.Namespace) -> list[str]:
    """How a benchmark file is called."""
    words = [sys.executable, str(path), "--rounds", str(options.rounds)]
    if options.quick:
        words.append("--quick")
    if path.stem == "bench_growth" and options.plot:
        words.append("--plot")
    if path.stem == "bench_traces" and options.traces:
        words += ["--traces", str(options.traces)]
    return words


def figures_of(path: Path, options: argparse.Namespace) -> list[Figure]:
    """What one benchmark file measures, in a process of its own.

    Raises:
        RuntimeError: If it fails, with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "figures.json"
        command = [*words_for(path, options), "--json", str(found)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{path.name} failed:\n{done.stderr[-2000:]}")
        return [Figure.from_json(entry) for entry in json.loads(found.read_text("utf-8"))["figures"]]


def main() -> int:
    """Measure all, or the named ones. Status 1 if one of them failed; a missed goal is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of file names, such as chain; all files by default")
    add_shared_options(parser)
    parser.add_argument("--plot", action="store_true", help="measure growth at more sizes, for a picture")
    parser.add_argument("--traces", type=Path, help="a folder of workflow traces for bench_traces.py")
    options = parser.parse_args()
    figures: list[Figure] = []
    failures = []
    for path in sorted(HERE.glob("bench_*.py")):
        if not options.names or any(name in path.name for name in options.names):
            print(f"{path.name} ...", file=sys.stderr)
            try:
                figures += figures_of(path, options)
                save(figures, options)  # what is measured is kept, also if the rest is interrupted
            except RuntimeError as error:
                failures.append(str(error))
    publish(sorted(figures, key=order), options)
    for failure in failures:
        print(f"\n{failure}")
    return 1 if failures else 0


def order(figure: Figure) -> tuple[bool, str]:
    """By letter; what has none comes last."""
    case = figure.names[0]
    return ". " not in case, case.partition(".")[0].replace("d21", "d")


if __name__ == "__main__":
    sys.exit(main())
