"""The page that lists runs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any


@functools.cache
def _template() -> str:
    """The page, with styles and script in it, apart from the runs."""
    folder = files("cascade.adapters.pages") / "web"
    parts = {
        name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "runs.css", "runs.js")
    }
    html = folder.joinpath("runs.html").read_text(encoding="utf-8")
    styles = parts["page.css"] + parts["runs.css"]
    return html.replace("/*STYLES*/", styles).replace("/*SCRIPT*/", parts["runs.js"])


def list_page(runs: Sequence[Mapping[str, Any]]) -> str:
    """The HTML of the list of *runs*."""
    # Whatever the texts are, they do not end the element in which they stand.
    text = json.dumps({"runs": runs}).replace("<", "\\u003c")
    return _template().replace("/*DATA*/", text)
