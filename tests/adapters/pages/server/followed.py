"""A program that follows the page of a run by its updates, as the script in a browser does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import attrs
from page_client import Browser, Reply

import cascade


def port_of(link: str) -> int:
    """The port in a link."""
    return int(link.partition("/?")[0].rpartition(":")[2])


@attrs.define(eq=False)
class Follower:
    """Knows a run from the updates of its page.

    Attributes:
        browser: What it asks with; it has opened a link.
        run_id: The run.
        document: What is known, section by section; ``control`` is what can be done.
        updates: How many updates there were.
        is_over: Whether the last one was heard.
    """

    browser: Browser
    run_id: str
    document: dict[str, Any] = attrs.field(factory=dict)
    updates: int = 0
    is_over: bool = False
    _news: anyio.Event = attrs.field(factory=anyio.Event)

    async def follow(self) -> None:
        """Read updates until the stream ends."""
        port = self.browser.port
        words = f"GET /updates?id={quote(self.run_id)} HTTP/1.1\r\nhost: 127.0.0.1:{port}"
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"{words}\r\ncookie: {self.browser.cookie}\r\n\r\n".encode())
            text = b""
            try:
                async for part in stream:
                    text += part
                    *whole, text = text.split(b"\n\n")
                    for said in whole:
                        self._hear(said)
            except anyio.BrokenResourceError:
                pass

    def _hear(self, said: bytes) -> None:
        lines = dict(line.split(b": ", 1) for line in said.split(b"\n") if b": " in line)
        if b"event" not in lines:
            return
        self.updates += 1
        data = json.loads(lines[b"data"])
        match lines[b"event"]:
            case b"changes":
                self.document |= data.get("sections", {})
                if "bars" in data:
                    bars = self.document.setdefault("bars", [])
                    bars[data["bars"]["from"] :] = data["bars"]["add"]
            case b"control":
                self.document["control"] = data
            case _:
                self.is_over = True
        self._news.set()
        self._news = anyio.Event()

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until the document is like that."""
        with anyio.fail_after(20):
            while not (self.document and condition(self.document)):
                await self._news.wait()
        return self.document

    async def act(self, action: str, **given: object) -> Reply:
        """Press a button."""
        page = await self.browser.ask(f"/run?id={quote(self.run_id)}")
        text = page.body.decode().partition('id="settings">')[2].partition("<")[0]
        settings = json.loads(text)
        body = json.dumps({"action": action, **given}).encode()
        return await self.browser.ask(settings["act"], "POST", body, **{settings["header"]: settings["csrf"]})


@asynccontextmanager
async def followed(run: cascade.Run[Any]) -> AsyncIterator[Follower]:
    """Follow the page of *run*."""
    link = run.page_link()
    browser = Browser(port_of(link))
    await browser.open(link)
    follower = Follower(browser, run.id)
    async with anyio.create_task_group() as group:
        group.start_soon(follower.follow)
        await follower.until(lambda document: "control" in document)
        yield follower
