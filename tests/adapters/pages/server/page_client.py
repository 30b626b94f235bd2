"""A browser that says exactly what it is told to say, and a page for it that is about nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import anyio
import attrs
from anyio.abc import SocketStream

from cascade.adapters.pages.server.access import Access
from cascade.adapters.pages.server.exchange import Limits
from cascade.adapters.pages.server.listening import Server, bind
from cascade.adapters.pages.server.site import Site
from cascade.adapters.pages.server.sources.source import RefusedAction, Shown, Update


@attrs.frozen
class Reply:
    """What a server has answered.

    Attributes:
        status: The status; 0 if it has closed the connection without an answer.
        headers: Names in lower case.
        body: All that came after the head.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""


async def received(stream: SocketStream) -> Reply:
    """All that is answered until the server closes the connection."""
    said = bytearray()
    with suppress(anyio.BrokenResourceError):
        async for part in stream:
            said += part
    head, _, body = bytes(said).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Reply(int(first.split()[1]) if first else 0, headers, body)


async def say(port: int, words: bytes) -> Reply:
    """Send *words* as they are, and read the answer."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(words)
        return await received(stream)


@attrs.define(eq=False)
class Browser:
    """Asks one page; keeps its cookie.

    Attributes:
        port: Where the page is.
        cookie: The cookie, as it is sent back; empty if there is none.
    """

    port: int
    cookie: str = ""

    async def ask(self, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
        """A request; a ``_`` in the name of a header stands for ``-``, and an empty value leaves it out."""
        said = {"host": f"127.0.0.1:{self.port}", "cookie": self.cookie, "content-length": str(len(body))}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items() if value)]
        return await say(self.port, "\r\n".join([*lines, "", ""]).encode() + body)

    async def open(self, link: str) -> Reply:
        """Open a link, and keep the cookie that comes with it."""
        reply = await self.ask(link.partition(f":{self.port}")[2])
        self.cookie = reply.headers.get("set-cookie", "").partition(";")[0]
        return reply


@attrs.define(eq=False)
class Nothing:
    """A source with one run, ``one``, of which nothing is known.

    Attributes:
        done: The actions that were asked for.
        only: Whether there is a list.
        start: The run that links lead to.
        said: What the stream of updates says.
    """

    done: list[tuple[str, str]] = attrs.field(factory=list)
    only: str | None = None
    start: str | None = None
    said: Callable[[], AsyncGenerator[Update, None]] | None = None

    async def runs(self) -> list[dict[str, Any]]:
        return [
            {
                "id": "one",
                "status": "running",
                "created": 0.0,
                "ended": 0.0,
                "counts": {},
                "flow": [],
                "error": None,
            }
        ]

    async def list_updates(self) -> AsyncGenerator[Update, None]:
        yield Update("runs", json.dumps({"runs": await self.runs()}).encode())

    async def show(self, run_id: str) -> Shown | None:
        raise ZeroDivisionError(f"nothing is known of {run_id}") if run_id == "one" else LookupError(run_id)

    async def updates(self, run_id: str) -> AsyncGenerator[Update, None]:
        if self.said is None:
            yield Update("end")
            return
        async with aclosing(self.said()) as updates:
            async for update in updates:
                yield update

    async def metrics(self) -> str:
        return "nothing 1\n"

    async def act(self, run_id: str, action: str, given: Mapping[str, Any]) -> str:
        if action != "wave":
            raise RefusedAction(f"there is no action {action!r}")
        self.done.append((run_id, action))
        return "waved"


@attrs.define(eq=False)
class Served:
    """A page that is served.

    Attributes:
        source: What it is about.
        access: Its keys.
        browser: A browser that knows nothing yet.
            used: How many links have been opened.
        errors: What has gone wrong.
    """

    source: Nothing
    access: Access
    browser: Browser
    used: list[bool] = attrs.field(factory=list)
    errors: list[Exception] = attrs.field(factory=list)

    async def known(self) -> Browser:
        """A browser that has opened a link."""
        browser = Browser(self.browser.port)
        await browser.open(self.access.new_link())
        return browser


@asynccontextmanager
async def served(
    source: Nothing | None = None, *, limits: Limits | None = None, read_only: bool = False, metrics: bool = False
) -> AsyncIterator[Served]:
    """A page about nothing, on a free port."""
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    page = Served(source or Nothing(), Access("127.0.0.1", port), Browser(port))
    site = Site(page.source, page.access, read_only, metrics, lambda: page.used.append(True), page.errors.append)
    server = Server(bound, site.respond, page.errors.append, limits or Limits())
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        yield page
        group.cancel_scope.cancel()
