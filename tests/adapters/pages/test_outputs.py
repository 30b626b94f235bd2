"""What nodes wrote, in documents and on pages: if it was captured, and as far as it does not stand elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from browser import Chromium
from browser import chromium as chromium

import cascade
from cascade import api
from cascade.adapters.pages.document.chronicle import KINDS, Chronicle
from cascade.adapters.pages.document.recorded import chronicle_of, recorded_document
from cascade.adapters.pages.document.troubles import MOST_OUTPUTS
from cascade.adapters.pages.html import html_page
from cascade.adapters.pages.server.sources.stored import StoredRuns
from cascade.runtime.durability.details.captured import Captured, captured_var
from cascade.runtime.durability.history import RunRecord

IN_SIGHT = """() => {
  const outer = document.getElementById('outputs').getBoundingClientRect();
  const inner = document.querySelector('#outputs details:last-child').getBoundingClientRect();
  return inner.top >= outer.top && inner.bottom <= outer.bottom + 1; }"""
LONG = "a line that is longer than any telephone is wide, " * 6


@pytest.fixture(autouse=True)
def captured() -> Iterator[None]:
    token = captured_var.set(Captured())
    yield
    captured_var.reset(token)


def say(words: str) -> None:
    """As ``print`` does it where output is captured."""
    known = captured_var.get()
    assert known is not None
    known.write(f"{words}\n")


@cascade.task
async def wrote(n: int) -> int:
    say(f"page {n}: </pre><b>ü</b>")
    return n


@cascade.task
async def wrote_much(n: int) -> int:
    say("\n".join([LONG] * 40))
    return n


@cascade.task
async def quiet(n: int) -> int:
    return n


@cascade.task
async def fail(ns: Any) -> None:
    say("about to fail")
    raise ValueError("no luck")


@cascade.task
async def grow(n: int) -> Any:
    say("growing")
    return fail([n])


@cascade.task(retry=2)
async def at_last(n: int) -> int:
    say(f"attempt {cascade.current().attempt}")
    if cascade.current().attempt == 1:
        raise ValueError("no luck")
    return n


async def recorded(folder: Path, flow: Any) -> RunRecord:
    state = f"sqlite:///{folder / 'runs.db'}"
    with suppress(ValueError):
        await cascade.run(flow, run_id="nightly", state=state)
    return await api.recorded_run(state, "nightly")


def chain(length: int) -> Any:
    """So many nodes that write, one after another."""
    last: Any = 0
    for _ in range(length):
        last = wrote(last)
    return last


async def test_what_nodes_wrote_that_succeeded_is_told_the_newest_last(tmp_path: Path) -> None:
    run = await recorded(tmp_path, wrote(quiet(wrote(7).with_name("first"))))
    first, last = recorded_document(run)["outputs"]

    assert (first["id"], first["label"], first["task"]) == ("wrote", "first", "wrote")
    assert (last["id"], last["label"]) == ("wrote#2", None)
    assert first["text"] == "page 7: </pre><b>ü</b>\n"
    assert (first["worker"], first["status"]) == ("event loop", "succeeded")
    assert run.created <= first["started"] <= first["at"] <= last["at"] <= run.updated


async def test_nodes_that_were_recorded_at_once_are_told_as_they_ended(tmp_path: Path) -> None:
    run = await recorded(tmp_path, chain(12))
    at_once = [attrs.evolve(node, recorded=run.updated) for node in reversed(run.nodes)]
    outputs = recorded_document(attrs.evolve(run, nodes=at_once))["outputs"]

    assert [output["id"] for output in outputs] == [node.node_id for node in run.nodes]


async def test_what_stands_with_a_failure_is_not_told_once_more(tmp_path: Path) -> None:
    document = recorded_document(await recorded(tmp_path, fail(wrote(1))))

    assert [failure["log"] for failure in document["failures"]] == ["about to fail\n"]
    assert [output["id"] for output in document["outputs"]] == ["wrote"]


async def test_of_very_many_nodes_the_last_are_told(tmp_path: Path) -> None:
    await recorded(tmp_path, chain(MOST_OUTPUTS + 7))
    shown = await StoredRuns(f"sqlite:///{tmp_path / 'runs.db'}").show("nightly")

    assert shown is not None
    outputs = shown.document["outputs"]
    assert [output["id"] for output in outputs] == [f"wrote#{n}" for n in range(8, MOST_OUTPUTS + 8)]
    assert all(output["text"].startswith("page 0") for output in outputs)
    assert shown.document["left_out"]["outputs"] == 7


async def followed(folder: Path, flow: Any) -> dict[str, Any]:
    """The document of a run, from its events."""
    chronicle = Chronicle()

    async def follow(events: Any) -> None:
        async for event in events:
            chronicle.hear(event)

    follow.kinds = KINDS  # type: ignore[attr-defined]
    with suppress(ValueError, RuntimeError):
        await cascade.run(flow, run_id="nightly", state=f"sqlite:///{folder / 'runs.db'}", observers=[follow])
    return chronicle.document()


async def test_a_run_that_goes_on_tells_what_its_nodes_wrote_as_its_record_does(tmp_path: Path) -> None:
    flow = fail([wrote(quiet(wrote(7).with_name("first"))), cascade.settled(fail([8]))])
    live = await followed(tmp_path, flow)
    stored = recorded_document(await api.recorded_run(f"sqlite:///{tmp_path / 'runs.db'}", "nightly"))

    assert [output["id"] for output in live["outputs"]] == ["wrote", "wrote#2"]
    assert [{**output, "at": 0} for output in live["outputs"]] == [
        {**output, "at": 0} for output in stored["outputs"]
    ]
    assert [failure["log"] for failure in live["failures"]] == ["about to fail\n"] * 2
    assert live["left_out"]["outputs"] == 0


async def test_what_a_node_wrote_whose_failure_is_that_of_another_is_told(tmp_path: Path) -> None:
    live = await followed(tmp_path, quiet(grow(1)))
    stored = recorded_document(await api.recorded_run(f"sqlite:///{tmp_path / 'runs.db'}", "nightly"))

    for document in (live, stored):
        assert [(failure["id"], failure["log"]) for failure in document["failures"]] == [
            ("grow/fail", "about to fail\n")
        ]
        assert [(output["id"], output["text"]) for output in document["outputs"]] == [("grow", "growing\n")]


async def test_a_run_that_goes_on_tells_what_its_last_nodes_wrote(tmp_path: Path) -> None:
    live = await followed(tmp_path, chain(MOST_OUTPUTS + 7))

    assert [output["id"] for output in live["outputs"]] == [f"wrote#{n}" for n in range(8, MOST_OUTPUTS + 8)]
    assert live["left_out"]["outputs"] == 7


async def test_a_node_that_is_tried_again_is_told_once(tmp_path: Path) -> None:
    live = await followed(tmp_path, at_last(1))

    assert [output["text"] for output in live["outputs"]] == ["attempt 1\nattempt 2\n"]


async def test_where_nothing_was_captured_there_is_nothing_to_tell(tmp_path: Path) -> None:
    document = recorded_document(await recorded(tmp_path, quiet(1)))

    assert (document["outputs"], document["left_out"]["outputs"]) == ([], 0)
    assert Chronicle().document()["outputs"] == []


def drawn(folder: Path, run: RunRecord) -> Path:
    """The page of *run*, as a file."""
    chronicle = chronicle_of(run)
    page = folder / "run.html"
    page.write_text(html_page(recorded_document(run, chronicle), svg=chronicle.svg()), encoding="utf-8")
    return page


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1300])
async def test_output_is_read_on_the_page_by_keyboard(
    tmp_path: Path, chromium: Chromium, width: int, scheme: Any
) -> None:
    page_of = drawn(
        tmp_path, await recorded(tmp_path, fail(wrote_much(chain(MOST_OUTPUTS)).with_name("the last")))
    )

    def look(page: Any) -> dict[str, Any]:
        page.goto(page_of.as_uri())
        places = page.locator("main > section:visible h2").all_inner_texts()
        is_closed = page.locator("#outputs pre:visible").count() == 0
        is_newest_in_sight = page.evaluate(IN_SIGHT)
        page.focus("#outputs summary >> nth=0")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        reached = page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.click("#outputs summary >> nth=-1")
        page.locator("#outputs pre >> nth=-1").scroll_into_view_if_needed()
        return {
            "places": places,
            "is closed": is_closed,
            "is newest in sight": is_newest_in_sight,
            "last": page.inner_text("#outputs summary >> nth=-1"),
            "height": page.evaluate("document.getElementById('outputs').clientHeight"),
            "reached": reached,
            "more": page.inner_text("#outputs-more"),
            "number": page.locator("#outputs details").count(),
            "first": page.inner_text("#outputs summary >> nth=0"),
            "texts": [text.text_content() for text in page.locator("#outputs pre:visible").all()],
            "font": page.evaluate("getComputedStyle(document.querySelector('#outputs pre')).fontFamily"),
            "overflow": page.evaluate("document.documentElement.scrollWidth - innerWidth"),
        }

    seen, problems = chromium.see(look, viewport={"width": width, "height": 900}, color_scheme=scheme)

    assert problems == []
    assert seen["places"][:2] == ["Failures", "Output"]
    assert seen["is closed"]
    assert seen["is newest in sight"]
    assert seen["height"] <= 480
    assert seen["last"].startswith("wrote_much (the last)")
    assert seen["number"] == MOST_OUTPUTS
    assert seen["more"] == "1 node more wrote something: cascade show RUN NODE --log"
    assert seen["reached"] == "Output of wrote#2"
    assert "began " in seen["first"]
    assert "on event loop" in seen["first"]
    assert seen["texts"] == ["page 0: </pre><b>ü</b>\n", "\n".join([LONG] * 40) + "\n"]
    assert "monospace" in seen["font"]
    assert seen["overflow"] <= 0


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_what_is_being_read_stays_while_more_is_written(tmp_path: Path, chromium: Chromium) -> None:
    run = await recorded(tmp_path, chain(4))
    page_of = drawn(tmp_path, attrs.evolve(run, nodes=run.nodes[:2]))
    later = {name: recorded_document(run)[name] for name in ("outputs", "left_out")}
    later["outputs"] = later["outputs"][1:]

    def look(page: Any) -> tuple[Any, ...]:
        page.goto(page_of.as_uri())
        page.click("#outputs summary >> nth=1")
        page.keyboard.press("Tab")
        page.evaluate("sections => cascadePage.update({sections})", later)
        page.wait_for_function("document.querySelectorAll('#outputs details').length === 3")
        named = page.locator("#outputs strong").all_inner_texts()
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.evaluate("cascadePage.update({sections: {outputs: []}})")
        page.wait_for_selector("#outputs", state="hidden")
        return named, focused

    (named, focused), problems = chromium.see(look)

    assert problems == []
    assert named == ["wrote#2", "wrote#3", "wrote#4"]
    assert focused == "Output of wrote#2"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_a_page_says_nothing_of_output_where_there_is_none(tmp_path: Path, chromium: Chromium) -> None:
    page_of = drawn(tmp_path, await recorded(tmp_path, quiet(1)))

    heads, problems = chromium.see(
        lambda page: (page.goto(page_of.as_uri()), page.locator("h2:visible").all_inner_texts())[1]
    )

    assert problems == []
    assert "Timeline" in heads
    assert "Output" not in heads
