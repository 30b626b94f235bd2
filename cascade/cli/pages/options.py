"""What is said of a page on the command line."""

from __future__ import annotations

import argparse
import os
from typing import Any, Final

from cascade.cli.failure import without_python
from cascade.cli.output import say
from cascade.cli.targets import UsageError
from cascade.model.pages import DEFAULT_ADDRESS, Page

# Options that say how a page is, and not how a run goes.
PAGE_OPTIONS: Final = ("page", "page_address", "allow_remote", "read_only", "metrics")


def add_page_to_run(run: argparse.ArgumentParser) -> None:
    """Let a run have a page."""
    run.add_argument("--page", action="store_true", help="show and steer the run in a browser, while it goes on")
    _add_page_options(run)


def add_page(commands: Any) -> None:
    """Looking at all runs of a store in a browser."""
    page = commands.add_parser("page", help="show the recorded runs in a browser, live ones too")
    page.add_argument("--state", metavar="URL", required=True, help="where they are recorded")
    page.add_argument("--via", metavar="URL", help="how to reach the processes that execute them, such as local:")
    page.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="event loop (%(default)s)")
    _add_page_options(page)


def _add_page_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--page-address", metavar="IP:PORT", help=f"where the page is, port 0 for a free one ({DEFAULT_ADDRESS})"
    )
    command.add_argument(
        "--allow-remote", action="store_true", help="let the address be one that other computers can reach"
    )
    command.add_argument("--read-only", action="store_true", help="a page without control: nothing can be changed")
    command.add_argument("--metrics", action="store_true", help="numbers for Prometheus at /metrics, for anybody")


def words_to_be_seen(options: argparse.Namespace) -> list[str]:
    """What ``cascade resume`` hands on of what people see. To be called in the folder where it was said."""
    flags = ("traceback", "capture", "page", "allow_remote", "read_only", "metrics")
    words = [f"--{name.replace('_', '-')}" for name in flags if getattr(options, name)]
    words += [] if options.page_address is None else [f"--page-address={options.page_address}"]
    return words + ([] if options.report is None else [f"--report={os.path.abspath(options.report)}"])


def page_of_run(options: argparse.Namespace) -> Page | None:
    """The page that a run is to have; ``None`` for none.

    Raises:
        UsageError: If what is said of it makes no sense.
    """
    if options.page or options.page_address is not None:
        return page_of(options, "the run")
    for name in ("allow_remote", "read_only", "metrics"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} is about a page; give --page as well")
    return None


def page_of(options: argparse.Namespace, subject: str) -> Page:
    """The page that *options* describe.

    Raises:
        UsageError: If its address is malformed, or has to be allowed.
    """
    try:
        page = Page(
            options.page_address or DEFAULT_ADDRESS,
            read_only=options.read_only,
            allow_remote=options.allow_remote,
            metrics=options.metrics,
            on_link=_Links(subject).tell,
        )
    except ValueError as error:
        raise UsageError(without_python(str(error))) from error
    if not page.is_loopback:
        what = "see" if page.read_only else "see and steer"
        say(
            f"cascade: other computers can reach the page: whoever has a link, or overhears somebody who has, can "
            f"{what} {subject}; the connection is not encrypted"
        )
    return page


class _Links:
    """Says where the page is, and each time it has been opened, how to open it once more."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._is_first = True

    def tell(self, link: str) -> None:
        words = (
            f"the page of {self._subject} is at"
            if self._is_first
            else "the page was opened; a link for another browser:"
        )
        self._is_first = False
        say(f"cascade: {words} {link}")
