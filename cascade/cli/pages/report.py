"""``cascade report``: the page of a recorded run; and ``cascade run --report``: that of the run itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import attrs

from cascade.adapters.observers.report import report
from cascade.adapters.pages.document.chronicle import KINDS
from cascade.adapters.pages.document.recorded import chronicle_of, recorded_document
from cascade.adapters.pages.document.troubles import MOST_OUTPUTS
from cascade.adapters.pages.html import html_page
from cascade.adapters.whole_files import write_whole
from cascade.cli.output import say
from cascade.cli.targets import UsageError, load_flow
from cascade.graph.build import build
from cascade.graph.nodes import Graph
from cascade.model.errors import GraphError, InputError, StateError
from cascade.runtime.context.settings import Observer
from cascade.runtime.engine.history import run_to_show
from cascade.runtime.observation.bus import EventStream


@attrs.define(eq=False)
class RunReport:
    """The observer for ``--report``. It keeps what prevents the writing, as no event tells of that any more.

    Attributes:
        path: The file.
        observer: Writes it.
        error: Why it was not written.
        is_written: Whether it was.
    """

    path: str
    observer: Observer
    error: OSError | None = None
    is_written: bool = False
    __name__ = "report"
    kinds = KINDS

    async def __call__(self, events: EventStream) -> None:
        try:
            await self.observer(events)
            self.is_written = True
        except OSError as error:
            self.error = error

    def tell(self) -> bool:
        """Say where the report is; returns whether it is there."""
        if self.error is not None:
            say(f"cascade: cannot write the report {self.path!r}: {self.error.strerror or self.error}")
        elif self.is_written:
            say(f"cascade: the report is in {self.path}")
        return self.error is None


def run_report(path: str) -> RunReport:
    """An observer that writes the report of a run.

    Raises:
        UsageError: If the file cannot be made.
    """
    try:
        return RunReport(path, report(path))
    except OSError as error:
        raise UsageError(f"--report: {error}") from error


def report_run(state: str, run_id: str, output: str, target: str | None) -> None:
    """Write the page of a recorded run.

    Args:
        state: Where it is recorded.
        run_id: The run.
        output: The file.
        target: The flow, for its graph. ``None``: the page has none.

    Raises:
        UsageError: If there is no such run or flow, or the file cannot be written.
    """
    graph = None if target is None else _graph(target)
    try:
        run = anyio.run(run_to_show, state, run_id, MOST_OUTPUTS)
    except (InputError, StateError, ImportError) as error:
        raise UsageError(str(error)) from error
    chronicle = chronicle_of(run, graph)
    html = html_page(recorded_document(run, chronicle), svg=chronicle.svg())
    try:
        write_whole(Path(output), html)
    except OSError as error:
        raise UsageError(f"cannot write {output!r}: {error.strerror or error}") from error
    say(f"cascade: the report is in {output}")


def _graph(target: str) -> Graph:
    flow: Any = load_flow(target)
    try:
        return build(flow)
    except GraphError as error:
        raise UsageError(str(error)) from error
