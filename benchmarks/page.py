"""Puts figures into the documentation: ``python benchmarks/page.py figures.json --peers peers.json``.

``report.py --json`` and ``engines/compare.py --json`` have written the files. Several files of figures are one
measurement in parts; those of another Python than the first get a table of their own. Only the blocks of the page
between ``<!-- begin NAME ... -->`` and ``<!-- end NAME -->`` are replaced. The pictures need matplotlib.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from harness import HEADINGS, Figure, shown
from report import order

DOCS = Path(__file__).parents[1] / "docs"

# For a user: what is done, the case and variant that measure it, and the case of the other engines beside it.
SUMMARY: Sequence[tuple[str, str, str, str]] = (
    ("1 000 async tasks, each takes the value of the one before", "a. chain", "async, stages", "a"),
    ("the same in threads", "a. chain", "sync, stages", ""),
    ("10 000 async tasks side by side, and one that takes them all", "b. fan-out", "async, stages", "b"),
    ("the same in threads", "b. fan-out", "sync, stages", ""),
    ("an async task mapped over 10 000 items", "c. map", "async", "c"),
    ("the same in threads", "c. map", "sync", ""),
    ("a loop of tail calls, one task a turn", "d. loop", "async", "d"),
    ("a loop with 21 tasks a turn", "d21. loop", "async", ""),
    ("5 000 async tasks in 50 layers, three parents each", "e. layers", "async, stages", "e"),
    ("the same in threads", "e. layers", "sync, stages", ""),
    ("5 000 sleeps in such layers, over the critical path", "f. makespan", "eager", ""),
    ("20 000 tasks side by side, recorded in SQLite", "j. SQLite", "whole run", "j"),
    ("200 000 records as an argument, for each dict and list", "k. data", "argument", ""),
)
# Rows of the other table that are no other engines.
OURS = ("cascade", "by hand")
# How many other engines a row of the summary names.
MOST_OTHERS = 4
_VERSION = re.compile(r" \d[\w.]*")


@attrs.frozen
class Measurement:
    """What one or several files say."""

    environment: Mapping[str, str]
    figures: Sequence[Figure]

    @property
    def about(self) -> str:
        """Date, machine and versions, in a sentence."""
        found = dict(self.environment)
        versions = ", ".join(f"{name} {found[name]}" for name in ("Python", "anyio", "trio"))
        cores = int(found["cores"].split()[0])
        is_busy = float(found["load"].split()[-1]) > cores
        rough = ", more than it has cores, so the figures are rough" if is_busy else ""
        rounds = "one round" if found["rounds"] == "1" else f"medians of {found['rounds']} rounds"
        return (
            f"Measured on {found['date']} with {versions}, on {found['cores'].replace(' ', ' cores of ', 1)}, "
            f"{rounds}; the load of the machine was {found['load']} at the end{rough}."
        )


def loaded(paths: Iterable[Path]) -> list[Measurement]:
    """The measurements by Python: that of the first file first."""
    by_python: dict[str, list[Measurement]] = {}
    for path in paths:
        content = json.loads(path.read_text("utf-8"))
        figures = [Figure.from_json(entry) for entry in content["figures"]]
        found = Measurement(content["environment"], figures)
        by_python.setdefault(found.environment["Python"], []).append(found)
    return [
        Measurement(joined(parts), sorted((one for part in parts for one in part.figures), key=order))
        for parts in by_python.values()
    ]


def joined(parts: Sequence[Measurement]) -> dict[str, str]:
    """Where they come from: dates, rounds and loads of all of them where they differ."""
    found = dict(parts[0].environment)
    for name in ("date", "rounds", "load"):
        values = {part.environment[name] for part in parts}
        found[name] = " to ".join(sorted({min(values, key=_number), max(values, key=_number)}, key=_number))
    return found


def _number(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split("-"))


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def summary(figures: Sequence[Figure], peers: Sequence[Mapping[str, Any]]) -> str:
    """One row for each thing that a user does, both event loops in its cells."""
    found = {(*figure.names, figure.backend): figure for figure in figures}
    words = [*SUMMARY]
    words += [(f"{case[3:]}, {variant}", case, variant, "") for case, variant in started(figures)]
    rows = []
    for what, case, variant, letter in words:
        both = [found[key] for loop in ("asyncio", "trio") if (key := (case, variant, loop)) in found]
        if both:
            goal = both[0].goal_text
            values = " / ".join(shown(one.value) for one in both)
            by_hand = [shown(one.baselines[one.against]) for one in both if one.against]
            ratios = [f"{shown(one.ratio)}x" for one in both if one.ratio is not None]
            cells = [f"{values} {both[0].unit}", " / ".join(by_hand), " / ".join(ratios), goal]
            rows.append([what, *cells, others(peers, letter)])
    return markdown(["what", "cascade", "by hand", "ratio", "goal", "other engines, times cascade"], rows)


def started(figures: Sequence[Figure]) -> list[tuple[str, str]]:
    """The cases of what it costs to start."""
    return list(dict.fromkeys(figure.names for figure in figures if figure.case.startswith("l. ")))


def others(peers: Sequence[Mapping[str, Any]], letter: str) -> str:
    """The quickest of the other engines, without their versions."""
    found = sorted((row["ratio"][letter], row["name"]) for row in peers if letter in row["ratio"])
    theirs = [f"{_VERSION.sub('', name)} {shown(ratio)}x" for ratio, name in found if not name.startswith(OURS)]
    return ", ".join(theirs[:MOST_OTHERS])


def missed(figures: Sequence[Figure]) -> str:
    """The goals that are missed on one loop or both, a row for each case and variant."""
    with_goal = [figure for figure in figures if figure.verdict]
    met = sum(figure.verdict == "met" for figure in with_goal)
    found: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in with_goal:
        found.setdefault(figure.names, {})[figure.backend] = figure
    rows = []
    for names, by_loop in found.items():
        if any(figure.verdict != "met" for figure in by_loop.values()):
            cells = [verdict_of(by_loop[loop]) if loop in by_loop else "" for loop in ("asyncio", "trio")]
            rows.append([*names, next(iter(by_loop.values())).goal_text, *cells])
    table = markdown(["case", "variant", "goal", "asyncio", "Trio"], rows)
    return f"{met} of {len(with_goal)} goals are met. These are not:\n\n{table}"


def verdict_of(figure: Figure) -> str:
    """The ratio, or the value where that has the goal, and the verdict."""
    measured = f"{shown(figure.value)} {figure.unit}"
    if figure.goal_ratio is not None and figure.ratio is not None:
        measured = f"{shown(figure.ratio)}x"
    return f"{measured}, {figure.verdict}"


def eager(measurements: Sequence[Measurement]) -> str:
    """Other Pythons, and what asyncio's eager tasks take there."""
    parts = []
    for one in measurements:
        rows = []
        for figure in one.figures:
            if figure.backend == "asyncio" and "eager_task_factory" in figure.baselines:
                took = figure.baselines["eager_task_factory"]
                cells = figure.cells()
                rows.append([*cells[:2], *cells[3:6], cells[6], f"{shown(took)} ({shown(figure.value / took)}x)"])
        if rows:
            headings = ["case", "variant", "value", "baseline", "ratio", "goal", "`asyncio.eager_task_factory`"]
            parts.append(f"{one.about}\n\n{markdown(headings, rows)}")
    return "\n\n".join(parts) or "Not measured: this needs Python 3.12 or newer."


def engines(content: Mapping[str, Any], cases: Sequence[str] = ("a", "b", "c", "d", "e", "j")) -> str:
    """All engines, microseconds a task and times ours."""
    rows = []
    for row in content["engines"]:
        cells = [
            f"{shown(row['us'][case])} ({shown(row['ratio'][case])}x)" if case in row["ratio"] else ""
            for case in cases
        ]
        rows.append([row["name"], *(cells if not row["error"] else [row["error"], *[""] * (len(cases) - 1)])])
    headings = ["engine", "a. chain", "b. fan-out", "c. map", "d. loop", "e. layers", "j. recorded"]
    return f"{Measurement(content['environment'], []).about}\n\n{markdown(headings, rows)}"


def replaced(page: str, blocks: Mapping[str, str]) -> str:
    """*page* with the content of each block.

    Raises:
        ValueError: If the page has no such block.
    """
    for name, content in blocks.items():
        pattern = re.compile(rf"(<!-- begin {name}\b[^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
        filled = f"\n{content}\n\n".replace("\\", r"\\")
        page, count = pattern.subn(rf"\1{filled}\2", page)
        if count != 1:
            raise ValueError(f"the page has {count} blocks {name!r} instead of one")
    return page


def draw_growth(figures: Sequence[Figure], path: Path) -> None:
    """Microseconds a task over the number of tasks, as bench_growth.py has measured them."""
    axes = _axes((7, 4))
    for figure in figures:
        costs = {name: cost for name, cost in figure.baselines.items() if name.startswith("us at ")}
        sizes = [int(name.removeprefix("us at ")) for name in costs]
        axes.plot(sizes, list(costs.values()), marker="o", label=f"{figure.names[1]}, {figure.backend}")
    axes.set(xscale="log", xlabel="tasks in the flow", ylabel="microseconds a task", ylim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(axes, path)


def draw_engines(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Bars: microseconds a task of each engine that has a fan-out, on a logarithmic scale."""
    bars = [(row["us"]["b"], row["name"]) for row in rows if "b" in row["us"]]
    bars.sort(reverse=True)
    axes = _axes((7, 0.4 * len(bars) + 1))
    colours = ["tab:orange" if name.startswith(OURS[0]) else "tab:blue" for _, name in bars]
    drawn = axes.barh([name for _, name in bars], [us for us, _ in bars], color=colours)
    axes.bar_label(drawn, labels=[shown(us) for us, _ in bars], padding=3)
    axes.set(xscale="log", xlabel="microseconds a task that does nothing, side by side with others")
    axes.margins(x=0.12)
    _save(axes, path)


def _axes(size: tuple[float, float]) -> Any:
    from matplotlib import pyplot

    # Text stays text, and the same figures give the same file.
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "cascade"})
    return pyplot.subplots(figsize=size)[1]


def _save(axes: Any, path: Path) -> None:
    axes.figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    """Fill in the blocks, and draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="+", type=Path, help="files that report.py --json has written")
    parser.add_argument("--peers", type=Path, required=True, help="the file that engines/compare.py has written")
    parser.add_argument("--page", type=Path, default=DOCS / "performance.md")
    parser.add_argument("--no-pictures", action="store_true", help="leave the pictures as they are")
    options = parser.parse_args()
    measurements = loaded(options.figures)
    first = measurements[0]
    peers = json.loads(options.peers.read_text("utf-8"))
    rows = peers["engines"]
    blocks = {
        "summary": f"{summary(first.figures, rows)}\n\n{first.about}",
        "missed": missed(first.figures),
        "engines": engines(peers),
        "eager": eager(measurements),
        "all": markdown(HEADINGS, [figure.cells() for figure in first.figures]),
    }
    options.page.write_text(replaced(options.page.read_text("utf-8"), blocks), "utf-8")
    if not options.no_pictures:
        draw_engines(rows, options.page.with_name("engines.svg"))
        grown = [one for one in first.figures if sum(name.startswith("us at ") for name in one.baselines) > 2]
        if grown:  # only ``report.py --plot`` measures that many sizes
            draw_growth(grown, options.page.with_name("growth.svg"))


if __name__ == "__main__":
    main()
