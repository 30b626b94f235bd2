"""The page that lists runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cascade.adapters.pages.html import as_json, read


def list_page(runs: Sequence[Mapping[str, Any]]) -> str:
    """The HTML of the list of *runs*."""
    html = read("runs.html").replace("@STYLES@", read("page.css") + read("runs.css"))
    # The runs come last, as what they say is not ours.
    return html.replace("@SCRIPT@", f"{read('words.js')}\n{read('runs.js')}").replace(
        "@DATA@", as_json({"runs": runs})
    )
