"""One batch on Ray, from its submission to its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Final

import attrs
import ray
from ray import exceptions

from cascade.adapters.remote.ray.there import run_there
from cascade.adapters.remote.wire import Packed
from cascade.adapters.serialization.values import shortened
from cascade.model.errors import GraphError, WorkerLost
from cascade.runtime.foundation.remote_executor import KeptValue, ValuesLost

_GONE: Final = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.OutOfMemoryError,
)


@attrs.define(eq=False)
class Reference:
    """A reference to a value on the cluster, which is let go of when this is emptied.

    Attributes:
        ref: Ray's; ``None`` once it is let go of.
    """

    ref: Any


# What a batch gives: its answer, and references to the values that have stayed.
Outcome = tuple[bytes, Sequence[Reference]]


@attrs.define(eq=False)
class Batch:
    """A batch under way.

    Attributes:
        key: Names it on the board.
        packed: Its calls.
        room: How many values may stay.
        options: For the task: what it claims of its worker.
        started: As ``execute_many`` takes it.
        outcome: How it ends.
        has_left: Is set when it has, also if it was stopped.
    """

    key: str
    packed: Packed
    room: int
    options: Mapping[str, Any]
    started: Callable[[int, str], None]
    outcome: Future[Outcome] = attrs.field(factory=Future)
    has_left: Future[None] = attrs.field(factory=Future)
    _worker: str = ""
    _refs: Sequence[Any] = ()
    _is_stopped: bool = False

    # -- in the talker's thread -----------------------------------------------------------------------------------

    def submit(self, board: Any) -> None:
        """Hand it over to Ray. Never raises."""
        if self._is_stopped or self.outcome.done():
            self.leave()
            return
        packed = self.packed
        needs = [kept.handle.ref for kept in packed.needs]  # type: ignore[attr-defined]
        missing = [kept for kept, ref in zip(packed.needs, needs, strict=True) if ref is None]
        if missing:
            self.fail(ValuesLost(missing))
            self.leave()
            return
        try:
            task = ray.remote(run_there).options(num_returns=1 + self.room, max_retries=0, **self.options)
            refs = task.remote(self.key, board, packed.header, packed.payload, self.room, *needs)
            self._refs = refs if self.room else [refs]
            self._refs[0].future().add_done_callback(self._ended)
        except Exception as error:  # Ray, its client or the network
            self.fail(self._failure(error))
            self.leave()

    def cancel(self) -> None:
        """Have Ray forget it, or interrupt it. Never raises."""
        self._is_stopped = True
        with suppress(Exception):  # Ray says by the result that it is gone
            if self._refs:
                ray.cancel(self._refs[0])

    # -- in any thread --------------------------------------------------------------------------------------------

    def begun(self, position: int, worker: str) -> None:
        """A call of it has started."""
        self._worker = worker
        self.started(position, worker)

    def fail(self, error: Exception) -> None:
        """It ends with *error*, unless it has ended."""
        with suppress(InvalidStateError):
            self.outcome.set_exception(error)

    def leave(self) -> None:
        """It has left its worker, or nothing can be known of it any more."""
        with suppress(InvalidStateError):
            self.has_left.set_result(None)

    def _ended(self, future: Future[Any]) -> None:
        try:
            answer = future.result()
        except BaseException as error:  # Ray's errors, and CancelledError
            failure = self._failure(error)
            waited = isinstance(error, exceptions.TaskCancelledError) or isinstance(failure, ValuesLost)
            if not waited and not self._worker:
                self.begun(0, "")  # it may have
            self.fail(failure)
        else:
            kept = [Reference(ref) for ref in self._refs[1:]]
            with suppress(InvalidStateError):
                self.outcome.set_result((answer, kept))
        self._refs = ()
        self.leave()

    def _failure(self, error: BaseException) -> Exception:
        needs = self.packed.needs
        cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
        if isinstance(cause, exceptions.ObjectLostError) and needs:
            return ValuesLost(needs)
        if isinstance(cause, ConnectionError):
            return lost()
        if isinstance(cause, _GONE):
            return WorkerLost(self._worker, shortened(cause).partition(" Check ")[0])
        if isinstance(cause, (exceptions.TaskCancelledError, exceptions.RayError)):
            if isinstance(error, exceptions.RayTaskError) and not isinstance(cause, exceptions.TaskCancelledError):
                return unfit(error)
            return WorkerLost(self._worker, f"Ray has given the call up: {shortened(cause)}")
        return unfit(cause or error)


def unfit(error: BaseException) -> GraphError:
    """What is raised if workers cannot run a batch at all."""
    return GraphError(
        f"the Ray cluster cannot run a call: {shortened(error)}; its nodes need the versions of cascade and of "
        "its dependencies that this process has"
    )


def lost() -> ConnectionError:
    """What is raised once the cluster is given up."""
    return ConnectionError("the Ray cluster is gone, or does not answer; what ran there may have had effects")


def fetch(value: KeptValue, found: Future[Any]) -> None:
    """Have *found* be set to the value that has stayed, or to why it cannot be had. In the talker's thread."""

    def ended(future: Future[Any]) -> None:
        with suppress(InvalidStateError):
            try:
                found.set_result(future.result())
            except ConnectionError:
                found.set_exception(lost())
            except exceptions.RayError:
                found.set_exception(ValuesLost([value]))
            except BaseException as error:  # unpickling runs the code of the value's class
                found.set_exception(error)

    reference: Any = value.handle
    if reference.ref is None:
        found.set_exception(ValuesLost([value]))
        return
    try:
        reference.ref.future().add_done_callback(ended)
    except Exception:  # Ray, its client or the network
        with suppress(InvalidStateError):
            found.set_exception(lost())
