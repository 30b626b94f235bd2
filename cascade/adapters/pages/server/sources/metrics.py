"""Numbers of runs in the text format of Prometheus, version 0.0.4.

No label has the id of a run: a time series for each would never end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

# What run documents count: how nodes have ended, and what becomes of those that have not.
_OUTCOMES: Final = ("succeeded", "failed", "handled", "cancelled", "skipped", "cached", "recorded")
_STATES: Final = ("running", "waiting")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@attrs.frozen
class Family:
    """Numbers of one name.

    Attributes:
        name: The name.
        kind: ``"gauge"``, ``"counter"`` or ``"summary"``.
        help: What they tell.
        samples: What follows the name, the labels, and the number.
    """

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[str, Mapping[str, str], float]]

    def lines(self) -> Iterator[str]:
        """As Prometheus reads them."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for suffix, labels, number in self.samples:
            shown = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
            yield f"{self.name}{suffix}{{{shown}}} {number:.15g}"


def in_text(families: Iterable[Family]) -> str:
    """All of them."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def of_run(document: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> Iterator[Family]:
    """The numbers in a run document, and those of its tasks."""
    yield runs_by({document["run"]["status"]: 1})
    yield Family("cascade_nodes_total", "counter", "Nodes that have ended.", _by("outcome", _OUTCOMES, tasks))
    yield Family("cascade_nodes", "gauge", "Nodes that run or wait.", _by("state", _STATES, tasks))
    retries = [("", {"task": task["name"]}, task["retries"]) for task in tasks]
    yield Family("cascade_retries_total", "counter", "Attempts that failed and were followed by another.", retries)
    yield Family(
        "cascade_node_seconds", "summary", "Seconds from the first attempt to the end.", _durations(tasks)
    )
    counts: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for wait in document["waits"]:
        counts[wait["kind"]] = counts.get(wait["kind"], 0) + wait["count"]
        seconds[wait["kind"]] = seconds.get(wait["kind"], 0.0) + wait["seconds"]
    yield Family("cascade_waits_total", "counter", "Times that a node has waited.", _each("kind", counts))
    yield Family(
        "cascade_wait_seconds_total", "counter", "Seconds that nodes have waited.", _each("kind", seconds)
    )


def runs_by(counts: Mapping[str, int]) -> Family:
    """Numbers of runs by status."""
    return Family("cascade_runs", "gauge", "Runs.", _each("status", counts))


def recorded_nodes_by(counts: Mapping[str, int]) -> Family:
    """Numbers of recorded nodes by status."""
    return Family("cascade_recorded_nodes", "gauge", "Nodes in the store.", _each("status", counts))


def _each(label: str, numbers: Mapping[str, float]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for name, number in sorted(numbers.items()):
        yield "", {label: name}, number


def _by(
    label: str, names: Sequence[str], tasks: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for task in tasks:
        for name in names:
            yield "", {"task": task["name"], label: name}, task[name]


def _durations(tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for task in tasks:
        yield "_sum", {"task": task["name"]}, task["seconds"]
        yield "_count", {"task": task["name"]}, task["ran"]
