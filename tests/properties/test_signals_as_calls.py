"""A signal means what a call means that returns its value: for values, skips, routes, pruning and ids of nodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from virtual_time import pass_time

import cascade
from cascade.testing import Simulation, simulate

pytestmark = pytest.mark.needs("trio")
NAMES = ("s0", "s1", "s2", "s3")


@cascade.task
async def call(*values: Any) -> tuple[Any, ...]:
    await pass_time(1)
    return values


@cascade.task
async def item(value: Any) -> Any:
    return value


@cascade.task
async def ask(make: Any) -> Any:
    return call(make())


class Leaves:
    """What stands at the leaves of a flow: signals, or calls that return the same values."""

    def __init__(self, values: dict[str, int], *, are_signals: bool) -> None:
        self.values = values
        self.are_signals = are_signals

    def leaf(self, name: str) -> Any:
        """The signal, or the call."""
        if self.are_signals:
            return cascade.signal(name, int)

        async def give() -> int:
            return self.values[name]

        return cascade.task(name=name)(give)()

    def flow(self, tree: Any) -> Any:
        """The flow that *tree* describes."""
        match tree:
            case str():
                return self.leaf(tree)
            case ("call", *parts):
                return call(*map(self.flow, parts))
            case ("list", *parts):
                return call([self.flow(part) for part in parts])
            case ("if", part, condition):
                return call(self.flow(part)).run_if(self.flow(condition))
            case ("after", part, before):
                return call(self.flow(part)).after(call(self.flow(before)))
            case ("late", name, before):
                return self.leaf(name).after(call(self.flow(before)))
            case ("route", selector, one, other):
                return cascade.Router(self.flow(selector), {0: self.flow(one)}, default=self.flow(other))
            case ("map", *parts):
                return item.map(value=[self.flow(part) for part in parts])
            case ("ask", name):
                return ask(lambda: self.leaf(name))
        raise AssertionError(tree)


# When, and which value.
SENT = st.tuples(st.sampled_from([0.0, 0.5, 1.0, 5.0]), st.integers(0, 1))
LEAF = st.sampled_from(NAMES)
TREES = st.recursive(
    LEAF | st.tuples(st.just("ask"), LEAF),
    lambda inner: (
        st.tuples(st.sampled_from(["call", "list", "if", "after", "map"]), inner, inner)
        | st.tuples(st.just("late"), LEAF, inner)
        | st.tuples(st.just("route"), inner, inner, inner)
    ),
    max_leaves=8,
)


def meaning(made: Simulation) -> tuple[Any, ...]:
    """The value, why nodes were skipped, and which ended how; or the error: chance decides what else ends then."""
    if made.error is not None:
        return (type(made.error),)
    events = made.trace.events()
    skipped = {event.task_id: event.reason for event in events if isinstance(event, cascade.TaskSkipped)}
    ended = {event.task_id: event.status for event in events if isinstance(event, cascade.TaskExecutionFinished)}
    return made.value, skipped, ended


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(
    tree=TREES,
    sent=st.fixed_dictionaries(
        {name: st.tuples(st.sampled_from([0.0, 0.5, 1.0, 5.0]), st.integers(0, 1)) for name in NAMES}
    ),
    seed=st.integers(0, 100),
)
def test_a_signal_means_what_a_call_with_its_value_means(tree: Any, sent: Any, seed: int, backend: Any) -> None:
    values = {name: value for name, (_, value) in sent.items()}
    for schedule in ("stages", "eager"):
        found = []
        for are_signals in (False, True):
            leaves = Leaves(values, are_signals=are_signals)
            # With all signals beside it, so that none is refused because it comes before its flow.
            target = [leaves.flow(tree), call(*map(leaves.leaf, NAMES))]
            settings: dict[str, Any] = {"schedule": schedule, "seed": seed, "backend": backend}
            made = simulate(target, signals=sent if are_signals else None, **settings)
            note(str(made))
            found.append(meaning(made))
        assert found[0] == found[1], schedule
