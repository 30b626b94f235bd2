"""The instruments: counters, histograms, and what is read when somebody collects."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Self
from weakref import WeakKeyDictionary, WeakSet

import attrs
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Histogram, Observation

from cascade.model.outcomes import Status
from cascade.runtime.observation.tracing import Queues

STATUS: Final = "cascade.run.status"
OUTCOME: Final = "cascade.outcome"
TASK: Final = "cascade.task.name"
REASON: Final = "cascade.wait.reason"
LANE: Final = "cascade.lane.kind"
ERROR: Final = "error.type"

OUTCOMES: Final = ("succeeded", "failed", "skipped", "cancelled")
LANES: Final = ("loop", "thread")

# To measure a call takes longer than many a call does: shorter ones are only counted.
LEAST: Final = 0.001
# The name of a task, the outcome of a call, and the type of the error; empty if there was none.
How = tuple[str, str, str]


@attrs.define(eq=False)
class LiveRun:
    """A run that goes on, as it is read in the thread of whoever collects.

    Attributes:
        ended: How many nodes have ended, by status.
        queues: What waits in its lanes.
    """

    ended: Mapping[Status, int]
    queues: WeakSet[Queues] = attrs.field(factory=WeakSet)

    def counts(self) -> dict[str, int]:
        """How many nodes have ended so far, by outcome."""
        return {outcome: self.ended[Status[outcome.upper()]] for outcome in OUTCOMES}

    def depths(self) -> list[int]:
        """How many nodes wait in lanes of each kind."""
        lanes = [queues.lanes for queues in self.queues.copy()]
        return [sum(len(both[place]) for both in lanes) for place in range(len(LANES))]


@attrs.define(eq=False)
class Metrics:
    """The instruments of one meter provider, which may have each of them once.

    Attributes:
        run_seconds: How long runs took.
        attempt_seconds: How long calls took, if that was at least a millisecond.
        wait_seconds: How long nodes waited for admission.
    """

    run_seconds: Histogram
    attempt_seconds: Histogram
    wait_seconds: Histogram
    _runs: metrics.Counter
    _live: set[LiveRun] = attrs.field(factory=set)
    # Nodes of the runs that have ended, and calls of all runs.
    _ended: Counter[str] = attrs.field(factory=Counter)
    _calls: Counter[How] = attrs.field(factory=Counter)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    @classmethod
    def of(cls, provider: metrics.MeterProvider) -> Self:
        """The instruments of *provider*."""
        with _lock:
            known = _known.get(provider)
            if known is None:
                known = _known[provider] = cls._new(metrics.get_meter("cascade", meter_provider=provider))
        assert isinstance(known, cls)
        return known

    def called(self, how: How, seconds: float) -> None:
        """A call has ended so, after so many seconds. Told in any thread."""
        with self._lock:
            self._calls[how] += 1
        if seconds >= LEAST:
            self.attempt_seconds.record(seconds, _described(how))

    @classmethod
    def _new(cls, meter: metrics.Meter) -> Self:
        made = cls(
            meter.create_histogram("cascade.run.duration", unit="s", description="How long runs take."),
            meter.create_histogram("cascade.attempt.duration", unit="s", description="How long calls take."),
            meter.create_histogram("cascade.wait.duration", unit="s", description="How long nodes wait to start."),
            meter.create_counter("cascade.runs", unit="{run}", description="Runs that have ended."),
        )
        meter.create_observable_counter(
            "cascade.attempts", [made.attempts], unit="{attempt}", description="Calls that have ended."
        )
        meter.create_observable_counter(
            "cascade.nodes", [made.nodes], unit="{node}", description="Nodes that have ended."
        )
        meter.create_observable_up_down_counter(
            "cascade.lane.depth", [made.depths], unit="{node}", description="Nodes that wait in lanes."
        )
        meter.create_observable_up_down_counter(
            "cascade.runs.active", [made.active], unit="{run}", description="Runs that go on."
        )
        return made

    def begin(self, run: LiveRun) -> None:
        """A run has begun."""
        with self._lock:
            self._live.add(run)

    def end(self, run: LiveRun, status: str, seconds: float) -> None:
        """A run has ended."""
        with self._lock:
            self._live.discard(run)
            self._ended.update(run.counts())
        self._runs.add(1, {STATUS: status})
        self.run_seconds.record(seconds, {STATUS: status})

    def _present(self) -> tuple[list[LiveRun], Counter[str]]:
        with self._lock:
            live, counts = list(self._live), self._ended.copy()
            for run in live:
                counts.update(run.counts())
        return live, counts

    def attempts(self, _: CallbackOptions) -> Iterable[Observation]:
        """Calls by task, outcome and type of the error."""
        with self._lock:
            calls = self._calls.copy()
        return [Observation(count, _described(how)) for how, count in calls.items()]

    def nodes(self, _: CallbackOptions) -> Iterable[Observation]:
        """Nodes by outcome, of all runs so far."""
        counts = self._present()[1]
        return [Observation(counts[outcome], {OUTCOME: outcome}) for outcome in OUTCOMES]

    def depths(self, _: CallbackOptions) -> Iterator[Observation]:
        """Nodes that wait, by kind of lane."""
        waiting = [run.depths() for run in self._present()[0]]
        for place, lane in enumerate(LANES):
            yield Observation(sum(depths[place] for depths in waiting), {LANE: lane})

    def active(self, _: CallbackOptions) -> Iterable[Observation]:
        """Runs that go on."""
        return [Observation(len(self._present()[0]))]


_known: WeakKeyDictionary[metrics.MeterProvider, Metrics] = WeakKeyDictionary()
_lock = threading.Lock()


def _described(how: How) -> dict[str, str]:
    task, outcome, kind = how
    return {TASK: task, OUTCOME: outcome, **({ERROR: kind} if kind else {})}
