"""Tasks on a dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from anyio import CancelScope, get_cancelled_exc_class

from cascade.adapters.remote import wire
from cascade.adapters.remote.dask.source import Address, Local, Source, Users, library
from cascade.adapters.remote.foreign import Shared, outcome_of, with_handles
from cascade.adapters.remote.resources import claimed, cluster_of
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.foundation.remote_executor import (
    KEEP_ABOVE,
    KeptValue,
    RemoteCall,
    RemoteExecutor,
    RemoteOutcome,
    ValuesLost,  # noqa: F401  # docstrings name it
)


class DaskExecutor(RemoteExecutor):
    """Runs tasks on a dask cluster (extra ``dask``); ``executor="dask://host:8786"`` makes one.

    Scheduler and workers need the version of cascade that this process has, the same Python, and the modules of
    the tasks. What has no importable name, as in a script or notebook, is sent with its code.

    A scheduler whose ``allowed-failures`` is above 0, as by default, runs calls again by itself if their worker
    dies: the engine warns of it, as then one attempt may run its function several times.

    Args:
        client: A ``distributed.Client``, which stays open, or the address of a scheduler, such as
            ``"tcp://host:8786"``.
        tasks: Which tasks run there. ``"remote"`` (default): those declared with ``mode="remote"``. ``"sync"``:
            all sync ones that :class:`RemoteExecutor` names.
        keep_above: Bytes from which a value stays on the cluster if all who need it run there; 65 536 by default,
            0 or more. ``inf``: none stays.
        remote_resources: By names of resources here: what workers call them (``dask worker --resources``). What
            an attempt claims of these is claimed of its worker, too. ``None`` (default): nothing.

    Attributes:
        remote_resources: As given.

    Raises:
        ImportError: If dask is not installed.
        ValueError: If *tasks* or *keep_above* is none of these.
    """

    def __init__(
        self,
        client: Any,
        *,
        tasks: str = "remote",
        keep_above: float = KEEP_ABOVE,
        remote_resources: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(tasks=tasks, keep_above=keep_above)
        library()
        self.remote_resources: dict[str, str] = dict(remote_resources or {})
        source = client
        if not isinstance(client, Local):
            source = Address(client) if isinstance(client, str) else Users(client)
        self._source: Source = source
        self._shared: Shared[Any] = Shared(self._connect, _close)

    def _connect(self) -> Any:
        return adapter("remote.dask.cluster:Cluster").of(self._source)

    async def open(self) -> None:
        """Connect to the scheduler, start the workers, or use the user's client.

        If cancelled, nothing is left open.

        Raises:
            ConnectionError: If the scheduler does not answer within ten seconds, or the client is closed.
        """
        await self._shared.enter()

    async def aclose(self) -> None:
        """Close the client, unless it is the user's, and end the workers that were started. Not cancelled."""
        await self._shared.leave()

    @property
    def slots(self) -> int:
        """Threads of all workers, as of a second ago."""
        slots: int = self._shared.value.connection.slots
        return slots

    @property
    def notices(self) -> Sequence[tuple[str, str]]:
        """Whether the cluster runs calls again by itself."""
        allowed = self._shared.value.connection.allowed_failures
        if not allowed:
            return ()
        message = (
            f"the dask scheduler runs calls again by itself if their worker dies, up to {allowed} times, so an "
            "attempt may run its function more than once; start the scheduler with "
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0 and leave that to Retry(on=(WorkerLost,))"
        )
        return [("cluster-reruns", message)]

    async def execute_many(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        """Have one worker make *calls*; see :meth:`RemoteExecutor.execute_many`.

        If cancelled, it waits until the worker has left the batch, and has dask forget what waits
        there.

        Args:
            calls: At least one.
            keep: For each, whether its value may stay there.
            started: Called with the position of a call that has begun, and the name of the worker.

        Raises:
            WorkerLost: If the worker has died, or the call was given up there.
            ValuesLost: If kept values that the calls need are gone.
            ConnectionError: If the cluster is gone; within ten seconds.
            GraphError: If workers cannot run any call: another version of Python or of cascade there.
        """
        packed = wire.pack(calls, keep, self.keep_above)
        if packed.is_empty:
            return wire.unpack(packed, None)
        begun, stop = self._shared.value.begin(packed, claimed(calls, self.remote_resources), started)
        try:
            answer, futures = await outcome_of(begun)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await outcome_of(stop())
            raise
        return with_handles(wire.unpack(packed, answer), futures)

    async def fetch(self, value: KeptValue) -> Any:
        """The value that has stayed. If cancelled, nothing changes.

        Args:
            value: What stands for it.

        Raises:
            ValuesLost: If it is gone.
            ConnectionError: If the cluster is gone; within ten seconds.
        """
        return await outcome_of(self._shared.value.fetch(value))

    def drop(self, handles: Sequence[object]) -> None:
        """Let go of values that have stayed. Neither waits nor raises.

        Args:
            handles: What they are found by.
        """
        for future in handles:
            with suppress(Exception):  # the client may be closed, and its values gone with it
                future.release()  # type: ignore[attr-defined]  # a future of dask's


def _close(cluster: Any) -> None:
    cluster.connection.close()


def from_url(url: str) -> RemoteExecutor:
    """The executor of a URL.

    ``dask://host:port`` is that of a scheduler, ``dask:local`` starts workers on this machine: as many as there
    are processors, or ``dask:local?workers=2``. Further options are ``tasks``, ``keep_above`` and
    ``resources=gpu:GPU``.

    Raises:
        ImportError: If dask is not installed.
        ValueError: If the URL is malformed.
    """
    place, workers, arguments = cluster_of(url)
    if place == "dask:local":
        return DaskExecutor(Local(workers), **arguments)
    if not place.startswith("dask://") or workers is not None:
        raise ValueError(f"{url!r:.100} is neither dask://HOST:PORT nor dask:local?workers=N")
    return DaskExecutor(f"tcp://{place.removeprefix('dask://')}", **arguments)
