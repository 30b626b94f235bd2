"""Maps that follow each other mean the same whether their items wait for whole maps or for their rows only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from random_flows import assert_meant_at_first, run

from cascade.testing import RandomFlow
from cascade.testing.descriptions import Argument, Ask, Body, Call, Fail, Give, Pack, Terms


@st.composite
def chains(draw: st.DrawFn) -> RandomFlow:
    """Maps, and some plain calls, most of which need maps that come before them."""
    pool: list[Call] = []
    for number in range(draw(st.integers(2, 7))):
        pool.append(_call(draw, pool, f"n{number}"))
    if draw(st.booleans()):
        return RandomFlow(pool[-1])
    return RandomFlow([pool[-1], *draw(st.lists(st.sampled_from(pool), max_size=2))])


def _call(draw: st.DrawFn, pool: list[Call], name: str) -> Call:
    def rarely() -> bool:
        return draw(st.integers(0, 5)) == 5

    maps = [call for call in pool if call.column is not None]
    bodies: list[Body] = [Pack(), Pack(), Give(5), Give([1, 2]), Ask(Call(f"of {name}", Pack(), (1,)))]
    body = Fail(on="b") if rarely() and rarely() else draw(st.sampled_from(bodies))
    column: Argument = draw(st.sampled_from(maps)) if maps and not rarely() else [1, [2], "b"]
    args = (draw(st.sampled_from(pool)),) if pool and rarely() else ()
    is_map = not maps or draw(st.integers(0, 4)) < 4
    return Call(
        name,
        body,
        args if is_map else (column, *args),
        conditions=(Call(f"if {name}", Give(draw(st.booleans()))),) if rarely() else (),
        after=(draw(st.sampled_from(pool)),) if pool and rarely() else (),
        on_skip=draw(st.sampled_from(("pass", "pass", "skip"))),
        column=column if is_map else None,
        terms=Terms(draw(st.sampled_from(("inline", "thread"))), claims={"gpu": 1} if rarely() else {}),
    )


SETTINGS: list[dict[str, Any]] = [{}, {"state": "memory:"}, {"state": "memory:", "durability": "task"}]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=200)
@given(flow=chains(), as_run=st.sampled_from(SETTINGS))
def test_a_chain_of_maps_gives_what_the_oracle_says(
    flow: RandomFlow, as_run: dict[str, Any], backend: str
) -> None:
    note(repr(flow))
    assert_meant_at_first(flow, run(flow, backend, schedule="eager", **as_run))
