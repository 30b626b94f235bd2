"""``cascade graph``: a flow as mermaid, dot, text or JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from command_line import Command, assert_is_a_mistake, command_with, write

import cascade
from cascade.cli.targets import load_flow

SURVEY = Path(__file__).parents[2] / "examples" / "stdlib_survey.py"

FLOWS = r"""
import cascade

def named(name):
    @cascade.task(name=name)
    def body(*_: object) -> int:
        raise RuntimeError("drawing a flow runs nothing")
    return body

ODD = ["end", 'quo"te', "x];y{z}", "<b>&amp;", "größe 日本", "a|b", "`md`", "two\nlines", "%%c", "#35;", "\\"]

first, second, last = named("first"), named("second"), named("last")
condition, before, amount, select = named("condition"), named("before"), named("amount"), named("select")

chain = last(second(first()))
twice = last(first(), first())
rich = (
    last(cascade.Router(select(), {"a": first(), 2: second()}, default=named("other")()))
    .run_if(condition())
    .after(before())
    .with_constraints(gpu=amount())
)
odd = last(
    *[named(name)() for name in ODD],
    cascade.Router(select(), {name: named(name)() for name in ODD}),
).with_constraints(**{'g"p]u|': amount()})
several = {"one": first(), "two": [second()]}
needs_params = first(cascade.Param("who"), cascade.Env("CASCADE_TEST_MISSING"))

@cascade.task
def double(x: int) -> int:
    return 2 * x

maps = last(double.map(x=[1, 2]))
plain = 5
"""


command = command_with(FLOWS)


TARGETS = ["chain", "twice", "rich", "odd", "several", "needs_params", "maps", "survey"]


def place_of(target: str) -> str:
    """What to write on the command line."""
    return f"{SURVEY}:flow" if target == "survey" else f"flows.py:{target}"


def drawn(command: Command, target: str, format: str) -> str:
    """What ``cascade graph`` writes."""
    outcome = command("graph", place_of(target), "--format", format)
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out


def described(command: Command, target: str) -> Any:
    """The same as plain data."""
    return json.loads(drawn(command, target, "json"))


# -- mermaid ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Drawing:
    """What a drawing says: labels by node, arrows with their labels."""

    nodes: dict[str, str]
    shapes: dict[str, str]
    arrows: list[tuple[str, str, str, str]]


_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_QUOTED = r'"((?:[^"#;\n]|#\d+;)*)"'
_NODE = re.compile(rf"({_NAME})(\[\[|\[|\{{){_QUOTED}(\]\]|\]|\}})")
_ARROW = re.compile(rf"({_NAME}) (-->|-\.->|==>)(?:\|{_QUOTED}\|)? ({_NAME})")


def read_entities(text: str) -> str:
    """*text* with mermaid's ``#35;`` read as the characters that they stand for."""
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text)


def read_mermaid(text: str) -> Drawing:
    """The nodes and arrows of a flowchart; anything outside the small part of the grammar we need is an error.

    https://mermaid.js.org/syntax/flowchart.html
    """
    head, *lines = text.splitlines()
    assert head == "flowchart TD"
    drawing = Drawing({}, {}, [])
    for line in lines:
        if node := _NODE.fullmatch(line.strip()):
            name, opening, label, closing = node.groups()
            assert (opening, closing) in {("[", "]"), ("[[", "]]"), ("{", "}")}
            assert name not in drawing.nodes, f"{name} is drawn twice"
            drawing.nodes[name], drawing.shapes[name] = read_entities(label), opening
        else:
            arrow = _ARROW.fullmatch(line.strip())
            assert arrow is not None, f"not mermaid: {line!r}"
            source, kind, label, target = arrow.groups()
            drawing.arrows.append((source, kind, read_entities(label or ""), target))
    return drawing


@pytest.mark.parametrize("target", TARGETS)
def test_the_mermaid_text_is_a_flowchart_of_all_nodes_and_edges(command: Command, target: str) -> None:
    known = described(command, target)
    drawing = read_mermaid(drawn(command, target, "mermaid"))

    ids = {node["id"]: node["id"].replace("\n", r"\n") for node in known["nodes"]}
    assert {label.removesuffix("[...]") for label in drawing.nodes.values()} == set(ids.values())
    assert len(drawing.nodes) == len(known["nodes"])
    names = {name: label.removesuffix("[...]") for name, label in drawing.nodes.items()}
    assert sorted((names[source], names[target]) for source, _, _, target in drawing.arrows) == sorted(
        (ids[edge["source"]], ids[edge["target"]]) for edge in known["edges"]
    )


def test_no_mermaid_name_is_a_word_of_mermaid(command: Command) -> None:
    drawing = read_mermaid(drawn(command, "odd", "mermaid"))

    assert not {"end", "graph", "subgraph", "style", "class", "click", "default"} & drawing.nodes.keys()


def test_maps_and_routers_have_shapes_of_their_own(command: Command) -> None:
    maps = read_mermaid(drawn(command, "maps", "mermaid"))
    routers = read_mermaid(drawn(command, "rich", "mermaid"))

    assert {maps.nodes[name]: shape for name, shape in maps.shapes.items()} == {"double[...]": "[[", "last": "["}
    assert [routers.nodes[name] for name, shape in routers.shapes.items() if shape == "{"] == ["router"]


def test_each_kind_of_edge_is_told_apart(command: Command) -> None:
    drawing = read_mermaid(drawn(command, "rich", "mermaid"))

    arrows = {(drawing.nodes[source], kind, label) for source, kind, label, _ in drawing.arrows}
    assert arrows == {
        ("select", "-->", "selects"),
        ("first", "-.->", "route 'a'"),
        ("second", "-.->", "route 2"),
        ("other", "-.->", "route default"),
        ("router", "-->", ""),
        ("condition", "-.->", "if"),
        ("before", "==>", "then"),
        ("amount", "-.->", "amount of gpu"),
    }


def test_mermaid_is_the_default(command: Command) -> None:
    assert command("graph", "flows.py:rich").out == drawn(command, "rich", "mermaid")


# -- the other formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_the_dot_text_has_all_nodes_and_edges_in_quotes(command: Command, target: str) -> None:
    known = described(command, target)
    text = drawn(command, target, "dot")

    label = r'"(?:[^"\\\n]|\\.)*"'
    nodes = re.findall(rf"^    n\d+ \[label={label}(?:, \w+=\w+)?\];$", text, re.MULTILINE)
    edges = re.findall(
        rf"^    n\d+ -> n\d+ \[style=(?:solid|dashed|dotted|bold)(?:, label={label})?\];$", text, re.MULTILINE
    )
    assert len(nodes) == len(known["nodes"])
    assert len(edges) == len(known["edges"])
    assert text.startswith("digraph")
    assert len(text.splitlines()) == len(nodes) + len(edges) + 4


def test_the_text_shows_stages_and_what_each_node_needs(command: Command) -> None:
    assert drawn(command, "chain", "text") == (
        "stage 0\n  first\nstage 1\n  second <- first\nstage 2\n  last <- second\n"
    )


@pytest.mark.parametrize("target", TARGETS)
def test_the_stages_in_json_are_those_of_the_plan(command: Command, target: str) -> None:
    known = described(command, target)

    calls = [node["id"] for node in known["nodes"] if node["kind"] != "router"]
    assert sorted(name for stage in known["stages"] for name in stage) == sorted(calls)
    assert set(known["target"]) <= {node["id"] for node in known["nodes"]}


def test_json_names_the_kind_and_task_of_each_node(command: Command) -> None:
    known = described(command, "maps")

    assert [(node["id"], node["kind"], node["task"]) for node in known["nodes"]] == [
        ("double", "map", "flows.double"),
        ("last", "call", "flows.named.<locals>.body"),
    ]


@pytest.mark.parametrize("format", ["mermaid", "dot", "text", "json"])
@pytest.mark.parametrize("target", ["rich", "survey"])
def test_the_command_draws_what_visualize_does(command: Command, format: Any, target: str) -> None:
    flow = load_flow(place_of(target))

    assert cascade.visualize(flow, format=format) == drawn(command, target, format)


@pytest.mark.parametrize("format", ["mermaid", "dot", "text", "json"])
def test_a_drawing_is_the_same_each_time(command: Command, format: str) -> None:
    assert drawn(command, "odd", format) == drawn(command, "odd", format)


def test_parameters_need_no_value_for_a_drawing(command: Command) -> None:
    assert read_mermaid(drawn(command, "needs_params", "mermaid")).nodes == {"n0": "first"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flows.py:chain", "--format", "png"], ["png", "mermaid", "dot", "text", "json"]),
        (["flows.py:chain", "--backend", "trio"], ["--backend"]),
        (["flows.py:needs_params", "--who", "me"], ["--who"]),
        (["flows.py:plain"], ["5", "no flow"]),
        (["--format", "dot"], ["TARGET"]),
        ([], ["TARGET"]),
    ],
)
def test_a_mistake_for_graph_is_one_clear_line(command: Command, arguments: list[str], words: list[str]) -> None:
    assert_is_a_mistake(command("graph", *arguments), *words)


def test_a_flow_that_makes_no_graph_is_a_mistake(command: Command) -> None:
    write("circles.py", FLOWS + "\ncircle = [first(1)]\ncircle.append(circle)\nflow = first(circle)\n")
    assert_is_a_mistake(command("graph", "circles.py:flow"), "a list contains itself")
