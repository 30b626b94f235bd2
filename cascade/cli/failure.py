"""What is said of a flow that has failed: which node, with which error, and what else is known of it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Final

from cascade.adapters.observers.terminal import Span
from cascade.cli.output import say
from cascade.model.errors import RunFailed
from cascade.model.shown.raised import describe
from cascade.runtime.context.failures import Failure

# How many errors are told: of a run that goes on after failures, or of a group.
MOST_ERRORS: Final = 20
# Python arguments that the engine names as a remedy, and the options that do the same.
_REMEDIES: Final = {
    r"say allow_remote=True if": "give --allow-remote if",
    r"pass params={'(.*?)': ...}": r"give -p '\1=VALUE'",
    r"use another run_id, on_change=\"(\w+)\" or on_change=\"(\w+)\"": (
        r"use another --run-id, --on-change \1 or --on-change \2"
    ),
    r"Wait for its end, or use another run_id": "cascade resume --wait waits for that, or use another --run-id",
}


def without_python(text: str) -> str:
    """*text* with options in the place of Python arguments."""
    for argument, option in _REMEDIES.items():
        text = re.sub(argument, option, text)
    return text


def say_failure(error: BaseException, failures: Sequence[Failure], *, shows_traceback: bool) -> None:
    """Say on standard error what made the run fail.

    Args:
        error: What it raised.
        failures: All that went wrong in it, in order of time.
        shows_traceback: Whether to show where *error* was raised, instead of what is known of it.
    """
    if isinstance(error, RunFailed):
        say(Span(f"cascade: {error.message}", "red"))
        lines = _of_all(error, failures)
    else:
        first, *rest = _lines(_named(error, failures))
        say(Span(f"cascade: {first}", "red"))
        lines = (f"  {line}" for line in (*rest, *_details(error)))
    if shows_traceback:
        lines = (line for text in traceback.format_exception(error) for line in text.rstrip("\n").split("\n"))
    for line in lines:
        say(line)


def _of_all(error: RunFailed, failures: Sequence[Failure]) -> Iterator[str]:
    parts = error.exceptions
    for part in parts[:MOST_ERRORS]:
        yield from (f"  {line}" for line in _lines(_named(part, failures)))
        yield from (f"    {line}" for line in _details(part))
    if len(parts) > MOST_ERRORS:
        yield f"  and {len(parts) - MOST_ERRORS} more"


def _named(error: BaseException, failures: Sequence[Failure]) -> str:
    """*error*, with the node whose it is."""
    node = next((failure.origin for failure in failures if failure.error is error and failure.is_of_node), None)
    text = without_python(describe(error))
    return text if node is None else f"{node} failed: {text}"


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()] or [""]


def _details(error: BaseException) -> Iterator[str]:
    """The notes of *error* and, if it is a group, its parts with theirs."""
    for note in getattr(error, "__notes__", None) or ():
        yield from _lines(str(note))
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for part in parts[:MOST_ERRORS]:
        yield from _lines(describe(part))
        yield from (f"  {line}" for line in _details(part))
    if len(parts) > MOST_ERRORS:
        yield f"and {len(parts) - MOST_ERRORS} more"
