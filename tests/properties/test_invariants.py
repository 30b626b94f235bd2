"""What holds in every run of every flow: in each schedule, whatever the seed chooses, and whatever goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from meaning import Meaning
from oracle import meanings
from random_flows import assert_meant, found_in, names_of, run_and_send
from strategies_runtime import Store

import cascade
from cascade.graph.build import build
from cascade.graph.nested import finish
from cascade.graph.nodes import Junction
from cascade.model.shown.text import preview
from cascade.planning.chained_maps import chained_maps
from cascade.runtime.admission.pool import Pool
from cascade.runtime.foundation.task_context import ambient
from cascade.testing import FaultPlan, RandomFlow, Simulation, flows, record_events, simulate, virtual_backends
from cascade.testing.building import called
from cascade.testing.descriptions import Ask, Call, Fail, Fallback, Signalled, Turns, all_calls, calls_within

TERMINAL = (cascade.TaskExecutionFinished, cascade.TaskSkipped)
seeds = st.integers(0, 2**32)
schedules = st.sampled_from(["stages", "eager"])
plans = st.builds(
    FaultPlan,
    fail=st.sampled_from([0, 0.05]),
    hang=st.sampled_from([0, 0.03]),
    slow=st.sampled_from([0, 0.2]),
    cancel=st.sampled_from([0, 0.3]),
    cancel_at=st.sampled_from([None, None, 0.1, 0.2, 1.0]),
)


def loops_in(flow: RandomFlow) -> set[str]:
    """Names of calls whose node ids occur more than once, as each turn has them."""
    return {call.name for call in calls_within(flow.description) if isinstance(call.body, Turns)}


# -- what has to hold ------------------------------------------------------------------------------------------


@attrs.define
class Ledger:
    """Looks at the capacity whenever a function is called."""

    calls: Counter[str] = attrs.field(factory=Counter)
    pools: set[Pool] = attrs.field(factory=set)

    def note_call(self, node_id: str) -> None:
        self.calls[node_id] += 1
        here = ambient()
        claim = None if here is None else here.claim
        if claim is None:
            return
        pool = claim.holdings.pool
        self.pools.add(pool)
        for name, held in pool.held.items():
            assert held <= pool.totals.get(name, held), f"{held} of {name} are held"

    def check_nothing_is_held(self) -> None:
        for pool in self.pools:
            assert not any(pool.held.values())


def check_events(flow: RandomFlow, events: Sequence[Any], *, is_complete: bool) -> None:
    """See that the events of a run tell a possible story."""
    check_nodes(events, loops_in(flow), flow)
    check_inputs_come_first(flow, events)
    opened = Counter(event.resource_name for event in events if isinstance(event, cascade.ResourceAcquired))
    closed = Counter(event.resource_name for event in events if isinstance(event, cascade.ResourceReleased))
    assert opened == closed
    check_undos(flow, events)
    last = events[-1]
    assert isinstance(last, cascade.RunFinished)
    if last.status == "Succeeded":
        ends = [event for event in events if isinstance(event, cascade.TaskExecutionFinished)]
        assert {event.reason for event in ends if event.status == "Cancelled"} <= {"RaceLost"}
    if is_complete:
        graph = build(flow.build())
        settled = {event.task_id for event in events if isinstance(event, TERMINAL)}
        assert settled >= {node.name for node in graph.calls()}
        assert not last.counts["pending"]


def check_nodes(events: Sequence[Any], loops: set[str], flow: RandomFlow) -> None:
    """One terminal event for each node, one end for each beginning, and each attempt counted."""
    of = {kind: Counter(event.task_id for event in events if isinstance(event, kind)) for kind in KINDS}
    ends = [event for event in events if isinstance(event, cascade.TaskExecutionFinished)]
    # A signal ends without having begun.
    signals = {call.name for call in calls_within(flow.description) if isinstance(call.body, Signalled)}
    counted = [event.task_id for event in ends if event.attempt and event.task_name not in signals]
    assert of[cascade.TaskExecutionStarted] == Counter(counted)
    for node_id, count in (of[cascade.TaskExecutionFinished] + of[cascade.TaskSkipped]).items():
        assert count == 1 or node_id.rpartition("/")[2] in loops, node_id
    for event in ends:
        retries = of[cascade.TaskRetrying][event.task_id]
        if event.status == "Cancelled":  # perhaps in the pause before the next attempt
            assert event.attempt in (retries, retries + 1), event
        elif event.attempt:
            assert event.attempt == retries + 1, event
        else:  # it failed before it began, say because of what it claims
            assert event.status == "Failed", event


def check_undos(flow: RandomFlow, events: Sequence[Any]) -> None:
    """What has succeeded is undone, the last first and one by one, if the run failed; all of it, if in time."""
    undoable = {call.name for call in calls_within(flow.description) if call.terms.is_undone}
    maps = {call.name for call in calls_within(flow.description) if call.column is not None}
    done = [
        event.task_id
        for event in events
        if isinstance(event, cascade.TaskExecutionFinished)
        and event.status == "Succeeded"
        and event.task_name in undoable
        and event.task_id.rpartition("/")[2] not in maps
    ]
    steps = [event for event in events if isinstance(event, (cascade.UndoStarted, cascade.UndoFinished))]
    begun, ended = steps[::2], [event for event in steps[1::2] if isinstance(event, cascade.UndoFinished)]
    assert all(isinstance(event, cascade.UndoStarted) for event in begun)
    assert [event.task_id for event in begun] == [event.task_id for event in ended]
    is_due = events[-1].status in ("Failed", "Cancelled")
    in_time = all(event.status != "Cancelled" for event in ended if isinstance(event, cascade.UndoFinished))
    expected = done[::-1] if is_due else []
    assert [event.task_id for event in begun] == (expected if in_time else expected[: len(begun)])


KINDS = (cascade.TaskExecutionStarted, cascade.TaskRetrying, *TERMINAL)


def done_in_vain(meaning: Meaning, events: Sequence[Any]) -> list[Any]:
    """What only losers of races need and has begun or succeeded after all that is needed had ended.

    By then all races were won, and the losers were pruned or cancelled.
    """
    lost = meaning.possible.ran - meaning.certain.ran
    places = [(name_of(event), event) for event in events if isinstance(event, cascade.NodeEvent)]
    ends = [
        place for place, (name, event) in enumerate(places) if isinstance(event, TERMINAL) and name not in lost
    ]
    later = [event for name, event in places[max(ends, default=-1) + 1 :] if name in lost]
    return [
        event
        for event in later
        if isinstance(event, cascade.TaskExecutionStarted)
        or (isinstance(event, cascade.TaskExecutionFinished) and event.status == "Succeeded")
    ]


def name_of(event: cascade.NodeEvent) -> str:
    """The name of its call, or of the item of a map."""
    return event.task_id.rpartition("/")[2]


def check_inputs_come_first(flow: RandomFlow, events: Sequence[Any]) -> None:
    """No node begins before all that it names has settled; a map may begin with a map that is a column of it."""
    graph = build(flow.build())
    followers = finish(chained_maps(graph, range(len(graph.rows))))
    ended: dict[str, int] = {}
    begun: dict[str, int] = {}
    for place, event in enumerate(events):
        if isinstance(event, TERMINAL):
            ended.setdefault(event.task_id, place)
        elif isinstance(event, cascade.TaskExecutionStarted):
            begun.setdefault(event.task_id, place)
    for node in graph.calls():
        for source in node.sources:
            if node.name in begun and not isinstance(graph.nodes[source], Junction):
                name, is_followed = graph.nodes[source].name, node.index in followers.get(source, ())
                first = begun if is_followed and name in begun else ended
                assert first[name] < begun[node.name], (node.name, source)
        for source in (source for source, others in followers.items() if node.index in others):
            check_rows_come_first(node.name, graph.nodes[source].name, begun, ended)


def check_rows_come_first(name: str, followed: str, begun: dict[str, int], ended: dict[str, int]) -> None:
    """No item of the map *name* begins before the item of the map *followed* in its row has settled."""
    for item, place in begun.items():
        if item.startswith(f"{name}[") and "/" not in item and followed in begun:
            assert ended[f"{followed}{item.removeprefix(name)}"] < place, item


# -- simulated -------------------------------------------------------------------------------------------------


def played(flow: RandomFlow, seed: int, **as_run: Any) -> tuple[Simulation, Ledger]:
    """A simulation on both backends, which have to agree; and who was called on Trio."""
    found = []
    for backend in ("asyncio", "trio"):
        ledger = Ledger()
        token = called.set(ledger.note_call)
        try:
            simulation = simulate(
                flow.build(),
                seed=seed,
                signals=flow.signals,
                backend=backend,
                **{**flow.settings, **as_run},
            )
        finally:
            called.reset(token)
        ledger.check_nothing_is_held()
        found.append((simulation, ledger))
    assert str(found[0][0].trace) == str(found[1][0].trace)
    assert found[0][1].calls == found[1][1].calls
    return found[1]


def meant(flow: RandomFlow, seed: int, schedule: str) -> tuple[Simulation, list[Meaning]]:
    """A simulation that goes on after failures, which has to be as the oracle says; and the ways to mean it."""
    simulation, ledger = played(flow, seed, schedule=schedule, on_error="continue")
    note(str(simulation))
    found = found_in(simulation)
    for node_id, count in ledger.calls.items():
        found.deeds.calls[node_id.rpartition("/")[2]] += count
    return simulation, assert_meant(flow, found)


@pytest.mark.needs("trio")
@settings(max_examples=max(settings().max_examples, 200))
@given(flow=flows(), seed=seeds, schedule=schedules)
def test_whatever_a_seed_chooses_the_outcome_is_the_oracles(flow: RandomFlow, seed: int, schedule: str) -> None:
    note(repr(flow))
    simulation, agreeing = meant(flow, seed, schedule)
    assert any(not done_in_vain(meaning, simulation.trace.events()) for meaning in agreeing)
    check_events(flow, simulation.trace.events(), is_complete=True)


@pytest.mark.needs("trio")
@given(flow=flows(), seed=seeds, schedule=schedules)
def test_what_is_handled_at_first_is_told_whole_if_it_stands_in_for_itself(
    flow: RandomFlow, seed: int, schedule: str
) -> None:
    items, inner = (Call(name, Fail(on="a"), column=["a", "b"]) for name in ("items", "inner"))
    calls = [items, Call("asks", Ask([inner])), *all_calls(flow.description)]
    flow = RandomFlow([Fallback(call, call, name=f"again {call.name}") for call in calls])
    note(repr(flow))
    meant(flow, seed, schedule)


@pytest.mark.needs("trio")
@given(flow=flows(), seed=seeds, schedule=schedules)
def test_after_the_first_failure_nothing_starts_and_its_error_is_raised(
    flow: RandomFlow, seed: int, schedule: str
) -> None:
    note(repr(flow))
    simulation, _ = played(flow, seed, schedule=schedule)
    note(str(simulation))

    events = simulation.trace.events()
    check_events(flow, events, is_complete=simulation.error is None)
    ends = [event for event in events if isinstance(event, cascade.TaskExecutionFinished)]
    failed = next((event for event in ends if event.status == "Failed" and not event.handled), None)
    if failed is not None:
        later = events[events.index(failed) :]
        assert not any(isinstance(event, cascade.TaskExecutionStarted) for event in later)
        # One that was handled may have come to be wanted after all.
        errors = [event.error for event in ends if event is failed or event.handled]
        assert type(simulation.error).__name__ in {str(error).partition(":")[0] for error in errors}
        meant = {error for meaning in meanings(flow.description) for error in meaning.errors}
        assert type(simulation.error).__name__ in meant


@pytest.mark.needs("trio")
@given(flow=flows(), seed=seeds, schedule=schedules, faults=plans, on_error=st.sampled_from(["first", "continue"]))
def test_whatever_goes_wrong_nothing_is_left(
    flow: RandomFlow, seed: int, schedule: str, faults: FaultPlan, on_error: str
) -> None:
    note(repr(flow))
    simulation, _ = played(flow, seed, schedule=schedule, faults=faults, on_error=on_error)
    note(str(simulation))

    if simulation.trace.events():
        check_events(flow, simulation.trace.events(), is_complete=False)


# -- as it is run ----------------------------------------------------------------------------------------------


def run_twice(flow: RandomFlow, backend: str, **as_run: Any) -> None:
    """Run a flow twice with the same caches, and look at everything."""
    meant = [*meanings(flow.description)]
    ledger = Ledger()
    lazies = flow.build()

    async def main() -> None:
        called.set(ledger.note_call)
        before = len(anyio.get_running_tasks())
        values: list[str] = []
        for _ in range(2):
            store = Store()
            async with cascade.Engine(**flow.settings, state=store, on_error="continue", **as_run) as engine:
                with record_events(engine) as recorded:
                    try:
                        value = await run_and_send(engine, flow, lazies)
                        values.append(repr(value))
                        assert any(not meaning.errors and repr(meaning.value) == values[-1] for meaning in meant)
                    except (cascade.RunFailed, cascade.DependencyMissingError) as error:
                        values.append(repr(sorted(map(repr, getattr(error, "exceptions", [error])))))
                        errors = Counter(names_of(error))
                        assert any(Counter(meaning.errors) == errors for meaning in meant)
                assert engine.capacity() == {"gpu": (0, 2), "memory": (0, 3)}
            assert len(anyio.get_running_tasks()) == before
            check_journal(store, recorded.events, loops_in(flow))
            if len(values) == 1:
                check_events(flow, recorded.events, is_complete=True)
        # Who wins may be another one the next time.
        assert len(meant) > 1 or values[0] == values[1]

    anyio.run(main, backend=backend, backend_options=dict(dict(virtual_backends())[backend]))
    ledger.check_nothing_is_held()


def check_journal(store: Store, events: Sequence[Any], loops: set[str]) -> None:
    """See that what is recorded is what happened.

    A call that another flow has replaced has no record of its own. Turns before the last are forgotten if nothing
    was written yet; of a loop begun by a node in the middle of the flow only the first is recorded.
    """
    values = {
        event.task_id: event.result_preview or ""
        for event in events
        if isinstance(event, cascade.TaskExecutionFinished) and event.status == "Succeeded"
    }
    reasons = {event.task_id: event.reason for event in events if isinstance(event, cascade.TaskSkipped)}
    replaced = {node_id for node_id, value in values.items() if "LazyResult " in value or "<Router " in value}
    looping = {node_id.rpartition("/")[0] for node_id in replaced}
    recorded = {node_id: held for node_id, held in store.held.items() if not node_id.startswith("~undo")}
    undone = [event.task_id for event in events if isinstance(event, cascade.UndoFinished)]
    marks = [
        value for node_id, value in store.held.items() if node_id.startswith("~undone:") and value is not True
    ]
    assert [node_id for node_id, _ in marks] == undone
    for node_id, held in recorded.items():
        prefix, _, name = node_id.rpartition("/")
        if node_id in values:
            assert preview(held) == values[node_id] or name in loops or prefix in looping - {""}, node_id
        elif reasons[node_id] != "CacheHit":
            assert held == reasons[node_id]
    ended = values.keys() | reasons.keys()
    assert recorded.keys() <= ended
    if not loops:
        certain = {node_id for node_id in ended if not any(is_inside(node_id, prefix) for prefix in looping)}
        assert recorded.keys() >= certain - replaced


def is_inside(node_id: str, prefix: str) -> bool:
    """Whether a node is one of the flow called *prefix* (the run's own is ``""``), or of one in it."""
    return not prefix or node_id.startswith(prefix + "/")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(flow=flows(), schedule=schedules, durability=st.sampled_from(["task", "stage", "exit"]))
def test_the_journal_is_the_frame_nothing_is_left_and_hot_is_as_cold(
    flow: RandomFlow, schedule: str, durability: str, backend: str
) -> None:
    note(repr(flow))
    run_twice(flow, backend, schedule=schedule, durability=durability)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(flow=flows(), schedule=schedules, number=st.integers(0, 40))
def test_a_run_that_is_cancelled_at_any_checkpoint_leaves_nothing(
    flow: RandomFlow, schedule: str, number: int, backend: str
) -> None:
    note(repr(flow))
    ledger = Ledger()

    async def cancel(scope: anyio.CancelScope) -> None:
        for _ in range(number):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    async def main() -> None:
        called.set(ledger.note_call)
        before = len(anyio.get_running_tasks())
        async with cascade.Engine(**flow.settings, schedule=schedule) as engine:  # type: ignore[arg-type]  # one of two
            with record_events(engine) as recorded, anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(cancel, scope)
                    try:
                        await run_and_send(engine, flow, flow.build())
                    except Exception:
                        group.cancel_scope.cancel()
            if recorded.events:
                check_events(flow, recorded.events, is_complete=False)
            assert engine.capacity() == {"gpu": (0, 2), "memory": (0, 3)}
        assert len(anyio.get_running_tasks()) == before

    anyio.run(main, backend=backend, backend_options=dict(dict(virtual_backends())[backend]))
    ledger.check_nothing_is_held()
