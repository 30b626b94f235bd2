"""Where a page gets what it shows, and where what is pressed goes."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from cascade.model.rules import ControlRule
from cascade.model.shown.urls import shown_url

# All that a page may offer to do.
ACTIONS: Final = ("pause", "resume", "limit", "cancel", "cancel_node", "send")
# Who sets rules, for people to read.
AUTHOR: Final = "page"
# Seconds between two updates that a browser is sent, at least.
PERIOD: Final = 0.2
# Of the time of the event loop, updates take at most one part in so many: those of big runs come less often.
SHARE: Final = 20
# Seconds after which a quiet stream says that it is there.
QUIET: Final = 15.0


class RefusedAction(Exception):
    """What was asked for cannot be done; the text says why, in one line."""


@attrs.frozen
class Update:
    """What has changed.

    Attributes:
        name: Name of the event: ``"changes"``, ``"control"``, ``"runs"``, ``"end"``, or ``"lost"`` if there are no
            more updates, as what is told about cannot be read; empty for none, only to tell that the stream is
            there.
        data: What it says, as JSON.
    """

    name: str
    data: bytes = b"{}"


@attrs.frozen
class Shown:
    """A run, to begin with.

    Attributes:
        document: The run document.
        svg: Its graph; empty if there is no picture.
        actions: What can be done with it: ``"pause"``, ``"resume"``, ``"limit"``, ``"cancel"``, ``"cancel_node"``
            and ``"send"``.
        why_not: What the page says in the place of missing actions; may be empty.
    """

    document: Mapping[str, Any]
    svg: str = ""
    actions: Sequence[str] = ()
    why_not: str = ""


def control(
    run_id: str,
    rules: Sequence[ControlRule],
    *,
    blocked: Sequence[Mapping[str, Any]] = (),
    has_more_blocked: bool = False,
    signals: Sequence[Mapping[str, str]] | None = (),
    is_over: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """What a page says of what holds a run, and of what can be done about it.

    Args:
        run_id: The run.
        rules: The rules that may hold it.
        blocked: Nodes that do not run, each with why.
        has_more_blocked: Whether there are more.
        signals: The signals that it waits for; ``None`` if it may take some whose names are not known.
        is_over: Whether nothing can be done any more.
        note: What else there is to know, such as how a run goes on that has failed.
    """
    return {
        "blocked": list(blocked),
        "more_blocked": has_more_blocked,
        "rules": [str(rule) for rule in rules],
        "paused": any(rule.kind == "pause" and rule.scope == f"run:{run_id}" for rule in rules),
        "signals": None if signals is None else list(signals),
        "over": is_over,
        "note": note,
    }


def how_it_goes_on(run_id: str, state: str) -> str:
    """What to do with a run that the command line has started, and that has not succeeded."""
    return f"it goes on with: {shlex.join(['cascade', 'resume', run_id, '--state', shown_url(state)])}"


class Source(Protocol):
    """Runs, for a page."""

    only: str | None
    """The run, if there is only one and never another, so that a list would be idle."""

    start: str | None
    """The run that links lead to; ``None`` for the list."""

    async def runs(self) -> list[dict[str, Any]]:
        """All runs, the latest first, for a list."""
        ...

    def list_updates(self) -> AsyncGenerator[Update, None]:
        """The list, and again whenever it has changed."""
        ...

    async def show(self, run_id: str) -> Shown | None:
        """A run as it is now; ``None`` if there is none of that id."""
        ...

    def updates(self, run_id: str) -> AsyncGenerator[Update, None]:
        """What changes in a run that there is, until it has ended."""
        ...

    async def metrics(self) -> str:
        """Numbers, in the text format of Prometheus."""
        ...

    async def act(self, run_id: str, action: str, given: Mapping[str, Any]) -> str:
        """Do it; returns what is said of that.

        Raises:
            RefusedAction: If it cannot be done.
        """
        ...
