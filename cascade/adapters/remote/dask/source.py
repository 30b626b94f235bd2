"""Where a dask client comes from, and who closes it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from types import ModuleType
from typing import Any, Final

import attrs

from cascade.adapters.remote.dask.loop_thread import LoopThread
from cascade.adapters.remote.foreign import library_of
from cascade.adapters.serialization.values import shortened

# A client, and what closes it after use.
Connected = tuple[Any, Callable[[], None]]
# Seconds in which a scheduler has to answer at first: with what else there is, fewer than ten.
_PATIENCE: Final = 8


def library() -> ModuleType:
    """The module ``distributed``.

    Raises:
        ImportError: If it is not installed; the message names the extra.
    """
    return library_of("dask", "distributed")


@attrs.frozen
class Users:
    """A client that the user has made, and closes."""

    client: Any

    def connect(self) -> Connected:
        """The client.

        Raises:
            ConnectionError: If it is closed.
        """
        if self.client.status in ("closed", "closing"):
            raise ConnectionError("the dask client is closed; give DaskExecutor one that is open")
        return self.client, _nothing


@attrs.frozen
class Address:
    """The address of a scheduler, as ``distributed.Client`` takes it."""

    address: str

    def connect(self) -> Connected:
        """A client of its own.

        Raises:
            ConnectionError: If the scheduler does not answer within eight seconds.
            ImportError: If dask is not installed.
        """
        return _in_thread(self._connected)

    async def _connected(self, on_close: AsyncExitStack) -> Any:
        return await _client(self.address, on_close)


@attrs.frozen
class Local:
    """Workers on this machine, one process each.

    Attributes:
        workers: How many; ``None``: one for each processor.
    """

    workers: int | None

    def connect(self) -> Connected:
        """A client of workers that are started for it.

        Raises:
            ImportError: If dask is not installed.
        """
        return _in_thread(self._connected)

    async def _connected(self, on_close: AsyncExitStack) -> Any:
        cluster = library().LocalCluster(
            n_workers=self.workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            asynchronous=True,
            # Attempts are ours: a batch whose worker dies is not to be run again behind the engine's back.
            # Its HTTP server, which is there without a dashboard too, takes any port that is free.
            scheduler_kwargs={"allowed_failures": 0, "dashboard_address": "127.0.0.1:0"},
        )
        await on_close.enter_async_context(cluster)
        return await _client(cluster, on_close)


Source = Users | Address | Local


def _in_thread(connect: Callable[[AsyncExitStack], Coroutine[Any, Any, Any]]) -> Connected:
    """What *connect* gives in the event loop of a thread, and what closes it and ends the thread."""
    thread, on_close = LoopThread(), AsyncExitStack()
    thread.start()
    try:
        client = thread.call(connect, on_close)
    except BaseException:
        thread.call(on_close.aclose)
        thread.stop()
        raise

    def close() -> None:
        try:
            thread.call(on_close.aclose)
        finally:
            thread.stop()

    return client, close


async def _client(address: Any, on_close: AsyncExitStack) -> Any:
    client = library().Client(address, timeout=_PATIENCE, set_as_default=False, asynchronous=True)
    on_close.push_async_callback(client.close)
    try:
        await client
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"the dask scheduler at {address!r} cannot be reached: {shortened(error)}; is it running there?"
        ) from None
    return client


def _nothing() -> None:
    """The client stays open: it is the user's."""
