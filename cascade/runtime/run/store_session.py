"""The time that a run spends with its store: it says that it is alive, and closes the store at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio
import attrs
from anyio import CancelScope

from cascade.model.errors import StateError
from cascade.model.events import EngineWarning
from cascade.model.shown.raised import describe
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import Closing

# Seconds in which a store that did not take all in time is to let go of the run.
_LETTING_GO: Final = 2.0


@attrs.define(eq=False)
class StoreSession:
    """Keeps one store for one run.

    Attributes:
        run_context: The run.
        backend: The store.
    """

    run_context: RunContext
    backend: StateBackend
    _beating: CancelScope = attrs.field(factory=lambda: CancelScope(shield=True))

    def start(self) -> None:
        """Record what settles from now on, and keep the lease."""
        run_context = self.run_context
        run_context.start_service(run_context.store.open_journal(self.backend).run)
        if self.backend.heartbeat_every is not None:
            run_context.tasks.start_service(self._beat, self.backend.heartbeat_every)

    async def close(self, closing: Callable[[], Closing]) -> None:
        """Write what is left, and let go of the run, also if the store did not take what is left."""
        run_context, journal = self.run_context, self.run_context.store.journal
        if journal is None:
            return
        budget = run_context.settings.cleanup_timeout
        try:
            is_in_time = await self._ask(journal, lambda: self._write_rest(journal, closing), budget)
        finally:
            self._beating.cancel()
        if is_in_time and await self._ask(journal, self.backend.aclose, budget):
            return
        journal.abandon()
        message = f"the state store did not take what was left within cleanup_timeout ({budget:g} s)"
        run_context.failures.fail(TimeoutError(message), "state store")
        if not is_in_time:
            with anyio.move_on_after(_LETTING_GO), suppress(Exception):
                await self.backend.aclose()

    async def _beat(self, pause: float) -> None:
        """Say again and again that the run is alive."""
        with self._beating:
            while True:
                await anyio.sleep(pause)
                try:
                    await self.backend.heartbeat()
                except StateError as error:
                    self.run_context.failures.fail(error, "state store")
                    return
                except Exception as error:  # the next one, or the next write, may do better
                    message = f"the state store could not be told that the run is alive: {describe(error)}"
                    self.run_context.events.emit(EngineWarning, code="heartbeat-failed", message=message)

    async def _write_rest(self, journal: Journal, closing: Callable[[], Closing]) -> None:
        await journal.close()
        self._beating.cancel()
        if not journal.has_failed:
            # Failures of the store itself are recorded by then: they change what is said of the end.
            closing_now = closing()
            if closing_now.status == "succeeded":  # what such a run has done is not undone any more
                await self.run_context.store.undo.forget(self.backend)
            self.run_context.store.not_durable(await self.backend.finish(closing_now))

    async def _ask(self, journal: Journal, step: Callable[[], Awaitable[None]], budget: float) -> bool:
        """Do a last *step* with the store, whose failure is one of the run; whether it ended in time."""
        try:
            with anyio.move_on_after(budget) as patience:
                await step()
        except Exception as error:  # a store may raise anything; the run still ends in order
            lost = StateError(
                f"the state store could not be closed ({describe(error)}); "
                f"{journal.recorded} settled nodes are recorded",
                recorded=journal.recorded,
                lost=[],
            )
            lost.__cause__ = error
            self.run_context.failures.fail(lost, "state store")
        return not patience.cancelled_caught
