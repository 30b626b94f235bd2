"""One batch on dask, from its submission to its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs
import dask.config
from distributed import KilledWorker

from cascade.adapters.remote.dask.connection import Connection
from cascade.adapters.remote.dask.there import WithValues
from cascade.adapters.serialization.values import shortened
from cascade.model.errors import GraphError, WorkerLost
from cascade.runtime.foundation.remote_executor import KeptValue, ValuesLost

# Calls a function of the module ``there`` on a worker. A lambda, as that goes with its code: a dask worker that
# cannot import what it is sent by name ends.
_THERE: Final[Any] = lambda name, *args: getattr(  # noqa: E731
    __import__("importlib").import_module("cascade.adapters.remote.dask.there"), name
)(*args)

# What a batch gives: its answer, and the futures of the values that have stayed.
Outcome = tuple[bytes, Sequence[Any]]


@attrs.define(eq=False)
class Batch:
    """A batch under way. Its methods are for the client's event loop.

    Attributes:
        key: Names it on the cluster.
        header: Of ``wire.Packed``.
        payload: Of ``wire.Packed``.
        needs: Of ``wire.Packed``.
        resources: What it claims of the resources of workers.
        started: As ``execute_many`` takes it.
    """

    connection: Connection
    key: str
    header: tuple[str, str]
    payload: bytes
    needs: Sequence[KeptValue]
    resources: Mapping[str, float]
    started: Callable[[int, str], None]
    # Where it has begun.
    _worker: str | None = None
    _is_worker_dead: bool = False
    _is_stopped: bool = False
    _future: Any = None

    async def run(self) -> Outcome:
        """Run it.

        Raises:
            WorkerLost: If its worker has died.
            ValuesLost: If values that it needs are gone.
            ConnectionError: If the scheduler is gone.
            GraphError: If workers cannot run it.
        """
        connection = self.connection
        connection.batches.on_start[self.key] = self._begun
        try:
            return await connection.unless_lost(self._run())
        finally:
            if not self._is_stopped:
                self._end()

    async def stop(self) -> None:
        """Cancel it, and wait until it has left its worker, or the scheduler is gone."""
        self._is_stopped = True
        connection = self.connection
        try:
            with suppress(Exception):  # a client that is closed has nothing under way
                if self._future is not None:
                    await connection.client.cancel([self._future], asynchronous=True, force=True)
            with suppress(ConnectionError):  # nothing can be known of it any more
                worker = await connection.unless_lost(connection.batches.revoke(self.key, self._worker))
                if worker is not None:
                    self.started(0, worker)
        finally:
            self._end()

    def _end(self) -> None:
        self.connection.batches.on_start.pop(self.key, None)
        if self._worker is not None and not self._is_worker_dead:
            self.connection.batches.running.get(self._worker, set()).discard(self.key)
        if self._future is not None:
            self._future.release()
        _forget_sent(self.connection.client)

    def _begun(self, position: int, worker: str) -> None:
        self._worker = worker
        self.started(position, worker)

    async def _run(self) -> Outcome:
        connection = self.connection
        await connection.until_connected()
        self._see_to_values()
        if self._is_stopped:
            raise WorkerLost("", "the batch was cancelled")
        # Large arguments are the user's: dask need not tell of them on standard error.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            self._future = connection.client.submit(
                _THERE, "run_there", self.key, connection.topic, self.header, self.payload,
                [kept.handle for kept in self.needs],
                key=self.key, pure=False, retries=0, resources=dict(self.resources) or None,
            )  # fmt: skip
        await _settled(self._future)
        if self._future.status != "finished":
            raise await self._failure(self._future)
        if self._future.type is WithValues:
            return await self._taken_apart(self._future)
        return await self._gathered(self._future), ()

    async def _gathered(self, future: Any) -> Any:
        """What *future*, which has finished, gives: perhaps not at once, if its worker has died since."""
        try:
            return await self.connection.client.gather(future, asynchronous=True)
        except Exception:  # what dask says of a key that is lost for good
            if future.status in ("error", "cancelled"):
                raise await self._failure(future) from None
            raise

    async def _taken_apart(self, whole: Any) -> Outcome:
        client = self.connection.client
        task = client.submit(_THERE, "answer_of", whole, key=f"{self.key}-answer", pure=False)
        answer, count = await self._gathered(task)
        keys = [f"{self.key}-value-{number}" for number in range(count)]
        return answer, [
            client.submit(_THERE, "value_of", whole, number, key=key, pure=False)
            for number, key in enumerate(keys)
        ]

    def _see_to_values(self) -> None:
        missing = [kept for kept in self.needs if kept.handle.status in ("cancelled", "error")]  # type: ignore[attr-defined]
        if missing:
            raise ValuesLost(missing)

    async def _failure(self, future: Any) -> Exception:
        """Why *future*, which has not finished, has not."""
        if future.status == "cancelled":
            if self.connection.client.status != "running":
                return self.connection.lost()
            with suppress(ValuesLost):
                self._see_to_values()
                return WorkerLost(self._worker or "", "the scheduler has cancelled the call, or was started anew")
            return ValuesLost(self.needs)
        error = await future.exception()
        if isinstance(error, KilledWorker):
            if not str(error.task).startswith(self.key):  # dask has tried to make one of the values again
                return ValuesLost(self.needs)
            return self._killed(error.last_worker)
        return GraphError(
            f"the dask cluster cannot run a call: {shortened(error)}; its workers need the versions of cascade "
            "and of its dependencies that this process has"
        )

    def _killed(self, worker: Any) -> WorkerLost:
        """Why it has failed if *worker* ended, and dask does not say whether it ran or waited there.

        The message that it has begun is lost if the worker dies at once. So it counts as begun unless others are
        known to have filled the worker.
        """
        self._is_worker_dead = True
        others = self.connection.batches.running.get(worker.address, set()) - {self.key}
        if self._worker is None and len(others) < worker.nthreads:
            self._begun(0, worker.address)
        did = "waited" if self._worker is None else "ran"
        return WorkerLost(worker.address, f"it ended while the call {did} there")


async def _settled(future: Any) -> None:
    """Wait until *future* has finished, failed or been cancelled, and leave its value where it is."""
    while future.status in ("pending", "lost"):
        await future._state.wait()  # noqa: SLF001  # distributed.wait() asks for a client that is the default


def _forget_sent(client: Any) -> None:
    """Forget what was sent: dask keeps the last thousand messages, with all arguments, for whoever debugs it."""
    with suppress(AttributeError):  # another dask, or a client that is not connected
        client.scheduler_comm.recent_message_log.clear()


async def fetched(connection: Connection, value: KeptValue) -> Any:
    """The value that has stayed on the cluster.

    Raises:
        ValuesLost: If it has not.
        ConnectionError: If the scheduler is gone.
    """
    future: Any = value.handle

    async def fetch() -> Any:
        await connection.until_connected()
        await _settled(future)
        try:
            return await connection.client.gather(future, asynchronous=True)
        except Exception:  # what made it, or what dask says of a key that is lost for good
            if future.status in ("error", "cancelled"):
                raise ValuesLost([value]) from None
            raise

    return await connection.unless_lost(fetch())
