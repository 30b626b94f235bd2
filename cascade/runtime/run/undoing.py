"""Undoing what a run has done: the nodes that have succeeded and have an undo, one after another, the last first.

Each undo is a flow of its own, a call of the undo task with the value of the node. It runs in a context of its
own, as the run itself has been halted by then, with the run's resources, executor and admission. But nobody is
told of its nodes, they are not recorded, and their failures stop nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

import anyio
import attrs
from anyio import current_time, get_cancelled_exc_class

from cascade.model.errors import StateError
from cascade.model.events import (
    Event,
    LoopProgress,
    NodeEvent,
    StageFinished,
    StageStarted,
    UndoFinished,
    UndoStarted,
)
from cascade.model.shown.raised import annotate, describe
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.context.run_events import RunEvents
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.resuming.resume import forget_undone
from cascade.runtime.durability.undo_log import Undoable, UndoLog
from cascade.runtime.execution.attempt.overdue_watch import Watch
from cascade.runtime.observation.bus import EventBus
from cascade.runtime.run.preparation import Preparation, Prepared
from cascade.runtime.run.subflow import run_in_place
from cascade.runtime.run.tail_loop import Halted, Loop

# Of the nodes that are not undone, how many are named.
SHOWN: Final = 20
_UNTOLD: Final = (NodeEvent, StageStarted, StageFinished, LoopProgress)


@attrs.define(eq=False)
class UndoEvents(RunEvents):
    """The events of an undo: warnings are those of the run, and nobody is told of single nodes.

    Attributes:
        outer: The events of the run.
    """

    outer: RunEvents = attrs.field(kw_only=True)

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to events of class *kind*."""
        return not issubclass(kind, _UNTOLD) and self.outer.wants(kind)

    def wants_attempts(self) -> bool:
        """Nobody is told when a node starts or ends."""
        return False

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Publish an event of the run, if anybody listens."""
        if self.wants(kind):
            self.outer.emit(kind, **fields)


@attrs.define(eq=False)
class Undoing:
    """Undoes the nodes of one run.

    Attributes:
        run_context: The run.
        preparation: Makes flows ready.
        current: The number of the success that is being undone; ``None`` if none is.
        failed: Numbers of those whose undo has failed.
    """

    run_context: RunContext
    preparation: Preparation
    current: int | None = None
    failed: set[int] = attrs.field(factory=set)
    _troubles: list[tuple[BaseException, str]] = attrs.field(factory=list)

    @property
    def log(self) -> UndoLog:
        """What there is to undo."""
        return self.run_context.store.undo

    @property
    def left(self) -> list[int]:
        """Numbers of those that are not undone, the next one first."""
        return sorted(self.log.pending.keys() - self.failed, reverse=True)

    def ahead(self) -> list[Undoable]:
        """Those that are still to be undone, the present one first; none unless undoing is under way."""
        if self.current is None:
            return []
        ahead = (self.log.pending[number] for number in self.left if number <= self.current)
        return [undoable for undoable in ahead if undoable is not None]

    async def at_end(self) -> None:
        """Undo what the run has done, which has failed or was cancelled, within ``cleanup_timeout``.

        What is not done then is left to a resumed run, and named in a failure.
        """
        if not self.left:
            return
        budget = self.run_context.settings.cleanup_timeout
        with anyio.move_on_after(budget, shield=True) as patience:
            await self._undo_all()
        if patience.cancelled_caught and self.left:
            what = f"undone within cleanup_timeout ({budget:g} s)"
            self.run_context.failures.fail(TimeoutError(f"not {what}: {self._shown(self.left)}"), "the undo")

    async def at_resume(self, prepared: Prepared) -> None:
        """Finish what an earlier execution has begun to undo; then forget what it had recorded of it.

        Raises:
            Halted: If an undo fails: its node must not run again. All others have been undone.
            StateError: If the store fails.
        """
        recovery = self.run_context.store.recovery
        if recovery is None or not self.log.has_begun:
            return
        await self._undo_all()
        if self.log.pending:
            raise Halted
        try:
            await forget_undone(recovery, prepared.graph)
        except Exception as error:  # a store may raise anything
            raise StateError(f"cannot forget what has been undone: {describe(error)}") from error
        self.log.take_up(recovery.undos)

    def name_left(self, error: BaseException | None) -> None:
        """Note on *error*, which the run raises, what of the run is not undone."""
        pending, journal = sorted(self.log.pending, reverse=True), self.run_context.store.journal
        if error is None or not pending:
            return
        remedy = ""
        if self.log.is_refused:
            remedy = ", as the state store has failed; a resumed run goes on from what is recorded"
        elif journal is not None:
            remedy = "; a resumed run undoes it before anything else"
        annotate(error, f"not undone: {self._shown(pending)}{remedy}")

    def _shown(self, numbers: Sequence[int]) -> str:
        more = len(numbers) - SHOWN
        return ", ".join(self.log.names(numbers[:SHOWN])) + (f" and {more} more" if more > 0 else "")

    # -- one after another ---------------------------------------------------------------------------------

    async def _undo_all(self) -> None:
        log, store = self.log, self.run_context.store
        try:
            if not await log.begin():
                return  # another process may go on with the run, and knows nothing of this
            if store.recovery is not None and not await self._read(store.recovery.backend):
                return
            for number in self.left:
                self.current = number
                if not await self._undo(number):
                    return
        finally:
            self.current = None
            for trouble, origin in self._troubles:
                self.run_context.failures.fail(trouble, origin)
            self._troubles.clear()

    async def _read(self, backend: StateBackend) -> bool:
        """Read the records that have not been read; returns whether the store could be asked."""
        try:
            await self.log.read(backend)
        except Exception as error:  # a store may raise anything
            lost = StateError(f"cannot read what is to be undone: {describe(error)}")
            lost.__cause__ = error
            self._troubles.append((lost, "state store"))
            return False
        return True

    async def _undo(self, number: int) -> bool:
        """Undo one node, and record that; returns whether the next one may be undone."""
        undoable = self.log.pending[number]
        if undoable is None:
            error: BaseException | None = StateError("the record of what is to be undone cannot be read")
        else:
            error = await self._told(number + self.log.before(), undoable)
        if error is None:
            return await self.log.done(number)
        # The others go on, and nothing is halted before they have ended.
        self.failed.add(number)
        self.log.failed(number, describe(error))
        self._troubles.append((error, f"undo of {undoable.node_id!r}" if undoable else "the undo"))
        return True

    async def _told(self, count: int, undoable: Undoable) -> BaseException | None:
        """Undo one node, and tell of it; returns the error, if that failed.

        What is undone has a *count* of its own among all that the run has undone, also in earlier executions.
        """
        began, status, error = current_time(), "Cancelled", None
        about: dict[str, Any] = {
            "task_id": undoable.node_id, "task_name": undoable.task_name, "label": undoable.label,
            "undo": undoable.undo_name,
        }  # fmt: skip
        self.run_context.emit(UndoStarted, **about)
        try:
            error = await self._run(undoable, f"{undoable.node_id}~undo:{count}/")
            status = "Succeeded" if error is None else "Failed"
        finally:
            self.run_context.emit(
                UndoFinished,
                **about,
                status=status,
                duration=current_time() - began,
                error=None if error is None else describe(error),
            )
        return error

    async def _run(self, undoable: Undoable, prefix: str) -> BaseException | None:
        """Run the undo as a flow whose nodes have *prefix*; returns its first failure."""
        inner = self._context()
        try:
            async with anyio.create_task_group() as work:
                inner.tasks.work = work
                await self._run_flow(inner, undoable, prefix)
        finally:
            inner.tasks.watch.stop()
        failures = inner.failures.recorded
        return failures[0].error if failures else None

    async def _run_flow(self, inner: RunContext, undoable: Undoable, prefix: str) -> None:
        try:
            loop = Loop(inner, self.preparation, prefix)
            await loop.run(await loop.prepare(undoable.undo(undoable.value)))
        except Halted:
            pass
        except get_cancelled_exc_class():
            inner.lifecycle.halt()
            raise
        except BaseException as error:  # whatever it is: it is recorded, and the other undos go on
            inner.failures.fail(error, "the undo")

    def _context(self) -> RunContext:
        """A context in which nothing has been halted."""
        outer = self.run_context
        settings = attrs.evolve(outer.settings, on_error="first", strict_state=False)
        begun = attrs.evolve(outer.beginning, settings=settings)
        events = UndoEvents(outer.run_id, EventBus(), outer.events.secrets, outer=outer.events)
        inner = RunContext(begun, outer.shared, events)
        inner.resources, inner.memory = outer.resources, outer.memory
        inner.tasks.base, inner.tasks.services = outer.tasks.base, outer.tasks.services
        inner.tasks.watch = watch = Watch(inner, settings.cleanup_timeout)
        inner.lifecycle.on_halt = watch.start
        inner.run_flow = functools.partial(run_in_place, inner, self.preparation)
        return inner
