"""Remote calls in any ``concurrent.futures.Executor``: a pool of threads or processes, loky, mpi4py."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import attrs
from anyio import CapacityLimiter

from cascade.adapters.remote.entry import Site, run_batch
from cascade.adapters.remote.post import Address, PostOffice, correspondent, hang_up
from cascade.adapters.remote.waiting import event_from_threads, until_set
from cascade.adapters.remote.wire import Packed, pack, unpack
from cascade.adapters.serialization.values import dumps, shortened
from cascade.model.errors import GraphError, WorkerLost
from cascade.runtime.foundation.remote_executor import (
    KEEP_ABOVE,
    KeptValue,
    RemoteCall,
    RemoteExecutor,
    RemoteOutcome,
    Stayed,
    ValuesLost,
)
from cascade.runtime.foundation.threads import in_thread


class FuturesExecutor(RemoteExecutor):
    """Runs tasks in a ``concurrent.futures.Executor``: a pool of threads or processes, loky, mpi4py, and so on.

    Functions, arguments and results are pickled, also for a pool of threads. Large values stay in files on this
    machine. A call that has begun stops at its next ``cascade.checkpoint()`` only.

    Args:
        pool: The pool, which stays yours: it is neither shut down nor made anew when it breaks. Or a function that
            makes one: then the executor shuts it down, and makes a new one when a worker has died.
        slots: How many calls run at a time, at least 1. ``None`` (default): as many workers as the pool says that
            it has, or as there are processors.
        folder: Where large values stay; must be seen by all workers. ``None`` (default): a temporary folder.
        tasks: Which tasks go there: ``"remote"`` (default), those with ``mode="remote"``, or ``"sync"``; as for
            :class:`RemoteExecutor`.
        keep_above: Bytes from which a value stays there if all who need it run there; 65 536 by default. 0: every
            such value; ``inf``: none.

    Raises:
        TypeError: If *pool* is neither.
        ValueError: If *slots* is less than 1.
    """

    def __init__(
        self,
        pool: Executor | Callable[[], Executor],
        *,
        slots: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        tasks: str = "remote",
        keep_above: float = KEEP_ABOVE,
    ) -> None:
        super().__init__(tasks=tasks, keep_above=keep_above)
        if not callable(getattr(pool, "submit", None)) and not callable(pool):
            raise TypeError(
                f"pool is a concurrent.futures.Executor, or a function that makes one, not {pool!r:.100}"
            )
        if slots is not None and (isinstance(slots, bool) or not isinstance(slots, int) or slots < 1):
            raise ValueError(f"slots is a whole number from 1, not {slots!r}")
        self._is_ours = not callable(getattr(pool, "submit", None))
        self._make: Any = pool
        self._pool: Any = None if self._is_ours else pool
        self._given_slots, self._given_folder = slots, folder
        self._users = 0
        self._office: PostOffice | None = None
        self._folder = ""
        self._numbers: Iterator[int] = itertools.count()

    async def open(self) -> None:
        """Make the pool, if it is to be made here. Does not wait, and so is not cancelled."""
        if not self._users:
            self._office = PostOffice()
            self._folder = tempfile.mkdtemp(prefix="cascade-values-", dir=self._given_folder)
            if self._is_ours:
                self._pool = self._make()
        self._users += 1

    async def aclose(self) -> None:
        """Shut the pool down, if it was made here, and remove the values that have stayed. Not cancelled."""
        self._users -= 1
        if self._users:
            return
        pool, office, folder = self._pool, self._office, self._folder
        self._office = None
        if self._is_ours:
            self._pool = None
        with anyio.CancelScope(shield=True):
            await in_thread(lambda: _close(pool if self._is_ours else None, office, folder), CapacityLimiter(1))

    @property
    def slots(self) -> int:
        """How many calls run at a time."""
        known = getattr(self._pool, "_max_workers", None)
        return self._given_slots or (known if isinstance(known, int) else None) or os.cpu_count() or 1

    async def execute_many(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        """Have one worker make *calls*; see :meth:`RemoteExecutor.execute_many`.

        If cancelled, this ends when the worker has left the batch.

        Args:
            calls: At least one.
            keep: For each call, whether its value may stay in a file.
            started: Called once, with the first call of the batch that has begun.

        Raises:
            WorkerLost: If the pool is broken, or has given the batch up.
            ValuesLost: If files of values are not there any more.
            GraphError: If a worker has another version of Python or of cascade, or cannot import cascade.
        """
        packed = pack(calls, keep, self.keep_above)
        if packed.is_empty:
            return unpack(packed, None)
        office = self._office
        assert office is not None  # it is open
        batch = f"{uuid.uuid4().hex}-{next(self._numbers)}"
        office.expect(batch, started)
        pool = self._pool
        try:
            future = self._submit(office.address, batch, packed)
            try:
                await _until_ended(future, office, batch)
            except anyio.get_cancelled_exc_class():
                self._drop_all_of(future, packed)
                raise
        finally:
            office.forget(batch)
        return unpack(packed, self._answer(pool, future, packed))

    def _submit(self, address: Address, batch: str, packed: Packed) -> Future[Any]:
        files = [value.handle for value in packed.needs]
        call = (_run_there, address, batch, self._folder, packed.header, packed.payload, files)
        try:
            future: Future[Any] = self._pool.submit(*call)
            return future
        except BrokenExecutor as error:
            self._renew(self._pool)
            raise WorkerLost("", f"the pool is broken: {shortened(error)}") from error

    def _drop_all_of(self, future: Future[Any], packed: Packed) -> None:
        """Nobody wants what a batch has left behind that was cancelled."""
        with suppress(Exception, CancelledError):  # it was lost, or has not run
            outcomes = unpack(packed, future.result())
            self.drop([outcome.handle for outcome in outcomes if isinstance(outcome, Stayed)])

    def _answer(self, pool: Executor, future: Future[Any], packed: Packed) -> bytes:
        try:
            answer = future.result()
        except CancelledError as error:
            raise WorkerLost("", "the pool has given the call up") from error
        except BrokenExecutor as error:
            self._renew(pool)
            raise WorkerLost("", f"a worker of the pool has died: {shortened(error)}") from error
        except ImportError as error:
            raise GraphError(f"the workers of the pool cannot import cascade: {shortened(error)}") from error
        if isinstance(answer, list):
            raise ValuesLost([packed.needs[number] for number in answer])
        assert isinstance(answer, bytes)
        return answer

    def _renew(self, broken: Executor | None) -> None:
        """Make a new pool in the place of *broken*, if pools are made here and nobody has done so yet."""
        if self._is_ours and broken is not None and broken is self._pool:
            broken.shutdown(wait=False)
            self._pool = self._make()

    async def fetch(self, value: KeptValue) -> Any:
        """The value that has stayed in its file. If cancelled, it stays there.

        Args:
            value: What stands for it.

        Raises:
            ValuesLost: If the file is not there any more.
        """
        try:
            return await in_thread(lambda: _read(str(value.handle)), CapacityLimiter(1))
        except FileNotFoundError as error:
            raise ValuesLost([value]) from error

    def drop(self, handles: Sequence[object]) -> None:
        """Remove the files of values.

        Args:
            handles: Their names.
        """
        for handle in handles:
            with suppress(OSError):
                os.unlink(str(handle))


def _close(pool: Executor | None, office: PostOffice | None, folder: str) -> None:
    if pool is not None:
        pool.shutdown(wait=True, cancel_futures=True)
    if office is not None:
        office.close()
        hang_up(office.address)  # of threads of this process
    shutil.rmtree(folder, ignore_errors=True)


async def _until_ended(future: Future[Any], office: PostOffice, batch: str) -> None:
    """Wait until the worker has left the batch; if cancelled, tell it to, and wait then."""
    done = event_from_threads(future.add_done_callback)
    try:
        await until_set(done)
    except anyio.get_cancelled_exc_class():
        if not future.cancel():
            office.stop(batch)
            with anyio.CancelScope(shield=True):
                await until_set(done)
        raise


# -- on the worker -----------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _PoolSite(Site):
    """A worker of a pool."""

    address: Address
    batch: str
    folder: str
    name: str = attrs.field(init=False)
    _has_told: bool = False

    def __attrs_post_init__(self) -> None:
        thread = threading.current_thread()
        inside = "" if thread is threading.main_thread() else f"/{thread.name}"
        self.name = f"{socket.gethostname()}:{os.getpid()}{inside}"

    def started(self, position: int) -> None:
        if not self._has_told:  # for the engine, a batch begins with its first call
            self._has_told = True
            correspondent(self.address).tell(self.batch, position, self.name)

    def is_cancelled(self) -> bool:
        return correspondent(self.address).is_stopped(self.batch)

    def keep(self, value: Any) -> object:
        path = Path(self.folder, uuid.uuid4().hex)
        path.write_bytes(dumps(value, shares_main=False))
        return str(path)


def _run_there(
    address: Address, batch: str, folder: str, header: tuple[str, str], payload: bytes, files: Sequence[str]
) -> bytes | list[int]:
    """What a pool calls: the answer, or the numbers of the kept values that are lost."""
    values: list[Any] = []
    lost: list[int] = []
    for number, file in enumerate(files):
        try:
            values.append(_read(file))
        except FileNotFoundError:
            lost.append(number)
    return lost or run_batch(header, payload, values, _PoolSite(address, batch, folder))


def _read(file: str) -> Any:
    return pickle.loads(Path(file).read_bytes())
