"""One connection: a request, within limits, and its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

import anyio
import attrs
from anyio.abc import ByteStream

from cascade.adapters.pages.server.messages import ALWAYS, Answer, Request, Updates, text

try:
    import h11
except ImportError as _error:
    raise ImportError(
        "The 'h11' library is required for pages; install the extra: pip install 'cascade-anyio[page]'"
    ) from _error

# What a connection raises once the client is gone.
GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
# Lets a client read why it is refused, if it is still sending.
_LINGER: Final = 1.0
_CHUNK: Final = 65_536


@attrs.frozen
class Limits:
    """What a connection may take.

    Attributes:
        head: Bytes of a request before its body.
        body: Bytes of its body.
        to_ask: Seconds for all of the request.
        to_read: Seconds for a client to take what it is sent, each time.
        connections: Connections at a time.
    """

    head: int = 16_384
    body: int = 65_536
    to_ask: float = 10.0
    to_read: float = 20.0
    connections: int = 64


class _Refused(Exception):
    """The request is not understood, or too much."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


Respond = Callable[[Request], Awaitable[Answer | Updates]]


async def exchange(stream: ByteStream, limits: Limits, respond: Respond) -> None:
    """Read a request, and write what *respond* says. Returns when the client is gone, or has what it asked for.

    The stream is left open. If cancelled, the answer may be cut short.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head)
    try:
        with anyio.move_on_after(limits.to_ask) as scope:
            request = await _read(stream, connection, limits)
        if scope.cancelled_caught:
            raise _Refused(text(408, "the request took too long"))
        if request is None:
            return
        answer = await respond(request)
    except _Refused as refused:
        await _write(stream, connection, refused.answer, limits)
        await _drain(stream)
        return
    if isinstance(answer, Updates):
        await _stream(stream, connection, answer, limits)
    else:
        await _write(stream, connection, answer, limits)


async def _read(stream: ByteStream, connection: h11.Connection, limits: Limits) -> Request | None:
    """The request; ``None`` if the client closes before it has said one.

    Raises:
        _Refused: If it is malformed or too large.
    """
    head: h11.Request | None = None
    body = bytearray()
    while True:
        match await _next(stream, connection):
            case h11.Request() as head:
                _see_that_it_fits(head, limits)
            case h11.Data(data=data):
                body += data
                if len(body) > limits.body:
                    raise _Refused(text(413, f"the body is longer than {limits.body} bytes"))
            case h11.EndOfMessage() if head is not None:
                return _request(head, bytes(body))
            case _:
                return None


async def _next(stream: ByteStream, connection: h11.Connection) -> object:
    """The next part of the request, as soon as enough of it has come."""
    while (event := _parsed(connection)) is h11.NEED_DATA:
        try:
            received = await stream.receive(_CHUNK)
        except anyio.EndOfStream:
            received = b""
        connection.receive_data(received)
    return event


def _parsed(connection: h11.Connection) -> object:
    """The next part of the request; ``h11.NEED_DATA`` if not enough of it has come."""
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        words = "the head is too long" if error.error_status_hint == 431 else "this is no request of HTTP/1.1"
        raise _Refused(text(error.error_status_hint, words)) from error


def _see_that_it_fits(head: h11.Request, limits: Limits) -> None:
    """See that *head*, which may have come whole, and the body that it announces, are not too long."""
    if len(head.target) + sum(len(name) + len(value) for name, value in head.headers) > limits.head:
        raise _Refused(text(431, "the head is too long"))
    for name, value in head.headers:
        if name == b"content-length" and int(value) > limits.body:
            raise _Refused(text(413, f"the body is longer than {limits.body} bytes"))


def _request(head: h11.Request, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    try:
        return Request.of(head.method.decode("latin-1"), head.target.decode("latin-1"), headers, body)
    except ValueError as error:
        raise _Refused(text(400, str(error))) from error


def _response(answer_headers: dict[str, str], status: int) -> h11.Response:
    headers = {**ALWAYS, **answer_headers, "connection": "close"}
    return h11.Response(status_code=status, headers=[*headers.items()])


async def _write(stream: ByteStream, connection: h11.Connection, answer: Answer, limits: Limits) -> None:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return  # what was sent is so far from HTTP that no answer would be understood
    more = {"content-type": answer.kind, "content-length": str(len(answer.body)), **answer.headers}
    parts = [_response(more, answer.status), h11.Data(data=answer.body), h11.EndOfMessage()]
    await _send(stream, b"".join(_bytes(connection, part) for part in parts), limits)


def _bytes(connection: h11.Connection, event: h11.Event) -> bytes:
    return connection.send(event) or b""


async def _send(stream: ByteStream, sent: bytes, limits: Limits) -> bool:
    """Send it; returns ``False`` if the client is gone, or does not take it in time."""
    with anyio.move_on_after(limits.to_read), suppress(*GONE):
        await stream.send(sent)
        return True
    return False


async def _stream(stream: ByteStream, connection: h11.Connection, updates: Updates, limits: Limits) -> None:
    """Send updates until there are no more, or the client is gone or takes nothing any more."""
    async with anyio.create_task_group() as group, aclosing(updates.messages) as messages:
        group.start_soon(_until_closed, stream, group.cancel_scope)
        head = _response({"content-type": "text/event-stream; charset=utf-8"}, 200)
        goes_on = await _send(stream, _bytes(connection, head), limits)
        while goes_on:
            message = await anext(messages, None)
            if message is None:
                await _send(stream, _bytes(connection, h11.EndOfMessage()), limits)
                break
            goes_on = await _send(stream, _bytes(connection, h11.Data(data=message)), limits)
        group.cancel_scope.cancel()


async def _until_closed(stream: ByteStream, scope: anyio.CancelScope) -> None:
    """Notice at once that a client is gone, and not with the next update."""
    with suppress(anyio.EndOfStream, *GONE):
        while True:
            await stream.receive(_CHUNK)
    scope.cancel()


async def _drain(stream: ByteStream) -> None:
    """Read what is still sent, for a while: a connection that is closed before that may lose the answer."""
    with anyio.move_on_after(_LINGER), suppress(anyio.EndOfStream, *GONE):
        await stream.send_eof()
        while True:
            await stream.receive(_CHUNK)
