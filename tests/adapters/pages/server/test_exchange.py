"""What a connection to the page may take, and what it may not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from page_client import Nothing, received, say, served

from cascade.adapters.pages.server.exchange import Limits, exchange
from cascade.adapters.pages.server.messages import Answer, Request, Updates
from cascade.adapters.pages.server.site import written
from cascade.adapters.pages.server.sources.source import Update


def head(port: int, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", f"host: 127.0.0.1:{port}", *lines, "", ""]).encode()


async def quiet() -> AsyncGenerator[Update, None]:
    await anyio.sleep_forever()
    yield Update("")


@pytest.mark.parametrize(
    "lines", [["x: " + "a" * 20_000], [f"x-{n}: a" for n in range(4000)], ["cookie: " + "a=b;" * 9000]]
)
async def test_a_head_that_is_too_long_is_refused(lines: list[str]) -> None:
    async with served() as page:
        reply = await say(page.browser.port, head(page.browser.port, *lines))

    assert reply.status == 431


@pytest.mark.parametrize("lines", [["content-length: 70000"], ["transfer-encoding: chunked"]])
async def test_a_body_that_is_too_long_is_refused(lines: list[str]) -> None:
    async with served() as page:
        chunks = b"ffff\r\n" + b"a" * 65_535 + b"\r\n"
        reply = await say(page.browser.port, head(page.browser.port, *lines, method="POST") + chunks * 2)

    assert reply.status == 413


@pytest.mark.parametrize(
    "words",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 the hello of TLS\r\n\r\n", b"\r\n\r\nno\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused(words: bytes) -> None:
    async with served() as page:
        reply = await say(page.browser.port, words)

    assert reply.status == 400


async def test_too_many_fields_in_a_query_are_refused() -> None:
    async with served() as page:
        few, many = ["&".join(f"x{n}=1" for n in range(count)) for count in (20, 21)]
        taken = await (await page.known()).ask(f"/updates?{few}")
        refused = await (await page.known()).ask(f"/updates?{many}")

    assert taken.status == 200
    assert (refused.status, refused.body) == (400, b"the query has more than 20 fields\n")
    assert not page.errors


@pytest.mark.parametrize(
    "words", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nshort"]
)
async def test_a_client_that_goes_in_the_middle_is_forgotten(words: bytes) -> None:
    async with served() as page:
        stream = await anyio.connect_tcp("127.0.0.1", page.browser.port)
        await stream.send(words)
        await stream.aclose()

        assert (await (await page.known()).ask("/updates")).status == 200
    assert not page.errors


@pytest.mark.parametrize(
    "words", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nshort"]
)
async def test_a_client_that_says_nothing_more_is_given_up(words: bytes) -> None:
    async with served(limits=Limits(to_ask=0.05)) as page:
        reply = await say(page.browser.port, words)

    assert reply.status == 408


async def test_there_are_only_so_many_connections_at_a_time() -> None:
    async with served(Nothing(said=quiet), limits=Limits(connections=2)) as page:
        browser = await page.known()
        port = page.browser.port
        async with (
            await anyio.connect_tcp("127.0.0.1", port) as one,
            await anyio.connect_tcp("127.0.0.1", port) as two,
        ):
            for stream in (one, two):
                await stream.send(head(port, f"cookie: {browser.cookie}").replace(b" / ", b" /updates?id=one "))
                await stream.receive()
            refused = await say(port, b"")
        # The places are free again once these have gone.
        with anyio.fail_after(5):
            while (await page.browser.ask("/")).status != 403:
                await anyio.lowlevel.checkpoint()

    assert refused.status == 0


async def test_connections_that_ask_for_nothing_make_room_for_those_that_do() -> None:
    async with served(limits=Limits(connections=2)) as page:
        port = page.browser.port
        async with await anyio.connect_tcp("127.0.0.1", port) as one, await anyio.connect_tcp("127.0.0.1", port):
            await one.send(b"GET /")
            answered = await page.browser.ask("/")
            given_up = await received(one)

    assert answered.status == 403
    assert given_up.status == 0


async def endless() -> AsyncGenerator[Update, None]:
    while True:
        yield Update("changes", b"1" * 1_000_000)
        await anyio.lowlevel.checkpoint()


async def test_a_reader_that_takes_nothing_is_given_up_and_keeps_nobody_waiting() -> None:
    given_up = anyio.Event()

    async def until_given_up() -> AsyncGenerator[Update, None]:
        try:
            async with aclosing(endless()) as updates:
                async for update in updates:
                    yield update
        finally:
            given_up.set()

    async with served(Nothing(said=until_given_up), limits=Limits(to_read=0.1)) as page:
        browser = await page.known()
        slow = await anyio.connect_tcp("127.0.0.1", browser.port)
        await slow.send(head(browser.port, f"cookie: {browser.cookie}").replace(b" / ", b" /updates?id=one "))
        other = await browser.ask("/updates")
        with anyio.fail_after(20):
            await given_up.wait()
        cut_short = await received(slow)
        await slow.aclose()

    assert other.status == 200
    assert cut_short.status == 200
    assert not cut_short.body.endswith(b"0\r\n\r\n")
    assert not page.errors


class CutOff(ByteStream):
    """A connection over which a request has come, and which is gone before the answer."""

    def __init__(self) -> None:
        self._words = [b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"]

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if not self._words:
            await anyio.sleep_forever()
        return self._words.pop()

    async def send(self, item: bytes) -> None:
        raise anyio.BrokenResourceError

    async def send_eof(self) -> None:
        raise OSError("not connected")

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("answer", [Answer(200, b"much"), lambda: Updates(written(endless()))])
async def test_a_client_that_is_gone_before_the_answer_is_no_error(answer: Any) -> None:
    async def respond(request: Request) -> Answer | Updates:
        answered: Answer | Updates = answer() if callable(answer) else answer
        return answered

    await exchange(CutOff(), Limits(), respond)


async def test_updates_end_with_the_reader() -> None:
    ended = anyio.Event()

    async def until_left() -> AsyncGenerator[Update, None]:
        try:
            yield Update("changes")
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with served(Nothing(said=until_left)) as page:
        browser = await page.known()
        async with await anyio.connect_tcp("127.0.0.1", browser.port) as stream:
            await stream.send(
                head(browser.port, f"cookie: {browser.cookie}").replace(b" / ", b" /updates?id=one ")
            )
            assert b"text/event-stream" in await stream.receive()
        with anyio.fail_after(5):
            await ended.wait()
