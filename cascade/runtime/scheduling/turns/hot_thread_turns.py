"""Hot turns of sync functions, made in a worker thread."""

from __future__ import annotations

import threading
import time
from typing import Final

import attrs
from anyio import current_effective_deadline
from anyio.lowlevel import EventLoopToken, current_token

from cascade.model.errors import CascadeError
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.claims import Applicant, Claim, Holdings
from cascade.runtime.admission.pool import Slot
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.foundation.fairness import step_back
from cascade.runtime.foundation.threads import in_thread, wake_soon
from cascade.runtime.scheduling.lanes.stuck import wait_until_stuck
from cascade.runtime.scheduling.lanes.thread_lanes import thread_clock
from cascade.runtime.scheduling.turns.hot_turns import HotTurns
from cascade.runtime.scheduling.turns.turn_stops import Stop

# Seconds for which a thread keeps the interpreter from others.
TURN: Final = 0.001
# Seconds after which a thread looks on the loop what has changed around it, such as deadlines.
STINT: Final = 0.1


@attrs.define(eq=False)
class HotThreadTurns(HotTurns):
    """The same in a worker thread, for turns of sync functions.

    Attributes:
        adopted: A claim for the node that runs, if somebody has asked for one.
    """

    adopted: Claim | None = None
    _token: EventLoopToken = attrs.field(factory=current_token)
    _is_told_soon: bool = False

    @property
    def node_id(self) -> str:
        """The node that runs."""
        current = self.steps.attempts.current
        return "" if current is None else self.steps.codes.node_of(current[1], current[2])[0]

    @property
    def is_running(self) -> bool:
        """Whether any does."""
        return self.steps.attempts.current is not None

    def why_late(self) -> str | None:
        """Nothing: plain nodes have no timeout."""
        return None

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give the node that runs a claim; called with the gate closed, so none follows it."""
        current = self.steps.attempts.current
        if self.adopted is None and current is not None:
            _, code, index, _ = current
            applicant = self.run_context.applicant(*self.steps.codes.node_of(code, index))
            self.adopted = holdings.adopted(applicant, epoch)

    async def _drive(self, epoch: int) -> Stop:
        """Make turns in a thread, as long as it may have a slot."""
        run_context, gate = self.run_context, self.run_context.gate
        claim = await self._slot()  # a rule or a listener may come meanwhile: the steps look at the gate first
        if claim is None:
            return Stop.LEFT
        self.steps.attempts.ends_by = current_effective_deadline()
        self.steps.attempts.claim, self.steps.attempts.clock = claim, thread_clock()
        gate.crossers.add(self.steps)
        gate.lanes.add(self)
        run_context.tasks.watch.add(self)
        assert self.steps.code is not None
        is_back = threading.Event()
        if self.steps.code.ahead:
            run_context.tasks.spawn(self.group, self._watch, is_back)
        try:
            context = run_context.tasks.base.copy()
            return await in_thread(lambda: context.run(self._drive_here, epoch), run_context.shared.lane_limiter)
        finally:
            is_back.set()
            run_context.tasks.watch.remove(self)
            gate.lanes.remove(self)
            gate.crossers.remove(self.steps)
            claim.release()
            if self.adopted is not None:
                self.adopted.release()
                self.adopted = None
            self.count()

    async def _slot(self) -> Claim | None:
        run_context, code = self.run_context, self.steps.code
        assert code is not None
        node_id = self.steps.codes.node_of(code, code.order[self.steps.place])[0]
        ancestors = run_context.beginning.ancestors
        applicant = Applicant(node_id, "", "", run_context.run_id, run_context.bus, ancestors, is_lane=True)
        try:
            return await admit(run_context.admission, applicant, {Slot.THREAD: 1}, lambda _: None)
        except (DrainedError, CascadeError):  # which whoever runs the rest meets, too
            return None

    def _drive_here(self, epoch: int) -> Stop:
        steps = self.steps
        worked, began = time.thread_time(), time.perf_counter()
        while True:
            stop = steps.drive(epoch, time.perf_counter() + TURN, self.last)
            if stop is not Stop.PAUSE:
                return stop
            # A thread that has only waited has kept the interpreter from nobody.
            if time.thread_time() - worked > TURN / 2:
                step_back(self._is_awaited)
                worked = time.thread_time()
            self._tell_soon()
            is_wanted = self.run_context.admission.queue.lacks_only(Slot.THREAD)
            now = time.perf_counter()
            if is_wanted or now >= self.last_time or now > began + STINT:
                return Stop.PAUSE

    async def _watch(self, is_back: threading.Event) -> None:
        """Have others go on with the turn when the thread is stuck, as they may be what it waits for."""

        def is_stuck() -> bool:
            return wait_until_stuck(lambda: None if is_back.is_set() else self._advance(), is_back.wait)

        while await in_thread(is_stuck, self.run_context.shared.lane_limiter):
            if is_back.is_set() or self._take():
                return

    def _advance(self) -> object:
        """In another thread: what changes with each node that is called, if others could be called beside it."""
        current = self.steps.attempts.current
        return current if current is not None and current[2] in current[1].ahead else object()

    def _take(self) -> bool:
        """Have the rest of the turn run in a frame, if the thread is in a node beside which others could run."""
        steps = self.steps
        steps.is_taken = True
        while steps.is_crossing:
            time.sleep(0)  # pragma: no cover  # the moment is too short to be met
        token = steps.attempts.current
        if token is None or token[2] not in token[1].ahead:  # it goes on
            steps.is_taken = False
            return False
        self._leave(token)
        return True

    def _is_awaited(self) -> bool:
        return self._is_told_soon

    def _tell_soon(self) -> None:
        if not self._is_told_soon:
            self._is_told_soon = True
            wake_soon(self._token, self._tell)

    def _tell(self) -> None:
        self._is_told_soon = False
        self.count()
