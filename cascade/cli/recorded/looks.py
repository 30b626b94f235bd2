"""How statuses and facts of recorded runs look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cascade.adapters.observers.terminal import Span, Style
from cascade.cli.output import out

STYLES: Final[dict[str, Style]] = {
    "succeeded": "green", "failed": "red", "running": "cyan", "interrupted": "yellow", "cancelled": "yellow",
    "retrying": "yellow", "suspended": "yellow", "skipped": "dim", "due": "yellow", "pending": "dim",
    "undone": "green", "handled": "yellow",
}  # fmt: skip
# What a failure is called that the run does not fail by.
WORDS: Final = {"handled": "failed (handled)"}


def status_of(status: str) -> Span:
    """A status in its colour."""
    return Span(WORDS.get(status, status), STYLES.get(status, "plain"))


def facts(found: Mapping[str, str | Span]) -> None:
    """Print facts, one a line, with their names; those that are empty are left out."""
    for name, fact in found.items():
        if fact if isinstance(fact, str) else fact.text:
            out(Span(f"{name:<7}", "dim"), " ", fact)
