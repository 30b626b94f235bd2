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
from cascade.model.shown.text import columns

# Pixels: of a letter of the title and of the note, around the text, between boxes of a layer, between layers (also
# where arrows have labels), and around the picture.
LETTER: Final = 7.2
SMALL_LETTER: Final = 6.0
PADDING: Final = 12
GAP: Final = 14
LAYER_GAP: Final = 56
LABELLED_GAP: Final = 76
MARGIN: Final = 16
HEIGHT: Final = 40
# Pixels that a box is wide; and letters of a title or note that are shown.
NARROWEST: Final = 96
WIDEST: Final = 240
MOST_LETTERS: Final = 30
# Letters of what is written on an arrow.
MOST_INSCRIBED: Final = 24
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
    return _Placing(sketch, slots, paths, centers, widths, is_across).drawing()


def _depths(sketch: Sketch) -> list[int]:
    """The layer of each vertex: the length of the longest path to it. Sources have smaller places.

    What needs nothing stands right before the first that needs it, so that its arrows are short.
    """
    depths = [0] * len(sketch.vertices)
    first_needed: dict[int, int] = {}
    for arrow in sorted(sketch.arrows, key=lambda arrow: arrow.source):
        depths[arrow.target] = max(depths[arrow.target], depths[arrow.source] + 1)
    needy = {arrow.target for arrow in sketch.arrows}
    for arrow in sketch.arrows:
        if arrow.source not in needy:
            depth = depths[arrow.target]
            first_needed[arrow.source] = min(first_needed.get(arrow.source, depth), depth)
    for place, depth in first_needed.items():
        depths[place] = depth - 1
    return depths


def _width(vertex: Vertex) -> int:
    title, note = min(columns(vertex.title), MOST_LETTERS), min(columns(vertex.note), MOST_LETTERS)
    # Beside the note, numbers are written into boxes of many nodes, and a mark into others.
    numbers = 120 if vertex.kind in ("map", "group", "rest") else 18
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


@attrs.frozen(eq=False)
class _Placing:
    """Turns layers, and positions within them, into places on paper.

    Attributes:
        sketch: What is shown.
        depths: The layer of each slot.
        paths: The slots that each arrow passes.
        centers: The position of each slot within its layer.
        widths: How wide each box is.
        is_across: Whether layers stand beside each other.
    """

    sketch: Sketch
    depths: Sequence[int]
    paths: Sequence[Sequence[int]]
    centers: Sequence[float]
    widths: Sequence[int]
    is_across: bool

    def drawing(self) -> Drawing:
        """The picture."""
        starts, thicknesses = self._layers()
        boxes = tuple(self._box(place, starts) for place in range(len(self.widths)))
        points = [self._points(path, boxes, starts, thicknesses) for path in self.paths]
        lines = tuple(map(Line, self.sketch.arrows, points))
        corners = [(box.x + box.width, box.y + box.height) for box in boxes]
        corners += [point for line in lines for point in line.points]
        width = max((x for x, _ in corners), default=0) + MARGIN
        height = max((y for _, y in corners), default=0) + MARGIN
        return Drawing(self.sketch, width, height, boxes, lines, len(starts), self.is_across)

    def _layers(self) -> tuple[list[int], list[int]]:
        """Where each layer begins, and how thick it is."""
        count = max(self.depths, default=-1) + 1
        thicknesses, gaps = [0 if self.is_across else HEIGHT] * count, [LAYER_GAP] * count
        for depth, width in zip(self.depths, self.widths, strict=False):
            if self.is_across:
                thicknesses[depth] = max(thicknesses[depth], width)
        for arrow in self.sketch.arrows:
            if arrow.label:  # is written in the gap before its target
                depth = self.depths[arrow.target]
                wide = round(min(columns(arrow.label), MOST_INSCRIBED) * SMALL_LETTER) + 36
                gaps[depth] = max(gaps[depth], wide if self.is_across else LABELLED_GAP)
        starts, along = [], MARGIN
        for depth in range(count):
            along += gaps[depth] if depth else 0
            starts.append(along)
            along += thicknesses[depth]
        return starts, thicknesses

    def _box(self, place: int, starts: Sequence[int]) -> Box:
        vertex, width = self.sketch.vertices[place], self.widths[place]
        start, center = starts[self.depths[place]], MARGIN + self.centers[place]
        if self.is_across:
            return Box(vertex, start, round(center - HEIGHT / 2), width, HEIGHT)
        return Box(vertex, round(center - width / 2), start, width, HEIGHT)

    def _points(
        self, path: Sequence[int], boxes: Sequence[Box], starts: Sequence[int], thicknesses: Sequence[int]
    ) -> tuple[Point, ...]:
        first, last = boxes[path[0]], boxes[path[-1]]
        found = [(first.x + first.width if self.is_across else first.y + first.height, self.centers[path[0]])]
        beyond = starts[self.depths[path[0]]] + thicknesses[self.depths[path[0]]]
        if self.is_across and beyond > found[0][0]:  # a wider box may stand beside the source
            found.append((beyond, self.centers[path[0]]))
        for slot in path[1:-1]:
            start, thickness = starts[self.depths[slot]], thicknesses[self.depths[slot]]
            found += [(start, self.centers[slot]), (start + thickness, self.centers[slot])]
        found.append((last.x if self.is_across else last.y, self.centers[path[-1]]))
        at = [(along, round(MARGIN + center)) for along, center in found]
        return tuple(at if self.is_across else [(center, along) for along, center in at])
