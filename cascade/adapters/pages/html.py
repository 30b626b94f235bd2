"""The page of a run: one file that holds all it needs, and opens from a disk as well as from a server."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from cascade.model.shown.text import one_line

_INLINE: Final = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def html_page(
    document: Mapping[str, Any] | None,
    *,
    svg: str = "",
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    settings: object = None,
    has_policy: bool = True,
) -> str:
    """A page that draws *document*.

    Args:
        document: A run, as ``Chronicle.document`` gives it. ``None``: the page waits for one.
        svg: The picture of its graph. Empty (default): there is none.
        scripts: Further files of ``web`` that run after the page's own.
        styles: Further files of ``web`` with styles.
        settings: What these scripts find as ``cascadePage.settings``; anything that JSON can say.
        has_policy: Whether the page itself says that nothing else may be loaded or run, as by default. A server
            says so in a header: see :func:`policy`.
    """
    run = {} if document is None else document["run"]
    parts = {
        "STATUS": escape(str(run.get("status", ""))),
        "TITLE": escape(one_line(f"run {run.get('name') or run.get('id', '')}")),
        "STYLES": "\n".join(f"<style>{read(name)}</style>" for name in ("page.css", *styles)),
        "SCRIPTS": "\n".join(
            f"<script>{read(name)}</script>" for name in ("words.js", "timeline.js", "page.js", *scripts)
        ),
        "GRAPH_HIDDEN": "" if svg else "hidden",
        "GRAPH": svg,
        "DATA": as_json(document),
        "SETTINGS": as_json(settings),
    }
    inline = parts["STYLES"] + parts["SCRIPTS"]
    parts["POLICY"] = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy(inline)}">' if has_policy else ""
    )
    # At once, so that what stands for one part is not looked for in another.
    return re.sub("@([A-Z_]+)@", lambda found: parts.get(found[1], found[0]), read("page.html"))


def policy(html: str, *, connects: bool = False) -> str:
    """The Content-Security-Policy under which *html* runs its own scripts and styles, and nothing else.

    Args:
        html: The page, or the parts of it that are scripts and styles.
        connects: Whether its scripts may ask the server that it came from.
    """
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    rules = ["default-src 'none'", "base-uri 'none'", "form-action 'none'"]
    rules += [f"{kind}-src {' '.join(found)}" for kind, found in hashes.items() if found]
    rules += ["connect-src 'self'"] if connects else []
    return "; ".join(rules)


def as_json(value: object) -> str:
    """*value* as JSON that may stand in a page: nothing in it ends the element around."""
    return (
        json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e")
    )


@functools.cache
def read(name: str) -> str:
    """A file of ``web``."""
    return (files("cascade.adapters.pages") / "web" / name).read_text(encoding="utf-8")
