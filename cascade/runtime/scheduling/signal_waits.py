"""The nodes of one frame that wait for signals. They hold nothing: no task, thread, slot or claim."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final, cast

import anyio
import attrs

from cascade.model.calls.signals import SignalTask
from cascade.model.outcomes import Done, Failed, Status
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.settle import Ending
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.settler import Settler
from cascade.runtime.signals.board import Waiter


@attrs.define(eq=False)
class SignalWaits:
    """Has nodes of a frame wait for signals, and knows whether the frame can do nothing else.

    Attributes:
        run_context: The run.
        frame: Whose nodes they are.
        settler: Settles them.
        count: How many wait.
        count_in_flight: How many nodes of the frame have begun and not ended.
        settled: Called when a node has settled that had waited.
        tell: Has the scheduler look what there is to do.
    """

    run_context: RunContext
    frame: Frame
    settler: Settler
    count: int = 0
    count_in_flight: Callable[[], int] = attrs.field(init=False)
    settled: Callable[[], None] = attrs.field(init=False)
    tell: Callable[[], None] = attrs.field(init=False)
    # Those that wait, by node.
    _waiters: dict[int, Waiter] = attrs.field(factory=dict)
    _news: anyio.Event | None = None
    # What whoever runs the frame waits for; set when there is something to do, which may be before it is woken.
    _waits_for: anyio.Event | None = None

    @classmethod
    def of(cls, run_context: RunContext, frame: Frame, settler: Settler) -> SignalWaits | None:
        """Those of *frame*; ``None`` if nobody needs to know of any."""
        is_needed = frame.layout.special.signals or run_context.signals.idleness.is_asked
        return cls(run_context, frame, settler) if is_needed else None

    @property
    def is_top(self) -> bool:
        """Whether the frame is the run's own."""
        return not self.frame.prefix

    @property
    def is_blocked(self) -> bool:
        """Whether whoever runs the frame can only wait."""
        return self._waits_for is not None and not self._waits_for.is_set()

    @property
    def in_flight(self) -> int:
        """How many nodes of the frame have begun and not ended."""
        return self.count_in_flight()

    @property
    def is_waiting(self) -> bool:
        """Whether nodes wait, and the run goes on."""
        return self.count > 0 and not self.run_context.lifecycle.is_closing

    def wait(self, index: int) -> None:
        """Have a node wait for its signal, which may have its value already."""
        self.frame.status[index] = Status.QUEUED
        self.count += 1
        task = cast("SignalTask", self.frame.graph.task(index))
        settle = partial(self._settle, index)
        self._waiters[index] = waiter = Waiter(
            self.frame.name(index), task, settle, self._wake, self.frame.label(index)
        )
        self.run_context.signals.want(waiter)

    def withdraw(self, index: int) -> bool:
        """Have a node wait no longer, which has not settled; returns whether it waited."""
        waiter = self._waiters.pop(index, None)
        if waiter is None:
            return False
        self.count -= 1
        self.frame.status[index] = Status.PENDING
        self.run_context.signals.withdraw(waiter)
        self._look_up()
        return True

    def leave(self) -> None:
        """Nothing of the frame is run any more: nobody in it waits."""
        for index in tuple(self._waiters):
            self.withdraw(index)

    def _settle(self, index: int, outcome: Done[Any] | Failed) -> None:
        if self.run_context.lifecycle.is_closing:
            return  # left, as all that had not begun
        if self._waiters.pop(index, None) is None:
            return  # another one that waited has settled just now, and so this one was cancelled
        self.count -= 1
        self.settler.settle(index, Ending(outcome, 1))
        self.settled()
        self._look_up()

    def _wake(self) -> None:
        self.tell()
        self._look_up()

    def _look_up(self) -> None:
        if self._news is not None:
            self._news.set()

    async def until_settled(self) -> None:
        """Wait until a node has settled that waits, or the run closes. If cancelled, nothing starts any more."""
        self._news = anyio.Event()
        try:
            await self.wait_for(self._news)
        except BaseException:
            if not self.settler.conditions.is_cut_off:
                self.run_context.lifecycle.halt()
            raise

    async def wait_for(self, news: anyio.Event) -> None:
        """Wait for *news*; until then, the frame can only wait."""
        self._waits_for = news
        self.run_context.signals.look_up()
        try:
            await news.wait()
        finally:
            self._waits_for = None

    @contextmanager
    def under_way(self) -> Generator[None, None, None]:
        """In the block the frame is under way."""
        flows = self.run_context.signals.idleness.flows
        flows.add(self)
        try:
            yield
        finally:
            flows.discard(self)


_UNASKED: Final = nullcontext()


def under_way(waits: SignalWaits | None) -> AbstractContextManager[None]:
    """A block in which a frame is under way, for all who ask whether the run is idle."""
    if waits is None or not waits.run_context.signals.idleness.is_asked:
        return _UNASKED
    return waits.under_way()
