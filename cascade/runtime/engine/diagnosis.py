"""What a live run looks like from outside: a snapshot of it, and why nodes do not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Literal

import attrs
from anyio import current_time

from cascade.graph.nodes import Graph, Junction, OutcomeNode, RaceNode
from cascade.graph.slots import distinct, sources_of
from cascade.model.calls.callee import Callee
from cascade.model.events import RunStatus
from cascade.model.outcomes import Status
from cascade.model.shown.labels import labelled
from cascade.model.shown.raised import describe
from cascade.model.shown.text import counted, duration, one_line
from cascade.planning.layout import Place
from cascade.runtime.admission.blockers import Blockers, unread
from cascade.runtime.admission.waiting_line import Waiter
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.frame.frame import Frame
from cascade.runtime.observation.bus import EventStream
from cascade.runtime.run.lifetime import RunLifetime

# Of the inputs that a node waits for, how many are named.
SHOWN_INPUTS: Final = 5
# The id of a node, its label, and what it waits for.
Said = tuple[str, str | None, Sequence[str]]


@attrs.frozen
class RunSnapshot:
    """The state of a run at one moment.

    Attributes:
        run_id: The run.
        state: ``"Running"``, or how it ended: ``"Succeeded"``, ``"Failed"``, ``"Cancelled"``, ``"Drained"`` or
            ``"Suspended"``.
        counts: Number of nodes by state.
        running: Ids of the nodes that run now. In a loop, those of the present turn.
        failures: ``"Type: message"`` of the failures so far.
        undoing: Ids of the nodes that are still to be undone, as the run has failed or was cancelled: the one that
            is being undone first. Empty before that.
        waiting: What it waits for from outside: ``"waits for signal 'approve'"``.
    """

    run_id: str
    state: Literal["Running"] | RunStatus
    counts: dict[str, int]
    running: tuple[str, ...]
    failures: tuple[str, ...]
    undoing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


@attrs.frozen
class Explanation:
    """Why a node is not running.

    Attributes:
        node_id: The node.
        blockers: What it waits for, one sentence each.
        label: What the user has called it; ``None`` if nothing.
    """

    node_id: str
    blockers: tuple[str, ...]
    label: str | None = None

    def __str__(self) -> str:
        return one_line(f"{labelled(self.node_id, self.label)}: {'; '.join(self.blockers)}")


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
        waiting = self._waiting_ids()
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
            tuple(undoable.node_id for undoable in self.lifetime.undoing.ahead()),
            tuple(f"waits for signal {name!r}" for name in run_context.signals.waiting),
        )

    def explain(self, most: int | None = None) -> tuple[Explanation, ...]:
        """For each node that neither runs nor has ended: what it waits for. Nothing waits once the run is aborted;
        while it undoes what it has done: for each node that is still to be undone.

        Args:
            most: How many nodes are explained at most: those that have begun come first. ``None`` (default): all.
        """
        blockers = Blockers(self._run_context.admission)
        why = dict(islice(self._waiting(blockers), most))
        labels = self._labels_of_begun()
        is_undoing = self.lifetime.undoing.current is not None
        for name, label, words in self._to_be_undone() if is_undoing else self._not_begun(blockers):
            if most is not None and len(why) >= most:
                break
            why.setdefault(name, words)
            labels.setdefault(name, label)
        hide = self._run_context.events.secrets.redact
        return tuple(Explanation(name, tuple(map(hide, words)), labels.get(name)) for name, words in why.items())

    def _labels_of_begun(self) -> dict[str, str | None]:
        """What people call the nodes that have begun and wait."""
        run_context = self._run_context
        return {
            **{node.node_id: node.label for node in run_context.signals.waiters()},
            **run_context.progress.labels,
        }

    def states(self) -> tuple[Graph | None, dict[str, str]]:
        """The graph of the present turn, or the last one, and how its nodes are, for a picture of it.

        A node is ``"handled"`` if it has failed and the run does not fail by that, or items of it have.
        """
        frame = self._run_context.progress.present()
        if frame is None:
            return None, {}
        waiting = self._waiting_ids() | {node.node_id for node in self._run_context.signals.waiters()}
        states = {frame.name(index): self._state(frame, index) for index in _calls(frame)}
        # What has settled meanwhile waits no more.
        return frame.graph, states | {
            name: "waiting" for name in waiting if states.get(name) in ("pending", "queued", "running")
        }

    def _waiting_ids(self) -> set[str]:
        """Nodes that wait for admission, for another attempt, or for what another node computes."""
        progress = self._run_context.progress
        return (
            {waiter.applicant.node_id for waiter in self._waiters()}
            | progress.resting.keys()
            | progress.joined.keys()
        )

    def _state(self, frame: Frame, index: int) -> str:
        failed = frame.gaps.errors.get(index)
        is_handled = failed is not None and not self._run_context.failures.has(failed.error)
        if is_handled or index in frame.gaps.collected:
            return "handled"
        return Status(frame.status[index]).name.lower()

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
        progress, signals = self._run_context.progress, self._run_context.signals
        for node in signals.waiters():
            deadline = signals.deadline(node.task.name)
            left = "" if deadline is None else f" ({duration(max(deadline - current_time(), 0))} left)"
            yield node.node_id, [f"waits for signal {node.task.name!r}{left}"]
        for node_id, until in progress.resting.items():
            yield node_id, [f"its next attempt begins in {max(until - current_time(), 0):.3g} s"]
        for node_id, (run_id, other, _) in progress.joined.items():
            yield node_id, [f"an equal call is being computed for the cache: {other!r} of run {run_id!r}"]
        for waiter in self._waiters():
            yield waiter.applicant.node_id, list(blockers.all_of(waiter.applicant, waiter.amounts))

    def _to_be_undone(self) -> Iterator[Said]:
        """Nodes that are still to be undone, and when."""
        for number, undoable in enumerate(self.lifetime.undoing.ahead()):
            place = f"waits to be undone, after {counted(number, 'other')}" if number else "is being undone"
            yield undoable.node_id, undoable.label, [f"{place}, by {undoable.undo_name!r}"]

    def _not_begun(self, blockers: Blockers) -> Iterator[Said]:
        """Nodes of the present turn that have not begun, and what keeps them."""
        frame = self._frame()
        if frame is None or self._run_context.lifecycle.is_halted:
            return  # what has not begun by then never will
        stage = None if frame.readiness.stage is None else set(frame.readiness.stage)
        for index in _calls(frame):
            name, status = frame.name(index), frame.status[index]
            if status not in (Status.QUEUED, Status.PENDING):
                continue
            words = _missing(frame, index) if status == Status.PENDING else []
            words = words or self._held(name, frame.graph.task(index), blockers)
            has_begun = status == Status.QUEUED or stage is None or index in stage
            otherwise = self._queued_behind(frame, index) if has_begun else "its stage has not begun"
            yield name, frame.label(index), words or [otherwise]

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
        place = frame.layout.places[index]
        if place == Place.REMOTE:
            return "waits for a worker"
        return "waits for a thread" if place == Place.THREAD else "waits for its turn"


def _calls(frame: Frame) -> Iterator[int]:
    """Indices of all nodes of *frame* that are calls."""
    return (index for index, row in enumerate(frame.graph.rows) if not isinstance(row, Junction))


def _unsettled(frame: Frame, source: int) -> str:
    row = frame.graph.rows[source]
    if source in frame.layout.special.signals:
        return f"waits for signal {frame.graph.task(source).name!r}"
    if isinstance(row, OutcomeNode) and row.by_item:
        (about,) = row.sources
        return f"map {frame.name(about)!r} has not ended, of which it takes the outcomes"
    if not isinstance(row, RaceNode):
        return f"input {frame.name(source)!r} has not settled"
    open_ones = [index for index in distinct(sources_of(row.selector)) if not frame.has_settled(index)]
    names = ", ".join(repr(frame.name(index)) for index in open_ones[:SHOWN_INPUTS])
    return f"no contestant of {frame.name(source)!r} has succeeded yet; open are {names}"


def _missing(frame: Frame, index: int) -> list[str]:
    """The inputs, and the choice, that a node waits for."""
    missing = [source for source in frame.graph.sources[index] if not frame.has_settled(source)]
    words = [_unsettled(frame, source) for source in missing[:SHOWN_INPUTS]]
    if len(missing) > SHOWN_INPUTS:
        words.append(f"{len(missing) - SHOWN_INPUTS} more inputs have not settled")
    if frame.routing is not None and not frame.routing.gating.is_wanted(index):
        handlers = frame.layout.special.handlers
        by = ["router"] if len(handlers) < len(frame.layout.selectors) else []
        by += ["or_else"] if handlers else []
        words.append(f"no {' or '.join(by)} has chosen it yet")
    return words
