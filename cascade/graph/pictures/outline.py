"""What is recorded of a flow for people: its nodes and what each needs, as JSON; of a large one, its tasks.

A run that records its outcomes makes this text before it begins. So what is recorded of a plain call is a number
in a few lists; whoever reads the text makes boxes and arrows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast, get_args

from cascade.graph.nested import Steps
from cascade.graph.nodes import Graph, edges_to, numbered
from cascade.graph.pictures.sketch import (
    Arrow,
    Kind,
    Sketch,
    Vertex,
    arrows_of,
    group_box,
    grouped,
    rest_box,
    task_names,
    vertex_of,
)
from cascade.model.lazies import LazyResult
from cascade.model.shown.text import fitted, one_line

# Nodes, and pairs of a node and one that it needs, of which each is recorded; of more, the tasks are.
MOST_NODES: Final = 2000
MOST_PAIRS: Final = 10_000
# Characters of what is said of a node or an arrow.
_LONGEST: Final = 200
_STYLES: Final = ("solid", "dashed", "bold")


def outline_text(graph: Graph, hide: Callable[[str], str]) -> Steps[str]:
    """The outline of *graph*, in ASCII. Pauses now and then.

    Args:
        graph: The flow.
        hide: Makes a text without secrets of one that users have written: the name of a node, the key of a route.
    """
    names = yield from task_names(graph)
    if len(names) > MOST_NODES or sum(map(len, graph.sources)) > MOST_PAIRS:
        sketch = yield from grouped(names, graph.sources)
        return _written(_of_groups(sketch))
    tasks = {name: number for number, name in enumerate(dict.fromkeys(names))}
    special: list[list[Any]] = []
    for index, row in enumerate(graph.rows):
        if type(row) is not LazyResult:
            vertex = vertex_of(graph.node(index))
            special.append([index, vertex.kind, _shown(vertex.note, hide), [*_marked(graph, index, hide)]])
            yield
    return _written({
        "tasks": [*tasks], "task": [tasks[name] for name in names], "ordinal": [*graph.ordinals],
        "needs": graph.sources, "special": special,
    })  # fmt: skip


def _written(fields: Mapping[str, Any]) -> str:
    import json  # here, as few runs are recorded

    return json.dumps(fields, separators=(",", ":"))


def _shown(text: str, hide: Callable[[str], str]) -> str:
    return fitted(hide(text), _LONGEST)


def _marked(graph: Graph, index: int, hide: Callable[[str], str]) -> Iterator[list[Any]]:
    """The arrows to a node that are not plain: what it needs, inscription and style."""
    for arrow in arrows_of(edges_to(graph.node(index))):
        if arrow.label or arrow.style != "solid":
            yield [arrow.source, _shown(arrow.label, hide), arrow.style]


def _of_groups(sketch: Sketch) -> dict[str, Any]:
    rest = next((vertex for vertex in sketch.vertices if vertex.kind == "rest"), None)
    return {
        "nodes": sketch.nodes,
        "groups": [[vertex.key, vertex.size] for vertex in sketch.vertices if vertex.kind == "group"],
        "rest": None if rest is None else [int(rest.title.partition(" ")[0]), rest.size],
        "arrows": [[arrow.source, arrow.target, int(arrow.is_back)] for arrow in sketch.arrows],
        "left_out": sketch.arrows_left_out,
    }


# -- reading -----------------------------------------------------------------------------------------------------


def outline_in(text: str | bytes) -> Sketch:
    """The outline that :func:`outline_text` made as *text*.

    Raises:
        ValueError: If *text* is none.
    """
    import json  # see above

    try:
        given: Mapping[str, Any] = json.loads(text)
        return _read_groups(given) if "groups" in given else _read_nodes(given)
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{text!r:.100} is no outline of a flow") from error


def _read_nodes(given: Mapping[str, Any]) -> Sketch:
    special = {_place(index, len(given["task"])): more for index, *more in given["special"]}
    vertices, arrows = [], []
    for index, (task, ordinal, needs) in enumerate(
        zip(given["task"], given["ordinal"], given["needs"], strict=True)
    ):
        name = str(given["tasks"][_place(task, len(given["tasks"]))])
        kind, note, marked = special.get(index, ("call", "", ()))
        if kind not in get_args(Kind):
            raise ValueError(f"{kind!r:.100} is no kind of node")
        key = numbered(name, int(ordinal))
        vertices.append(Vertex(key, one_line(key), str(note), cast("Kind", kind), task=name))
        looks = {source: (str(label), _style(style)) for source, label, style in marked}
        arrows += [Arrow(_place(source, index), index, *looks.get(source, ())) for source in needs]
    return Sketch(tuple(vertices), tuple(arrows), len(vertices))


def _read_groups(given: Mapping[str, Any]) -> Sketch:
    vertices = [group_box(str(name), int(size)) for name, size in given["groups"]]
    if given["rest"] is not None:
        vertices.append(rest_box(*map(int, given["rest"])))
    arrows = [
        Arrow(
            _place(source, target),
            _place(target, len(vertices)),
            "",
            "dashed" if back else "solid",
            bool(back),
        )
        for source, target, back in given["arrows"]
    ]
    return Sketch(tuple(vertices), tuple(arrows), int(given["nodes"]), True, int(given["left_out"]))


def _place(number: Any, count: int) -> int:
    """*number*, which counts *count* things from 0."""
    if type(number) is not int or not 0 <= number < count:
        raise ValueError(f"{number!r:.100} is none of {count}")
    return number


def _style(style: Any) -> Any:
    if style not in _STYLES:
        raise ValueError(f"{style!r:.100} is no style of an arrow")
    return style
