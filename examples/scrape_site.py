"""Fetch all pages of a site of which some cannot be had: report what there is and why the rest is missing.

    python scrape_site.py                   # 200 pages, of which 10 fail: status 1
    python scrape_site.py --pages 50 --broken 0
    python scrape_site.py --enough 0.99     # gives up as soon as fewer than 99 % can be had: status 2

The site is served by this program itself, so nothing leaves the machine. Failed pages are values of the map
(``with_errors("collect")``), so the report is written in any case; the exit status says whether it is complete.
"""

from __future__ import annotations

import argparse
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cascade

COMPLETE, INCOMPLETE, GIVEN_UP = 0, 1, 2
# Without the proxies of the environment: the site is on this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@cascade.task
def fetch(url: str) -> str:
    with OPENER.open(url, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


@cascade.task(mode="inline")
def report(pages: list[str | cascade.Failed], urls: list[str]) -> tuple[list[str], list[str]]:
    """Lines about the pages that there are, and about those that are missing."""
    found, missing = [], []
    for url, page in zip(urls, pages, strict=True):
        if isinstance(page, cascade.Failed):
            missing.append(f"{url}: {page.error} ({page.task_id}, attempts: {page.attempts})")
        else:
            found.append(f"{url}: {len(page)} characters")
    return found, missing


def flow(urls: list[str], enough: float | None = None) -> cascade.LazyResult[tuple[list[str], list[str]]]:
    """The report on *urls*, which fails if fewer pages than *enough* can be had."""
    again = cascade.Retry(max_attempts=2, on=(urllib.error.URLError,))
    pages = fetch.map(url=urls).with_retry(again).with_errors("collect", min_success=enough)
    return report(pages, urls)


@contextmanager
def site(pages: int, broken: int) -> Iterator[list[str]]:
    """The addresses of the pages of a site, some of which it fails to give."""
    every = pages // broken if broken else pages + 1

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the server looks for
            number = int(self.path.rpartition("/")[2])
            body = f"page {number}".encode()
            status = 200 if number % every else 503
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield [f"http://127.0.0.1:{server.server_port}/{number}" for number in range(1, pages + 1)]
        finally:
            server.shutdown()
            thread.join()


def main() -> int:
    """Scrape the site; returns the exit status."""
    parser = argparse.ArgumentParser(description="Report on all pages of a site, some of which are broken.")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--broken", type=int, default=10)
    parser.add_argument("--enough", type=float, help="share of the pages that has to be there, below 1")
    parser.add_argument("--backend", default="asyncio")
    words = parser.parse_args()
    with site(words.pages, words.broken) as urls:
        try:
            found, missing = cascade.run_sync(flow(urls, words.enough), backend=words.backend, max_threads=16)
        except cascade.MapFailed as error:
            print(f"given up: {error}")
            return GIVEN_UP
    print(f"{len(found)} pages, {len(missing)} missing")
    for reason in missing:
        print(f"missing: {reason}")
    return INCOMPLETE if missing else COMPLETE


if __name__ == "__main__":
    sys.exit(main())
