"""The address of a page, and the connections to it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs
from anyio import CancelScope
from anyio.abc import SocketListener, SocketStream

from cascade.adapters.pages.server.exchange import GONE, Limits, Respond, exchange
from cascade.adapters.pages.server.messages import Answer, Request, Updates
from cascade.model.errors import InputError

# Connections that the system keeps until they are accepted.
_BACKLOG: Final = 64


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at *host*, an IP address. It does not wait, so that an address in use is told early.

    Raises:
        InputError: If the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise InputError([f"the page cannot listen on {host}:{port}: {why}; port 0 takes a free one"]) from error


@attrs.define(eq=False)
class Server:
    """Serves the connections to a listening socket.

    Attributes:
        bound: The socket, which is closed at the end.
        respond: Answers requests.
        failed: Is told of errors of the server itself.
        limits: What a connection may take.
        open: Number of connections.
    """

    bound: socket.socket
    respond: Respond
    failed: Callable[[Exception], object]
    limits: Limits = attrs.field(factory=Limits)
    open: int = 0
    # What ends connections whose requests have not come, the oldest first.
    _asking: dict[CancelScope, None] = attrs.field(factory=dict, init=False)

    async def serve(self) -> None:
        """Serve until this is cancelled; then nothing of it is left."""
        try:
            async with await SocketListener.from_socket(self.bound) as listener:
                await listener.serve(self._serve_one)
        finally:
            self.bound.close()

    async def _serve_one(self, stream: SocketStream) -> None:
        async with stream:
            if self.open >= self.limits.connections and not self._make_room():
                return  # before anything is read: what there is may not grow, and whoever wants it tries again
            self.open += 1
            try:
                with suppress(*GONE):
                    await self._exchange(stream)
            except Exception as error:  # whatever a client sends, it must not end the page for others
                self.failed(error)
            finally:
                self.open -= 1

    async def _exchange(self, stream: SocketStream) -> None:
        with CancelScope() as scope:

            async def respond(request: Request) -> Answer | Updates:
                self._asking.pop(scope, None)
                return await self.respond(request)

            self._asking[scope] = None
            try:
                await exchange(stream, self.limits, respond)
            finally:
                self._asking.pop(scope, None)

    def _make_room(self) -> bool:
        """End the connection that has asked for nothing for longest; returns ``False`` if all have asked.

        Else whoever reaches the address could keep everybody out by opening connections.
        """
        for scope in self._asking:
            del self._asking[scope]
            scope.cancel()
            return True
        return False
