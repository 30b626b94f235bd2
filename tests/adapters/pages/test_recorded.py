"""The document of a run from what a store has recorded of it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

import cascade
from cascade import api
from cascade.adapters.pages.document.recorded import chronicle_of, recorded_document
from cascade.graph.build import build


@cascade.task
async def fetch(url: str) -> str:
    return url


@cascade.task
async def parse(page: str) -> str:
    if page == "b":
        raise ValueError("no title")
    return page


@cascade.task
async def count(pages: Any) -> int:
    return len(pages)


def flow() -> Any:
    return count(parse.map(page=fetch.map(url=["a", "b", "c"])).with_errors("collect"))


async def recorded(folder: Path, flow: Any) -> Any:
    state = f"sqlite:///{folder / 'runs.db'}"
    with suppress(ValueError):
        await cascade.run(flow, run_id="nightly", state=state)
    return await api.recorded_run(state, "nightly")


async def test_a_recorded_run_has_the_document_of_a_live_one(tmp_path: Path) -> None:
    run = await recorded(tmp_path, flow())
    document = recorded_document(run)

    json.dumps(document, allow_nan=False)
    assert document["run"]["id"] == "nightly"
    assert document["run"]["status"] == "succeeded"
    assert document["run"]["source"] == "records"
    assert document["run"]["targets"] == ["count"]
    counts = {task["name"]: (task["succeeded"], task["handled"]) for task in document["tasks"]}
    assert counts == {"fetch": (3, 0), "parse": (2, 1), "count": (1, 0)}
    assert [(failure["id"], failure["handled"]) for failure in document["failures"]] == [("parse[1]", True)]
    assert {bar[3] for bar in document["bars"]} >= {"fetch[0]", "parse[1]", "count"}
    assert "parse" not in {bar[3] for bar in document["bars"]}


async def test_what_the_run_fails_by_comes_before_failures_that_are_handled(tmp_path: Path) -> None:
    items = parse.map(page=["b", "c"]).with_errors("collect")
    document = recorded_document(await recorded(tmp_path, parse("b").after(count(items))))

    shown = [(failure["id"], failure["handled"]) for failure in document["failures"]]
    assert shown == [("parse#2", False), ("parse[0]", True)]


async def test_a_map_that_fails_counts_as_its_items_and_not_once_more(tmp_path: Path) -> None:
    items = parse.map(page=["a", "b", "c"])
    with suppress(cascade.RunFailed):
        state = f"sqlite:///{tmp_path}/runs.db"
        await cascade.run(items, run_id="nightly", state=state, on_error="continue")
    document = recorded_document(await api.recorded_run(state, "nightly"))

    assert document["graph"]["boxes"]["parse"]["text"] == "✗1 ✓2"


async def test_bars_say_where_nodes_ran_that_succeeded(tmp_path: Path) -> None:
    run = await recorded(tmp_path, flow())
    document = recorded_document(run)

    workers = document["timeline"]["workers"]
    shown = {bar[3]: workers[bar[5]] if bar[5] >= 0 else None for bar in document["bars"] if bar[2] != "waiting"}
    assert shown == {node.node_id: node.worker for node in run.nodes if node.node_id in shown}
    assert shown["fetch[0]"] == "event loop"


async def test_bars_stand_where_the_nodes_ran_and_not_where_they_were_written(tmp_path: Path) -> None:
    run = await recorded(tmp_path, flow())
    shifted = [attrs.evolve(node, started=1000.0 + place, duration=0.5) for place, node in enumerate(run.nodes)]

    document = recorded_document(attrs.evolve(run, nodes=shifted))

    ran = [(node.started, node.started + 0.5) for node in shifted if node.node_id not in ("fetch", "parse")]
    assert sorted((bar[0], bar[1]) for bar in document["bars"] if bar[2] != "waiting") == sorted(ran)
    assert document["run"]["is_estimated"] is False
    older = attrs.evolve(run, nodes=[attrs.evolve(run.nodes[0], started=None), *run.nodes[1:]])
    assert recorded_document(older)["run"]["is_estimated"] is True


async def test_a_failed_run_says_why(tmp_path: Path) -> None:
    document = recorded_document(await recorded(tmp_path, count(parse("b"))))

    assert document["run"]["status"] == "failed"
    assert document["run"]["error"] == "ValueError: no title"
    assert [(one["id"], one["error"]) for one in document["failures"]] == [("parse", "ValueError: no title")]


@pytest.mark.parametrize("graph", [None, build(flow())], ids=["recorded", "given"])
async def test_there_is_a_picture_of_its_graph(tmp_path: Path, graph: Any) -> None:
    run = await recorded(tmp_path, flow())

    chronicle = chronicle_of(run, graph)

    document = recorded_document(run, chronicle)
    assert document["graph"]["boxes"]["parse"] == {"status": "handled", "text": "!1 ✓2"}
    assert [step["id"] for step in document["critical"]][-1] == "count"
    assert 'data-node="parse"' in chronicle.svg()
    assert chronicle_of(attrs.evolve(run, outline=None)).svg() == ""  # a file of before


async def test_of_very_many_nodes_their_tasks_are_painted(tmp_path: Path) -> None:
    run = await recorded(tmp_path, count([fetch(str(number)) for number in range(2001)]))

    chronicle = chronicle_of(run)

    document = recorded_document(run, chronicle)
    assert document["graph"] == {
        "boxes": {
            "fetch": {"status": "succeeded", "text": "✓2001"},
            "count": {"status": "succeeded", "text": "✓"},
        },
        "is_grouped": True,
    }
    assert 'data-node="fetch"' in chronicle.svg()


@pytest.mark.parametrize("status", ["interrupted", "suspended", "cancelled"])
async def test_the_status_is_that_of_the_record(tmp_path: Path, status: Any) -> None:
    run = attrs.evolve(await recorded(tmp_path, fetch("a")), status=status, finished=None)

    assert recorded_document(run)["run"]["status"] == status
