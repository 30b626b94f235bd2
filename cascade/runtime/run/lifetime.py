"""A run from its first event to its last: which scope lies in which.

Nesting, outermost first: bus, observers and journal, resources, loop, stage, node. There are two task groups:
*services* (observers, journal, resources; each shielded, ended by a signal in reverse order) around *work*
(nodes), whose scope is cancelled to abort. Nodes never raise into a group. Failures are recorded where they
happen; here they are raised, once every group has closed. So the caller gets the user's own exception object,
with its own context.

User code never runs in the caller's task. So a cancellation that reaches a node while no scope around it is
cancelled is the node's own doing, and a failure; and a native ``Task.cancel()`` of asyncio reaches only the task
that waits for the run, and counts as a cancellation from outside.
"""

from __future__ import annotations

import functools
from typing import Any

import anyio
import attrs
from anyio import CancelScope, current_time, get_cancelled_exc_class

from cascade.graph.code import TaskNotDigestibleError
from cascade.model.errors import describe, leaves
from cascade.model.events import EngineWarning, RunFinished, RunResumed, RunStarted, RunStatus, without_secrets
from cascade.planning.sizes import Sizes, by_task, sizes_of
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.execution.attempt.overdue_watch import Watch
from cascade.runtime.foundation.cancellations import is_cancellation
from cascade.runtime.foundation.fairness import paced
from cascade.runtime.run.observer_tasks import ObserverTasks
from cascade.runtime.run.outcome import RunOutcome
from cascade.runtime.run.preparation import Prepared
from cascade.runtime.run.store_session import StoreSession
from cascade.runtime.run.subflow import run_in_place
from cascade.runtime.run.tail_loop import Halted, Loop


@attrs.define(eq=False)
class RunLifetime:
    """Takes one run to its end.

    Attributes:
        execution: The run.
        outcome: What it comes to.
        cancellation: The cancellation that ended it, if one did.
        status: How it ended; ``None`` before that.
        ended: Set when nothing of the run is alive any more.
        observers: Run its observers.
        store: Keeps the store, if there is one.
    """

    execution: RunContext
    outcome: RunOutcome
    cancellation: BaseException | None = None
    status: RunStatus | None = None
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    observers: ObserverTasks = attrs.field(init=False)
    store: StoreSession | None = None

    @classmethod
    def of(
        cls,
        execution: RunContext,
        prepared: Prepared,
        backend: StateBackend | None = None,
        finished: tuple[Any] | None = None,
    ) -> RunLifetime:
        """The life of a run that has not begun.

        Args:
            execution: The run.
            prepared: Its flow.
            backend: Where to record outcomes.
            finished: The result, boxed, if the run had finished before.
        """
        lifetime = cls(execution, RunOutcome(execution, prepared, finished))
        if backend is not None:
            lifetime.store = StoreSession(execution, backend)
        return lifetime

    def __attrs_post_init__(self) -> None:
        execution = self.execution
        execution.run_flow = functools.partial(run_in_place, execution)
        execution.tasks.watch = watch = Watch(execution, execution.settings.cleanup_timeout)
        execution.lifecycle.on_halt = watch.start
        self.observers = ObserverTasks(execution, self._fail)

    async def run(self) -> None:
        """Run to the end; how it went is left in the attributes.

        If cancelled from outside, cleans up and raises that cancellation, unless a failure was recorded before.
        """
        from_outside: BaseException | None = None
        try:
            async with anyio.create_task_group() as services:
                self.execution.tasks.services = services
                try:
                    self._open()
                    from_outside = await self._work()
                except BaseException:  # pragma: no cover  # an interrupt between two steps
                    self.execution.shared.control.runs.forget(self.execution)
                    raise
                # In a task of its own: an interrupt hits this one, whatever shields there are.
                self.execution.tasks.start_service(self._wind_down)
        except get_cancelled_exc_class() as cancellation:
            from_outside = cancellation
        except BaseExceptionGroup as group:
            self._fail(group)
        finally:
            self.execution.shared.control.runs.forget(self.execution)
            self._finish()
            self.ended.set()
        if from_outside is not None and not self.execution.failures.recorded:
            raise from_outside

    def result(self) -> Any:
        """The value, or what the run has failed with; see :meth:`RunOutcome.result`."""
        return self.outcome.result(self.status)

    def error(self) -> BaseException | None:
        """What :meth:`result` raises."""
        return self.outcome.error(self.status)

    # -- before --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        execution = self.execution
        self.observers.start()
        if self.store is not None:
            self.store.start()
        execution.shared.control.runs.join(execution)
        if execution.events.wants(RunStarted):
            graph = self.outcome.prepared.graph
            sizes = self._sizes()
            execution.events.emit(
                RunStarted,
                target_tasks=tuple(graph.name(member) for member in graph.members),
                params=self._params(),
                calls=sizes.calls,
                maps=sizes.maps,
            )

    def _sizes(self) -> Sizes:
        return sizes_of(self.outcome.prepared.graph, self.outcome.prepared.layout, self.outcome.prepared.inputs)

    async def _tell_of_the_past(self) -> None:
        """Tell what was recorded, and what could not be compared with it."""
        recovery = self.execution.store.recovery
        if recovery is None:
            return
        past = recovery.past
        if past.is_known and self.execution.events.wants(RunResumed):
            maps = {map_id for maps in self._sizes().maps.values() for map_id in maps}
            is_finished = self.outcome.finished is not None
            self.execution.events.emit(
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
                self.execution.events.emit(EngineWarning, code="not-digestible", message=message)

    def _params(self) -> dict[str, Any]:
        """The parameters as they may be shown.

        Those that only a later flow may know are left out: whether one of them is secret is not known yet.
        """
        params, secrets = self.outcome.prepared.params(), self.execution.events.secrets
        return {name: without_secrets(value, secrets) for name, value in params.items()} if secrets else params

    # -- during --------------------------------------------------------------------------------------------

    async def _work(self) -> BaseException | None:
        """Run the flow; returns the cancellation from outside, if that ended it."""
        execution = self.execution
        try:
            async with anyio.create_task_group() as work:
                execution.tasks.work = work
                try:
                    await self._tell_of_the_past()
                    if self.outcome.finished is not None:
                        self.outcome.value = self.outcome.finished
                        return None
                    await execution.shared.control.runs.until_known()
                    self.outcome.value = (await Loop(execution, is_top=True).run(self.outcome.prepared),)
                except Halted:
                    pass
                except get_cancelled_exc_class() as cancellation:
                    self.cancellation = cancellation
                    execution.lifecycle.halt()
                    raise
                except BaseException as error:
                    self._fail(error)
        except get_cancelled_exc_class() as cancellation:
            self.cancellation = cancellation
            execution.lifecycle.halt()
            return cancellation
        except BaseExceptionGroup as group:  # pragma: no cover  # an interrupt between two steps
            self._fail(group)
        finally:
            execution.tasks.work = None
        return None

    def _fail(self, error: BaseException) -> None:
        """Record what was raised beside the nodes.

        A group is one of ours around what a signal handler raised while we waited: nodes and services raise
        nothing into groups. So it is taken apart; but not what a node has raised, which comes here as the reason
        why the target has no value.
        """
        if self.execution.failures.has(error):
            self.execution.lifecycle.halt()
            return
        failures = [leaf for leaf in leaves(error) if not is_cancellation(leaf)]
        for failure in failures or [error]:
            self.execution.failures.fail(failure, "the run")

    # -- after ---------------------------------------------------------------------------------------------

    async def _wind_down(self) -> None:
        with CancelScope(shield=True):
            await self._close_all()

    async def _close_all(self) -> None:
        execution = self.execution
        execution.tasks.watch.stop()
        execution.shared.control.runs.leave(execution)
        failures = execution.failures.recorded
        await execution.resources.close(failures[0].error if failures else self.cancellation)
        if self.store is not None:
            await self.store.close(functools.partial(self.outcome.closing, self.outcome.status()))
        await execution.shared.control.runs.foresee_end(execution, execution.settings.cleanup_timeout)
        self._finish()
        await execution.shared.control.runs.unlink(execution, execution.settings.cleanup_timeout)
        await self.observers.until_left()

    def _finish(self) -> None:
        """Publish the last event, and end all streams."""
        if self.status is not None:
            return
        execution = self.execution
        self.status = self.outcome.status()
        error = self.error()
        self.outcome.name_others(error)
        execution.events.emit(
            RunFinished,
            status=self.status,
            duration=current_time() - execution.beginning.at,
            error=None if error is None else describe(error),
            failures=tuple(describe(failure.error) for failure in execution.failures.recorded),
            counts=self.outcome.counts(),
        )
        execution.bus.close()
