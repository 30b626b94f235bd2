"""What a live run looks like from outside: a snapshot of it, and why nodes do not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import attrs
from anyio import current_time

from cascade.graph.nodes import Junction
from cascade.model.calls.callee import Callee
from cascade.model.errors import describe
from cascade.model.events import RunStatus
from cascade.model.outcomes import Status
from cascade.model.text import one_line
from cascade.planning.layout import Place
from cascade.runtime.admission.blockers import Blockers, unread
from cascade.runtime.admission.waiting_line import Waiter
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.frame.frame import Frame
from cascade.runtime.observation.bus import EventStream
from cascade.runtime.run.lifetime import RunLifetime

# Of the inputs that a node waits for, how many are named.
SHOWN_INPUTS: Final = 5


@attrs.frozen
class RunSnapshot:
    """The state of a run at one moment.

    Attributes:
        run_id: The run.
        state: ``"Running"``, or how it ended: ``"Succeeded"``, ``"Failed"``, ``"Cancelled"`` or ``"Drained"``.
        counts: Number of nodes by state.
        running: Ids of the nodes that run now. In a loop, those of the present turn.
        failures: ``"Type: message"`` of the failures so far.
    """

    run_id: str
    state: Literal["Running"] | RunStatus
    counts: dict[str, int]
    running: tuple[str, ...]
    failures: tuple[str, ...]


@attrs.frozen
class Explanation:
    """Why a node is not running.

    Attributes:
        node_id: The node.
        blockers: What it waits for, one sentence each.
    """

    node_id: str
    blockers: tuple[str, ...]

    def __str__(self) -> str:
        return one_line(f"{self.node_id}: {'; '.join(self.blockers)}")


@attrs.frozen(eq=False)
class Diagnosis:
    """Looks at a run as it is at this moment; changes nothing.

    Attributes:
        lifetime: The run.
    """

    lifetime: RunLifetime

    @property
    def _run_context(self) -> RunContext:
        return self.lifetime.run_context

    def snapshot(self) -> RunSnapshot:
        """State, counts, running nodes, failures."""
        run_context = self._run_context
        waiting = {waiter.applicant.node_id for waiter in self._waiters()} | run_context.progress.resting.keys()
        waiting |= run_context.progress.joined.keys()
        frame = self._frame()
        nodes = () if frame is None else ((frame.name(index), frame.status[index]) for index in _calls(frame))
        running = tuple(name for name, status in nodes if status == Status.RUNNING and name not in waiting)
        failures = [*(describe(f.error) for f in run_context.failures.recorded), *self.lifetime.observers.overran]
        return RunSnapshot(
            run_context.run_id,
            self.lifetime.status or "Running",
            self.lifetime.outcome.counts(),
            running,
            tuple(map(run_context.events.secrets.redact, failures)),
        )

    def explain(self) -> tuple[Explanation, ...]:
        """For each node that neither runs nor has ended: what it waits for."""
        blockers = Blockers(self._run_context.admission)
        why = dict(self._waiting(blockers))
        frame = self._frame()
        if frame is not None:
            for name, words in self._not_begun(frame, blockers):
                why.setdefault(name, words)
        hide = self._run_context.events.secrets.redact
        return tuple(Explanation(name, tuple(map(hide, words))) for name, words in why.items())

    def _frame(self) -> Frame | None:
        """The present turn; ``None`` if there is none."""
        return self._run_context.progress.present() if self.lifetime.status is None else None

    def _waiters(self) -> Iterator[Waiter]:
        """Attempts of the run that wait for admission."""
        for waiter in self._run_context.admission.queue.waiters():
            if waiter.applicant.run_id == self._run_context.run_id and not waiter.applicant.is_lane:
                yield waiter

    def _waiting(self, blockers: Blockers) -> Iterator[tuple[str, Sequence[str]]]:
        """Nodes that have begun and wait, and for what."""
        progress = self._run_context.progress
        for node_id, until in progress.resting.items():
            yield node_id, [f"its next attempt begins in {max(until - current_time(), 0):.3g} s"]
        for node_id, (run_id, other, _) in progress.joined.items():
            yield node_id, [f"an equal call is being computed for the cache: {other!r} of run {run_id!r}"]
        for waiter in self._waiters():
            yield waiter.applicant.node_id, list(blockers.all_of(waiter.applicant, waiter.amounts))

    def _not_begun(self, frame: Frame, blockers: Blockers) -> Iterator[tuple[str, Sequence[str]]]:
        """Nodes of *frame* that have not begun, and what keeps them."""
        stage = None if frame.readiness.stage is None else set(frame.readiness.stage)
        for index in _calls(frame):
            name, status = frame.name(index), frame.status[index]
            if status == Status.QUEUED:
                held = self._held(name, frame.graph.task(index), blockers)
                yield name, held or [self._queued_behind(frame, index)]
            elif status == Status.PENDING:
                words = _missing(frame, index) or self._held(name, frame.graph.task(index), blockers)
                has_begun = stage is None or index in stage
                yield (
                    name,
                    words or [self._queued_behind(frame, index) if has_begun else "its stage has not begun"],
                )

    def _held(self, node_id: str, task: Callee, blockers: Blockers) -> list[str]:
        """The rules that will hold a node once it asks."""
        applicant = self._run_context.applicant(node_id, task)
        holders = self._run_context.admission.holding.holders(applicant)
        return [blockers.words(rule, applicant) for rule in holders if not isinstance(rule, EventStream)]

    def _queued_behind(self, frame: Frame, index: int) -> str:
        """What keeps a node that is queued in a lane."""
        stream = self._run_context.bus.full()
        if stream is not None:
            return unread(stream)
        return "waits for a thread" if frame.layout.places[index] == Place.THREAD else "waits for its turn"


def _calls(frame: Frame) -> Iterator[int]:
    """Indices of all nodes of *frame* that are calls."""
    return (index for index, row in enumerate(frame.graph.rows) if not isinstance(row, Junction))


def _missing(frame: Frame, index: int) -> list[str]:
    """The inputs, and the choice, that a node waits for."""
    missing = [source for source in frame.graph.sources[index] if not frame.has_settled(source)]
    words = [f"input {frame.name(source)!r} has not settled" for source in missing[:SHOWN_INPUTS]]
    if len(missing) > SHOWN_INPUTS:
        words.append(f"{len(missing) - SHOWN_INPUTS} more inputs have not settled")
    if frame.routing is not None and not frame.routing.gating.is_wanted(index):
        layout = frame.layout
        by = ["router"] if len(layout.handlers) < len(layout.selectors) else []
        by += ["or_else"] if layout.handlers else []
        words.append(f"no {' or '.join(by)} has chosen it yet")
    return words
