"""Reports can be read: at any width, on light and dark paper, by eye, by keyboard and by ear."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Chromium
from browser import chromium as chromium
from contrasts import contrast
from made_events import BEGAN, Told, made_run

import cascade
from cascade.adapters.pages.document.chronicle import Chronicle
from cascade.adapters.pages.html import html_page, read
from cascade.adapters.pages.server.listing import list_page
from cascade.events import (
    Event,
    RunFinished,
    RunStarted,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.observers import report

pytestmark = pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])

NARROW, WIDE = {"width": 400, "height": 800}, {"width": 1300, "height": 900}
# What is written on the page, with its contrast to what is behind it (WCAG 2.2, success criterion 1.4.3).
CONTRASTS = """() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = node => {
    const box = node.closest('.cascade-node');
    if (box) return getComputedStyle(box.querySelector('rect:last-of-type')).fill;
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, style = getComputedStyle(node);
    if (!walker.currentNode.data.trim() || node.closest('script, desc, title, [hidden]')) continue;
    const ink = light(parts(node.closest('svg') ? style.fill : style.color)), paper = light(parts(behind(node)));
    found.push([(Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), walker.currentNode.data.trim()]);
  }
  return found;
}"""


@cascade.task
async def fetch(page: Any) -> Any:
    return page


@cascade.task
async def parse_with_a_long_name_that_has_to_be_broken_somewhere(page: Any) -> Any:
    if page == "b":
        raise ValueError("https://pages.example.com/a/long/address/that/is/not/broken?page=b has no title")
    return page


@cascade.task(retry=2)
async def store(pages: Any) -> int:
    if cascade.current().attempt == 1:
        raise ConnectionError("connection to https://store.example.com:8443/v2/export was reset by peer")
    return len(pages)


def flow() -> Any:
    """A flow with failures that are handled, retries and a node that is skipped."""
    parsed = parse_with_a_long_name_that_has_to_be_broken_somewhere.map(page=fetch.map(page=["a", "b", "c"]))
    return store(fetch(parsed.with_errors("collect")).run_if(False))


def chain(length: int) -> Any:
    """So many calls, one after another."""
    page: Any = "a"
    for _ in range(length):
        page = fetch(page)
    return page


async def written(path: Path, flow: Any) -> Path:
    """The report of a run of *flow*."""
    await cascade.run(flow, observers=[report(path / "run.html")])
    return path / "run.html"


def drawn(path: Path, events: Iterator[Event]) -> Path:
    """The report of a run that has not been."""
    chronicle = Chronicle()
    for event in events:
        chronicle.hear(event)
    page = path / "run.html"
    page.write_text(html_page(chronicle.document()), encoding="utf-8")
    return page


async def test_a_failure_that_is_handled_is_told_from_one_that_is_not(tmp_path: Path, chromium: Chromium) -> None:
    path = await written(tmp_path, flow())

    def look(page: Any) -> dict[str, Any]:
        page.goto(path.as_uri())
        box = page.locator("#graph .cascade-is-handled")
        return {
            "summary": page.inner_text("#summary"),
            "failures": page.inner_text("#failures summary"),
            "tasks": page.inner_text("#tasks"),
            "box": box.locator(".cascade-state").text_content(),
            "title": box.locator("title").text_content(),
            "words": page.locator("#graph desc").text_content(),
            "legend": page.locator("#graph-legend li").all_inner_texts(),
            "red": page.locator(".is-failed, .cascade-is-failed, .bad").count(),
        }

    seen, problems = chromium.see(look, viewport=WIDE)

    assert problems == []
    assert "4 succeeded" not in seen["summary"]
    assert "1 failed (handled)" in seen["summary"]
    assert seen["failures"].endswith("(handled)")
    assert "handled" in seen["tasks"]
    assert seen["box"] == "!1 ✓2"
    assert seen["title"].endswith(": failed, handled")
    assert "needs fetch: failed, handled" in seen["words"]
    assert [entry.split() for entry in seen["legend"]] == [
        ["✓", "succeeded"],
        ["!", "failed,", "handled"],
        ["-", "skipped"],
    ]
    assert seen["red"] == 0


async def test_the_failure_that_the_run_fails_by_comes_first_and_is_open(
    tmp_path: Path, chromium: Chromium
) -> None:
    parse = parse_with_a_long_name_that_has_to_be_broken_somewhere
    failing = [cascade.settled(parse("b")).after(fetch("a")), parse("b").after(cascade.settled(parse("b")))]
    with pytest.raises(ValueError, match="has no title"):
        await written(tmp_path, failing)

    def look(page: Any) -> list[tuple[bool, str]]:
        page.goto((tmp_path / "run.html").as_uri())
        shown = page.locator("#failures details").all()
        return [(one.get_attribute("open") is not None, one.locator("summary").inner_text()) for one in shown]

    (first, *others), _ = chromium.see(look)

    assert first[0]
    assert not first[1].endswith("(handled)")
    assert others
    assert all(not is_open and said.endswith("(handled)") for is_open, said in others)


async def test_a_graph_fits_the_page_and_keys_bring_up_its_full_size(tmp_path: Path, chromium: Chromium) -> None:
    path = await written(tmp_path, [chain(10) for _ in range(16)])
    beyond = "[...document.querySelectorAll('#graph')].map(place => place.scrollWidth - place.clientWidth)[0]"

    def look(page: Any) -> list[Any]:
        page.goto(path.as_uri())
        seen = [page.evaluate(beyond)]
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.dataset.fit") == "full":
                break
        page.keyboard.press("Enter")
        seen += [page.evaluate(beyond), page.get_attribute("#graph-fit [data-fit=full]", "aria-pressed")]
        page.set_viewport_size(NARROW)
        page.click("[data-fit=whole]")
        return [*seen, page.evaluate(beyond)]

    (fitted, full, is_pressed, whole), problems = chromium.see(look, viewport=WIDE)

    assert problems == []
    assert (fitted, whole) == (0, 0)
    assert full > 100
    assert is_pressed == "true"


async def test_a_graph_is_not_made_so_small_that_it_cannot_be_read(tmp_path: Path, chromium: Chromium) -> None:
    path = await written(tmp_path, [chain(10) for _ in range(16)])

    def look(page: Any) -> float:
        page.goto(path.as_uri())
        return float(
            page.evaluate("document.querySelector('#graph .cascade-node text').getBoundingClientRect().height")
        )

    height, _ = chromium.see(look, viewport=NARROW)

    assert height > 8


async def test_a_graph_that_has_room_needs_no_buttons(tmp_path: Path, chromium: Chromium) -> None:
    path = await written(tmp_path, chain(2))

    hidden, _ = chromium.see(
        lambda page: (page.goto(path.as_uri()), page.is_hidden("#graph-fit"))[1], viewport=WIDE
    )

    assert hidden


@pytest.mark.parametrize("width", [200, 400, 650, 800, 1300, 1900])
async def test_no_cell_of_a_table_is_out_of_sight(tmp_path: Path, chromium: Chromium, width: int) -> None:
    path = await written(tmp_path, flow())
    hidden = """[...document.querySelectorAll('td')].filter(cell => {
      const inner = cell.getBoundingClientRect(), outer = cell.closest('.scroll').getBoundingClientRect();
      return inner.width && inner.right > outer.right + 1; }).map(cell => cell.textContent)"""

    def look(page: Any) -> tuple[Any, ...]:
        page.goto(path.as_uri())
        head = page.evaluate("getComputedStyle(document.querySelector('#tasks td.number'), '::before').content")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return page.evaluate(hidden), overflow, head, page.is_visible("#tasks th")

    (out_of_sight, overflow, head, has_heads), problems = chromium.see(
        look, viewport={"width": width, "height": 800}
    )

    assert problems == []
    assert out_of_sight == []
    assert overflow <= 0
    assert has_heads or head.startswith('"nodes')


@pytest.mark.parametrize("width", [780, 860])
async def test_no_number_of_a_task_with_nodes_of_all_kinds_is_out_of_sight(
    tmp_path: Path, chromium: Chromium, width: int
) -> None:
    def events() -> Iterator[Event]:
        told = Told()
        name = "transform_with_full_history_and_exchange_rates"
        yield told(RunStarted, 0, target_tasks=(name,), params={}, calls={name: 900})
        for number in range(600):
            more: dict[str, Any] = {"error": "no", "handled": number % 4 == 0} if number % 2 == 0 else {}
            status = "Failed" if more else ("Cancelled" if number % 3 == 0 else "Succeeded")
            yield from told.node(f"{name}#{number + 2}", number, number + 2.5, status, **more)
            skipped = {"task_id": f"{name}#{number + 1000}", "task_name": name}
            yield told(TaskSkipped, number, **skipped, reason="ConditionFalse")
            retried = {"attempt": 1, "max_attempts": 2, "delay": 0.0, "error": "no"}
            yield told(TaskRetrying, number, **skipped, **retried)

    path = drawn(tmp_path, events())

    def look(page: Any) -> Any:
        page.goto(path.as_uri())
        return page.evaluate(
            "[...document.querySelectorAll('#tasks .scroll')].map(e => e.scrollWidth - e.clientWidth)"
        )

    beyond, _ = chromium.see(look, viewport={"width": width, "height": 800})

    assert beyond == [0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_that_is_written_stands_out_from_its_paper(
    tmp_path: Path, chromium: Chromium, scheme: Any
) -> None:
    path = await written(tmp_path, [flow(), store(fetch(5)).with_retry(1).or_else(1)])

    def look(page: Any) -> list[tuple[float, str]]:
        page.goto(path.as_uri())
        return [(contrast, words) for contrast, words in page.evaluate(CONTRASTS)]

    contrasts, _ = chromium.see(look, viewport=WIDE, color_scheme=scheme)

    assert len(contrasts) > 60
    assert [(round(contrast, 2), words) for contrast, words in contrasts if contrast < 4.5] == []


async def test_names_in_bars_stand_out_from_the_colours_of_tasks() -> None:
    script = read("timeline.js")
    palette = re.findall(r"#[0-9a-f]{6}", script.partition("PALETTE = [")[2].partition("]")[0])
    (ink,) = re.findall(r"letters\[bar\.status\] \|\| '(#[0-9a-f]{6})'", script)

    assert len(palette) == 12
    assert min(contrast(ink, colour) for colour in palette) >= 4.5


async def test_who_is_at_work_is_shown_before_what_waits(tmp_path: Path, chromium: Chromium) -> None:
    path = await written(tmp_path, [store(["a"]).with_retry(2, delay=0.01), fetch("a")])

    def look(page: Any) -> str:
        page.goto(path.as_uri())
        return str(page.get_attribute("#timeline .lanes canvas", "aria-label"))

    said, _ = chromium.see(look, viewport=NARROW)

    assert re.search(r"\(event loop, waiting\)", said)


async def test_a_time_of_another_day_has_its_date(tmp_path: Path, chromium: Chromium) -> None:
    def events() -> Iterator[Event]:
        told = Told()
        yield told(RunStarted, 0, target_tasks=("load",), params={})
        for node, at in (("load", 10.0), ("load#2", 200_000.0)):
            named = {"task_id": node, "task_name": "load"}
            yield told(TaskExecutionStarted, at, **named)
            yield told(TaskExecutionFinished, at, **named, status="Failed", duration=0.0, attempt=1, error="no")
        yield told(RunFinished, 200_000, status="Failed", duration=200_000.0, error="no", failures=(), counts={})

    path = drawn(tmp_path, events())

    def look(page: Any) -> tuple[list[str], str]:
        page.goto(path.as_uri())
        return page.locator("#failures .note").all_text_contents(), page.inner_text("#summary")

    (notes, summary), _ = chromium.see(look, timezone_id="Asia/Kolkata")

    assert BEGAN == 1_700_000_000  # 2023-11-14 22:13:20 UTC
    assert [note.partition(",")[0] for note in notes] == ["began 03:43:30", "began 2023-11-17 11:16:40"]
    assert "2023-11-15 03:43:20 UTC+5:30" in summary


async def test_the_list_of_runs_says_times_as_the_page_of_a_run_does(tmp_path: Path, chromium: Chromium) -> None:
    took = [0.9996, 59.96, 3599.9, 200_000.0]
    runs = [
        {"id": f"r{place}", "status": "succeeded", "created": BEGAN, "ended": BEGAN + seconds, "flow": ["load"],
         "counts": {"succeeded": 12_000, "skipped": 3_000}, "error": "ValueError: " + "no such page " * 20}
        for place, seconds in enumerate(took)
    ]  # fmt: skip
    path = tmp_path / "runs.html"
    path.write_text(list_page(runs), encoding="utf-8")

    def look(page: Any) -> tuple[list[list[str]], float]:
        page.goto(path.as_uri())
        rows = page.locator("#runs tr").all()
        width = page.locator("#runs td div >> nth=0").bounding_box()["width"]
        return [[cell.inner_text() for cell in row.locator("td").all()] for row in rows], width

    # The page asks for updates, which a file has not.
    (rows, width), _ = chromium.see(look, viewport={"width": 800, "height": 600}, timezone_id="Europe/Paris")

    assert [row[3] for row in rows] == ["1.0 s", "1 min", "1 h", "2 d 8 h"]
    assert {row[4] for row in rows} == {"15\u202f000, 3\u202f000 skipped"}
    assert {row[2] for row in rows} == {"2023-11-14 23:13:20 UTC+1"}
    assert width > 300  # else an error stands in very many lines


async def test_a_report_of_very_many_nodes_names_what_can_be_scrolled(tmp_path: Path, chromium: Chromium) -> None:
    path = drawn(tmp_path, made_run(5000))

    def look(page: Any) -> list[str]:
        page.goto(path.as_uri())
        return [str(place.get_attribute("aria-label")) for place in page.locator(".scroll").all()]

    labels, _ = chromium.see(look)

    assert labels == ["Tasks", "Slowest nodes"]
