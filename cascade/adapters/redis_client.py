"""Redis through redis-py, in threads; whatever needs it comes here first.

A server can keep a thread waiting in ``recv`` for good. So a task watches each call: when an answer takes too
long, or the caller has been cancelled for a second, it shuts the socket down. Whatever is called may be called
again.
"""

from __future__ import annotations

import importlib
import math
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter, current_time, get_cancelled_exc_class

from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.runtime.foundation.threads import LoopLimiter, in_thread

T = TypeVar("T")

# Seconds to wait for a server to accept a connection, and for an answer.
CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 15.0
# Seconds for which a lost connection is tried again, and for which a server may keep silent; the pauses between.
PATIENCE: Final = 20.0
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
# Seconds for which a call goes on after its caller has been cancelled, and between two attempts to cut it short.
GRACE: Final = 1.0
_AGAIN: Final = 0.1
# Characters of an error that are told.
_LONGEST_ERROR: Final = 300

# Threads are bounded by whoever calls; this bounds nothing.
_THREADS = LoopLimiter(math.inf)


def redis_library(purpose: str) -> Any:
    """The module ``redis``; *purpose* is what needs it.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module("redis")
    except ImportError as error:
        raise ImportError(
            f"The 'redis' library is required for {purpose}; install it with: pip install 'cascade-anyio[redis]'"
        ) from error


def check_client(client: Any, purpose: str) -> None:
    """See that *client* is one that can be used here.

    Raises:
        TypeError: If it is not a client, or an asynchronous one.
        ValueError: If it decodes what it reads, which would spoil pickles.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None or not callable(getattr(client, "pipeline", None)) or "asyncio" in type(client).__module__:
        # A URL, or the repr of a client, may hold a password.
        kind = f"{type(client).__module__}.{type(client).__name__}"
        raise TypeError(f"{purpose} takes a redis.Redis client (the synchronous one), not one of type {kind}")
    if getattr(pool, "connection_kwargs", {}).get("decode_responses"):
        raise ValueError(f"{purpose} stores bytes: make the client with decode_responses=False")


def client_of(url: str, purpose: str) -> Any:
    """A client for ``redis://host:port/number``. Connects to nothing yet.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If the URL means nothing.
    """
    return redis_library(purpose).Redis.from_url(
        url, socket_timeout=ANSWER_TIMEOUT, socket_connect_timeout=CONNECT_TIMEOUT
    )


# Arguments of connections that a pool adds by itself.
_OF_THE_POOL: Final = re.compile("maint_notifications.*|orig_.*|himport_registry|event_dispatcher|retry.*")


def _own_client(client: Any, library: Any, made: list[Any]) -> Any:
    """A client for the same server with connections of its own, each of which is added to *made*.

    So all of them can be cut short, also while they are being opened, and none waits or tries again by itself for
    longer than is wanted here. A client of another class, or with another kind of pool, is used as it is.
    """
    pool = client.connection_pool
    if type(client) is not library.Redis or type(pool) is not library.ConnectionPool:
        return client
    given = {name: value for name, value in pool.connection_kwargs.items() if not _OF_THE_POOL.fullmatch(name)}
    bounds = {"socket_timeout": ANSWER_TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT}
    given |= {name: seconds for name, seconds in bounds.items() if given.get(name) is None}
    own = library.ConnectionPool(connection_class=pool.connection_class, **given)
    make = own.make_connection

    def make_connection() -> Any:
        connection = make()
        made.append(connection)
        return connection

    own.make_connection = make_connection
    return library.Redis(connection_pool=own)


def told(error: Exception) -> Exception:
    """*error* without the command that it was about, which holds values; what the server says is left.

    The object is changed itself, as tracebacks show it too.
    """
    text = str(error).rpartition(" of pipeline caused error: ")[2]
    text = re.split(r",? with args beginning with", text, maxsplit=1)[0]
    error.args = (text[:_LONGEST_ERROR],)
    return error


@attrs.define(eq=False)
class Session:
    """One visit to the server, in a thread, which can be cut short from another.

    Attributes:
        client: The client.
        library: The module ``redis``.
        connections: Those of the client, as far as they are known before they are open.
        steps: How many pipelines were opened.
    """

    client: Any
    library: Any
    connections: Sequence[Any] = ()
    steps: int = 0
    _pipe: Any = None

    @property
    def is_asking(self) -> bool:
        """Whether there is anything to be cut short."""
        return self._pipe is not None

    @contextmanager
    def pipeline(self, *, transaction: bool = False) -> Iterator[Any]:
        """A pipeline; all that is done here goes through one, so that it can be cut short."""
        self.steps += 1
        with self.client.pipeline(transaction=transaction) as pipe:
            self._pipe = pipe
            try:
                yield pipe
            finally:
                self._pipe = None

    def ask(self, command: str, *args: Any, **options: Any) -> Any:
        """The answer to one command, which is called as the client's method for it is."""
        with self.pipeline() as pipe:
            getattr(pipe, command)(*args, **options)
            return pipe.execute()[0]

    def cut_short(self) -> None:
        """End the connection that the thread waits for, if it does."""
        for connection in (getattr(self._pipe, "connection", None), *self.connections[:]):
            # Not closed: its number could be that of another connection before the thread has let go of it.
            sock = getattr(connection, "_sock", None)
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


@attrs.define(eq=False)
class RedisLine:
    """Calls functions in worker threads that talk to a server, none of which hangs for good.

    Args:
        client: A client for the server; connections of its own are made as that would make them.
        whose: What is said of it in errors: ``"run 'night'"``.
        threads: How many may talk at a time, on one event loop.

    Attributes:
        is_lost: Whether the last call was given up, so that another would hang too.
    """

    client: Any
    whose: str
    threads: int = 1
    is_lost: bool = attrs.field(default=False, init=False)
    _library: Any = attrs.field(init=False, repr=False)
    _own: Any = attrs.field(init=False, repr=False)
    _connections: list[Any] = attrs.field(factory=list, init=False, repr=False)
    _limiter: LoopLimiter = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._library = redis_library(self.whose)
        self._own = _own_client(self.client, self._library, self._connections)
        self._limiter = LoopLimiter(self.threads)

    @property
    def limiter(self) -> CapacityLimiter:
        """What bounds the threads on the running loop."""
        return self._limiter.get()

    async def call(
        self, func: Callable[[Session], T], patience: float | None = None, silence: float | None = None
    ) -> T:
        """What *func* returns; called again while the connection is lost, or another client changes the same keys.

        If cancelled, a call that has begun goes on for a second at most; one that waits for its turn, or for the
        next try, ends at once.

        Args:
            func: May be called several times; the second call must change nothing more.
            patience: Seconds for which it is tried again; ``None`` (the default) means 20, and 0 one try.
            silence: Seconds for which an answer may take; ``None`` (the default) means *patience*, but at least 1.

        Raises:
            StateError: If there was no connection, or no answer, for that long.
            redis.RedisError: What the server refuses, without the values that it was given.
        """
        patience = PATIENCE if patience is None else patience
        async with self.limiter:
            return await self._retried(func, patience, max(patience, GRACE) if silence is None else silence)

    async def _retried(self, func: Callable[[Session], T], patience: float, silence: float) -> T:
        library = self._library
        lost = (library.ConnectionError, library.TimeoutError, library.WatchError, library.ReadOnlyError)
        give_up, pause = current_time() + patience, FIRST_PAUSE
        while True:
            try:
                found = await self._try(func, silence)
                self.is_lost = False
                return found
            except lost as error:
                told(error)
                if isinstance(error, library.AuthenticationError) or current_time() + pause > give_up:
                    self.is_lost = True
                    raise StateError(f"Redis cannot be used for {self.whose}: {describe(error)}") from error
            except library.RedisError as error:
                told(error)
                raise
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, func: Callable[[Session], T], silence: float) -> T:
        """What *func* gives, called once, in which no answer may take longer than *silence*."""
        session, done = Session(self._own, self._library, self._connections), anyio.Event()
        found: list[T] = []
        errors: list[BaseException] = []

        def visit() -> None:
            try:
                found.append(func(session))
            except BaseException as error:  # raised below, outside of the group
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(self._bound, session, done, silence)
            try:
                # Accepted means written: a cancelled caller must not leave a write half-way.
                with CancelScope(shield=True):
                    await in_thread(visit, _THREADS.get())
            finally:
                done.set()
        if errors:
            raise errors[0]
        return found[0]

    def close(self) -> None:
        """Close the connections that were made here; in a thread. More are made when they are needed."""
        if self._own is not self.client:
            # A client closes no pool that it was given. Requests that are under way keep their connections.
            self._own.connection_pool.disconnect(inuse_connections=False)

    async def _bound(self, session: Session, done: anyio.Event, silence: float) -> None:
        """Cut *session* short if there is no answer in time, or its caller has been cancelled."""
        try:
            steps = -1
            # As long as it gets answers, or asks for none: pickling may take its time.
            while not done.is_set() and (session.steps != steps or not session.is_asking):
                steps = session.steps
                with anyio.move_on_after(silence):
                    await done.wait()
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                with anyio.move_on_after(GRACE):
                    await done.wait()
                await self._cut(session, done)
            raise
        await self._cut(session, done)

    async def _cut(self, session: Session, done: anyio.Event) -> None:
        while not done.is_set():
            self.is_lost = True
            session.cut_short()
            with anyio.move_on_after(_AGAIN):
                await done.wait()
