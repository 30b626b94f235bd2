"""Pictures as SVG: well-formed whatever the names, in words too, and the same each time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from contrasts import contrast
from hypothesis import example, given
from hypothesis import strategies as st
from plain_tasks import one

import cascade
from cascade.graph.pictures.layered import laid_out
from cascade.graph.pictures.sketch import Arrow, Sketch, Vertex, group_box
from cascade.graph.pictures.states import State
from cascade.graph.pictures.svg import _DARK, _LIGHT, as_svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


@cascade.task
def after(*_: object) -> int:
    return 2


@cascade.task
def each(x: int) -> int:
    return x


def parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{NAMESPACE}svg"
    return root


def texts(root: ElementTree.Element, tag: str) -> list[str]:
    return [found.text or "" for found in root.iter(f"{NAMESPACE}{tag}")]


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
@example("<script>\"&'", "]]>", "\x00\u202e\udc80\uffff")
def test_any_text_is_shown_as_text(title: str, note: str, label: str) -> None:
    vertices = Vertex(title, title, note, "call"), Vertex("other", title, note, "map")
    drawing = laid_out(Sketch(vertices, (Arrow(0, 1, label),), 2))

    root = parsed(as_svg(drawing, {title: State("failed", note)}))

    assert not {found.tag for found in root.iter()} - {
        f"{NAMESPACE}{tag}" for tag in ("svg", "title", "desc", "style", "rect", "path", "text", "g")
    }
    as_svg(drawing).encode("utf-8")


def test_who_hears_a_picture_is_told_what_each_node_needs() -> None:
    root = parsed(cascade.visualize(after(one()).after(after()), "svg"))

    title, description = root.find(f"{NAMESPACE}title"), root.find(f"{NAMESPACE}desc")
    assert title is not None
    assert description is not None
    assert title.text == "Graph of 3 nodes"
    assert (description.text or "").splitlines() == ["one", "after", "after#2 needs one, after (then)"]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == title.get("id")
    assert root.get("aria-describedby") == description.get("id")


def test_a_picture_has_colours_for_light_and_dark() -> None:
    assert "prefers-color-scheme:dark" in cascade.visualize(one(), "svg")


def test_maps_signals_routers_and_undos_are_told_apart() -> None:
    chosen = cascade.Router(cascade.signal("approve", bool), {True: after(1), False: each.map(x=[1, 2])})
    flow = after(chosen).with_undo(after)

    svg = cascade.visualize(flow, "svg")

    assert {"map", "signal", "undo: after"} <= set(texts(parsed(svg), "text"))
    assert {"cascade-map", "cascade-signal", "cascade-router"} <= set(re.findall(r"cascade-\w+", svg))
    assert {"route True", "route False", "selects"} <= set(texts(parsed(svg), "text"))


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_picture_is_the_same_each_time_and_bounded(size: int) -> None:
    def drawn() -> str:
        return cascade.visualize(after(*[after(one()) for _ in range(size)]), "svg")

    assert drawn() == drawn()
    assert len(drawn()) < 200_000


def test_states_are_said_in_colours_letters_and_words() -> None:
    drawing = laid_out(Sketch((Vertex("a", "a", "", "call"),), (), 1))
    handled = {"a": State("handled", "!")}

    svg, told = as_svg(drawing, {"a": State("failed", "✗")}, has_style=False), as_svg(drawing, handled)

    assert "cascade-is-failed" in svg
    assert "✗" in texts(parsed(svg), "text")
    assert texts(parsed(svg), "desc") == ["a: failed"]
    assert "<style>" not in svg
    assert texts(parsed(told), "desc") == ["a: failed, handled"]
    assert "a: failed, handled" in texts(parsed(told), "title")
    assert "cascade-is-handled" in told


@pytest.mark.parametrize("colours", [_LIGHT, _DARK], ids=["light", "dark"])
def test_letters_stand_out_from_boxes_in_each_state(colours: dict[str, str]) -> None:
    papers = ("box", "running", "waiting", "succeeded", "failed", "handled", "skipped")
    found = {paper: contrast(colours["ink"], colours[paper]) for paper in papers}

    assert min(found.values()) >= 4.5, found
    assert contrast(colours["soft"], colours["paper"]) >= 4.5


def test_a_note_is_written_as_dark_as_a_title() -> None:
    assert ".cascade-note" not in "".join(re.findall(r"[^{}]*{fill:[^}]*}", cascade.visualize(one(), "svg")))


def test_one_node_is_no_pile() -> None:
    def drawn(size: int) -> str:
        return as_svg(laid_out(Sketch((group_box("a", size),), (), size, True)))

    assert "cascade-pile" not in drawn(1)
    assert "cascade-pile" in drawn(2)
