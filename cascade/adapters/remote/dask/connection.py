"""A connection to a dask cluster: one client, and whether its scheduler is there.

All methods but ``begin`` and ``close`` are for coroutines on the client's event loop, which runs in a thread of
dask's, or is that of the user's own client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

import attrs

from cascade.adapters.remote.dask.under_way import UnderWay

T = TypeVar("T")

# Seconds between two questions to the scheduler whether it is there, how long an answer may take, and how many in
# a row may fail: it is given up in less than ten seconds.
_PING_EVERY: Final = 1.0
_ANSWER_WITHIN: Final = 2.0
_PINGS: Final = 3


@attrs.define(eq=False)
class Connection:
    """A dask client in use.

    Attributes:
        client: The client.
        slots: Threads of all workers.
        allowed_failures: How often the scheduler runs a task again by itself if its worker dies.
        batches: What it has under way.
    """

    client: Any
    on_close: Callable[[], None]
    slots: int = 0
    allowed_failures: int = 0
    batches: UnderWay = attrs.field(init=False)
    # What is given up if the scheduler is.
    _waiting: set[asyncio.Task[Any]] = attrs.field(factory=set)
    _watch: asyncio.Task[None] | None = None
    _is_lost: bool = False

    def __attrs_post_init__(self) -> None:
        self.batches = UnderWay(self.client)

    @classmethod
    def by(cls, client: Any, on_close: Callable[[], None]) -> Self:
        """A connection by *client*, watched from now on; *on_close* is called when it is closed."""
        made = cls(client, on_close)
        try:
            made.begin(made._open).result()
        except BaseException:
            on_close()
            raise
        return made

    async def _open(self) -> None:
        try:
            await asyncio.wait_for(self._ask(), _ANSWER_WITHIN * _PINGS)
        except (OSError, TimeoutError):
            raise ConnectionError(f"the dask scheduler at {self.address} does not answer") from None
        with suppress(Exception):  # a scheduler with another Python cannot read the function: then nobody knows
            # A lambda: it goes with its code, as the scheduler need not have this library.
            self.allowed_failures = await self.client.run_on_scheduler(
                lambda dask_scheduler: dask_scheduler.allowed_failures
            )
        self.client.subscribe_topic(self.topic, self.batches.hear)
        self._watch = asyncio.ensure_future(self._watch_scheduler())

    def close(self) -> None:
        """Let go of all that is under way, and of the client if it is not the user's. Called in a thread."""
        with suppress(Exception):  # its event loop, or the scheduler, may be gone
            self.begin(self._stop).result(_ANSWER_WITHIN)
        self.on_close()

    async def _stop(self) -> None:
        self._is_lost = True
        if self._watch is not None:
            self._watch.cancel()
        for task in list(self._waiting):
            task.cancel()
        with suppress(Exception):  # the client may have been closed by its owner
            self.client.unsubscribe_topic(self.topic)

    @property
    def address(self) -> str:
        """Where the scheduler is."""
        return str(getattr(self.client.scheduler, "address", "") or self.client.cluster or "")

    @property
    def topic(self) -> str:
        """The topic of events that workers log for this client; the scheduler forgets it with the client."""
        return f"{self.client.id}"

    # -- work on the client's event loop --------------------------------------------------------------------------

    def begin(self, func: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Future[T]:
        """Call the coroutine function *func* on the client's event loop. In any thread; never waits."""
        coroutine = func(*args)
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.client.loop.asyncio_loop)
        except RuntimeError:  # that loop is closed, and so is the client
            coroutine.close()
            failed: Future[T] = Future()
            failed.set_exception(ConnectionError("the dask client is closed"))
            return failed

    async def unless_lost(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What *coroutine* gives.

        Raises:
            ConnectionError: If the scheduler is given up before.
        """
        task = asyncio.ensure_future(coroutine)
        self._waiting.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled() and self._is_lost:
                raise self.lost() from None
            task.cancel()
            raise
        finally:
            self._waiting.discard(task)

    def lost(self) -> ConnectionError:
        """What is raised once the scheduler is given up."""
        return ConnectionError(
            f"the dask scheduler at {self.address} is gone or does not answer; what ran there may have had effects"
        )

    # -- the scheduler --------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        answer = await self.client.scheduler.identity(n_workers=0)
        self.slots = int(answer["total_threads"])

    async def _watch_scheduler(self) -> None:
        failed = 0
        while True:
            await asyncio.sleep(_PING_EVERY if not failed else 0.1)
            try:
                await asyncio.wait_for(self._ask(), _ANSWER_WITHIN)
            except (OSError, TimeoutError, AttributeError):  # it has no scheduler while it reconnects
                failed += 1
                await self._give_up(failed)
                continue
            if failed or self._is_lost:  # it may be another one at the same address, which knows no topics
                self.client.subscribe_topic(self.topic, self.batches.hear)
            failed, self._is_lost = 0, False

    async def _give_up(self, failed: int) -> None:
        if self.client.status == "closed":
            failed = _PINGS
        elif failed < _PINGS:
            await asyncio.sleep(_ANSWER_WITHIN / 2)  # one that is restarted has a moment
        if failed >= _PINGS:
            self._is_lost, self.slots = True, 0
            for task in list(self._waiting):
                task.cancel()

    async def until_connected(self) -> None:
        """Wait until the client is connected.

        Raises:
            ConnectionError: If it is closed.
        """
        while self.client.status not in ("running", "closing", "closed"):  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.05)
        if self.client.status != "running":
            raise ConnectionError("the dask client is closed")
