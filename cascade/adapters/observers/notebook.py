"""Progress below the cell of a notebook, as text with colours. Needs IPython, which is there, and no widgets.

The output is one that is displayed once and updated after that, so it stays in its place and in the file.
"""

from __future__ import annotations

import html
import sys
from typing import Any, Final

import attrs
from anyio import current_time

from cascade.adapters.observers.picture import picture
from cascade.adapters.observers.tally import Tally
from cascade.adapters.observers.terminal import Span, Style
from cascade.model.shown.text import one_line

# As many as JupyterLab has room for beside its folders, in a window of 1280 pixels.
COLUMNS: Final = 80
LINES: Final = 16
# JupyterLab breaks lines of such text anywhere, in the middle of a word too, and indents it.
_OUTER: Final = "margin: 0; white-space: pre; overflow-x: auto"
# The colours of JupyterLab, light and dark; elsewhere, some that can be read on both.
_STYLES: Final[dict[Style, str]] = {
    "plain": "",
    "bold": "font-weight: bold",
    "dim": "opacity: 0.7",
    "red": "color: var(--jp-error-color1, #d9534f)",
    "green": "color: var(--jp-success-color1, #3c9d4e)",
    "yellow": "color: var(--jp-warn-color1, #c98a00)",
    "cyan": "color: var(--jp-info-color1, #1793b5)",
}


def is_notebook() -> bool:
    """Whether this is a kernel of Jupyter, whose front end shows more than text."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@attrs.define(eq=False)
class Cell:
    """The progress of a run below the cell that runs it.

    Attributes:
        tally: The run, in numbers.
    """

    tally: Tally
    _handle: Any = None

    def draw(self) -> None:
        """Draw the run as it is now."""
        lines = picture(self.tally, current_time(), width=COLUMNS, height=LINES)
        shown = {"text/plain": as_text(lines), "text/html": as_html(lines)}
        if self._handle is None:
            display: Any = sys.modules["IPython"].display
            self._handle = display.display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


def as_text(lines: list[list[Span]]) -> str:
    """*lines* without colours."""
    return "\n".join("".join(one_line(span.text) for span in line) for line in lines)


def as_html(lines: list[list[Span]]) -> str:
    """*lines* as HTML, in which text of the run is text."""
    text = "\n".join("".join(map(_html, line)) for line in lines)
    return f'<pre style="{_OUTER}">{text}</pre>'


def _html(span: Span) -> str:
    text = html.escape(one_line(span.text))
    return f'<span style="{_STYLES[span.style]}">{text}</span>' if _STYLES[span.style] else text
