"""A drawing as SVG: readable on light and dark paper, with the same in words for who hears it read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from cascade.graph.nodes import Graph
from cascade.graph.pictures.layered import (
    MOST_INSCRIBED,
    MOST_LETTERS,
    PADDING,
    Box,
    Drawing,
    Line,
    Point,
    laid_out,
)
from cascade.graph.pictures.sketch import sketch_of
from cascade.graph.pictures.states import WORDS, State
from cascade.model.shown.text import counted, fitted, one_line

# Boxes that the description in words names, at most.
MOST_WORDS: Final = 60
_LIGHT: Final = {
    "paper": "#ffffff", "ink": "#1f2328", "soft": "#57606a", "line": "#8c959f", "box": "#f6f8fa",
    "running": "#ddf4ff", "succeeded": "#dafbe1", "failed": "#ffd7d5", "handled": "#ffe5cc", "waiting": "#fff8db",
    "skipped": "#eaeef2", "handled-edge": "#bc4c00",
    "running-edge": "#0969da", "succeeded-edge": "#1a7f37", "failed-edge": "#cf222e", "waiting-edge": "#9a6700",
}  # fmt: skip
_DARK: Final = {
    "paper": "#0d1117", "ink": "#e6edf3", "soft": "#9198a1", "line": "#6e7681", "box": "#161b22",
    "running": "#0c2d6b", "succeeded": "#0f3d1e", "failed": "#5d1216", "handled": "#5a2d0c", "waiting": "#3a2d00",
    "skipped": "#21262d", "handled-edge": "#f0883e",
    "running-edge": "#58a6ff", "succeeded-edge": "#3fb950", "failed-edge": "#f85149", "waiting-edge": "#d29922",
}  # fmt: skip

_SHAPES: Final = (
    ".cascade-graph{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    ".cascade-node text{font-size:13px}"
    ".cascade-node .cascade-note,.cascade-node .cascade-state,.cascade-inscription{font-size:11px}"
    ".cascade-node .cascade-state{text-anchor:end}"
    ".cascade-inscription{text-anchor:middle;paint-order:stroke;stroke-width:4px}"
    ".cascade-arrow{fill:none;stroke-width:1.3}"
    ".cascade-dashed{stroke-dasharray:5 4}.cascade-bold{stroke-width:2.4}"
    ".cascade-settled rect,.cascade-or_else rect,.cascade-race rect,.cascade-router rect{stroke-dasharray:4 3}"
    ".cascade-is-skipped rect,.cascade-is-cancelled rect,.cascade-is-waiting rect{stroke-dasharray:3 3}"
)


def svg_of(graph: Graph) -> str:
    """*graph* as an SVG file."""
    return as_svg(laid_out(sketch_of(graph)))


def as_svg(drawing: Drawing, states: Mapping[str, State] | None = None, *, has_style: bool = True) -> str:
    """*drawing* as SVG.

    Args:
        drawing: What to draw.
        states: What to say of boxes, by key. ``None`` (default): nothing.
        has_style: Whether colours come with it, as by default; a page has its own.
    """
    known = states or {}
    parts = [*_head(drawing, known, has_style=has_style)]
    parts += (_line(line, is_across=drawing.is_across) for line in drawing.lines)
    labelled = [line for line in drawing.lines if line.arrow.label]
    parts += (_inscription(line, place, is_across=drawing.is_across) for place, line in enumerate(labelled))
    parts += (_box(box, known.get(box.vertex.key), is_titled=has_style) for box in drawing.boxes)
    return "\n".join([*filter(None, parts), "</svg>"]) + "\n"


def _text(text: str) -> str:
    return escape(one_line(text))


def _head(drawing: Drawing, states: Mapping[str, State], *, has_style: bool) -> Iterator[str]:
    title, words = _title(drawing), "\n".join(_words(drawing, states))
    # Ids are those of the page around as well, so pictures that differ have different ones.
    mark = f"cascade-{zlib.crc32(f'{title}{words}'.encode('utf-8', 'replace')):08x}"
    width, height = drawing.width, drawing.height
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cascade-graph" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="{mark}-title" aria-describedby="{mark}-desc">'
    )
    yield f'<title id="{mark}-title">{_text(title)}</title>'
    yield f'<desc id="{mark}-desc">{escape(words)}</desc>'
    if has_style:
        yield f"<style>{_style()}</style>"
    yield f'<rect class="cascade-paper" width="{width}" height="{height}" rx="6"/>'


def _title(drawing: Drawing) -> str:
    sketch = drawing.sketch
    what = f"Graph of {counted(sketch.nodes, 'node')}"
    if sketch.is_grouped:
        what += f", a box for each of {counted(len(sketch.vertices), 'task')}"
    if sketch.arrows_left_out:
        what += f", without {counted(sketch.arrows_left_out, 'arrow')}"
    return what


def _words(drawing: Drawing, states: Mapping[str, State]) -> Iterator[str]:
    """The picture in words: a line for each box, with what it needs and how it is."""
    sources: dict[int, list[str]] = {}
    vertices = drawing.sketch.vertices
    for arrow in drawing.sketch.arrows:
        needy, needed = (arrow.source, arrow.target) if arrow.is_back else (arrow.target, arrow.source)
        name = vertices[needed].title
        sources.setdefault(needy, []).append(f"{name} ({arrow.label})" if arrow.label else name)
    for place, vertex in enumerate(vertices[:MOST_WORDS]):
        note = f" ({vertex.note})" if vertex.note else ""
        needs = sources.get(place, [])
        more = f" and {len(needs) - 5} more" if len(needs) > 5 else ""
        after = f" needs {', '.join(needs[:5])}{more}" if needs else ""
        state = states.get(vertex.key)
        how = f": {WORDS.get(state.status, state.status)}" if state else ""
        yield one_line(f"{vertex.title}{note}{after}{how}")
    if len(vertices) > MOST_WORDS:
        yield f"and {len(vertices) - MOST_WORDS} more"


def _box(box: Box, state: State | None, *, is_titled: bool) -> str:
    """A box; *is_titled* if its title, which a mouse brings up, is to say its status: a page says it itself."""
    vertex, status = box.vertex, "pending" if state is None else state.status
    corner = {"signal": box.height // 2, "router": 2, "race": 2, "or_else": 2, "settled": 2}.get(vertex.kind, 7)
    name = _text(vertex.title + (f": {vertex.note}" if vertex.note else ""))
    name += f": {WORDS.get(status, status)}" if is_titled and state is not None else ""
    rect = f'width="{box.width}" height="{box.height}" rx="{corner}"'
    classes = f"cascade-node cascade-{vertex.kind} cascade-is-{escape(status)}"
    place = f'transform="translate({box.x},{box.y})" data-node="{_text(vertex.key)}"'
    parts = [f'<g class="{classes}" {place}><title>{name}</title>']
    if vertex.kind == "map" or (vertex.kind in ("group", "rest") and vertex.size > 1):  # a pile
        parts.append(f'<rect class="cascade-pile" x="4" y="4" {rect}/>')
    parts.append(f"<rect {rect}/>")
    has_second = bool(vertex.note) or vertex.kind in ("map", "group", "rest")
    height = 17 if has_second else 25
    parts.append(f'<text x="{PADDING}" y="{height}">{_text(fitted(vertex.title, MOST_LETTERS))}</text>')
    if has_second:
        note = _text(fitted(vertex.note, MOST_LETTERS))
        parts.append(f'<text class="cascade-note" x="{PADDING}" y="32">{note}</text>')
    shown = "" if state is None else _text(state.text)
    parts.append(
        f'<text class="cascade-state" x="{box.width - 8}" y="{32 if has_second else 25}">{shown}</text></g>'
    )
    return "".join(parts)


def _line(line: Line, *, is_across: bool) -> str:
    path = f"{_curve(line.points, is_across=is_across)}{_tip(line, is_across=is_across)}"
    return f'<path class="cascade-arrow cascade-{line.arrow.style}" d="{path}"/>'


def _curve(points: Sequence[Point], *, is_across: bool) -> str:
    """A curve between layers, and a straight line through each, and wherever it leads straight on."""
    parts = [f"M{points[0][0]} {points[0][1]}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        if y == to_y if is_across else x == to_x:
            parts.append(f"L{to_x} {to_y}")
        elif is_across:
            middle = (x + to_x) // 2
            parts.append(f"C{middle} {y} {middle} {to_y} {to_x} {to_y}")
        else:
            middle = (y + to_y) // 2
            parts.append(f"C{x} {middle} {to_x} {middle} {to_x} {to_y}")
    return "".join(parts)


def _tip(line: Line, *, is_across: bool) -> str:
    """The tip of an arrow, at its end; of one that goes back, at its beginning."""
    (x, y), back = (line.points[0], -6) if line.arrow.is_back else (line.points[-1], 6)
    if is_across:
        return f"M{x - back} {y - 4}L{x} {y}L{x - back} {y + 4}"
    return f"M{x - 4} {y - back}L{x} {y}L{x + 4} {y - back}"


def _inscription(line: Line, place: int, *, is_across: bool) -> str:
    """What is written on an arrow, in the middle of its way to its target.

    Arrows from top to bottom come near to each other there, so that neighbours are written at three heights.
    """
    (x, y), (to_x, to_y) = line.points[-2:]
    height = 0 if is_across else (place % 3 - 1) * 13
    text = _text(fitted(line.arrow.label, MOST_INSCRIBED))
    return (
        f'<text class="cascade-inscription" x="{(x + to_x) // 2}" y="{(y + to_y) // 2 + height + 4}">{text}</text>'
    )


def _style() -> str:
    """Colours for light and dark paper. Without variables, which not all that shows SVG knows."""
    return f"{_SHAPES}{_colours(_LIGHT)}@media(prefers-color-scheme:dark){{{_colours(_DARK)}}}"


def _colours(of: Mapping[str, str]) -> str:
    rules = [
        f".cascade-paper{{fill:{of['paper']}}}",
        f".cascade-node text{{fill:{of['ink']}}}",
        f".cascade-inscription{{fill:{of['soft']};stroke:{of['paper']}}}",
        f".cascade-arrow{{stroke:{of['line']}}}",
        f".cascade-node rect{{fill:{of['box']};stroke:{of['line']}}}",
        f".cascade-is-skipped rect,.cascade-is-cancelled rect{{fill:{of['skipped']}}}",
    ]
    rules += [
        f".cascade-is-{status} rect{{fill:{of[status]};stroke:{of[f'{status}-edge']}}}"
        for status in ("running", "waiting", "succeeded", "failed", "handled")
    ]
    return "".join(rules)
