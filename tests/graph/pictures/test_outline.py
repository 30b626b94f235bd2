"""What is recorded of a flow for people: the text says what the graph says, and no other text passes for one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_tasks import one, step

import cascade
from cascade.graph.build import build
from cascade.graph.nested import finish
from cascade.graph.nodes import Graph
from cascade.graph.pictures.outline import MOST_NODES, outline_in, outline_text
from cascade.graph.pictures.sketch import MOST_BOXES, Sketch, fitting, sketch_of, sources_in
from cascade.testing import RandomFlow, flows


@cascade.task
def each(*values: Any) -> Any:
    return values


def text_of(graph: Graph) -> str:
    return finish(outline_text(graph, str))


def same(outline: Sketch, sketch: Sketch) -> bool:
    """Whether both show the same; the order of arrows has no meaning."""
    arrows = [sorted(one.arrows, key=lambda arrow: (arrow.target, arrow.source)) for one in (outline, sketch)]
    fields = [(one.vertices, one.nodes, one.is_grouped, one.arrows_left_out) for one in (outline, sketch)]
    return fields[0] == fields[1] and arrows[0] == arrows[1]


@given(flow=flows())
def test_the_picture_of_a_recorded_flow_is_that_of_the_flow(flow: RandomFlow) -> None:
    graph = build(flow.build())

    outline = outline_in(text_of(graph))

    assert same(fitting(outline), sketch_of(graph))
    assert [{*needs} for needs in sources_in(outline)] == [{*needs} for needs in graph.sources]


def test_what_is_said_of_nodes_and_arrows_is_kept() -> None:
    noted = one().with_name("july").with_priority(2)
    flow = each(
        cascade.Router(noted, {"a": one(), "b": one()}), one().or_else(one()), cascade.signal("go"),
        one().after(noted).run_if(one()), step.map(value=[1]),
    )  # fmt: skip
    graph = build(flow)

    outline = outline_in(text_of(graph))

    assert same(outline, sketch_of(graph))
    assert {arrow.style for arrow in outline.arrows} == {"solid", "dashed", "bold"}
    assert {vertex.kind for vertex in outline.vertices} >= {"call", "map", "signal", "router", "or_else"}
    assert "july, priority 2" in {vertex.note for vertex in outline.vertices}


@pytest.mark.parametrize("size", [MOST_BOXES + 1, MOST_NODES - 1, MOST_NODES, 5 * MOST_NODES])
def test_a_picture_of_many_nodes_shows_their_tasks(size: int) -> None:
    graph = build(each(*[one() for _ in range(size)]))

    outline = outline_in(text := text_of(graph))

    assert outline.is_grouped is (size >= MOST_NODES)
    assert fitting(outline).is_grouped
    assert same(fitting(outline), sketch_of(graph))
    assert len(text) < 100_000


def test_of_very_many_arrows_the_tasks_are_recorded_and_not_each() -> None:
    firsts = [one() for _ in range(200)]
    graph = build([each(*firsts, number) for number in range(200)])

    text = text_of(graph)

    assert same(outline_in(text), sketch_of(graph))
    assert len(text) < 1000


def test_very_many_tasks_share_a_box() -> None:
    def named(number: int) -> Any:
        return cascade.task(name=f"task{number}")(lambda: number)()

    graph = build([named(number) for number in range(MOST_NODES + 1)])

    assert same(outline_in(text_of(graph)), sketch_of(graph))


def test_texts_of_users_are_hidden_where_they_are_secret() -> None:
    flow = cascade.Router(one().with_name("for hunter2"), {"hunter2": one(), "b": one()})

    text = finish(outline_text(build(flow), lambda given: given.replace("hunter2", "***")))

    assert "hunter2" not in text
    assert text.count("***") == 2


SIMPLE = json.loads(text_of(build(each(one().run_if(one()), step.map(value=[1])))))
GROUPED = json.loads(text_of(build(each(*[one() for _ in range(MOST_NODES)]))))
WRONG = st.sampled_from([None, -1, 99, 1.5, "x", "", [], [1], [-1], [[0, 1]], {}, {"a": 1}, True])


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """An outline in which something is replaced, at any depth."""
    whole: Any = json.loads(json.dumps(draw(st.sampled_from([SIMPLE, GROUPED]))))
    part = whole
    while True:
        places = [*part] if isinstance(part, dict) else [*range(len(part))]
        place = draw(st.sampled_from(places))
        if not isinstance(part[place], (list, dict)) or not part[place] or draw(st.booleans()):
            part[place] = draw(WRONG)
            return json.dumps(whole)
        part = part[place]


@given(damaged())
def test_a_damaged_text_is_none_or_one_that_can_be_drawn(text: str) -> None:
    try:
        outline = outline_in(text)
    except ValueError:
        return

    assert all(0 <= arrow.source < arrow.target < len(outline.vertices) for arrow in outline.arrows)
    assert {vertex.kind for vertex in outline.vertices} <= {"call", "map", "group", "rest"}
    assert isinstance(fitting(outline).nodes, int)


@pytest.mark.parametrize("text", ["", "[]", "{}", "5", '{"groups":5}', b"\xff"])
def test_another_text_is_no_outline(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"outline|Expecting|decode"):
        outline_in(text)
