"""What is told of failures that are handled, and how errors say what could be done with theirs."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import pytest
from life import failure_of, forever, just, raising, until
from plain_tasks import odd_ones_fail, step

import cascade
from cascade import Done, Failed, Skipped, settled
from cascade.graph.build import build
from cascade.graph.identity import digests, shape
from cascade.observers import human_log
from cascade.testing import simulate

# -- hints -----------------------------------------------------------------------------------------------------


async def test_the_note_on_the_failure_of_an_item_says_how_to_collect(schedule: Any) -> None:
    (note,) = (await failure_of(odd_ones_fail.map(number=[0, 1]), schedule=schedule)).__notes__
    assert "item 1 of the map 'odd_ones_fail'" in note
    assert note.endswith('.with_errors("collect") on the map makes failed items values of its list')


async def test_the_notes_on_other_failures_do_not(schedule: Any) -> None:
    (note,) = (await failure_of(raising(ValueError()), schedule=schedule)).__notes__
    assert "collect" not in note
    outcome = await cascade.run(settled(odd_ones_fail.map(number=[0, 1])), schedule=schedule)
    (note,) = outcome.error.__notes__
    assert "collect" not in note


@pytest.mark.parametrize("on_error", ["group", "continue"])
async def test_failures_together_say_how_to_take_them_as_values(on_error: Any, schedule: Any) -> None:
    error = await failure_of([raising(ValueError()), just(1)], on_error=on_error, schedule=schedule)
    assert isinstance(error, cascade.RunFailed)
    (note,) = error.__notes__
    for word in (".results", "cascade.settled(call)", ".or_else(", '.with_errors("collect")'):
        assert word in note


# -- events, pictures, explanations ----------------------------------------------------------------------------


async def test_the_log_says_that_a_failure_is_handled() -> None:
    out = io.StringIO()
    flow = step(raising(ValueError("no")).or_else(2))
    assert await cascade.run(flow, observers=[human_log(out)]) == 2
    assert "  raising failed (handled) after " in out.getvalue()


async def test_an_alternative_that_is_not_wanted_yet_is_explained(schedule: Any) -> None:
    async with cascade.start(forever().or_else(step(1)), schedule=schedule) as run:
        await until(lambda: run.status().running == ("forever",))
        (why,) = run.explain()
        run.cancel()
    assert why.node_id == "step"
    assert "no or_else has chosen it yet" in why.blockers


FLOW: Any = step(settled(step(just(1)).or_else(just(2))))


def test_pictures_show_outcomes_and_alternatives() -> None:
    shown = json.loads(cascade.visualize(FLOW, "json"))
    kinds = {node["id"]: node["kind"] for node in shown["nodes"]}
    calls = dict.fromkeys(("just", "step", "just#2", "step#2"), "call")
    assert kinds == {**calls, "or_else": "or_else", "settled": "settled"}
    edges = {(edge["source"], edge["target"]): edge["kind"] for edge in shown["edges"]}
    assert edges == {
        ("just", "step"): "data",
        ("step", "or_else"): "outcome",
        ("just#2", "or_else"): "fallback",
        ("or_else", "settled"): "outcome",
        ("settled", "step#2"): "data",
    }
    mermaid = cascade.visualize(FLOW)
    assert all(f'|"{label}"|' in mermaid for label in ("outcome", "or else"))
    text = cascade.dry_run(FLOW)
    assert text.endswith(
        "outcomes and fallbacks\n  or_else <- step (outcome), just#2 (or else)\n  settled <- or_else (outcome)\n"
    )
    assert cascade.plan(FLOW).stages == (("just",), ("step",), ("just#2",), ("step#2",))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_simulations_handle_failures_alike(backend: Any) -> None:
    flow = [
        FLOW,
        settled(odd_ones_fail.map(number=[0, 1])),
        odd_ones_fail.map(number=[0, 1]).with_errors("collect"),
    ]
    traces = set()
    for _ in range(2):
        simulation = simulate(flow, seed=3, backend=backend)
        done, failed, collected = simulation.result()
        assert done == Done(1)
        assert (failed.task_id, collected[1].index) == ("odd_ones_fail[1]", 1)
        traces.add(str(simulation.trace))
    assert len(traces) == 1


# -- content ---------------------------------------------------------------------------------------------------


def test_how_something_ends_is_other_content_than_its_value() -> None:
    call = just(1)
    flows = [
        call,
        settled(call),
        settled(settled(call)),
        call.or_else(2),
        call.or_else(3),
        call.or_else(2, on=KeyError),
    ]
    found = [list(digests(build(step(flow)), {}))[-1][1] for flow in flows]
    assert len(set(found)) == len(flows)
    shapes = [shape(build(step(flow))) for flow in flows[:4]]
    assert len(set(shapes)) == 4


@pytest.mark.parametrize(
    "outcome", [Done([1]), Failed(ValueError("x"), "a", 2, 3), Skipped(cascade.SkipReason.PRUNED, "b")]
)
def test_outcomes_are_frozen_and_can_be_pickled(outcome: Any) -> None:
    again = pickle.loads(pickle.dumps(outcome))  # our own
    assert repr(again) == repr(outcome)
    with pytest.raises(AttributeError):
        outcome.task_id = "c"


def test_outcomes_and_alternatives_are_shown_shortly() -> None:
    flow: Any = just(1)
    for _ in range(10_000):
        flow = settled(flow.or_else(step(flow))) if not isinstance(flow, cascade.OutcomeOf) else settled(flow)
    assert len(repr(flow)) < 200
    assert repr(settled(just(1))) == "settled(just(...))"
    assert repr(just(1).or_else(2)) == "just(...).or_else(...)"
