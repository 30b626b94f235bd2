"""A real browser, for tests of pages: chromium, driven in a thread of its own.

Each page that a test opens is kept as a picture, as it is in the end, in the folder that ``CASCADE_SCREENSHOTS``
names, or else in the temporary folder of pytest.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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
        folder: Where pictures are kept.
    """

    thread: ThreadPoolExecutor
    browser: Any
    folder: Path

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
                for number, opened in enumerate(context.pages):
                    self.keep(opened, f"end{number or ''}")
                context.close()

        return self.thread.submit(in_thread).result()

    def keep(self, page: Any, name: str) -> Path:
        """Keep a picture of *page* as it is now, named after the test. To be called by what looks at it."""
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].rpartition("::")[2]
        path = self.folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', test).strip('-')}-{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path, full_page=True)
        return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser for the tests of a module. Import it there: ``from browser import chromium as chromium``."""
    if not importlib.util.find_spec("playwright"):
        pytest.skip("playwright is not installed")
    if CHROMIUM is None:
        if os.environ.get("CASCADE_REQUIRE_SERVERS"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with ThreadPoolExecutor(1) as thread:
        driver, browser = thread.submit(_open, CHROMIUM).result()
        named = os.environ.get("CASCADE_SCREENSHOTS")
        yield Chromium(thread, browser, Path(named) if named else tmp_path_factory.mktemp("screenshots"))
        thread.submit(browser.close).result()
        thread.submit(driver.stop).result()


def _open(program: str) -> tuple[Any, Any]:
    from playwright.sync_api import sync_playwright

    driver = sync_playwright().start()
    # It makes a socket in the folder for temporary files, whose path must be short; that of nox is long.
    env: dict[str, str | float | bool] = {**os.environ, "TMPDIR": "/tmp"}
    return driver, driver.chromium.launch(executable_path=program, args=["--no-sandbox"], env=env)
