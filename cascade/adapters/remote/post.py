"""Word between an engine and the workers of a pool on the same machine: "it has begun" and "stop".

Workers connect to a socket on loopback, and say a token first, which came with their calls. Each message is a line
of JSON. Where a worker cannot connect, calls run all the same: nobody hears when they begin, and they cannot be
stopped.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from hmac import compare_digest
from typing import Any, Final

import attrs

Address = tuple[str, int, str]

# Bytes of a line, at most; and seconds for a worker to connect.
_LONGEST: Final = 1 << 16
_PATIENCE: Final = 5.0
# Connections that a worker keeps.
_MOST: Final = 16


@attrs.define(eq=False)
class _Caller:
    """A connection of a worker."""

    socket: socket.socket
    is_known: bool = False
    rest: bytes = b""


class PostOffice:
    """On the engine's side: hears from workers when their batches begin, and tells them to stop.

    Has a thread, from its making to :meth:`close`.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.address: Address = (host, port, secrets.token_hex(16))
        self._waker, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._awaited: dict[str, Callable[[int, str], None]] = {}
        self._workers: dict[str, socket.socket] = {}
        self._stopped: set[str] = set()
        self._thread = threading.Thread(target=self._serve, name="cascade-remote-post", daemon=True)
        self._thread.start()

    def expect(self, batch: str, started: Callable[[int, str], None]) -> None:
        """Call *started*, in the thread of the office, when a worker says that a call of *batch* has begun."""
        self._awaited[batch] = started

    def forget(self, batch: str) -> None:
        """The batch has ended."""
        with self._lock:
            self._awaited.pop(batch, None)
            self._workers.pop(batch, None)
            self._stopped.discard(batch)

    def stop(self, batch: str) -> None:
        """Tell the worker of *batch* to stop, now or as soon as it begins."""
        with self._lock:
            self._stopped.add(batch)
            worker = self._workers.get(batch)
        if worker is not None:
            _send(worker, batch)

    def close(self) -> None:
        """End the thread and all connections."""
        with suppress(OSError):
            self._waker.send(b"x")
        self._thread.join()
        self._waker.close()
        self._woken.close()

    def _serve(self) -> None:
        selector = self._selector
        selector.register(self._listener, selectors.EVENT_READ, None)
        selector.register(self._woken, selectors.EVENT_READ, self)
        while True:
            for key, _ in selector.select():
                if key.data is self:
                    self._close_all()
                    return
                if key.data is None:
                    self._accept()
                else:
                    self._hear(key.data)

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._woken:
                key.fileobj.close()
        self._selector.close()

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            connection.settimeout(_PATIENCE)
            self._selector.register(connection, selectors.EVENT_READ, _Caller(connection))

    def _hear(self, caller: _Caller) -> None:
        try:
            data = caller.socket.recv(1 << 16)
        except OSError:
            data = b""
        *lines, caller.rest = (caller.rest + data).split(b"\n")
        if not data or len(caller.rest) > _LONGEST or not all(self._understand(caller, line) for line in lines):
            self._selector.unregister(caller.socket)
            caller.socket.close()

    def _understand(self, caller: _Caller, line: bytes) -> bool:
        """Act on a message; returns whether its sender may be listened to."""
        try:
            message = json.loads(line)
            if not caller.is_known:
                caller.is_known = compare_digest(str(message), self.address[2])
                return caller.is_known
            batch, position, name = message
        except (ValueError, TypeError):
            return False
        with self._lock:
            started = self._awaited.get(batch)
            if started is None:
                return True
            self._workers[batch] = caller.socket
            is_stopped = batch in self._stopped
        started(position, name)
        if is_stopped:
            _send(caller.socket, batch)
        return True


def _send(to: socket.socket, message: Any) -> None:
    with suppress(OSError):
        to.sendall(json.dumps(message).encode() + b"\n")


class Correspondent:
    """On the worker's side: the connection of a process to one engine."""

    def __init__(self, address: Address) -> None:
        host, port, token = address
        self._lock = threading.Lock()
        self._stopped: set[str] = set()
        self._rest = b""
        self._socket: socket.socket | None = None
        with suppress(OSError):
            self._socket = socket.create_connection((host, port), timeout=_PATIENCE)
            self._selector = selectors.DefaultSelector()
            self._selector.register(self._socket, selectors.EVENT_READ)
            _send(self._socket, token)

    def tell(self, batch: str, position: int, name: str) -> None:
        """A call has begun."""
        if self._socket is not None:
            with self._lock:
                _send(self._socket, [batch, position, name])

    def is_stopped(self, batch: str) -> bool:
        """Whether the engine has said to stop *batch*."""
        with self._lock:
            while self._socket is not None and self._selector.select(0):
                self._read()
            return batch in self._stopped

    def close(self) -> None:
        """Hang up."""
        connection, self._socket = self._socket, None
        if connection is not None:
            self._selector.close()
            connection.close()

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:  # the engine is gone
            self.close()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._stopped.update(map(json.loads, lines))


# By address and process: a forked child has connections of its own.
_correspondents: dict[tuple[Address, int], Correspondent] = {}
_making = threading.Lock()


def correspondent(address: Address) -> Correspondent:
    """The connection of this process to the engine at *address*."""
    key = address, os.getpid()
    with _making:
        if key not in _correspondents:
            if len(_correspondents) >= _MOST:  # the oldest is that of an engine that has ended, most likely
                _correspondents.pop(next(iter(_correspondents))).close()
            _correspondents[key] = Correspondent(address)
        return _correspondents[key]


def hang_up(address: Address) -> None:
    """Close the connection of this process to the engine at *address*, if there is one: the engine has ended."""
    with _making:
        found = _correspondents.pop((address, os.getpid()), None)
    if found is not None:
        found.close()
