"""What went wrong, took long, was waited for and was written: the lists of a document, each bounded."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from cascade.adapters.pages.document.tracebacks import traceback_of
from cascade.model.events import NodeEvent, TaskExecutionFinished, TaskRetrying
from cascade.runtime.observation.details import NodeFailed, NodeWrote

MOST_FAILURES: Final = 100
MOST_RETRIES: Final = 100
MOST_SLOW: Final = 20
# Nodes whose output is shown: the last ones that wrote something.
MOST_OUTPUTS: Final = 50
MOST_WAITS: Final = 50
# Failed attempts of one node that are shown: the last ones.
MOST_EARLIER: Final = 10
OTHER_REASONS: Final = "other reasons"


@attrs.define(eq=False)
class Troubles:
    """The lists, as a page reads them.

    Attributes:
        failures: The first failures, and rather those that the run fails by than those that are handled.
        retries: The last attempts that failed and were followed by another.
        failures_left_out: Number of failures that are not shown.
        retries_left_out: Number of retries that are not shown.
    """

    failures: list[dict[str, Any]] = attrs.field(factory=list)
    retries: list[dict[str, Any]] = attrs.field(factory=list)
    failures_left_out: int = 0
    retries_left_out: int = 0
    _earlier: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict)
    _latest: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    _waits: dict[tuple[str, str], list[float]] = attrs.field(factory=dict)
    _slow: list[tuple[float, int, dict[str, Any]]] = attrs.field(factory=list)
    _count: int = 0

    def retry(self, event: TaskRetrying) -> None:
        """An attempt has failed, and another follows."""
        earlier = self._earlier.setdefault(event.task_id, [])
        earlier.append({"attempt": event.attempt, "error": event.error, "at": event.timestamp})
        del earlier[:-MOST_EARLIER]
        self.retries.append(
            named(event) | {
                "attempt": event.attempt, "most": event.max_attempts, "error": event.error, "at": event.timestamp,
                "delay": event.delay,
            }
        )  # fmt: skip
        if len(self.retries) > MOST_RETRIES:
            del self.retries[0]
            self.retries_left_out += 1

    def end(self, event: TaskExecutionFinished) -> None:
        """A node has ended."""
        earlier = self._earlier.pop(event.task_id, [])
        if event.status != "Failed":
            return
        if len(self.failures) >= MOST_FAILURES:
            self.failures_left_out += 1
            if event.handled or not self._make_room():
                return
        failure = named(event) | {
            "error": event.error, "handled": event.handled, "started": event.timestamp - event.duration,
            "duration": event.duration, "attempts": event.attempt, "worker": worker_of(event), "arguments": [],
            "traceback": "", "caused_by": None, "earlier": earlier, "remarks": [], "log": "",
        }  # fmt: skip
        self.failures.append(failure)
        self._latest[event.task_id] = failure

    def _make_room(self) -> bool:
        """Leave out a failure that is handled, for one that the run fails by; whether there is any."""
        for place in reversed(range(len(self.failures))):
            if self.failures[place]["handled"]:
                self._latest.pop(self.failures.pop(place)["id"], None)
                return True
        return False

    def shown(self) -> list[dict[str, Any]]:
        """The failures, those first that the run fails by: they are what is looked for."""
        return sorted(self.failures, key=lambda failure: bool(failure["handled"]))

    def wrote(self, event: NodeWrote) -> None:
        """What a node wrote; stands with its failure, if that is shown."""
        if event.task_id in self._latest:
            self._latest[event.task_id]["log"] = event.text

    def explain(self, event: NodeFailed) -> None:
        """Why the node that has this id has failed. If that is the failure of another node, that one is enough."""
        failure = self._latest.pop(event.task_id, None)
        if failure is None:
            return
        if event.caused_by is not None and any(known["id"] == event.caused_by for known in self.failures):
            self.failures.remove(failure)
            return
        failure["arguments"] = [list(pair) for pair in event.arguments]
        failure["caused_by"] = event.caused_by
        if event.caused_by is None:
            failure["traceback"] = traceback_of(event.error)

    def wait(self, kind: str, reason: str, seconds: float) -> None:
        """A node has waited so long for *reason*."""
        key = kind, reason
        if key not in self._waits and len(self._waits) >= MOST_WAITS:
            key = "", OTHER_REASONS
        known = self._waits.setdefault(key, [0, 0.0])
        known[0] += 1
        known[1] += seconds

    def took(self, seconds: float, node: dict[str, Any]) -> None:
        """*node* has run for so long."""
        self._count += 1
        entry = (seconds, -self._count, node)
        if len(self._slow) < MOST_SLOW:
            heapq.heappush(self._slow, entry)
        elif entry > self._slow[0]:
            heapq.heapreplace(self._slow, entry)

    def is_slow(self, seconds: float) -> bool:
        """Whether a node that has taken so long is among the slowest."""
        return len(self._slow) < MOST_SLOW or seconds > self._slow[0][0]

    def slowest(self) -> list[dict[str, Any]]:
        """The nodes that have run longest, the longest first."""
        return [node for _, _, node in sorted(self._slow, key=lambda entry: entry[:2], reverse=True)]

    def waits(self) -> list[dict[str, Any]]:
        """What nodes have waited for, the longest first."""
        found = [
            {"kind": kind, "reason": reason, "count": int(count), "seconds": round(seconds, 6)}
            for (kind, reason), (count, seconds) in self._waits.items()
        ]
        return sorted(found, key=lambda wait: -wait["seconds"])


@attrs.define(eq=False)
class Outputs:
    """What the last nodes wrote, and how many wrote something."""

    # Some of them stand with failures.
    _last: deque[dict[str, Any]] = attrs.field(factory=lambda: deque(maxlen=MOST_OUTPUTS + MOST_FAILURES))
    _count: int = 0

    def add(self, event: NodeWrote) -> None:
        """A node that has ended wrote something."""
        self._count += 1
        self._last.append(
            named(event) | {
                "status": event.status, "at": event.timestamp, "started": event.started, "worker": event.worker,
                "text": event.text,
            }
        )  # fmt: skip

    def shown(self, failures: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
        """The last ones, the newest last, and how many are left out; without what stands with *failures*."""
        told = {failure["id"] for failure in failures if failure["log"]}
        shown = [output for output in self._last if output["id"] not in told][-MOST_OUTPUTS:]
        return shown, self._count - len(told) - len(shown)


def named(event: NodeEvent) -> dict[str, Any]:
    """The node that *event* is about."""
    return {"id": event.task_id, "label": event.label, "task": event.task_name}


def worker_of(event: TaskExecutionFinished) -> str | None:
    """Where the node of *event* ran, in words; ``None`` if that is not known."""
    return event.worker or event.place
