"""The page of a run that makes very many events, as a browser has it."""

from __future__ import annotations

from typing import Any

import pytest
from browser import Chromium
from browser import chromium as chromium
from watched import running

import cascade
from cascade.adapters.pages.document.timeline import MOST_BARS
from cascade.adapters.pages.server.sources.source import PERIOD

pytestmark = pytest.mark.slow


@cascade.task
async def fetch(n: int) -> int:
    return n


@cascade.task
async def total(rows: list[int]) -> int:
    return len(rows)


def many(items: int) -> Any:
    """Two events for each of many items, as fast as there can be."""
    return total(fetch.map(n=list(range(items))).after(cascade.signal("go")))


# What the page is told, how often it draws, and how large it is, since this has run.
COUNT = """() => {
  const page = window.cascadePage, tell = page.update, summary = document.getElementById('summary');
  window.counted = {told: 0, drawn: 0, most: 0, begun: performance.now()};
  page.update = changes => { window.counted.told++; tell(changes); };
  new MutationObserver(() => {
    window.counted.drawn++;
    window.counted.most = Math.max(window.counted.most, document.getElementsByTagName('*').length);
  }).observe(summary, {childList: true});
}"""


def test_forty_thousand_events_are_few_updates_to_a_browser_which_shows_the_end_at_once(
    backend_name: str, chromium: Chromium
) -> None:
    def look(page: Any) -> tuple[dict[str, float], str, int]:
        page.goto(link)
        page.wait_for_selector("#connection[data-state=live]")
        page.evaluate(COUNT)
        page.fill("[data-signal=go] input", "now")
        page.click("[data-signal=go] button")
        page.wait_for_selector("#connection[data-state=ended]", timeout=120_000)
        counted = page.evaluate("({...window.counted, took: (performance.now() - window.counted.begun) / 1000})")
        page.wait_for_selector("html[data-status=succeeded]")  # the drawing that comes next
        return counted, page.inner_text("#summary"), page.evaluate("cascadePage.document.bars.length")

    with running(many(20_000), backend_name) as (link, ended):
        (counted, summary, bars), problems = chromium.see(look, viewport={"width": 1280, "height": 900})

    assert ended.get(timeout=20) == 20_000
    assert "20\u202f002 succeeded" in summary
    # One for each of its periods, and at the beginning and the end one more: by time, and not by events.
    assert counted["told"] <= counted["took"] / PERIOD + 3
    assert counted["drawn"] <= counted["told"]
    assert counted["most"] < 2_000
    assert bars <= MOST_BARS
    assert problems == []
