"""What a Ray executor uses while it is open. Imported then, as it needs Ray."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Self

import attrs
import ray

from cascade.adapters.remote.ray.batch import Batch, fetch, lost
from cascade.adapters.remote.ray.board import Board
from cascade.adapters.remote.ray.source import Source
from cascade.adapters.remote.ray.talker import Pulse, Talker, size
from cascade.adapters.remote.wire import Packed
from cascade.runtime.foundation.remote_executor import KeptValue


@attrs.define(eq=False)
class Cluster:
    """A connection to Ray in use. Its methods may be called in any thread and wait for nothing, but ``close``.

    Attributes:
        is_ours: Whether to end the connection after use.
        slots: CPUs of all nodes.
    """

    is_ours: bool
    _talker: Talker
    slots: int
    _pulse: Pulse = attrs.field(init=False)
    _board: Any = None
    _batches: dict[str, Batch] = attrs.field(factory=dict)
    _fetches: set[Future[Any]] = attrs.field(factory=set)
    _is_lost: bool = False

    @classmethod
    def of(cls, source: Source) -> Self:
        """The cluster of *source*. To be called in a thread, as this waits until it is connected."""
        talker = Talker()
        talker.start()
        try:
            return talker.ask(functools.partial(cls._connected, source, talker))
        except BaseException:
            talker.end()
            raise

    @classmethod
    def _connected(cls, source: Source, talker: Talker) -> Self:
        made = cls(source.connect(), talker, size())
        made._board = ray.remote(Board).options(num_cpus=0).remote()
        made._pulse = Pulse(made._is_there, made._is_silent)
        made._pulse.start()
        made._listen()
        return made

    def close(self) -> None:
        """Let go of all that is under way, and of the connection if it is ours."""
        self._pulse.end()
        self._fail(ConnectionError("the Ray executor was closed"))
        self._talker.say(self._say_goodbye)
        self._talker.end()

    def _say_goodbye(self) -> None:
        with suppress(Exception):  # the cluster may be gone
            ray.kill(self._board)
        self._board = None
        with suppress(Exception):
            if self.is_ours:
                ray.shutdown()

    # -- what is under way ----------------------------------------------------------------------------------------

    def begin(
        self, packed: Packed, room: int, options: Mapping[str, Any], started: Callable[[int, str], None]
    ) -> Batch:
        """Begin to run a batch.

        Args:
            packed: The calls.
            room: How many values may stay.
            options: For the task: what it claims of its worker.
            started: As ``execute_many`` takes it.
        """
        batch = Batch(uuid.uuid4().hex, packed, room, options, started)
        self._batches[batch.key] = batch
        batch.has_left.add_done_callback(lambda _: self._batches.pop(batch.key, None))
        if self._is_lost:
            batch.fail(lost())
        self._talker.say(lambda: batch.submit(self._board))
        return batch

    def stop(self, batch: Batch) -> None:
        """Cancel a batch; its ``has_left`` says when it has left its worker."""
        if self._is_lost:
            batch.leave()
        self._talker.say(batch.cancel)

    def fetch(self, value: KeptValue) -> Future[Any]:
        """Get a value that has stayed."""
        found: Future[Any] = Future()
        self._fetches.add(found)
        found.add_done_callback(self._fetches.discard)
        self._talker.say(functools.partial(fetch, value, found))
        return found

    # -- the cluster ----------------------------------------------------------------------------------------------

    def _is_there(self, cpus: int) -> None:
        self.slots, self._is_lost = cpus, False

    def _is_silent(self) -> None:
        self.slots, self._is_lost = 0, True
        self._fail(lost())

    def _fail(self, error: Exception) -> None:
        for batch in list(self._batches.values()):
            batch.fail(error)
            batch.leave()
        for found in list(self._fetches):
            with suppress(InvalidStateError):
                found.set_exception(error)

    def _listen(self) -> None:
        with suppress(Exception):  # the cluster is gone: there is no more news
            if self._board is not None:
                self._board.read.remote().future().add_done_callback(self._hear)

    def _hear(self, future: Future[Any]) -> None:
        with suppress(Exception):  # the board is gone: starts are not told any more, and known by the outcomes
            starts = future.result()
            self._talker.say(self._listen)
            for key, position, worker in starts:
                batch = self._batches.get(key)
                if batch is not None:
                    batch.begun(position, worker)
