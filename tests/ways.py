"""The ways through the engine, and what can be seen of a run in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

import anyio
import attrs
from random_flows import sending

import cascade
from cascade.testing import record_events, virtual_backends
from cascade.testing.building import called

# Each way is a different one through the engine. Where each result is recorded before the next node may start, all
# nodes take the general path. Thread lanes need that nobody is told of nodes, turns of a loop that nobody listens.
GENERAL: dict[str, Any] = {"state": "memory:", "durability": "task"}
WAYS: dict[str, tuple[dict[str, Any], bool]] = {
    f"{name} {schedule}": ({**settings, "schedule": schedule}, is_heard)
    for schedule in ("stages", "eager")
    for name, settings, is_heard in (
        ("general, heard", GENERAL, True),
        ("general, silent", GENERAL, False),
        ("lanes, heard", {}, True),
        ("lanes, silent", {}, False),
    )
}


NOTHING_SENT: Mapping[str, tuple[float, Any]] = MappingProxyType({})


@attrs.define
class Found:
    """What can be seen of a run.

    Attributes:
        value: Its value, as text.
        errors: Type names and texts of what went wrong.
        called: How often the function of each node was called.
        counts: How many nodes ended in which way.
        events: For each node the kinds of its events in order, with what they say of its end; ``None`` in silence.
    """

    value: str = ""
    errors: list[str] = attrs.field(factory=list)
    called: Counter[str] = attrs.field(factory=Counter)
    counts: dict[str, int] = attrs.field(factory=dict)
    events: dict[str, list[tuple[str, ...]]] | None = None


def observed(
    make: Callable[[], Any],
    backend: str,
    *,
    is_heard: bool,
    signals: Mapping[str, tuple[float, Any]] = NOTHING_SENT,
    **as_run: Any,
) -> Found:
    """Run the flow that *make* makes, send it *signals*, and note what can be seen."""
    found = Found()
    calls: list[str] = []

    async def main() -> None:
        called.set(calls.append)
        async with cascade.Engine(**as_run) as engine:
            with record_events(engine) if is_heard else nullcontext() as recorded:
                async with engine.start(make()) as run, sending(run, signals):
                    try:
                        found.value = repr(await run.result())
                    except cascade.RunFailed as failed:
                        found.errors = sorted(map(told, failed.exceptions))
                    except Exception as error:
                        found.errors = [told(error)]
            found.counts = run.status().counts
            if recorded is not None:
                found.events = node_events(recorded.of(cascade.NodeEvent))

    anyio.run(main, backend=backend, backend_options=dict(dict(virtual_backends())[backend]))
    found.called = Counter(calls)
    return found


def told(error: Exception) -> str:
    """Type and text of *error*; of a race that has failed without which of the items of a map it tells of."""
    if isinstance(error, cascade.RaceFailed):
        return f"RaceFailed({error.node_id!r}, {[type(one).__name__ for one in error.exceptions]})"
    return repr(error)


def node_events(recorded: list[Any]) -> dict[str, list[tuple[str, ...]]]:
    """The events of each node in order.

    Which of its items' failures a map tells of is up to the loop, and so is who of several that ask at the same
    time has to wait for capacity. Whether a signal comes before it is wanted is up to the schedule.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for event in recorded:
        if isinstance(event, cascade.TaskBlocked) and event.reason == "ResourceContention":
            continue
        if isinstance(event, cascade.SignalAwaited):
            continue
        says = (str(getattr(event, name, "")) for name in ("status", "reason", "attempts"))
        error = str(getattr(event, "error", "")).partition(":")[0]
        found.setdefault(event.task_id, []).append((type(event).__name__, *says, error))
    return found


def observed_in_all_ways(make: Callable[[], Any], backend: str, **as_run: Any) -> dict[str, Found]:
    """Run a flow in every way."""
    return {
        way: observed(make, backend, is_heard=is_heard, **as_run, **settings)
        for way, (settings, is_heard) in WAYS.items()
    }


def assert_all_ways_agree(make: Callable[[], Any], backend: str, **as_run: Any) -> Found:
    """Run a flow in every way; returns what was found in the first."""
    found = observed_in_all_ways(make, backend, **as_run)
    first = found["general, heard stages"]
    for way, other in found.items():
        assert (other.value, other.errors) == (first.value, first.errors), way
        assert other.called == first.called, way
        assert other.counts == first.counts, way
        if other.events is not None:
            assert other.events == first.events, way
    return first
