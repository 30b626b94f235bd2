"""Writes the page of a run into a file when the run has ended."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import attrs
from anyio import CapacityLimiter

from cascade.adapters.pages.document.chronicle import KINDS, Chronicle
from cascade.adapters.pages.html import html_page
from cascade.adapters.whole_files import write_whole
from cascade.runtime.foundation.threads import in_thread
from cascade.runtime.observation.bus import EventStream


@attrs.define(eq=False)
class Report:
    """The observer. Of runs that are executed at the same time, the one that ends last has its report kept."""

    path: Path
    __name__ = "report"
    kinds = KINDS

    async def __call__(self, events: EventStream) -> None:
        chronicle = Chronicle()
        async for event in events:
            chronicle.hear(event)
        await in_thread(partial(write_report, self.path, chronicle), CapacityLimiter(1))


def write_report(path: Path, chronicle: Chronicle) -> None:
    """Write the page of a run: see :func:`write_whole`.

    Args:
        path: The file.
        chronicle: The run.

    Raises:
        OSError: If it cannot be written.
    """
    write_whole(path, html_page(chronicle.document(), svg=chronicle.svg()))
