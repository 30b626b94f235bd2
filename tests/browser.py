"""A real browser, for tests of pages: chromium, driven in a thread of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import attrs
import pytest

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@attrs.frozen(eq=False)
class Chromium:
    """Opens pages. The thread is needed as the driver runs an event loop of its own.

    Attributes:
        thread: Where the driver lives.
        browser: The browser.
    """

    thread: ThreadPoolExecutor
    browser: Any

    def see(self, look: Callable[[Any], T], **options: Any) -> tuple[T, list[str]]:
        """What *look* finds out, and the errors that the console has shown meanwhile.

        Args:
            look: Gets a page of the driver.
            options: How the page is, such as ``viewport`` or ``color_scheme``.
        """

        def in_thread() -> tuple[T, list[str]]:
            context = self.browser.new_context(**options)
            problems: list[str] = []
            try:
                page = context.new_page()
                page.set_default_timeout(20_000)
                page.on("pageerror", lambda error: problems.append(str(error)))
                page.on("console", lambda said: problems.extend([said.text] if said.type == "error" else []))
                return look(page), problems
            finally:
                context.close()

        return self.thread.submit(in_thread).result()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A browser for the tests of a module. Import it there: ``from browser import chromium as chromium``."""
    if not importlib.util.find_spec("playwright"):
        pytest.skip("playwright is not installed")
    if CHROMIUM is None:
        if os.environ.get("CASCADE_REQUIRE_SERVERS"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with ThreadPoolExecutor(1) as thread:
        driver, browser = thread.submit(_open, CHROMIUM).result()
        yield Chromium(thread, browser)
        thread.submit(browser.close).result()
        thread.submit(driver.stop).result()


def _open(program: str) -> tuple[Any, Any]:
    from playwright.sync_api import sync_playwright

    driver = sync_playwright().start()
    # It makes a socket in the folder for temporary files, whose path must be short; that of nox is long.
    env: dict[str, str | float | bool] = {**os.environ, "TMPDIR": "/tmp"}
    return driver, driver.chromium.launch(executable_path=program, args=["--no-sandbox"], env=env)
