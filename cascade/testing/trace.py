"""What happened in a simulated run, as text and as a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

import attrs

from cascade.model.events import (
    Event,
    NodeEvent,
    SignalAwaited,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from cascade.model.shown.labels import labelled

# Where an object lies is not the same in two processes.
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_UNSAID: Final = ("seq", "timestamp", "run_id", "task_id", "task_name", "label")
_COLOURS: Final = {
    "Succeeded": "#2e7d32", "Failed": "#c62828", "Cancelled": "#9e9e9e", "Skipped": "#cfd8dc", "": "#1565c0",
}  # fmt: skip
_ROW, _LEFT, _WIDTH = 18, 220, 760


@attrs.frozen
class Happening:
    """Something that happened at a moment of virtual time.

    Attributes:
        time: Virtual seconds since the simulation began.
        run: Number of the run, in the order in which runs began. The simulated run is 1.
        event: The event; or text for what is no event, such as a fault.
    """

    time: float
    run: int
    event: Event | str

    def __str__(self) -> str:
        where = "" if self.run == 1 else f"[run {self.run}] "
        return f"{self.time:12.6f}  {where}{self._words()}"

    def _words(self) -> str:
        event = self.event
        if isinstance(event, str):
            return event
        words = [type(event).__name__]
        if isinstance(event, NodeEvent):
            words.append(labelled(event.task_id, event.label))
        fields = attrs.asdict(event, recurse=False)
        words += [f"{name}={value!r}" for name, value in fields.items() if name not in _UNSAID]
        return _ADDRESS.sub("", " ".join(words))


@attrs.frozen
class Bar:
    """An attempt, or a node that was skipped, in the picture."""

    node_id: str
    begin: float
    end: float
    status: str


@attrs.frozen
class Trace:
    """Everything that happened in a simulation, in order. ``str(trace)`` is the same for the same seed, on each
    backend.

    Attributes:
        happenings: What happened.
    """

    happenings: tuple[Happening, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.happenings))

    def __repr__(self) -> str:
        return f"<Trace of {len(self.happenings)} events>"

    def __len__(self) -> int:
        return len(self.happenings)

    def events(self) -> tuple[Event, ...]:
        """The events alone."""
        return tuple(each.event for each in self.happenings if isinstance(each.event, Event))

    def unfinished(self) -> list[str]:
        """Ids of the nodes that have begun and not ended."""
        return [bar.node_id for bar in self._bars() if not bar.status]

    def _bars(self) -> Iterator[Bar]:
        begun: dict[tuple[int, str], float] = {}
        for each in self.happenings:
            match each.event:
                case TaskExecutionStarted() | SignalAwaited() as event:
                    begun[each.run, event.task_id] = each.time
                case TaskExecutionFinished() as event:
                    begin = begun.pop((each.run, event.task_id), each.time)
                    yield Bar(event.task_id, begin, each.time, event.status)
                case TaskSkipped() as event:
                    yield Bar(event.task_id, each.time, each.time, "Skipped")
        for (_, node_id), begin in begun.items():
            yield Bar(node_id, begin, self.happenings[-1].time, "")

    def to_svg(self) -> str:
        """A timeline as SVG: each node has a bar from its first attempt to its end, in virtual time."""
        bars = sorted(self._bars(), key=lambda bar: bar.begin)
        rows = {node_id: number for number, node_id in enumerate(dict.fromkeys(bar.node_id for bar in bars))}
        span = max((bar.end for bar in bars), default=0.0) or 1.0
        height = (len(rows) + 2) * _ROW
        size = f'width="{_LEFT + _WIDTH + 20}" height="{height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">',
            f'<text x="{_LEFT}" y="12">0 s</text>',
            f'<text x="{_LEFT + _WIDTH}" y="12" text-anchor="end">{span:g} s</text>',
        ]
        parts += [
            f'<text x="{_LEFT - 6}" y="{(row + 1) * _ROW + 13}" text-anchor="end">{escape(node_id[-30:])}</text>'
            for node_id, row in rows.items()
        ]
        parts += [_drawn(bar, rows[bar.node_id], span) for bar in bars]
        return "\n".join([*parts, "</svg>", ""])


def _drawn(bar: Bar, row: int, span: float) -> str:
    begin, end = (_LEFT + _WIDTH * moment / span for moment in (bar.begin, bar.end))
    words = f"{bar.node_id}: {bar.status or 'running'}, {bar.begin:g} s to {bar.end:g} s"
    return (
        f'<rect x="{begin:.2f}" y="{(row + 1) * _ROW + 3}" width="{max(end - begin, 2):.2f}" height="{_ROW - 6}" '
        f'fill="{_COLOURS[bar.status]}"><title>{escape(words)}</title></rect>'
    )


def numbered(times: Sequence[tuple[float, Event | str]]) -> Trace:
    """The trace of what happened at these times; ids of runs, which are drawn by lot, become numbers."""
    runs: dict[str, int] = {}
    found = []
    for time, event in times:
        run = runs.setdefault(event.run_id, len(runs) + 1) if isinstance(event, Event) else 1
        found.append(Happening(time, run, event))
    return Trace(tuple(found))
