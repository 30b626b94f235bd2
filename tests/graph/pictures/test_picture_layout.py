"""Where the boxes of a picture stand, whatever the graph."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import get_args

from hypothesis import example, given
from hypothesis import strategies as st
from plain_tasks import one

import cascade
from cascade.graph.build import build
from cascade.graph.pictures.layered import PADDING, SMALL_LETTER, Box, Drawing, laid_out
from cascade.graph.pictures.sketch import (
    MOST_ARROWS,
    MOST_BOXES,
    REST,
    Arrow,
    Kind,
    Sketch,
    Vertex,
    group_box,
    sketch_of,
)
from cascade.graph.pictures.states import state_of


@st.composite
def sketches(draw: st.DrawFn) -> Sketch:
    """Boxes of all kinds with arrows between them that run from a former to a later one."""
    kinds = st.sampled_from(get_args(Kind))
    words = st.text(max_size=60)
    size = draw(st.integers(0, 25))
    vertices = [Vertex(str(key), draw(words), draw(words), draw(kinds)) for key in range(size)]
    pairs = draw(st.sets(st.sampled_from([*combinations(range(size), 2)] or [(0, 0)]), max_size=60))
    arrows = [Arrow(*pair, is_back=draw(st.booleans())) for pair in sorted(pairs)] if size > 1 else []
    return Sketch(tuple(vertices), tuple(arrows), size)


def chain(length: int) -> Sketch:
    vertices = [Vertex(str(key), f"task#{key}", "", "call") for key in range(length)]
    return Sketch(tuple(vertices), tuple(Arrow(key, key + 1) for key in range(length - 1)), length)


def overlap(one: Box, other: Box) -> bool:
    across = one.x < other.x + other.width and other.x < one.x + one.width
    return across and one.y < other.y + other.height and other.y < one.y + one.height


@given(sketches())
@example(chain(40))
def test_no_two_boxes_overlap(sketch: Sketch) -> None:
    drawing = laid_out(sketch)

    assert [box.vertex for box in drawing.boxes] == list(sketch.vertices)
    assert not [pair for pair in combinations(drawing.boxes, 2) if overlap(*pair)]


@given(sketches())
@example(Sketch(
    (Vertex("a", "a", "", "call"), Vertex("b", "a long name beside it", "", "call"), Vertex("c", "c", "", "call")),
    (Arrow(0, 2), Arrow(1, 2)), 3,
))  # fmt: skip
def test_arrows_bend_beyond_all_boxes_beside_their_source(sketch: Sketch) -> None:
    drawing = laid_out(sketch)

    ends: dict[int, int] = {}  # of layers that stand beside each other, by where they begin
    for box in drawing.boxes:
        ends[box.x] = max(ends.get(box.x, 0), box.x + box.width)
    for line in drawing.lines if drawing.is_across else ():
        bends = [x for (x, y), (_, to_y) in pairwise(line.points) if y != to_y]
        assert not bends or bends[0] >= ends[drawing.boxes[line.arrow.source].x]


def test_what_needs_boxes_stands_between_them_though_all_of_it_ends_in_one() -> None:
    boxes = [
        Vertex(f"{key}{row}", "a", "", "call") for row in range(12) for key in ("from", "left", "right", "both")
    ]
    arrows = [
        Arrow(4 * row + start, 4 * row + end)
        for row in range(12)
        for start, end in ((0, 1), (0, 2), (1, 3), (2, 3))
    ]
    arrows += [Arrow(4 * row + 3, 48) for row in range(12)]

    drawing = laid_out(Sketch((*boxes, Vertex("end", "end", "", "call")), tuple(arrows), 49))

    for row in range(12):
        start, left, right, both = (box.y for box in drawing.boxes[4 * row : 4 * row + 4])
        assert abs(start - (left + right) / 2) <= 1
        assert abs(both - (left + right) / 2) <= 1


def test_there_is_room_for_numbers_of_many_kinds_beside_a_note() -> None:
    (box,) = laid_out(Sketch((group_box("a", 144),), (), 144, True)).boxes
    counts = {"running": 6, "waiting": 22, "failed": 3, "succeeded": 113}

    assert box.width >= len(f"144 nodes  {state_of(counts).text}") * SMALL_LETTER + 2 * PADDING


def test_there_is_room_for_a_mark_beside_a_note() -> None:
    (box,) = laid_out(Sketch((Vertex("a", "a", "orders of the north", "call"),), (), 1)).boxes

    assert box.width >= len("orders of the north") * SMALL_LETTER + 2 * PADDING + 14


@given(sketches())
@example(chain(40))
def test_each_arrow_goes_forward(sketch: Sketch) -> None:
    drawing = laid_out(sketch)

    for line in drawing.lines:
        source, target = drawing.boxes[line.arrow.source], drawing.boxes[line.arrow.target]
        if drawing.is_across:
            assert source.x + source.width < target.x
            assert [x for x, _ in line.points] == sorted(x for x, _ in line.points)
        else:
            assert source.y + source.height < target.y
            assert [y for _, y in line.points] == sorted(y for _, y in line.points)


@given(sketches())
def test_everything_is_within_the_picture(sketch: Sketch) -> None:
    drawing = laid_out(sketch)

    corners = [(box.x, box.y) for box in drawing.boxes]
    corners += [(box.x + box.width, box.y + box.height) for box in drawing.boxes]
    for x, y in [*corners, *(point for line in drawing.lines for point in line.points)]:
        assert 0 <= x <= drawing.width
        assert 0 <= y <= drawing.height


@given(sketches())
def test_the_same_sketch_is_laid_out_the_same_each_time(sketch: Sketch) -> None:
    assert places(laid_out(sketch)) == places(laid_out(sketch))


def places(drawing: Drawing) -> object:
    return drawing.width, drawing.height, drawing.boxes, drawing.lines


def test_a_long_chain_is_read_from_top_to_bottom_and_a_short_one_across() -> None:
    assert laid_out(chain(5)).is_across
    assert not laid_out(chain(40)).is_across


# -- what is shown ----------------------------------------------------------------------------------------------


@cascade.task
def two(*_: object) -> int:
    return 2


@cascade.task
def three(*_: object) -> int:
    return 3


@cascade.task
def four(*_: object) -> int:
    return 4


def test_up_to_400_nodes_have_a_box_each() -> None:
    sketch = sketch_of(build(two(*[one() for _ in range(MOST_BOXES - 1)])))

    assert not sketch.is_grouped
    assert len(sketch.vertices) == MOST_BOXES


def test_beyond_that_each_task_has_a_box_with_the_number_of_its_nodes() -> None:
    sketch = sketch_of(build(two(two(), *[one() for _ in range(MOST_BOXES)])))

    assert sketch.is_grouped
    assert [(vertex.key, vertex.note, vertex.size) for vertex in sketch.vertices] == [
        ("two", "2 nodes", 2),
        ("one", "400 nodes", 400),
    ]
    assert [(vertex.key, vertex.kind) for vertex in sketch.vertices] == [("two", "group"), ("one", "group")]


def test_arrows_between_groups_go_from_what_comes_first_and_say_if_they_are_back() -> None:
    node: cascade.LazyResult[int] = two()
    for _ in range(MOST_BOXES):
        node = three(two(node))
    sketch = sketch_of(build(two(four(node))))

    names = [vertex.key for vertex in sketch.vertices]
    arrows = {(names[arrow.source], names[arrow.target]): arrow.is_back for arrow in sketch.arrows}
    assert arrows == {("two", "three"): False, ("three", "four"): False, ("two", "four"): True}


def test_very_many_tasks_share_a_box() -> None:
    def named(number: int) -> cascade.LazyResult[int]:
        @cascade.task(name=f"task{number}")
        def body() -> int:
            return number

        return body()

    sketch = sketch_of(build([*(named(number) for number in range(MOST_BOXES + 50))]))

    assert len(sketch.vertices) == MOST_BOXES
    assert sketch.vertices[-1] == Vertex(REST, "51 more tasks", "51 nodes", "rest", 51)
    assert "task449" not in {vertex.key for vertex in sketch.vertices}


def test_very_many_arrows_are_shown_between_groups() -> None:
    firsts = [one() for _ in range(40)]
    seconds = [two(*firsts) for _ in range(40)]

    assert len(firsts) * len(seconds) > MOST_ARROWS
    assert sketch_of(build(two(*seconds))).is_grouped
