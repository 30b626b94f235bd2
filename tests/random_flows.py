"""What the engine makes of random flows, in the oracle's words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
from oracle import Meaning

import cascade
from cascade.testing import RandomFlow, virtual_backends
from cascade.testing.building import called


def run(flow: RandomFlow, backend: str, **as_run: Any) -> Meaning:
    """What the engine makes of *flow*, in the oracle's words."""
    meaning = Meaning()

    def note_call(node_id: str) -> None:
        meaning.calls[node_id.rpartition("/")[2]] += 1

    async def main() -> None:
        called.set(note_call)
        engine = cascade.Engine(**flow.settings, **as_run)
        kinds = (cascade.TaskExecutionStarted, cascade.TaskSkipped, cascade.UndoStarted)
        async with engine.subscribe(*kinds, buffer=10**6) as events:
            try:
                meaning.value = await engine.run(flow.build())
            except cascade.RunFailed as failed:
                meaning.errors.extend(type(error).__name__ for error in failed.exceptions)
            except Exception as error:
                meaning.errors.append(type(error).__name__)
            async for event in events:
                note_event(meaning, event)

    anyio.run(main, backend=backend, backend_options=dict(dict(virtual_backends())[backend]))
    return meaning


def note_event(meaning: Meaning, event: cascade.Event) -> None:
    """Note which function was called, or why not; names in a description are unique, so ids can be cut to them."""
    assert isinstance(event, cascade.NodeEvent)
    name = event.task_id.rpartition("/")[2]
    if isinstance(event, cascade.UndoStarted):
        meaning.undone.add(name)
    elif isinstance(event, cascade.TaskSkipped):
        meaning.skipped[name] = event.reason
    else:
        meaning.ran.add(name)


def failures(meaning: Meaning) -> Counter[str]:
    """What went wrong. Beside other failures it does not matter how many targets are missing as well."""
    errors = Counter(meaning.errors)
    missing = errors.pop("DependencyMissingError", 0)
    return errors or Counter({"DependencyMissingError": min(missing, 1)})
