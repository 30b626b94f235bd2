"""The observers of a run: a task for each, which outlives the nodes and may fail without harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio
import attrs
from anyio import CancelScope

from cascade.model.events import EngineWarning, Event
from cascade.model.shown.raised import annotate, describe, leaves
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.context.settings import Observer
from cascade.runtime.observation.bus import EventStream
from cascade.runtime.observation.tracing import Tracing


def are_told(observers: Iterable[Observer], kind: type[Event]) -> bool:
    """Whether one of *observers* names the class *kind* of events, which only those are told of that do."""
    return any(kind in getattr(observer, "kinds", ()) for observer in observers)


@attrs.define(eq=False)
class ObserverTasks:
    """Runs the observers of a run.

    Attributes:
        run_context: The run.
        interrupt: Takes a ``KeyboardInterrupt`` that struck in an observer.
        overran: What is to be said of observers that failed after the last event, or did not end in time; that
            fails no run.
        has_ended: Whether the last event has been published.
        error: What the run raises then.
    """

    run_context: RunContext
    interrupt: Callable[[BaseException], None]
    overran: list[str] = attrs.field(factory=list)
    has_ended: bool = False
    error: BaseException | None = None
    _scopes: dict[int, CancelScope] = attrs.field(factory=dict)
    _all_left: anyio.Event | None = None

    def start(self) -> None:
        """Start all observers that the settings name."""
        run_context = self.run_context
        self._trace()
        if run_context.settings.observers:
            self._all_left = anyio.Event()
        for number, observer in enumerate(run_context.settings.observers):
            if hasattr(observer, "trace_run"):
                continue
            stream = run_context.bus.subscribe(*getattr(observer, "kinds", ()), buffer=1024)
            self._scopes[number] = CancelScope(shield=True)
            run_context.tasks.start_service(self._observe, number, observer, stream)

    def _trace(self) -> None:
        """Have the run followed from around its calls, if one of the observers does that."""
        for observer in self.run_context.settings.observers:
            trace: Callable[[RunContext], Tracing] | None = getattr(observer, "trace_run", None)
            if trace is not None:
                self.run_context.events.tracing = trace(self.run_context)

    async def until_left(self) -> None:
        """Wait until all have ended, within ``cleanup_timeout``; then cancel the rest."""
        settings = self.run_context.settings
        if self._scopes and self._all_left is not None:
            with anyio.move_on_after(settings.cleanup_timeout):
                await self._all_left.wait()
        for number, scope in self._scopes.items():
            self.overran.append(
                f"the observer {_name(settings.observers[number])} did not end within "
                f"cleanup_timeout ({settings.cleanup_timeout:g} s) and has been cancelled"
            )
            scope.cancel()

    async def _observe(self, number: int, observer: Observer, stream: EventStream) -> None:
        try:
            with self._scopes[number]:
                async with stream:
                    await observer(stream)
        except BaseException as error:  # its own: a cancellation of the scope around it does not leave that
            if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(error)):
                self.interrupt(error)  # which interrupts the run, wherever it strikes
                return
            # An observer never fails the run: it is detached, and that is reported.
            message = f"the observer {_name(observer)} raised {describe(error)}"
            self._report(message if self.has_ended else f"{message} and has been detached")
        finally:
            del self._scopes[number]
            if not self._scopes and self._all_left is not None:
                self._all_left.set()

    def _report(self, message: str) -> None:
        events = self.run_context.events
        events.emit(EngineWarning, code="observer-failed", message=message)  # on the engine's bus, at the end
        if self.has_ended:
            self.overran.append(message)
            if self.error is not None:
                annotate(self.error, events.secrets.redact(message))


def _name(observer: Observer) -> str:
    return str(getattr(observer, "__name__", None) or repr(observer))
