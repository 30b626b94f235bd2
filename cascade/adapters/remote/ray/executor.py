"""Tasks on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from anyio import CancelScope, get_cancelled_exc_class

from cascade.adapters.remote import wire
from cascade.adapters.remote.foreign import Shared, outcome_of, with_handles
from cascade.adapters.remote.ray.source import Source, library
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

# Values of one batch that may stay; each is a result of the task, which costs something also if it is not used.
_ROOM: Final = 32
# What Ray calls options of a task, and not resources.
_OPTIONS: Final = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


class RayExecutor(RemoteExecutor):
    """Runs tasks on a Ray cluster (extra ``ray``); ``executor="ray://host:10001"`` makes one.

    The nodes need the version of cascade that this process has, the same Python, and the modules of the tasks.
    What has no importable name, as in a script or notebook, is sent with its code. A process has one connection to
    Ray; executors with the same address share it.

    If a cluster dies that the process has joined without ``ray://``, Ray itself ends this process after a minute.

    Args:
        address: As ``ray.init`` takes it, such as ``"ray://host:10001"`` or ``"auto"``. ``None`` (default): the
            connection that this process has, which stays open.
        tasks: Which tasks run there. ``"remote"`` (default): those declared with ``mode="remote"``. ``"sync"``:
            all sync ones that :class:`RemoteExecutor` names.
        keep_above: Bytes from which a value stays on the cluster if all who need it run there; 65 536 by default,
            0 or more. ``inf``: none stays.
        remote_resources: By names of resources here: what Ray calls them (``"GPU"``, ``"memory"`` or one's own).
            What an attempt claims of these is claimed of its node, too. ``None`` (default): nothing. Each call
            claims one ``"CPU"`` unless it says otherwise.

    Attributes:
        remote_resources: As given.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If *tasks* or *keep_above* is none of these.
    """

    def __init__(
        self,
        address: str | Source | None = None,
        *,
        tasks: str = "remote",
        keep_above: float = KEEP_ABOVE,
        remote_resources: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(tasks=tasks, keep_above=keep_above)
        library()
        self.remote_resources: dict[str, str] = dict(remote_resources or {})
        source = address if isinstance(address, Source) else Source(address)
        self._shared = _SHARED.setdefault(source, Shared(partial(_connect, source), _close))

    async def open(self) -> None:
        """Connect to the cluster, start the workers, or use the connection of this process.

        If cancelled, nothing is left open.

        Raises:
            ConnectionError: If the cluster cannot be reached within ten seconds.
            RuntimeError: If an address was given and this process is connected already, or none was and it is not.
        """
        await self._shared.enter()

    async def aclose(self) -> None:
        """End the connection after its last user, unless it was there before. Not cancelled."""
        await self._shared.leave()

    @property
    def slots(self) -> int:
        """CPUs of all nodes, as of a second ago."""
        slots: int = self._shared.value.slots
        return slots

    async def execute_many(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        """Have one worker make *calls*; see :meth:`RemoteExecutor.execute_many`.

        If cancelled, Ray forgets what waits, and raises ``KeyboardInterrupt`` in a function that runs;
        this waits until the function has ended.

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
        may_stay = [keeps and sum(keep[:position]) < _ROOM for position, keeps in enumerate(keep)]
        packed = wire.pack(calls, may_stay, self.keep_above)
        if packed.is_empty:
            return wire.unpack(packed, None)
        cluster = self._shared.value
        batch = cluster.begin(packed, sum(may_stay), self._options(calls), started)
        try:
            answer, references = await outcome_of(batch.outcome)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                cluster.stop(batch)
                await outcome_of(batch.has_left)
            raise
        return with_handles(wire.unpack(packed, answer), references)

    def _options(self, calls: Sequence[RemoteCall]) -> dict[str, Any]:
        amounts = claimed(calls, self.remote_resources)
        options: dict[str, Any] = {
            option: amounts.pop(name) for name, option in _OPTIONS.items() if name in amounts
        }
        return {"num_cpus": 1, **options, **({"resources": amounts} if amounts else {})}

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
        for reference in handles:
            reference.ref = None  # type: ignore[attr-defined]  # one of ours


def _connect(source: Source) -> Any:
    return adapter("remote.ray.cluster:Cluster").of(source)


def _close(cluster: Any) -> None:
    cluster.close()


# The connection of the process, by address: Ray allows one.
_SHARED: Final[dict[Source, Shared[Any]]] = {}


def from_url(url: str) -> RemoteExecutor:
    """The executor of a URL.

    ``ray://host:port`` is Ray's client port of a head node, ``ray:auto`` the cluster that this machine belongs to,
    and ``ray:local`` starts workers on this machine: as many as there are processors, or ``ray:local?workers=2``.
    Further options are ``tasks``, ``keep_above`` and ``resources=gpu:GPU``.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If the URL is malformed.
    """
    place, workers, arguments = cluster_of(url)
    if place == "ray:local":
        return RayExecutor(Source("local", workers), **arguments)
    if workers is not None or not (place == "ray:auto" or place.startswith("ray://")):
        raise ValueError(f"{url!r:.100} is neither ray://HOST:PORT, ray:auto nor ray:local?workers=N")
    return RayExecutor("auto" if place == "ray:auto" else place, **arguments)
