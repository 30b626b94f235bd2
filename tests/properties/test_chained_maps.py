"""Maps that follow each other mean the same whether their items wait for whole maps or for their rows only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st
from oracle import meanings
from random_flows import assert_meant_at_first, run

from cascade.state import InMemoryStateBackend
from cascade.testing import Crash, FaultPlan, RandomFlow, flows, simulate
from cascade.testing.descriptions import Argument, Ask, Body, Call, Ended, Fail, Give, Pack, Tell, Terms


@st.composite
def chains(draw: st.DrawFn) -> RandomFlow:
    """Maps, and some plain calls, most of which need maps that come before them.

    Some maps collect their failures, and some take how the items of others end. They tell of it in words.
    """
    pool: list[Call] = []
    for number in range(draw(st.integers(2, 7))):
        pool.append(_call(draw, pool, f"n{number}"))
    pool.append(replace(_call(draw, pool, "last"), collects=False))
    if draw(st.booleans()):
        return RandomFlow(pool[-1])
    plain = [call for call in pool if not call.collects]
    return RandomFlow([pool[-1], *draw(st.lists(st.sampled_from(plain), max_size=2))])


def _call(draw: st.DrawFn, pool: list[Call], name: str) -> Call:
    def rarely() -> bool:
        return draw(st.integers(0, 5)) == 5

    maps = [call for call in pool if call.column is not None]
    plain = [call for call in pool if not call.collects]
    bodies: list[Body] = [Pack(), Pack(), Give(5), Give([1, 2]), Ask(Call(f"of {name}", Pack(), (1,)))]
    body = Fail(on="b") if draw(st.integers(0, 7)) == 7 else draw(st.sampled_from(bodies))
    column: Argument = draw(st.sampled_from(maps)) if maps and not rarely() else [1, [2], "b"]
    args = (draw(st.sampled_from(plain)),) if plain and rarely() else ()
    is_map = not maps or draw(st.integers(0, 4)) < 4
    if is_map and isinstance(column, Call) and draw(st.integers(0, 2)) == 2:
        column = Ended(column)
    is_told = isinstance(column, Ended) or (isinstance(column, Call) and column.collects)
    return Call(
        name,
        Tell() if is_told else body,
        args if is_map else (column, *args),
        conditions=(Call(f"if {name}", Give(draw(st.booleans()))),) if rarely() else (),
        after=(draw(st.sampled_from(pool)),) if pool and rarely() else (),
        on_skip="skip" if is_told else draw(st.sampled_from(("pass", "pass", "skip"))),
        column=column if is_map else None,
        collects=is_map and draw(st.integers(0, 3)) == 3,
        terms=Terms(draw(st.sampled_from(("inline", "thread"))), claims={"gpu": 1} if rarely() else {}),
    )


# The map that follows begins before the other one fails, as it does now and then on a busy machine.
FAILS_LATE = RandomFlow(
    Call("last", Pack(), column=Call("n0", Fail(on="b"), column=[1, "b"], terms=Terms("async", claims={"gpu": 2})))
)

SETTINGS: list[dict[str, Any]] = [{}, {"state": "memory:"}, {"state": "memory:", "durability": "task"}]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=max(settings().max_examples, 200))
@given(flow=chains(), as_run=st.sampled_from(SETTINGS))
@example(flow=FAILS_LATE, as_run={})
def test_a_chain_of_maps_gives_what_the_oracle_says(
    flow: RandomFlow, as_run: dict[str, Any], backend: str
) -> None:
    note(repr(flow))
    assert_meant_at_first(flow, run(flow, backend, schedule="eager", **as_run))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(flow=flows())
def test_a_random_flow_gives_what_the_oracle_says_or_one_of_its_errors(flow: RandomFlow, backend: str) -> None:
    note(repr(flow))
    assert_meant_at_first(flow, run(flow, backend, schedule="eager"))


@pytest.mark.needs("trio")
@given(
    flow=chains(),
    at=st.integers(1, 12),
    when=st.sampled_from(("before", "during", "after")),
    seed=st.integers(0, 10_000),
    resumed_in=st.sampled_from(("stages", "eager")),
)
def test_a_chain_of_maps_gives_the_same_after_a_crash(
    flow: RandomFlow, at: int, when: Any, seed: int, resumed_in: Any
) -> None:
    note(repr(flow))
    meant = [*meanings(flow.description)]
    if any(meaning.errors for meaning in meant):
        return  # what failed runs again, and the run may end in another failure
    store = InMemoryStateBackend("run")
    as_run: Any = {**flow.settings, "seed": seed, "durability": "task", "state": lambda _: store, "run_id": "run"}
    first = simulate(flow.build(), schedule="eager", faults=FaultPlan(store=Crash(at, when)), **as_run)
    last = simulate(flow.build(), schedule=resumed_in, **as_run) if first.has_crashed else first
    assert repr(last.result()) in {repr(meaning.value) for meaning in meant}
