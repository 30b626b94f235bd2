"""The page of a run and the list of runs, as a browser shows them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import anyio
import attrs
import pytest
from anyio.from_thread import start_blocking_portal
from browser import Chromium
from browser import chromium as chromium
from watched import running

import cascade
from cascade.adapters.pages.server.service import OpenPage
from cascade.adapters.pages.server.sources.stored import StoredRuns

pytestmark = pytest.mark.slow

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


@cascade.task
async def fetch(n: int) -> int:
    return n


@cascade.task
async def parse(n: int) -> int:
    if n == 7:
        raise ValueError("no such page: </script><b>7</b>")
    return n


@cascade.task
async def store(name: str) -> str:
    await anyio.sleep(0.05)
    return name


@cascade.task
async def publish(rows: list[int | cascade.Failed], stored: list[str], is_approved: bool) -> str:
    return f"{len(rows)} rows, {len(stored)} shards, {is_approved}"


def flow() -> Any:
    """A map with a failed item, a resource that is waited for, and a signal."""
    rows = parse.map(n=fetch.map(n=list(range(12)))).with_errors("collect")
    shards = [store(name).with_name(f"shard {name}").with_constraints(disk=1) for name in "abc"]
    return publish(rows, shards, cascade.signal("approve", bool, description="may it be published?"))


def test_buttons_steer_a_run_that_is_watched(backend_name: str, chromium: Chromium) -> None:
    def look(page: Any) -> Path:
        page.goto(link)
        page.wait_for_selector("#connection[data-state=live]")
        assert "key=" not in page.url
        page.click("#pause")
        page.wait_for_selector("#resume:visible")
        assert "pause run:nightly" in page.inner_text("#live-rules")
        page.fill("#concurrency", "2")
        page.click("#limit")
        page.wait_for_selector("#live-rules:has-text('2')")
        page.click("#why summary")
        page.wait_for_selector("#blocked tr[data-node=publish]")
        chromium.keep(page, "paused")
        page.click("#resume")
        page.wait_for_selector("#pause:visible")
        page.fill("[data-signal=approve] input", "yes")
        page.click("[data-signal=approve] button")
        page.wait_for_selector("#connection[data-state=ended]")
        page.wait_for_selector("html[data-status=succeeded]")
        assert page.is_hidden("#pause")
        assert page.locator("#graph .cascade-node").count() >= 6
        assert "7</b>" in page.inner_text("#failures")
        return chromium.keep(page, "ended")

    with running(flow(), backend_name) as (link, ended):
        picture, problems = chromium.see(look, viewport=WIDE)

    assert ended.get(timeout=20) == "12 rows, 3 shards, True"
    assert problems == []
    assert picture.stat().st_size > 10_000


def test_the_run_is_cancelled_once_that_is_confirmed(backend_name: str, chromium: Chromium) -> None:
    def look(page: Any) -> None:
        page.goto(link)
        page.click("#cancel")
        page.click("#cancel-no")
        page.wait_for_selector("#cancel:visible")
        page.click("#cancel")
        chromium.keep(page, "sure")
        page.click("#cancel-yes")
        page.wait_for_selector("html[data-status=cancelled]")

    with running(flow(), backend_name) as (link, ended):
        _, problems = chromium.see(look, viewport=NARROW, color_scheme="dark")

    assert isinstance(ended.get(timeout=20), cascade.RunCancelled)
    assert problems == []


def test_nothing_sticks_out_where_there_is_little_room(chromium: Chromium) -> None:
    def look(page: Any) -> tuple[int, int]:
        page.goto(link)
        page.wait_for_selector("[data-signal=approve]")
        chromium.keep(page, "narrow")
        widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        page.click("#cancel")
        page.click("#cancel-yes")
        page.wait_for_selector("#connection[data-state=ended]")
        return int(widths[0]), int(widths[1])

    with running(flow(), "asyncio") as (link, _):
        (content, room), _ = chromium.see(look, viewport=NARROW)

    assert content <= room


def test_pages_of_one_computer_do_not_take_the_place_of_each_other(chromium: Chromium) -> None:
    def look(first: Any) -> None:
        first.goto(one)
        second = first.context.new_page()
        second.goto(other)
        for page in (first, second):
            page.reload()
            page.wait_for_selector("#connection[data-state=live]")
            page.click("#cancel")
            page.click("#cancel-yes")
            page.wait_for_selector("html[data-status=cancelled]")

    with running(flow(), "asyncio") as (one, _), running(flow(), "trio") as (other, _):
        _, problems = chromium.see(look)

    assert problems == []


def test_a_page_is_kept_as_a_picture_also_where_a_test_fails(chromium: Chromium, tmp_path: Path) -> None:
    def look(page: Any) -> None:
        page.set_content("<h1>a page</h1>")
        raise ValueError("not what was expected")

    in_folder = attrs.evolve(chromium, folder=tmp_path / "kept" / "here")
    with pytest.raises(ValueError, match="not what was expected"):
        in_folder.see(look)

    [picture] = (tmp_path / "kept" / "here").iterdir()
    assert picture.name == "test_a_page_is_kept_as_a_picture_also_where_a_test_fails-end.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_page_that_the_browser_has_no_key_for_shows_nothing(chromium: Chromium) -> None:
    def look(page: Any) -> list[int]:
        base = link.partition("?")[0]
        statuses = [page.goto(target).status for target in (base, f"{base}run?id=nightly", f"{base}?key=wrong")]
        page.goto(link)
        page.wait_for_selector("#cancel")
        page.click("#cancel")
        page.click("#cancel-yes")
        page.wait_for_selector("#connection[data-state=ended]")
        return statuses

    with running(flow(), "trio") as (link, _):
        statuses, _ = chromium.see(look)

    assert statuses == [403, 403, 403]


def test_runs_are_listed_and_filtered(chromium: Chromium, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    cascade.run_sync(store("a"), run_id="first", state=state)
    with pytest.raises(ValueError, match="no such page"):
        cascade.run_sync(parse(7), run_id="second <i>", state=state)

    def look(page: Any) -> list[list[str]]:
        page.goto(link)
        page.click("#all-runs")
        page.wait_for_selector("tr[data-run=nightly]")
        seen = [ids(page)]
        page.click("[data-status=failed]")
        seen.append(ids(page))
        chromium.keep(page, "runs")
        page.click("[data-status=all]")
        page.fill("#find", "STORE")
        seen.append(ids(page))
        page.click("tr[data-run=first] a")
        page.wait_for_selector("html[data-status=succeeded]")
        page.click("#all-runs")
        page.click("tr[data-run=nightly] a")
        page.click("#cancel")
        page.click("#cancel-yes")
        page.wait_for_selector("#connection[data-state=ended]")
        return seen

    with running(flow(), "asyncio", state=state) as (link, _):
        seen, problems = chromium.see(look, viewport=WIDE)

    assert seen == [["nightly", "second <i>", "first"], ["second <i>"], ["first"]]
    assert problems == []


@contextmanager
def serving(state: str) -> Iterator[str]:
    """A page about a store, in a thread of its own: a link to it."""
    links: Queue[str] = Queue()
    opened = OpenPage.of(cascade.Page(on_link=links.put))
    with start_blocking_portal() as portal:
        served = portal.start_task_soon(opened.serve, StoredRuns(state), lambda error: None)
        yield links.get(timeout=20)
        served.cancel()


def test_a_store_that_goes_away_and_comes_back_is_told(chromium: Chromium, tmp_path: Path) -> None:
    file, away = tmp_path / "runs.db", tmp_path / "away.db"
    state = f"sqlite:///{file}"
    cascade.run_sync(store("a"), run_id="first", state=state)

    def look(page: Any) -> None:
        page.goto(link)
        page.wait_for_selector("#connection:text-is('live')")
        for place in ("#connection", "#note"):
            file.rename(away)
            page.wait_for_selector(f"{place}:has-text('there is no state file')")
            away.rename(file)
            page.wait_for_selector(f"{place}:not(:has-text('there is no state file'))", state="attached")
            if place == "#connection":
                page.click("tr[data-run=first] a")
                page.wait_for_selector("#connection:text-is('live')")

    with serving(state) as link:
        _, problems = chromium.see(look)

    assert problems == []


def ids(page: Any) -> list[str]:
    """The runs in the list."""
    found: list[str] = page.eval_on_selector_all("#runs tr", "rows => rows.map(row => row.dataset.run)")
    return found


NIGHTLY = """
import cascade

@cascade.task
async def load(row: int) -> int:
    if row in (17, 170):
        raise ValueError(f"row {row} is bad")
    return row

@cascade.task
async def total(rows: list[int], go: str) -> int:
    return sum(rows)

flow = total(load.map(row=list(range(200))).after(cascade.signal("go")), cascade.signal("go"))
"""


def test_two_of_two_hundred_fail_and_the_page_says_which_and_why_and_how_to_go_on(
    chromium: Chromium, tmp_path: Path
) -> None:
    (tmp_path / "nightly.py").write_text(NIGHTLY)
    state = "sqlite:///runs.db"
    words = ["run", "nightly.py:flow", "--state", state, "--run-id", "nightly", "--on-error", "continue"]

    def look(page: Any, link: str) -> dict[str, str]:
        page.goto(link)
        page.fill("[data-signal=go] input", "now")
        page.click("[data-signal=go] button")
        page.wait_for_selector("#connection[data-state=ended]")
        page.wait_for_selector("html[data-status=failed]")
        page.wait_for_selector("#note:has-text('resume')")
        for failure in page.locator("#failures summary").all():
            failure.click()
        chromium.keep(page, "failed")
        return {name: page.inner_text(f"#{name}") for name in ("summary", "failures", "note")}

    with command_in(tmp_path, *words, "--page", "--log", "none") as link:
        texts, problems = chromium.see(lambda page: look(page, link), viewport=WIDE)

    assert "failed" in texts["summary"]
    for row in (17, 170):
        assert f"load[{row}]" in texts["failures"]
        assert f"ValueError: row {row} is bad" in texts["failures"]
        assert f"row={row}" in texts["failures"]
    assert "nightly.py" in texts["failures"]
    assert texts["note"] == f"it goes on with: cascade resume nightly --state {state}"
    assert problems == []

    with command_in(tmp_path, "page", "--state", state) as link:
        again, problems = chromium.see(lambda page: look_at_record(page, link), viewport=WIDE)

    assert "load[17]" in again
    assert "ValueError: row 170 is bad" in again
    assert f"it goes on with: cascade resume nightly --state {state}" in again
    assert problems == []


def look_at_record(page: Any, link: str) -> str:
    """What the page says of a recorded run."""
    page.goto(link)
    page.click("tr[data-run=nightly] a")
    page.wait_for_selector("#note:has-text('resume')")
    return str(page.inner_text("body"))


@contextmanager
def command_in(folder: Path, *words: str) -> Iterator[str]:
    """A command that has a page: the link to it."""
    command = [sys.executable, "-m", "cascade", *words]
    env = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parent.parent)}
    with subprocess.Popen(
        command, cwd=folder, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as one:
        assert one.stderr is not None
        try:
            yield next(found[0] for line in one.stderr if (found := re.search(r"http://\S+key=\S+", line)))
        finally:
            one.terminate()
