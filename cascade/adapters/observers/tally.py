"""Counts the events of a run: how many nodes of each task have ended, and which nodes run or wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal

import attrs

from cascade.model.events import (
    AttemptStarted,
    Event,
    LoopProgress,
    NodeEvent,
    RunFinished,
    RunResumed,
    RunStarted,
    SignalAwaited,
    StageStarted,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
    TaskStatus,
    UndoFinished,
)
from cascade.model.shown.text import duration
from cascade.model.skip_reasons import SkipReason
from cascade.planning.sizes import task_in
from cascade.runtime.observation.details import NodesRecalled, RecallWithdrawn

# What a tally has to be told of; without AttemptStarted, a node would never be seen to run again after a retry.
KINDS: Final = (Event, AttemptStarted, NodesRecalled, RecallWithdrawn)
# What nodes are counted as:
# - "recorded": they were in the store when the run was resumed;
# - "succeeded", "failed", "cancelled": they ran, and ended so;
# - "handled": they failed, and the run does not fail by that;
# - "cached": the cache had their values;
# - "skipped": they were skipped;
# - "running": they run;
# - "waiting": they wait for capacity, for a rule or for another attempt;
# - "retries": not nodes, but failed attempts that are followed by another one;
# - "undone": they had succeeded and were undone, as the run failed.
State = Literal[
    "succeeded", "failed", "handled", "cancelled", "skipped", "cached", "recorded", "running", "waiting",
    "retries", "undone",
]  # fmt: skip


@attrs.define(eq=False)
class TaskTally:
    """The nodes of one task, in numbers. Items of maps count as nodes, maps themselves do not.

    Attributes:
        name: Name of the task.
        expected: Nodes that are known to exist; a map may add more when it begins.
        counts: How many there are of each kind.
        seconds: Sum of the durations of the nodes that ran and ended.
        handled_before: How many of the nodes counted as "handled" failed when the run was executed before.
    """

    name: str
    expected: int = 0
    counts: Counter[State] = attrs.field(factory=Counter)
    seconds: float = 0.0
    handled_before: int = 0

    @property
    def ran(self) -> int:
        """Nodes that ran and ended."""
        return self._sum("succeeded", "failed", "handled", "cancelled") - self.handled_before

    @property
    def ended(self) -> int:
        """Nodes that have ended, without those that were cancelled."""
        return self._sum("succeeded", "failed", "handled", "recorded", "cached", "skipped")

    @property
    def total(self) -> int:
        """Nodes that are known to exist."""
        return max(self.expected, self.ended + self._sum("cancelled", "running", "waiting"))

    def _sum(self, *states: State) -> int:
        return sum(self.counts[state] for state in states)


@attrs.frozen
class Active:
    """A node that runs or waits.

    Attributes:
        task: The numbers of its task.
        since: When it began to run, or to wait.
        waits: Why it waits; empty if it runs.
        label: What the user has called it; ``None`` if nothing.
    """

    task: TaskTally
    since: float
    waits: str = ""
    label: str | None = None


_ENDED: Final[dict[TaskStatus, State]] = {
    "Succeeded": "succeeded", "Failed": "failed", "Cancelled": "cancelled",
}  # fmt: skip
# Numbers that are shown, in their order, and words for those whose names do not say enough.
_SHOWN: Final[tuple[State, ...]] = (
    "running", "waiting", "failed", "handled", "retries", "cancelled", "skipped", "cached", "recorded",
    "undone",
)  # fmt: skip
_WORDS: Final[dict[State, str]] = {
    "handled": "failed (handled)", "cached": "from the cache", "recorded": "recorded earlier",
}  # fmt: skip
# Nodes that must have ended, and seconds that must have passed, before the time left is estimated.
_FEWEST, _SHORTEST = 3, 2.0


@attrs.define(eq=False)
class Tally:
    """One run, in numbers.

    Attributes:
        run_id: The run; empty before its first event.
        status: ``"running"``, or how the run ended, in lower case.
        began: When the run began, on the clock of the caller; ``None`` before its first event.
        ended_at: When the run ended; ``None`` while it runs.
        tasks: The numbers of its tasks, by name, in the order of the flow.
        active: The nodes that run or wait, by id.
        stage: The present stage; ``None`` if the schedule has no stages.
        turns: For a loop of tail calls: its task and the number of turns; ``None`` for other runs.
        is_replayed: Whether the run had finished before, so that nothing runs.
        is_sized: Whether the number of nodes is known: the first event of the run says it.
    """

    run_id: str = ""
    status: str = "running"
    began: float | None = None
    ended_at: float | None = None
    tasks: dict[str, TaskTally] = attrs.field(factory=dict)
    active: dict[str, Active] = attrs.field(factory=dict)
    stage: int | None = None
    turns: tuple[str, int] | None = None
    is_replayed: bool = False
    is_sized: bool = False
    # Maps that have not begun, with the number of their items, or None if it is not known; and those that have.
    _ahead: dict[str, int | None] = attrs.field(factory=dict)
    _maps: set[str] = attrs.field(factory=set)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.ended_at is not None

    @property
    def is_open(self) -> bool:
        """Whether :attr:`total` may grow: the length of a map is not known yet."""
        return not self.is_over and None in self._ahead.values()

    @property
    def ended(self) -> int:
        """Nodes that have ended, without those that were cancelled."""
        return sum(task.ended for task in self.tasks.values())

    @property
    def total(self) -> int:
        """Nodes that are known to exist."""
        return sum(task.total for task in self.tasks.values())

    def elapsed(self, now: float) -> float:
        """Seconds since the run began; once it has ended, its duration."""
        if self.began is None:
            return 0.0
        return max((now if self.ended_at is None else self.ended_at) - self.began, 0.0)

    def left(self, now: float) -> float | None:
        """Estimated seconds until the end of the run; ``None`` if there is too little to estimate from.

        Assumes that the nodes of a task take as long as its nodes so far, and that as many nodes run at the same
        time as so far.
        """
        tasks = self.tasks.values()
        ran, elapsed = sum(task.ran for task in tasks), self.elapsed(now)
        if self.is_over or self.is_open or not self.is_sized or ran < _FEWEST or elapsed < _SHORTEST:
            return None
        seconds = sum(task.seconds for task in tasks)
        usual = seconds / ran
        work = sum((task.seconds / task.ran if task.ran else usual) * (task.total - task.ended) for task in tasks)
        busy = seconds + sum(max(now - node.since, 0.0) for node in self.active.values() if not node.waits)
        return work * elapsed / busy if busy > 0 else None

    # -- events --------------------------------------------------------------------------------------------

    def hear(self, event: Event, now: float) -> None:
        """Count *event*, which was received at the time *now*."""
        self.run_id = self.run_id or event.run_id
        if self.began is None:
            self.began = now
        match event:
            case RunStarted():
                self._expect(event)
            case RunResumed(by_task=recorded, is_finished=is_finished):
                self.is_replayed = is_finished
                for name, count in recorded.items():
                    self._task(name).counts["recorded"] += count
            case NodesRecalled():
                self._recall(event)
            case RunFinished(status=status):
                self._end(status.lower(), now)
            case StageStarted(index=index, within=None):
                self.stage = index
            case LoopProgress(task_name=name, turns=turns):
                self.turns = name, turns
            case NodeEvent():
                self._hear_node(event, now)

    def _expect(self, event: RunStarted) -> None:
        self.is_sized = True
        for name, count in event.calls.items():
            self._task(name).expected += count
        for name, maps in event.maps.items():
            self._ahead.update(maps)
            self._task(name).expected += sum(size or 0 for size in maps.values())

    def _recall(self, event: NodesRecalled) -> None:
        """Correct what was counted of all that is recorded, now that it is known what need not run again."""
        if event.is_listed:
            for node_id in (*event.again, *event.skipped):
                self._task(task_in(node_id)).counts["recorded"] -= 1
        else:
            for node_id, number in event.succeeded.items():
                self._task(task_in(node_id)).counts["recorded"] += number
        for node_id in event.skipped:
            self._task(task_in(node_id)).counts["skipped"] += 1
        failed: Counter[str] = Counter()
        for node_id in event.handled:
            task = self._task(task_in(node_id))
            task.counts["handled"] += 1
            task.handled_before += 1
            failed[node_id.rpartition("[")[0]] += 1
        sizes = {**dict.fromkeys(event.skipped, 1), **event.succeeded}
        for map_id in self._ahead.keys() & sizes.keys():
            size = sizes[map_id] + failed[map_id]
            self._task(task_in(map_id)).expected += size - (self._ahead.pop(map_id) or 0)

    def _hear_node(self, event: NodeEvent, now: float) -> None:
        task = self._task(event.task_name)
        match event:
            case TaskExecutionStarted(task_id=map_id, items=items) if items is not None:
                task.expected += items - (self._ahead.pop(map_id, None) or 0)
                self._maps.add(map_id)
            case TaskExecutionStarted() | AttemptStarted():
                self._activate(event, task, now)
            case TaskRetrying(delay=delay, attempt=attempt):
                task.counts["retries"] += 1
                self._activate(event, task, now, f"failed in attempt {attempt}, next in {duration(delay)}")
            case TaskBlocked(reason=reason, detail=detail):
                self._activate(event, task, now, detail or reason)
            case SignalAwaited(signal=signal):
                self._activate(event, task, now, f"waits for signal {signal!r}")
            case TaskExecutionFinished():
                self._finish(event, task)
            case RecallWithdrawn(was_skipped=was_skipped):
                task.counts["skipped" if was_skipped else "recorded"] -= 1
            case UndoFinished(status="Succeeded"):
                task.counts["undone"] += 1
            case TaskSkipped(reason=reason):
                self._leave(event.task_id, task)
                task.counts["cached" if reason == SkipReason.CACHE_HIT.value else "skipped"] += 1

    def _activate(self, event: NodeEvent, task: TaskTally, now: float, waits: str = "") -> None:
        self._leave(event.task_id, task)
        self.active[event.task_id] = Active(task, now, waits, event.label)
        task.counts["waiting" if waits else "running"] += 1

    def _finish(self, event: TaskExecutionFinished, task: TaskTally) -> None:
        if event.task_id in self._maps:  # only the items of a map count
            self._maps.remove(event.task_id)
            return
        self._leave(event.task_id, task)
        task.seconds += event.duration
        task.counts["handled" if event.handled else _ENDED.get(event.status, "cancelled")] += 1

    def _leave(self, node_id: str, task: TaskTally) -> None:
        """Remove a node from those that run or wait; a map that has not begun counts as one node from now on."""
        before = self.active.pop(node_id, None)
        if before is not None:
            before.task.counts["waiting" if before.waits else "running"] -= 1
        if node_id in self._ahead:
            task.expected += 1 - (self._ahead.pop(node_id) or 0)

    def _end(self, status: str, now: float) -> None:
        self.status, self.ended_at = status, now
        self.active.clear()
        for task in self.tasks.values():
            task.counts["running"] = task.counts["waiting"] = 0

    def _task(self, name: str) -> TaskTally:
        task = self.tasks.get(name)
        if task is None:
            task = self.tasks[name] = TaskTally(name)
        return task


def parts_of(*tasks: TaskTally) -> Iterator[tuple[str, int]]:
    """The numbers of *tasks* together, with words for them; without those that are zero."""
    for state in _SHOWN:
        count = sum(task.counts[state] for task in tasks)
        if count:
            yield ("retry" if state == "retries" and count == 1 else _WORDS.get(state, state)), count
