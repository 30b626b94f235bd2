"""What the engine makes of random flows, in the oracle's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from meaning import Found, Meaning
from oracle import meanings

import cascade
from cascade.testing import RandomFlow, Simulation, virtual_backends
from cascade.testing.building import called
from cascade.testing.descriptions import Ask, Call, Ended, calls_within

# Seconds between two attempts to send to a run that has not begun.
MOMENT = 0.01


def run(flow: RandomFlow, backend: str, **as_run: Any) -> Found:
    """What the engine makes of *flow*, in the oracle's words."""
    found = Found()

    def note_call(node_id: str) -> None:
        found.deeds.calls[node_id.rpartition("/")[2]] += 1

    async def main() -> None:
        called.set(note_call)
        engine = cascade.Engine(**flow.settings, **as_run)
        kinds = (cascade.TaskExecutionStarted, cascade.TaskSkipped, cascade.UndoStarted)
        async with engine.subscribe(*kinds, buffer=10**6) as events:
            try:
                found.value = await run_and_send(engine, flow, flow.build())
            except Exception as error:
                found.errors, found.deeds.kept = names_of(error), kept_by(error)
            async for event in events:
                note_event(found, event)

    anyio.run(main, backend=backend, backend_options=dict(dict(virtual_backends())[backend]))
    return found


def found_in(simulation: Simulation) -> Found:
    """What a simulation has given, but for the calls, of which there is no event."""
    found = Found(simulation.value, names_of(simulation.error))
    found.deeds.kept = kept_by(simulation.error)
    note_events(found, simulation.trace.events())
    return found


def names_of(error: BaseException | None) -> list[str]:
    """Type names of what a run has raised."""
    if error is None:
        return []
    errors = error.exceptions if isinstance(error, cascade.RunFailed) else [error]
    return [type(each).__name__ for each in errors]


def kept_by(error: BaseException | None) -> set[str]:
    """The items whose values the error of a run has."""
    results = error.results if isinstance(error, cascade.RunFailed) else {}
    return {node_id.rpartition("/")[2] for node_id in results if node_id.endswith("]")}


def note_events(found: Found, events: Iterable[cascade.Event]) -> None:
    """Note those that :func:`note_event` is about."""
    for event in events:
        if isinstance(event, (cascade.TaskExecutionStarted, cascade.TaskSkipped, cascade.UndoStarted)):
            note_event(found, event)


def note_event(found: Found, event: cascade.Event) -> None:
    """Note which function was called, or why not; names in a description are unique, so ids can be cut to them."""
    assert isinstance(event, cascade.NodeEvent)
    name = event.task_id.rpartition("/")[2]
    if isinstance(event, cascade.UndoStarted):
        found.deeds.undone.add(name)
    elif isinstance(event, cascade.TaskSkipped):
        found.deeds.skipped.add((name, event.reason))
    else:
        found.deeds.ran.add(name)


async def run_and_send(engine: cascade.Engine, flow: RandomFlow, lazies: Any) -> Any:
    """Run *flow*, built as *lazies*, and send it the values of its signals, each at its moment."""
    if not flow.signals:
        return await engine.run(lazies)
    async with engine.start(lazies) as run:
        async with sending(run, flow.signals):
            await ended(run)
        return await run.result()


@asynccontextmanager
async def sending(run: cascade.Run[Any], signals: Mapping[str, tuple[float, Any]]) -> AsyncIterator[None]:
    """A block in which the values of *signals* are sent, each at its moment, and of one moment in their order."""
    between = MOMENT / (len(signals) + 1)
    async with anyio.create_task_group() as group:
        for number, (name, (moment, value)) in enumerate(signals.items()):
            group.start_soon(_send_at, run, name, moment + number * between, value)
        yield
        group.cancel_scope.cancel()


async def ended(run: cascade.Run[Any]) -> None:
    """Wait until *run* has ended, however it does."""
    try:
        await run.result()
    except Exception:
        return


async def _send_at(run: cascade.Run[Any], name: str, moment: float, value: object) -> None:
    await anyio.sleep(moment)
    while run.status().state == "Running":
        try:
            await run.send(name, value)
        except cascade.InputError:  # it has not begun, or has ended
            await anyio.sleep(MOMENT)
        else:
            return


def assert_meant(flow: RandomFlow, found: Found) -> list[Meaning]:
    """See that a run that has gone on after failures means what the oracle says; returns the ways to mean it."""
    differences = [(meaning, meaning.differences(found)) for meaning in meanings(flow.description)]
    agreeing = [meaning for meaning, differs in differences if not differs]
    assert agreeing, [differs for _, differs in differences]
    return agreeing


def assert_meant_at_first(flow: RandomFlow, found: Found) -> None:
    """See that a run that has ended with its first failure gives what the oracle says, or one of its errors."""
    done, early = found.deeds.ran | found.deeds.undone, _beginning_early(flow)
    perhaps = {name for name in done if name.partition("[")[0] in early}
    differences = [meaning.differences_at_first(found, perhaps) for meaning in meanings(flow.description)]
    assert [] in differences


def _beginning_early(flow: RandomFlow) -> set[str]:
    """Names of maps that may begin before those that they follow have failed, and of what their items ask for."""
    found: set[str] = set()
    for call in calls_within(flow.description):
        above = call.column.of if isinstance(call.column, Ended) else call.column
        if isinstance(above, Call) and above.column is not None:
            asked = call.body.flow if isinstance(call.body, Ask) else ()
            found |= {call.name, *(inner.name for inner in calls_within(asked))}
    return found
