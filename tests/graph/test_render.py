"""Pictures of a flow: well-formed whatever its names, and showing each node and edge once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labels import label
from strategies import Itinerary, itineraries

import cascade
from cascade.graph.build import build


@cascade.task
def fetch(x: Any = None, y: Any = None) -> Any:
    return x


@cascade.task
def parse(x: Any = None) -> Any:
    return x


FLOW: Any = [
    parse(fetch(1)).run_if(fetch(2)).after(fetch(3)).with_constraints(gpu=fetch(4)),
    parse.map(x=fetch(5)),
    cascade.Router(fetch(6), {"big": fetch(7), 2: parse(8)}, default=fetch(9)),
]
HOSTILE = [
    'quote " in it', "back\\slash", "new\nline", "semi;colon", "hash#1", "<b>html</b>", "a & b", "pipe|pipe",
    "[x]", "{x}", "(x)", "end", "graph", "subgraph", "%% comment", "click", "-->", "`tick`", "$$x$$", "é 漢",
    "tab\there", "&quot;", "\\N", "\\", '"', "\r", "\u2028", "emoji 🎈", "style", "'", "x" * 300,
]  # fmt: skip


def named(name: str) -> Any:
    """A call of a task with this name."""
    return cascade.task(name=name)(lambda x=None: x)


# -- grammars --------------------------------------------------------------------------------------------------

# A flowchart: https://mermaid.js.org/syntax/flowchart.html. Text stands in quotes, with #...; for what is special.
_TEXT = r'"(?:[^"#\\`<>&|\n\r\x00\u2028]|#\d+;)*"'
_MERMAID_NODE = re.compile(rf"    (n\d+)(?:\[({_TEXT})\]|\[\[({_TEXT})\]\]|\{{({_TEXT})\}})")
_MERMAID_EDGE = re.compile(rf"    (n\d+) (?:-->|-\.->|==>)(?:\|({_TEXT})\|)? (n\d+)")
# The DOT language: https://graphviz.org/doc/info/lang.html. In quotes only \" is an escape; \\ keeps its meaning
# for labels.
_QUOTED = r'"(?:[^"\\\n\x00]|\\.)*"'
_DOT_ATTRIBUTES = rf"\[(?:[a-z]+=(?:{_QUOTED}|[a-z0-9]+)(?:, )?)+\]"
_DOT_NODE = re.compile(rf"    (n\d+) {_DOT_ATTRIBUTES};")
_DOT_EDGE = re.compile(rf"    (n\d+) -> (n\d+) {_DOT_ATTRIBUTES};")

Picture = tuple[list[str], list[tuple[str, str]]]


def read_mermaid(text: str) -> Picture:
    """Nodes and edges of a flowchart; every line has to be one of them."""
    head, *lines = text.rstrip("\n").split("\n")
    assert head == "flowchart TD"
    nodes, edges = [], []
    for line in lines:
        if match := _MERMAID_NODE.fullmatch(line):
            nodes.append(match[1])
        else:
            match = _MERMAID_EDGE.fullmatch(line)
            assert match, line
            edges.append((match[1], match[3]))
    return nodes, edges


def read_dot(text: str) -> Picture:
    """Nodes and edges of a digraph; every line has to be one of them, or a setting."""
    head, *lines, tail = text.rstrip("\n").split("\n")
    assert (head, tail) == ("digraph cascade {", "}")
    nodes, edges = [], []
    for line in lines:
        if match := _DOT_NODE.fullmatch(line):
            nodes.append(match[1])
        elif match := _DOT_EDGE.fullmatch(line):
            edges.append((match[1], match[2]))
        else:
            assert re.fullmatch(rf"    (rankdir=TB|node {_DOT_ATTRIBUTES});", line), line
    return nodes, edges


def read_json(text: str) -> Picture:
    """Nodes and edges by id."""
    document = json.loads(text)
    places = {node["id"]: f"n{place}" for place, node in enumerate(document["nodes"])}
    return list(places.values()), [(places[edge["source"]], places[edge["target"]]) for edge in document["edges"]]


READERS: dict[str, Callable[[str], Picture]] = {"mermaid": read_mermaid, "dot": read_dot, "json": read_json}
every_reader = pytest.mark.parametrize(("format", "read"), READERS.items(), ids=READERS)
every_format = pytest.mark.parametrize("format", ["mermaid", "dot", "text", "json"])


# -- what is shown ---------------------------------------------------------------------------------------------


@every_reader
@given(itinerary=itineraries())
def test_each_node_and_edge_is_shown_once(
    format: Any, read: Callable[[str], Picture], itinerary: Itinerary
) -> None:
    graph = build(itinerary.target())
    nodes, edges = read(cascade.visualize(itinerary.target(), format))
    assert nodes == [f"n{node.index}" for node in graph.nodes]
    assert sorted(edges) == sorted((f"n{edge.source}", f"n{edge.target}") for edge in graph.edges())


@every_reader
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_task_breaks_the_picture(format: Any, read: Callable[[str], Picture], name: str) -> None:
    nodes, edges = read(cascade.visualize(parse(named(name)()), format))
    assert (len(nodes), edges) == (2, [("n0", "n1")])


@every_reader
@pytest.mark.parametrize("key", HOSTILE)
def test_no_key_of_a_route_breaks_the_picture(format: Any, read: Callable[[str], Picture], key: str) -> None:
    nodes, edges = read(cascade.visualize(cascade.Router(1, {key: fetch()}), format))
    assert (len(nodes), edges) == (2, [("n0", "n1")])


@every_reader
@pytest.mark.parametrize("resource", HOSTILE)
def test_no_name_of_a_resource_breaks_the_picture(
    format: Any, read: Callable[[str], Picture], resource: str
) -> None:
    nodes, edges = read(cascade.visualize(parse().with_constraints(**{resource: fetch()}), format))
    assert (len(nodes), edges) == (2, [("n0", "n1")])


@every_reader
@given(name=st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_text_may_be_a_name(format: Any, read: Callable[[str], Picture], name: str) -> None:
    nodes, _ = read(cascade.visualize(named(name)(), format))
    assert nodes == ["n0"]


@every_format
@given(name=st.text(st.characters(exclude_categories=()), min_size=1))
def test_a_picture_has_no_characters_that_cannot_be_printed_but_the_ends_of_its_lines(
    format: Any, name: str
) -> None:
    routes = {name: named(name)(), f"{name}2": named(name).map(x=[1])}
    flow = cascade.Router(named(name)(), routes)
    picture = cascade.visualize(named("last")(flow).with_constraints(**{name: fetch()}), format)
    assert picture.replace("\n", "").isprintable()
    assert len(picture.splitlines()) == picture.count("\n")


@pytest.mark.parametrize("name", HOSTILE)
def test_json_tells_the_name_itself(name: str) -> None:
    assert json.loads(cascade.visualize(named(name)(), "json"))["nodes"][0]["id"] == name


def test_json_tells_a_router_from_a_task_of_that_name() -> None:
    nodes, edges = read_json(cascade.visualize([named("router")(), cascade.Router(fetch(), {1: fetch()})], "json"))
    assert (len(nodes), len(edges)) == (4, 2)


@pytest.mark.parametrize("name", HOSTILE)
def test_text_has_one_line_for_each_node(name: str) -> None:
    assert cascade.visualize(parse(named(name)()), "text").count("\n") == 4


@pytest.mark.parametrize(
    "word",
    ["fetch", "fetch#8", "parse", "parse#2[...]", "router", "if", "then", "selects", "amount of gpu",
     "route 'big'", "route 2", "route default"],
)  # fmt: skip
@pytest.mark.parametrize("format", ["mermaid", "dot", "text"])
def test_the_picture_names(format: Any, word: str) -> None:
    shown = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), cascade.visualize(FLOW, format))
    assert word in shown


def test_json_tells_everything() -> None:
    july = fetch(2).with_name("july").with_priority(7)
    flow = parse.map(x=fetch(1), name="row {x}").run_if(cascade.Router(1, {1: july}))
    assert json.loads(cascade.visualize(flow, "json")) == {
        "nodes": [
            {"id": "fetch", "kind": "call", "task": f"{__name__}.fetch", "label": None, "priority": 0},
            {"id": "fetch#2", "kind": "call", "task": f"{__name__}.fetch", "label": "july", "priority": 7},
            {"id": "router", "kind": "router", "task": None, "label": None, "priority": 0},
            {"id": "parse", "kind": "map", "task": f"{__name__}.parse", "label": "row {x}", "priority": 0},
        ],
        "edges": [
            {"source": "fetch#2", "target": "router", "kind": "route", "label": "1"},
            {"source": "fetch", "target": "parse", "kind": "data", "label": "x"},
            {"source": "router", "target": "parse", "kind": "condition", "label": ""},
        ],
        "stages": [["fetch", "fetch#2"], ["parse"]],
        "target": ["parse"],
    }


@pytest.mark.parametrize("format", ["mermaid", "dot", "text"])
def test_labels_stand_beside_ids_in_pictures(format: Any) -> None:
    flow = parse.map(x=fetch(1).with_name("july"), name="row {x}").with_name("rows")
    picture = cascade.visualize(flow, format)
    assert "fetch (july)" in picture
    assert ("parse#91;...#93; (rows)" if format == "mermaid" else "parse[...] (rows)") in picture


def test_text_tells_stages_and_what_each_node_needs() -> None:
    flow = parse(cascade.Router(fetch(1), {"a": fetch(2)}))
    assert cascade.visualize(flow, "text").splitlines() == [
        "stage 0",
        "  fetch",
        "stage 1",
        "  fetch#2",
        "stage 2",
        "  parse <- router",
        "routers",
        "  router <- fetch (selects), fetch#2 (route 'a')",
    ]


# -- the functions ---------------------------------------------------------------------------------------------


def test_a_picture_is_a_flowchart_unless_said_otherwise() -> None:
    assert cascade.visualize(FLOW) == cascade.visualize(FLOW, "mermaid")


def test_a_dry_run_shows_the_stages() -> None:
    assert cascade.dry_run(FLOW) == cascade.visualize(FLOW, "text")


@pytest.mark.parametrize("format", ["png", "", None, "MERMAID"], ids=label)
def test_an_unknown_format_is_refused_with_those_there_are(format: Any) -> None:
    with pytest.raises(ValueError, match=r"'mermaid', 'dot', 'text', 'json', 'svg'"):
        cascade.visualize(FLOW, format)


@every_format
@pytest.mark.parametrize("flow", [5, [], None, cascade.Param("p"), [1, cascade.Env("E")]], ids=label)
def test_a_flow_without_calls_has_a_picture(format: Any, flow: Any) -> None:
    assert cascade.visualize(flow, format).endswith("\n")


@every_format
def test_looking_runs_nothing(format: Any) -> None:
    ran: list[int] = []
    cascade.visualize(cascade.task(ran.append)(1), format)
    assert ran == []


@every_format
def test_a_contradiction_is_found_by_looking(format: Any) -> None:
    call = fetch()
    with pytest.raises(cascade.GraphError):
        cascade.visualize([call.with_timeout(1), call.with_timeout(2)], format)


@every_format
def test_a_picture_is_the_same_each_time(format: Any) -> None:
    assert cascade.visualize(FLOW, format) == cascade.visualize(FLOW, format)


@pytest.mark.parametrize(
    ("format", "mark"),
    [("mermaid", "fetch (undo#58; parse)"), ("dot", "fetch (undo: parse)"), ("text", "fetch (undo: parse)")],
)
def test_a_node_that_can_be_undone_is_marked(format: Any, mark: str) -> None:
    assert mark in cascade.visualize(parse(fetch(1).with_undo(parse)), format=format)
    assert "undo" not in cascade.visualize(parse(fetch(1)), format=format)


def test_json_tells_what_undoes_a_node() -> None:
    nodes = json.loads(cascade.visualize(parse(fetch(1).with_undo(parse)), format="json"))["nodes"]
    assert [node.get("undo") for node in nodes] == ["parse", None]
