"""One meaning at every speed: what runs in lanes, in hot loops, or node by node gives the same in each way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import anyio
import attrs
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import cascade
from cascade.testing import RandomFlow, flows, record_events, virtual_backends
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


def observed(make: Callable[[], Any], backend: str, *, is_heard: bool, **as_run: Any) -> Found:
    """Run the flow that *make* makes, and note what can be seen."""
    found = Found()
    calls: list[str] = []

    async def main() -> None:
        called.set(calls.append)
        async with cascade.Engine(**as_run) as engine:
            with record_events(engine) if is_heard else nullcontext() as recorded:
                async with engine.start(make()) as run:
                    try:
                        found.value = repr(await run.result())
                    except cascade.RunFailed as failed:
                        found.errors = sorted(map(repr, failed.exceptions))
                    except Exception as error:
                        found.errors = [repr(error)]
            found.counts = run.status().counts
            if recorded is not None:
                found.events = node_events(recorded.of(cascade.NodeEvent))

    anyio.run(main, backend=backend, backend_options=dict(dict(virtual_backends())[backend]))
    found.called = Counter(calls)
    return found


def node_events(recorded: list[Any]) -> dict[str, list[tuple[str, ...]]]:
    """The events of each node in order.

    Which of its items' failures a map tells of is up to the loop, and so is who of several that ask at the same
    time has to wait for capacity.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for event in recorded:
        if isinstance(event, cascade.TaskBlocked) and event.reason == "ResourceContention":
            continue
        says = (str(getattr(event, name, "")) for name in ("status", "reason", "attempts"))
        error = str(getattr(event, "error", "")).partition(":")[0]
        found.setdefault(event.task_id, []).append((type(event).__name__, *says, error))
    return found


def assert_all_ways_agree(make: Callable[[], Any], backend: str, **as_run: Any) -> Found:
    """Run a flow in every way; returns what was found in the first."""
    found = {
        way: observed(make, backend, is_heard=is_heard, **as_run, **settings)
        for way, (settings, is_heard) in WAYS.items()
    }
    first = found["general, heard stages"]
    for way, other in found.items():
        assert (other.value, other.errors) == (first.value, first.errors), way
        assert other.called == first.called, way
        assert other.counts == first.counts, way
        if other.events is not None:
            assert other.events == first.events, way
    return first


# -- graphs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(flow=flows())
def test_a_random_graph_means_the_same_in_each_way(flow: RandomFlow, backend: str) -> None:
    note(repr(flow))
    assert_all_ways_agree(flow.build, backend, on_error="continue", **flow.settings)


# -- loops -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Turn:
    """One turn of a loop.

    Attributes:
        task: Which of the tasks makes it.
        mode: Where that one runs.
        kind: What makes it different from a plain call, if anything.
    """

    task: int
    mode: Literal["async", "thread", "inline"]
    kind: Literal["plain", "nested", "retried", "chosen", "listed"] = "plain"


Ending = Literal["value", "error", "list"]


class Loop:
    """A loop that goes through *turns*, each of which has the results of the ones before."""

    def __init__(self, turns: list[Turn], ending: Ending) -> None:
        self.turns = turns
        self.ending = ending
        self.tasks = {(turn.task, turn.mode): self._task(turn) for turn in turns}

    def _task(self, turn: Turn) -> Any:
        name = f"task{turn.task}_{turn.mode}"
        if turn.mode == "async":

            async def on_the_loop(number: int, so_far: Any) -> Any:
                return self._turn(name, number, so_far)

            return cascade.task(name=name)(on_the_loop)
        return cascade.task(name=name, mode=turn.mode)(partial(self._turn, name))

    def _turn(self, name: str, number: int, so_far: Any) -> Any:
        if heard := called.get():
            heard(f"{cascade.current().node_id} {number}")
        so_far = [*so_far[-3:], (name, number)]
        return self.call(number + 1, so_far)

    def call(self, number: int, so_far: Any) -> Any:
        """What the turn before *number* returns."""
        if number == len(self.turns):
            if self.ending == "error":
                raise LookupError(f"no turn {number}")
            return so_far if self.ending == "value" else [keep(so_far), 1]
        turn = self.turns[number]
        task = self.tasks[turn.task, turn.mode]
        if turn.kind == "nested":
            return task(number, keep(so_far))
        if turn.kind == "retried":
            return task(number, so_far).with_retry(2)
        if turn.kind == "chosen":
            return task(number, cascade.Router(keep("a"), {"a": keep(so_far), "b": keep(None)}))
        if turn.kind == "listed":
            return task(number, [keep(part) for part in so_far])
        return task(number, so_far)


@cascade.task(mode="inline")
def keep(value: Any) -> Any:
    """Its argument."""
    return value


turns = st.builds(
    Turn,
    st.integers(0, 1),
    st.sampled_from(["async", "thread", "inline"]),
    st.sampled_from([*["plain"] * 6, "nested", "retried", "chosen", "listed"]),
)
runs_of_turns = st.lists(st.tuples(turns, st.integers(1, 6)), min_size=1, max_size=6).map(
    lambda runs: [turn for turn, count in runs for _ in range(count)]
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(turns=runs_of_turns, ending=st.sampled_from(["value", "error", "list"]))
def test_a_random_loop_means_the_same_in_each_way(turns: list[Turn], ending: Ending, backend: str) -> None:
    loop = Loop(turns, ending)
    found = assert_all_ways_agree(lambda: loop.call(0, []), backend)
    assert len(found.called) == len(turns)
    assert bool(found.errors) == (ending == "error")
