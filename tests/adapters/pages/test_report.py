"""Reports of runs: one file that any browser opens, without a network, and that says what happened."""

from __future__ import annotations

import json
import os
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import Chromium
from browser import chromium as chromium
from made_events import made_run

import cascade
from cascade.adapters.pages.document.chronicle import Chronicle
from cascade.adapters.pages.html import html_page, policy
from cascade.observers import report

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>\u2028&amp;\u202e"

RUN = "nightly </script><script>document.title='taken'</script>"


@cascade.task
async def fetch(url: str) -> str:
    return url


@cascade.task(name=f"parse {HOSTILE}")
async def parse(page: str) -> str:
    if page == "b":
        raise ValueError(f"no title in {HOSTILE}")
    return page


@cascade.task
async def count(pages: list[Any]) -> int:
    return len(pages)


def flow() -> Any:
    pages = parse.map(page=fetch.map(url=["a", "b", "c"])).with_errors("collect")
    return count(pages.with_name(HOSTILE)).with_name("how many")


def loaded(html: str) -> list[str]:
    """What a browser would load for *html*."""
    found: list[str] = re.findall(
        r"@import[^;]*|url[(][^)]*", "".join(re.findall(r"(?s)<style>(.*?)</style>", html))
    )

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: Any) -> None:
            found.extend(value for name, value in attributes if name in ("src", "href", "srcset", "data"))

    Reader().feed(html)
    return found


async def test_a_report_is_a_file_for_its_owner_that_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text("an older one")

    await cascade.run(flow(), observers=[report(path)])

    html = path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [path.name]
    assert not loaded(html)
    assert "default-src 'none'" in html
    assert html.count("<script>") == 3


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
async def test_a_browser_shows_it(
    tmp_path: Path, chromium: Chromium, anyio_backend: Any, scheme: str, width: int
) -> None:
    path = tmp_path / "run.html"
    await cascade.run(flow(), observers=[report(path)], run_id=RUN)

    def look(page: Any) -> dict[str, Any]:
        page.goto(path.as_uri())
        page.click("#failures summary >> nth=0")
        page.click("#failures summary >> nth=0")
        return {
            "title": page.title(),
            "status": page.inner_text("#status"),
            "summary": page.inner_text("#summary"),
            "failures": page.inner_text("#failures"),
            "boxes": page.locator("#graph [data-node]").count(),
            "handled boxes": page.locator("#graph .cascade-is-handled").count(),
            "images": page.locator("img").count(),
            "canvas": page.locator("#timeline canvas").count(),
            "tasks": page.inner_text("#tasks"),
            "overflow": page.evaluate("document.documentElement.scrollWidth - innerWidth"),
            "narrowest": page.eval_on_selector_all(
                "td:not(.number):not(.word)", "cells => Math.min(...cells.map(cell => cell.clientWidth))"
            ),
        }

    seen, problems = chromium.see(look, viewport={"width": width, "height": 800}, color_scheme=scheme)

    assert problems == []
    assert seen["title"].startswith("run nightly </script><script>")
    assert seen["status"] == "✓ succeeded"
    assert "6 succeeded, 1 failed (handled)" in seen["summary"]
    assert "ValueError: no title in </script>" in seen["failures"]
    assert "called with page='b'" in seen["failures"]
    assert "Traceback (most recent call last):" in seen["failures"]
    assert (seen["boxes"], seen["handled boxes"], seen["images"], seen["canvas"]) == (3, 1, 0, 2)
    assert "parse </script>" in seen["tasks"]
    assert seen["overflow"] <= 0
    assert seen["narrowest"] > 100  # else words are broken letter by letter


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_very_many_nodes_do_not_choke_a_browser(tmp_path: Path, chromium: Chromium) -> None:
    chronicle = Chronicle()
    for event in made_run(30_000):
        chronicle.hear(event)
    path = tmp_path / "run.html"
    path.write_text(html_page(chronicle.document()), encoding="utf-8")

    def look(page: Any) -> tuple[int, str]:
        page.goto(path.as_uri())
        return page.evaluate("document.getElementsByTagName('*').length"), page.inner_text("#timeline .note")

    (elements, note), problems = chromium.see(look)

    assert problems == []
    assert path.stat().st_size < 1_000_000
    assert elements < 3000
    assert "sample" in note


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_a_page_takes_later_changes(tmp_path: Path, chromium: Chromium) -> None:
    chronicle, heard = Chronicle(), list(made_run(40))
    for event in heard[:30]:
        chronicle.hear(event)
    path = tmp_path / "run.html"
    path.write_text(html_page(chronicle.document()), encoding="utf-8")
    mark = chronicle.changes()[1]
    for event in heard[30:]:
        chronicle.hear(event)
    changes, _ = chronicle.changes(mark)

    def look(page: Any) -> tuple[str, str, Any]:
        page.goto(path.as_uri())
        before = page.inner_text("#status")
        page.evaluate(f"cascadePage.update({json.dumps(changes)})")
        page.wait_for_selector("html[data-status=succeeded]")
        return before, page.inner_text("#status"), page.evaluate("cascadePage.document")

    (before, after, document), problems = chromium.see(look)

    assert problems == []
    assert (before, after) == ("▶ running", "✓ succeeded")
    assert document == json.loads(json.dumps(chronicle.document()))


async def test_no_secret_is_in_a_report(tmp_path: Path) -> None:
    @cascade.task
    async def leak(token: str) -> str:
        raise ValueError(f"refused {token}, {token[:20]!r}, {json.dumps({'token': token})}")

    path, token = tmp_path / "run.html", 'tok-"3f9a<7c51>&\\öß-0123456789'
    with pytest.raises(ValueError, match="refused"):
        await cascade.run(
            leak(cascade.Param("token", secret=True)), {"token": token}, observers=[report(path)], state="memory:"
        )

    html = path.read_text(encoding="utf-8")
    assert "refused ***" in html
    for part in ("3f9a", "7c51", "0123456789"):
        assert part not in html


async def test_a_report_has_to_be_a_file_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make it, or name another file"):
        report(tmp_path / "missing" / "run.html")
    with pytest.raises(IsADirectoryError, match=r"such as run\.html"):
        report(tmp_path)


async def test_a_report_that_cannot_be_written_fails_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    observer = report(folder / "run.html")
    folder.rmdir()

    assert await cascade.run(fetch("a"), observers=[observer]) == "a"


def test_a_policy_names_scripts_and_styles_by_what_is_in_them() -> None:
    one, other = html_page(None), html_page(None, settings={"csrf": "x"})

    assert policy(one) == policy(other)
    assert "connect-src 'self'" in policy(one, connects=True)
    assert "unsafe" not in policy(one)


def test_a_page_may_leave_its_policy_to_a_server() -> None:
    assert "Content-Security-Policy" not in html_page(None, has_policy=False)
