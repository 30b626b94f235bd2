"""One meaning at every speed: what runs in lanes, in hot loops, or node by node gives the same in each way."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from meaning import Meaning, are_certain
from oracle import meanings
from ways import Found, assert_all_ways_agree, observed_in_all_ways

import cascade
from cascade.testing import RandomFlow, flows
from cascade.testing.building import called

# -- graphs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=max(settings().max_examples, 200))
@given(flow=flows())
def test_a_random_graph_means_the_same_in_each_way(flow: RandomFlow, backend: str) -> None:
    note(repr(flow))
    as_run: dict[str, Any] = {**flow.settings, "signals": flow.signals, "on_error": "continue"}
    meant = [*meanings(flow.description)]
    if are_certain(meant):
        assert_all_ways_agree(flow.build, backend, **as_run)
        return
    # Who wins a race may be another one each time.
    for way, found in observed_in_all_ways(flow.build, backend, **as_run).items():
        differences = [differences_from(meaning, found) for meaning in meant]
        assert [] in differences, way


def differences_from(meaning: Meaning, found: Found) -> list[str]:
    """Where what can be seen of a run in every way differs from *meaning*."""
    calls = Counter[str]()
    for node_id, count in found.called.items():
        calls[node_id.rpartition("/")[2]] += count
    errors = [error.partition("(")[0] for error in found.errors]
    found_value = "None" if found.errors else found.value
    return meaning.differences_if_silent(found_value, errors, calls)


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
