"""Progress in a notebook: what is drawn there. `tests/test_notebook.py` looks at it in a kernel."""

from __future__ import annotations

from cascade.adapters.observers.notebook import as_html, as_text, is_notebook
from cascade.adapters.observers.terminal import Span


def test_text_of_a_run_is_text_in_html() -> None:
    lines = [[Span("<b>"), Span("a & b", "red")], [Span("second\nline")]]
    assert as_html(lines) == (
        '<pre style="margin: 0; white-space: pre; overflow-x: auto">'  # else JupyterLab breaks lines within words
        '&lt;b&gt;<span style="color: var(--jp-error-color1, #d9534f)">a &amp; b</span>\nsecond\\nline</pre>'
    )
    assert as_text(lines) == "<b>a & b\nsecond\\nline"


def test_a_program_is_no_notebook() -> None:
    assert not is_notebook()
