"""A run from its first event to its last: which scope lies in which.

Nesting, outermost first: bus, observers and journal, resources, loop, stage, node. Failures are recorded where
they happen; here they are raised, once every group has closed.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import attrs
from anyio import CancelScope, current_time, get_cancelled_exc_class

from cascade.graph.code import TaskNotDigestibleError
from cascade.graph.nodes import Junction
from cascade.model.errors import RunCancelled, RunFailed, StateError, annotate, describe, leaves, raise_unchanged
from cascade.model.events import EngineWarning, RunFinished, RunResumed, RunStarted, RunStatus, without_secrets
from cascade.model.outcomes import Status
from cascade.model.text import counted
from cascade.planning.sizes import Sizes, by_task, sizes_of
from cascade.runtime.context.run_context import Execution, Failure
from cascade.runtime.context.settings import Observer
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Closing
from cascade.runtime.execution.overdue_watch import Watch
from cascade.runtime.foundation.cancellations import is_cancellation
from cascade.runtime.foundation.fairness import paced
from cascade.runtime.foundation.frame import Frame
from cascade.runtime.observation.bus import EventStream
from cascade.runtime.run.preparation import Prepared
from cascade.runtime.run.tail_loop import Halted, Loop, run_in_place
from cascade.runtime.scheduling.map_items import live_map

# Seconds in which a store that did not take all in time is to let go of the run.
_LETTING_GO: Final = 2.0


@attrs.define(eq=False)
class Conductor:
    """Takes one run to its end.

    Attributes:
        execution: The run.
        prepared: Its flow.
        backend: Where to record outcomes.
        finished: The result, boxed, if the run had finished before.
        value: What it gave.
        has_value: Whether it came to that.
        cancellation: The cancellation that ended it, if one did.
        status: How it ended; ``None`` before that.
        overran: What is to be said of observers that did not end in time; that fails no run.
        ended: Set when nothing of the run is alive any more.
    """

    execution: Execution
    prepared: Prepared
    backend: StateBackend | None = None
    finished: tuple[Any] | None = None
    value: Any = None
    has_value: bool = False
    cancellation: BaseException | None = None
    status: RunStatus | None = None
    overran: list[str] = attrs.field(factory=list)
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    _together: RunFailed | None = None
    _beating: CancelScope = attrs.field(factory=lambda: CancelScope(shield=True))
    _observers: dict[int, CancelScope] = attrs.field(factory=dict)
    _observers_left: anyio.Event = attrs.field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        execution = self.execution
        execution.in_place = functools.partial(run_in_place, execution)
        execution.live_map = functools.partial(live_map, execution)
        execution.watch = Watch(execution, execution.settings.cleanup_timeout)

    async def run(self) -> None:
        """Run to the end; how it went is left in the attributes.

        If cancelled from outside, cleans up and raises that cancellation, unless a failure was recorded before.
        """
        from_outside: BaseException | None = None
        try:
            async with anyio.create_task_group() as services:
                self.execution.services = services
                try:
                    self._open()
                    from_outside = await self._work()
                except BaseException:  # pragma: no cover  # an interrupt between two steps
                    self.execution.shared.control.forget(self.execution)
                    raise
                # In a task of its own: an interrupt hits this one, whatever shields there are.
                self.execution.start_service(self._wind_down)
        except get_cancelled_exc_class() as cancellation:
            from_outside = cancellation
        except BaseExceptionGroup as group:
            self._fail(group)
        finally:
            self.execution.shared.control.forget(self.execution)
            self._finish()
            self.ended.set()
        if from_outside is not None and not self.execution.failures:
            raise from_outside

    def result(self) -> Any:
        """The value.

        Raises:
            RunFailed: If failures are to be raised together.
            RunCancelled: If it was cancelled.
            BaseException: The first failure, as it is.
        """
        error = self.error()
        if error is not None:
            raise_unchanged(error)
        return self.value

    def error(self) -> BaseException | None:
        """What :meth:`result` raises."""
        failures = [failure.error for failure in self.execution.failures]
        if not failures:
            has_stopped = self.status in ("Cancelled", "Drained")
            return RunCancelled(self.execution.run_id, str(self.status).lower()) if has_stopped else None
        for error in failures:
            if not isinstance(error, Exception):
                return error
        exceptions = [error for error in failures if isinstance(error, Exception)]
        if self.execution.settings.on_error == "first" or len(exceptions) < len(failures):
            return failures[0]
        if self._together is None or len(self._together.exceptions) < len(exceptions):
            # One object, however often it is asked for: what was raised already is known by its identity.
            message = f"{len(exceptions)} of the tasks of run {self.execution.run_id!r} failed"
            self._together = RunFailed(message, exceptions, self._results())
        return self._together

    # -- before --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        execution = self.execution
        for number, observer in enumerate(execution.settings.observers):
            stream = execution.bus.subscribe(*getattr(observer, "kinds", ()), buffer=1024)
            self._observers[number] = CancelScope(shield=True)
            execution.start_service(self._observe, number, observer, stream)
        if self.backend is not None:
            execution.open_journal(self.backend)
            if self.backend.heartbeat_every is not None:
                execution.start_service(self._beat, self.backend, self.backend.heartbeat_every)
        execution.shared.control.join(execution)
        if execution.wants(RunStarted):
            graph = self.prepared.graph
            sizes = self._sizes()
            execution.emit(
                RunStarted,
                target_tasks=tuple(graph.name(member) for member in graph.members),
                params=self._params(),
                calls=sizes.calls,
                maps=sizes.maps,
            )

    def _sizes(self) -> Sizes:
        return sizes_of(self.prepared.graph, self.prepared.layout, self.prepared.inputs)

    async def _tell_of_the_past(self) -> None:
        """Tell what was recorded, and what could not be compared with it."""
        recovery = self.execution.recovery
        if recovery is None:
            return
        past = recovery.past
        if past.is_known and self.execution.wants(RunResumed):
            maps = {map_id for maps in self._sizes().maps.values() for map_id in maps}
            is_finished = self.finished is not None
            self.execution.emit(
                RunResumed,
                recorded=len(past.nodes or ()),
                epoch=past.epoch,
                by_task=await paced(by_task(past.nodes or (), maps)),
                finished=past.finished if is_finished else None,
                is_finished=is_finished,
            )
        of_tasks: list[str] = []
        of_values: list[str] = []
        for name, error in recovery.contents.strangers.items():
            (of_tasks if isinstance(error, TaskNotDigestibleError) else of_values).append(f"{name!r} ({error})")
        for what, named in (
            ("run again whenever the run is resumed, as it is not known what their tasks do", of_tasks),
            ("compared with records by all but this, which has no digest", of_values),
        ):
            if named:
                message = f"{what}: {', '.join(named[:5])}"
                self.execution.emit(EngineWarning, code="not-digestible", message=message)

    async def _beat(self, backend: StateBackend, pause: float) -> None:
        """Say again and again that the run is alive."""
        with self._beating:
            while True:
                await anyio.sleep(pause)
                try:
                    await backend.heartbeat()
                except StateError as error:
                    self.execution.fail(error, "state store")
                    return
                except Exception as error:  # the next one, or the next write, may do better
                    message = f"the state store could not be told that the run is alive: {describe(error)}"
                    self.execution.emit(EngineWarning, code="heartbeat-failed", message=message)

    def _params(self) -> dict[str, Any]:
        """The parameters as they may be shown.

        Those that only a later flow may know are left out: whether one of them is secret is not known yet.
        """
        params, secrets = self.prepared.params(), self.execution.secrets
        return {name: without_secrets(value, secrets) for name, value in params.items()} if secrets else params

    async def _observe(self, number: int, observer: Observer, stream: EventStream) -> None:
        try:
            with self._observers[number]:
                async with stream:
                    await observer(stream)
        except BaseException as error:  # its own: a cancellation of the scope around it does not leave that
            if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(error)):
                self._fail(error)  # which interrupts the run, wherever it strikes
                return
            # An observer never fails the run: it is detached, and that is reported.
            message = f"the observer {_name(observer)} raised {describe(error)} and has been detached"
            self.execution.emit(EngineWarning, code="observer-failed", message=message)
        finally:
            del self._observers[number]
            if not self._observers:
                self._observers_left.set()

    # -- during --------------------------------------------------------------------------------------------

    async def _work(self) -> BaseException | None:
        """Run the flow; returns the cancellation from outside, if that ended it."""
        execution = self.execution
        try:
            async with anyio.create_task_group() as work:
                execution.work = work
                try:
                    await self._tell_of_the_past()
                    if self.finished is not None:
                        self.value, self.has_value = self.finished[0], True
                        return None
                    await execution.shared.control.until_known()
                    self.value = await Loop(execution, is_top=True).run(self.prepared)
                    self.has_value = True
                except Halted:
                    pass
                except get_cancelled_exc_class() as cancellation:
                    self.cancellation = cancellation
                    execution.halt()
                    raise
                except BaseException as error:
                    self._fail(error)
        except get_cancelled_exc_class() as cancellation:
            self.cancellation = cancellation
            execution.halt()
            return cancellation
        except BaseExceptionGroup as group:  # pragma: no cover  # an interrupt between two steps
            self._fail(group)
        finally:
            execution.work = None
        return None

    def _fail(self, error: BaseException) -> None:
        """Record what was raised beside the nodes.

        A group is one of ours around what a signal handler raised while we waited: nodes and services raise
        nothing into groups. So it is taken apart; but not what a node has raised, which comes here as the reason
        why the target has no value.
        """
        if self.execution.has_recorded(error):
            self.execution.halt()
            return
        failures = [leaf for leaf in leaves(error) if not is_cancellation(leaf)]
        for failure in failures or [error]:
            self.execution.fail(failure, "the run")

    # -- after ---------------------------------------------------------------------------------------------

    async def _wind_down(self) -> None:
        with CancelScope(shield=True):
            await self._close_all()

    async def _close_all(self) -> None:
        execution = self.execution
        execution.watch.stop()
        execution.shared.control.leave(execution)
        failures = execution.failures
        await execution.resources.close(failures[0].error if failures else self.cancellation)
        if execution.journal is not None:
            await self._close_journal(self._status())
        await execution.shared.control.foresee_end(execution, execution.settings.cleanup_timeout)
        self._finish()
        await execution.shared.control.unlink(execution, execution.settings.cleanup_timeout)
        if self._observers:
            with anyio.move_on_after(execution.settings.cleanup_timeout):
                await self._observers_left.wait()
        for number, scope in self._observers.items():
            self.overran.append(
                f"the observer {_name(execution.settings.observers[number])} did not end within "
                f"cleanup_timeout ({execution.settings.cleanup_timeout:g} s) and has been cancelled"
            )
            scope.cancel()

    async def _close_journal(self, status: RunStatus) -> None:
        """Write what is left, and let go of the run, also if the store did not take what is left."""
        execution = self.execution
        assert execution.journal is not None
        budget, backend = execution.settings.cleanup_timeout, execution.journal.backend
        try:
            is_in_time = await self._ask_store(lambda: self._write_rest(status), budget)
        finally:
            self._beating.cancel()
        if is_in_time and await self._ask_store(backend.aclose, budget):
            return
        execution.journal.abandon()
        message = f"the state store did not take what was left within cleanup_timeout ({budget:g} s)"
        execution.fail(TimeoutError(message), "state store")
        if not is_in_time:
            with anyio.move_on_after(_LETTING_GO), suppress(Exception):
                await backend.aclose()

    async def _write_rest(self, status: RunStatus) -> None:
        execution = self.execution
        assert execution.journal is not None
        await execution.journal.close()
        self._beating.cancel()
        if not execution.journal.has_failed:
            # Failures of the store itself are recorded by then: they change the status.
            execution.not_durable(await execution.journal.backend.finish(self._closing(status)))

    async def _ask_store(self, step: Callable[[], Awaitable[None]], budget: float) -> bool:
        """Do a last *step* with the store, whose failure is one of the run; whether it ended in time."""
        execution = self.execution
        assert execution.journal is not None
        try:
            with anyio.move_on_after(budget) as patience:
                await step()
        except Exception as error:
            lost = StateError(
                f"the state store could not be closed ({describe(error)}); "
                f"{execution.journal.recorded} settled nodes are recorded",
                recorded=execution.journal.recorded,
                lost=[],
            )
            lost.__cause__ = error
            execution.fail(lost, "state store")
        return not patience.cancelled_caught

    def _finish(self) -> None:
        """Publish the last event, and end all streams."""
        if self.status is not None:
            return
        execution = self.execution
        self.status = self._status()
        error = self.error()
        others = [failure for failure in execution.failures if failure.error is not error]
        if error is not None and others and error is not self._together:
            annotate(error, _others(others))
        execution.emit(
            RunFinished,
            status=self.status,
            duration=current_time() - execution.began,
            error=None if error is None else describe(error),
            failures=tuple(describe(failure.error) for failure in execution.failures),
            counts=self.counts(),
        )
        execution.bus.close()

    def _status(self) -> RunStatus:
        if self.execution.failures:
            return "Failed"
        if self.execution.is_halted:
            return "Cancelled"
        return "Succeeded" if self.has_value else "Drained"

    def _closing(self, status: RunStatus) -> Closing:
        """What the store is told of the end."""
        if status == "Succeeded":
            return Closing("succeeded", result=(self.value,))
        error = self.error()
        return Closing("failed" if status == "Failed" else "cancelled", None if error is None else describe(error))

    def counts(self) -> dict[str, int]:
        """Nodes by state: how many ended in each, and how many of the present turn have not."""
        counts = {status.name.lower(): self.execution.counts[status] for status in Status}
        del counts["running"], counts["queued"]
        frame = self.execution.frame
        if self.finished is not None:
            counts["pending"] = 0  # all of them had ended before
        else:
            counts["pending"] = self.prepared.layout.calls if frame is None else frame.unsettled
        return counts

    def _results(self) -> dict[str, Any]:
        """Values of target members, of nodes that somebody still wanted, and of the items of failed maps."""
        top = self.execution.frame
        frames = ([] if top is None else [top]) + self.execution.failed_maps
        return {name: value for frame in frames for name, value in _values_left(frame)}


def _others(failures: Sequence[Failure]) -> str:
    """The note that counts *failures*, and names the first of them."""
    shown = "; ".join(f"{failure.origin}: {describe(failure.error):.200}" for failure in failures[:3])
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return f"{counted(len(failures), 'other failure')} of this run: {shown}{more} (all in RunFinished.failures)"


def _name(observer: Observer) -> str:
    return str(getattr(observer, "__name__", None) or repr(observer))


def _values_left(frame: Frame) -> Iterator[tuple[str, Any]]:
    while frame.backlog:
        frame.let_go_some()
    for index, row in enumerate(frame.graph.rows):
        if type(row) is not Junction and frame.status[index] == Status.SUCCEEDED and frame.uses[index]:
            yield frame.name(index), frame.values[index]
