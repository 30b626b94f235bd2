"""Where the boxes of a picture stand: in layers, each after those that it needs (Sugiyama, Tagawa, Toda, 1981).

The steps are the usual ones: layers by the longest path, places for long arrows in the layers that they cross,
an order within each layer by the mean place of the neighbours, and positions as near to the neighbours as they can
be without overlap. All of it is deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from cascade.graph.pictures.positions import positions
from cascade.graph.pictures.sketch import Arrow, Sketch, Vertex
from cascade.model.text import columns

# Pixels: of a letter of the title and of the note, around the text, between boxes of a layer, between layers, and
# around the picture.
LETTER: Final = 7.2
SMALL_LETTER: Final = 6.0
PADDING: Final = 12
GAP: Final = 14
LAYER_GAP: Final = 56
MARGIN: Final = 16
HEIGHT: Final = 40
# Pixels that a box is wide; and letters of a title or note that are shown.
NARROWEST: Final = 96
WIDEST: Final = 240
MOST_LETTERS: Final = 30
# A picture up to this width is read from left to right.
EASY_WIDTH: Final = 1100
# Places that arrows have in the layers that they cross, at most. Arrows beyond that run straight.
MOST_BENDS: Final = 1500
SWEEPS: Final = 4

Point = tuple[int, int]


@attrs.frozen
class Box:
    """A vertex in its place; *x* and *y* are those of its upper left corner."""

    vertex: Vertex
    x: int
    y: int
    width: int
    height: int


@attrs.frozen
class Line:
    """An arrow in its place: from the edge of its source over some bends to that of its target."""

    arrow: Arrow
    points: tuple[Point, ...]


@attrs.frozen(eq=False)
class Drawing:
    """A picture, in pixels.

    Attributes:
        sketch: What it shows.
        width: Its width.
        height: Its height.
        boxes: The boxes, in the order of the vertices.
        lines: The arrows, in their order.
        layers: Number of layers.
        is_across: Whether it is read from left to right; otherwise from top to bottom.
    """

    sketch: Sketch
    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    layers: int
    is_across: bool


def laid_out(sketch: Sketch) -> Drawing:
    """*sketch* with a place for each box and arrow."""
    depths = _depths(sketch)
    widths = [_width(vertex) for vertex in sketch.vertices]
    is_across = _reads_across(depths, widths)
    paths, slots = _paths(sketch.arrows, depths)
    layers: list[list[int]] = [[] for _ in range(max(depths, default=-1) + 1)]
    for slot, depth in enumerate(slots):
        layers[depth].append(slot)
    # How much of a layer a slot takes: a bend of an arrow takes next to nothing.
    extents = [HEIGHT] * len(depths) if is_across else list(widths)
    extents += [2] * (len(slots) - len(depths))
    centers = positions(layers, paths, extents, GAP, SWEEPS)
    return _drawn(sketch, layers, paths, centers, widths, is_across=is_across)


def _depths(sketch: Sketch) -> list[int]:
    """The layer of each vertex: the length of the longest path to it. Sources have smaller places."""
    depths = [0] * len(sketch.vertices)
    for arrow in sorted(sketch.arrows, key=lambda arrow: arrow.source):
        depths[arrow.target] = max(depths[arrow.target], depths[arrow.source] + 1)
    return depths


def _width(vertex: Vertex) -> int:
    title, note = min(columns(vertex.title), MOST_LETTERS), min(columns(vertex.note), MOST_LETTERS)
    # Numbers are written into boxes of many nodes, beside the note.
    numbers = 80 if vertex.kind in ("map", "group", "rest") else 0
    widest = max(title * LETTER + 22, note * SMALL_LETTER + numbers)
    return min(max(round(widest) + 2 * PADDING, NARROWEST), WIDEST)


def _reads_across(depths: Sequence[int], widths: Sequence[int]) -> bool:
    """Whether the layers stand beside each other: if that is not too wide, or less wide than below each other."""
    layers = max(depths, default=0) + 1
    widest, total = [0] * layers, [0] * layers
    for depth, width in zip(depths, widths, strict=True):
        widest[depth] = max(widest[depth], width)
        total[depth] += width + GAP
    across = sum(widest) + LAYER_GAP * (layers - 1)
    return across <= EASY_WIDTH or across <= max(total)


def _paths(arrows: Sequence[Arrow], depths: Sequence[int]) -> tuple[list[list[int]], list[int]]:
    """For each arrow the slots that it passes, its ends included; and the layer of each slot, vertices first."""
    slots = list(depths)
    paths: list[list[int]] = [[] for _ in arrows]
    room = MOST_BENDS
    for place in sorted(
        range(len(arrows)), key=lambda place: depths[arrows[place].target] - depths[arrows[place].source]
    ):
        arrow = arrows[place]
        between = range(depths[arrow.source] + 1, depths[arrow.target])
        room -= len(between)
        bends = list(range(len(slots), len(slots) + len(between))) if room >= 0 else []
        slots += between if bends else ()
        paths[place] = [arrow.source, *bends, arrow.target]
    return paths, slots


def _drawn(
    sketch: Sketch,
    layers: Sequence[Sequence[int]],
    paths: Sequence[Sequence[int]],
    centers: Sequence[float],
    widths: Sequence[int],
    *,
    is_across: bool,
) -> Drawing:
    vertices, count = sketch.vertices, len(sketch.vertices)
    starts, thicknesses, along = [0] * len(layers), [0] * len(layers), MARGIN
    for number, layer in enumerate(layers):
        thick = max((widths[slot] for slot in layer if slot < count), default=0) if is_across else HEIGHT
        starts[number], thicknesses[number] = along, thick
        along += thick + LAYER_GAP
    depth_of = {slot: number for number, layer in enumerate(layers) for slot in layer}

    def box(place: int) -> Box:
        start, center, width = starts[depth_of[place]], MARGIN + centers[place], widths[place]
        if is_across:
            return Box(vertices[place], start, round(center - HEIGHT / 2), width, HEIGHT)
        return Box(vertices[place], round(center - width / 2), start, width, HEIGHT)

    boxes = tuple(map(box, range(count)))

    def line(path: Sequence[int]) -> tuple[Point, ...]:
        first, last = boxes[path[0]], boxes[path[-1]]
        begin = first.x + first.width if is_across else first.y + first.height
        found = [(begin, MARGIN + centers[path[0]])]
        for slot in path[1:-1]:
            start, thick = starts[depth_of[slot]], thicknesses[depth_of[slot]]
            found += [(start, MARGIN + centers[slot]), (start + thick, MARGIN + centers[slot])]
        found.append((last.x if is_across else last.y, MARGIN + centers[path[-1]]))
        return tuple((round(a), round(b)) if is_across else (round(b), round(a)) for a, b in found)

    lines = tuple(Line(arrow, line(path)) for arrow, path in zip(sketch.arrows, paths, strict=True))
    ends = [(box.x + box.width, box.y + box.height) for box in boxes] + [
        point for each in lines for point in each.points
    ]
    width = max((x for x, _ in ends), default=0) + MARGIN
    height = max((y for _, y in ends), default=0) + MARGIN
    return Drawing(sketch, width, height, boxes, lines, len(layers), is_across)
