"""One task for all signals of a run: timeouts, what other processes have sent, whether the run is idle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import anyio
import attrs
from anyio import CancelScope, current_time

from cascade.model.errors import StateError
from cascade.model.events import EngineWarning, Event
from cascade.model.shown.raised import describe
from cascade.runtime.control.timer import ServiceHost


class Host(ServiceHost, Protocol):
    """A run, as far as its signals know it."""

    @property
    def run_id(self) -> str:
        """Its id."""
        ...

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Publish an event of the run."""
        ...

    def fail(self, error: BaseException, origin: str) -> None:
        """Record a failure after which the run cannot go on."""
        ...


class Flow(Protocol):
    """A frame that is under way."""

    @property
    def is_top(self) -> bool:
        """Whether it is the run's own, and no sub-flow or map."""
        ...

    @property
    def is_blocked(self) -> bool:
        """Whether it can only wait: for its nodes that run, and for signals."""
        ...

    @property
    def in_flight(self) -> int:
        """How many of its nodes have begun and not ended."""
        ...


@attrs.define(eq=False)
class Idleness:
    """Finds out whether a run can go on only by signals.

    Attributes:
        is_asked: Whether the run is to end then.
        suspend: Ends it, with the names of the signals for which it waits.
        flows: The frames that are under way, if that is asked.
    """

    is_asked: bool
    suspend: Callable[[tuple[str, ...]], None]
    flows: set[Flow] = attrs.field(factory=set)

    def is_so(self) -> bool:
        """Whether nobody is at work.

        Each frame but the run's own belongs to one node that is in flight in another frame, and does nothing but
        wait for it. So if all frames are blocked, and there are no more nodes in flight, nobody is at work.
        """
        if not self.is_asked or not any(flow.is_top for flow in self.flows):
            return False
        in_flight = sum(flow.in_flight for flow in self.flows)
        return all(flow.is_blocked for flow in self.flows) and in_flight == len(self.flows) - 1


class Board(Protocol):
    """The signals of a run, as the watch knows them."""

    sending: int
    idleness: Idleness

    @property
    def waiting(self) -> Mapping[str, Sequence[object]]:
        """The nodes that wait, by name of the signal."""
        ...

    @property
    def look_every(self) -> float | None:
        """Seconds between two looks into the store; ``None`` if there is nothing to look for."""
        ...

    def deadline(self, name: str) -> float | None:
        """When the wait for a signal ends; ``None`` if it has no limit."""
        ...

    async def look(self) -> None:
        """Take what is in the store."""
        ...

    async def note_wanted(self, name: str) -> None:
        """Record since when a signal is waited for."""
        ...

    async def time_out(self, name: str) -> None:
        """End the wait for a signal, whose time is over."""
        ...


@attrs.define(eq=False)
class Watch:
    """Keeps the time for signals, in one task of the run, which ends when nothing waits.

    Attributes:
        board: The signals.
        host: The run.
    """

    board: Board
    host: Host
    _changed: anyio.Event = attrs.field(factory=anyio.Event)
    _scope: CancelScope | None = None
    _is_stopped: bool = False
    # When the store is to be looked into, and the signals since when it is recorded that they are waited for.
    _next_look: float = 0.0
    _noted: set[str] = attrs.field(factory=set)

    def start(self) -> None:
        """Start the task, or tell it that another node waits."""
        if self._scope is None and not self._is_stopped:
            self._scope = CancelScope()
            self._next_look = current_time()
            self.host.start_service(self._run, self._scope)
        self._changed.set()

    def tell(self) -> None:
        """Something has changed."""
        self._changed.set()

    def stop(self) -> None:
        """End the task, for good."""
        self._is_stopped = True
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, scope: CancelScope) -> None:
        try:
            with scope:
                while self.board.waiting:
                    self._changed = anyio.Event()
                    await self._step()
                    await self._until_due()
        finally:
            self._scope = None

    async def _until_due(self) -> None:
        """Wait until something has changed, or is due."""
        with CancelScope(deadline=self._next_due()):
            await self._changed.wait()

    async def _step(self) -> None:
        """Do what is due. A store that cannot be reached now is tried again at the next look."""
        try:
            await self._note()
            if current_time() >= self._next_look:
                await self._look()
            for name in tuple(self.board.waiting):
                deadline = self.board.deadline(name)
                if deadline is not None and current_time() >= deadline:
                    await self.board.time_out(name)
                    self._noted.discard(name)
            await self._suspend_if_idle()
        except StateError as error:
            self.host.fail(error, "state store")
        except Exception as error:  # whatever a store raises; the next look may do better
            message = f"the state store could not be asked for signals: {describe(error)}"
            self.host.emit(EngineWarning, code="signals-unread", message=message)

    async def _note(self) -> None:
        for name in tuple(self.board.waiting):
            if name not in self._noted and self.board.deadline(name) is not None:
                await self.board.note_wanted(name)
                self._noted.add(name)

    async def _look(self) -> None:
        every = self.board.look_every
        self._next_look = math.inf if every is None else current_time() + every
        if every is not None:
            await self.board.look()

    async def _suspend_if_idle(self) -> None:
        """Suspend the run if it can go on only by signals, after a last look for what has been sent."""
        if self._is_idle():
            await self.board.look()
            if self._is_idle():
                self.board.idleness.suspend(tuple(sorted(self.board.waiting)))

    def _is_idle(self) -> bool:
        return bool(self.board.waiting) and not self.board.sending and self.board.idleness.is_so()

    def _next_due(self) -> float:
        deadlines = [self.board.deadline(name) for name in self.board.waiting]
        return min([self._next_look, *(deadline for deadline in deadlines if deadline is not None)])
