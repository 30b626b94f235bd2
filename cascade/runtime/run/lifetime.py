"""A run from its first event to its last: which scope lies in which.

Nesting, outermost first: bus, observers, page and journal, resources, undo, loop, stage, node. There are two task
groups: *services* (observers, page, journal, resources, undo; each shielded, ended by a signal in reverse order)
around *work* (nodes), whose scope is cancelled to abort. Nodes never raise into a group. Failures are recorded
where they happen; here they are raised, once every group has closed. So the caller gets the user's own exception
object, with its own context.

User code never runs in the caller's task. So a cancellation that reaches a node while no scope around it is
cancelled is the node's own doing, and a failure; and a native ``Task.cancel()`` of asyncio reaches only the task
that waits for the run, and counts as a cancellation from outside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import anyio
import attrs
from anyio import CancelScope, current_time, get_cancelled_exc_class

from cascade.model.events import EngineWarning, RunFinished, RunStatus
from cascade.model.shown.raised import describe, leaves
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.records import Closing
from cascade.runtime.execution.attempt.local_executor import looking_for_workers
from cascade.runtime.execution.attempt.overdue_watch import Watch
from cascade.runtime.execution.settle import tell_of_later_turns
from cascade.runtime.foundation.cancellations import is_cancellation
from cascade.runtime.run.first_events import tell_of_start, tell_of_the_past
from cascade.runtime.run.observer_tasks import ObserverTasks
from cascade.runtime.run.outcome import RunOutcome
from cascade.runtime.run.preparation import Preparation
from cascade.runtime.run.store_session import StoreSession
from cascade.runtime.run.subflow import run_in_place
from cascade.runtime.run.tail_loop import Halted, Loop
from cascade.runtime.run.undoing import Undoing


class LivePage(Protocol):
    """What shows a run in a browser, and steers it."""

    def link(self) -> str:
        """A link that can be opened once."""
        ...

    def begin(self) -> None:
        """The run is about to publish its first event."""
        ...

    async def end(self, patience: float) -> None:
        """The run has published its last event: end too, within *patience* seconds."""
        ...

    def close(self) -> None:
        """Close what is still open."""
        ...


@attrs.define(eq=False)
class RunLifetime:
    """Takes one run to its end.

    Attributes:
        run_context: The run.
        preparation: Makes its flows ready.
        outcome: What it comes to.
        cancellation: The cancellation that ended it, if one did.
        status: How it ended; ``None`` before that.
        ended: Set when nothing of the run is alive any more.
        observers: Run its observers.
        store: Keeps the store, if there is one.
        undoing: Undoes what the run has done, if it fails.
        page: Its page, if it has one.
    """

    run_context: RunContext
    preparation: Preparation
    outcome: RunOutcome
    cancellation: BaseException | None = None
    status: RunStatus | None = None
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    observers: ObserverTasks = attrs.field(init=False)
    store: StoreSession | None = None
    undoing: Undoing = attrs.field(init=False)
    page: LivePage | None = None

    def __attrs_post_init__(self) -> None:
        run_context = self.run_context
        run_context.run_flow = functools.partial(run_in_place, run_context, self.preparation)
        run_context.tasks.watch = Watch(run_context, run_context.settings.cleanup_timeout)
        run_context.lifecycle.on_halt = self._when_halted
        self.observers = ObserverTasks(run_context, self._fail)
        self.undoing = Undoing(run_context, self.preparation)

    def _when_halted(self) -> None:
        self.run_context.signals.waiting.clear()  # none of these will go on, and nothing times out any more
        self.run_context.tasks.watch.start()

    async def run(self) -> None:
        """Run to the end; how it went is left in the attributes.

        If cancelled from outside, cleans up and raises that cancellation, unless a failure was recorded before.
        """
        from_outside: BaseException | None = None
        try:
            async with anyio.create_task_group() as services:
                self.run_context.tasks.services = services
                try:
                    self._open()
                    from_outside = await self._work()
                except BaseException:  # pragma: no cover  # an interrupt between two steps
                    self.run_context.shared.control.runs.forget(self.run_context)
                    raise
                await self._wind_down()
        except get_cancelled_exc_class() as cancellation:
            from_outside = cancellation
        except BaseExceptionGroup as group:
            self._fail(group)
        finally:
            self.run_context.shared.control.runs.forget(self.run_context)
            self._finish()
            if self.page is not None:
                self.page.close()
            self.ended.set()
        if from_outside is not None and not self.run_context.failures.recorded:
            raise from_outside

    def result(self) -> Any:
        """The value, or what the run has failed with; see :meth:`RunOutcome.result`."""
        return self.outcome.result(self.status)

    def error(self) -> BaseException | None:
        """What :meth:`result` raises."""
        return self.outcome.error(self.status)

    # -- before --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        run_context = self.run_context
        self.observers.start()
        if self.page is not None:
            self.page.begin()
        if self.store is not None:
            self.store.start()
        run_context.shared.control.runs.join(run_context)
        tell_of_start(run_context, self.outcome.prepared)

    # -- during --------------------------------------------------------------------------------------------

    async def _work(self) -> BaseException | None:
        """Run the flow; returns the cancellation from outside, if that ended it."""
        tasks = self.run_context.tasks
        try:
            async with anyio.create_task_group() as work:
                tasks.work = work
                with looking_for_workers(self.run_context):
                    await self._run_flow()
        except get_cancelled_exc_class() as cancellation:
            self._abort(cancellation)
            return cancellation
        except BaseExceptionGroup as group:  # pragma: no cover  # an interrupt between two steps
            self._fail(group)
        finally:
            tasks.work = None
        return None

    async def _run_flow(self) -> None:
        """Have the flow's value put into the outcome: a recorded one, or that of its loop of turns."""
        outcome = self.outcome
        try:
            if outcome.finished is None:
                await self.undoing.at_resume(outcome.prepared)
            await tell_of_the_past(self.run_context, outcome.prepared, is_finished=outcome.finished is not None)
            if outcome.finished is not None:
                outcome.value = outcome.finished
                return
            await self.run_context.shared.control.runs.until_known()
            loop = Loop(self.run_context, self.preparation, is_top=True)
            outcome.value = (await loop.run(outcome.prepared),)
        except Halted:
            pass
        except get_cancelled_exc_class() as cancellation:
            self._abort(cancellation)
            raise
        except BaseException as error:  # whatever it is: it is recorded here, and raised when all has ended
            self._fail(error)

    def _abort(self, cancellation: BaseException) -> None:
        self.cancellation = cancellation
        self.run_context.lifecycle.halt()

    def _fail(self, error: BaseException) -> None:
        """Record what was raised beside the nodes.

        A group is one of ours around what a signal handler raised while we waited: nodes and services raise
        nothing into groups. So it is taken apart; but not what a node has raised, which comes here as the reason
        why the target has no value.
        """
        if self.run_context.failures.has(error):
            self.run_context.lifecycle.halt()
            return
        failures = [leaf for leaf in leaves(error) if not is_cancellation(leaf)]
        for failure in failures or [error]:
            self.run_context.failures.fail(failure, "the run")

    # -- after ---------------------------------------------------------------------------------------------

    async def _wind_down(self) -> None:
        """Close all. Only services take time to end, and without any of them nothing here waits."""
        if self.run_context.tasks.has_services or self._has_to_undo():
            # In a task of its own: an interrupt hits this one, whatever shields there are.
            self.run_context.tasks.start_service(self._close_shielded)
        else:
            await self._close_all()

    def _has_to_undo(self) -> bool:
        return bool(self.outcome.status() in ("Failed", "Cancelled") and self.undoing.left)

    async def _close_shielded(self) -> None:
        with CancelScope(shield=True):
            await self._close_all()

    async def _close_all(self) -> None:
        run_context = self.run_context
        run_context.tasks.watch.stop()
        tell_of_later_turns(run_context, self.outcome.prepared.graph, self.outcome.of_target())
        await run_context.signals.close(run_context.settings.cleanup_timeout)
        if self._has_to_undo():
            await self.undoing.at_end()
        run_context.shared.control.runs.leave(run_context)
        failures = run_context.failures.recorded
        await run_context.resources.close(failures[0].error if failures else self.cancellation)
        if self.store is not None:
            await self.store.close(functools.partial(self._closing, self.outcome.status()))
        await run_context.shared.control.runs.foresee_end(run_context, run_context.settings.cleanup_timeout)
        self._finish()
        await run_context.shared.control.runs.unlink(run_context, run_context.settings.cleanup_timeout)
        await self.observers.until_left()
        if self.page is not None:
            await self.page.end(run_context.settings.cleanup_timeout)

    def _closing(self, status: RunStatus) -> Closing:
        """What the store is told at the end."""
        return attrs.evolve(self.outcome.closing(status), durations=self.preparation.ranking.learnt())

    def _finish(self) -> None:
        """Publish the last event, and end all streams."""
        if self.status is not None:
            return
        run_context = self.run_context
        self.status = self.outcome.status()
        error = self.error()
        self.outcome.name_others(error)
        self.observers.has_ended, self.observers.error = True, error
        if self.status in ("Failed", "Cancelled"):
            self.undoing.name_left(error)
        _end_tracing(run_context, self.status, error, self.outcome.counts)
        if run_context.events.wants(RunFinished):
            run_context.events.emit(
                RunFinished,
                status=self.status,
                duration=current_time() - run_context.beginning.at,
                error=None if error is None else describe(error),
                failures=tuple(describe(failure.error) for failure in run_context.failures.recorded),
                counts=self.outcome.counts(),
            )
        run_context.bus.close()


def _end_tracing(
    run_context: RunContext, status: str, error: BaseException | None, counts: Callable[[], dict[str, int]]
) -> None:
    tracing = run_context.events.tracing
    if tracing is not None:
        trouble = tracing.finish(status, error, counts())
        if trouble is not None:
            run_context.events.emit(EngineWarning, code="observer-failed", message=trouble)
