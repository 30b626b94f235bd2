"""What notebooks show of flows, plans and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from plain_tasks import source, step

import cascade
from cascade.planning.bundles import MERMAID, MOST_MERMAID

SVG = "image/svg+xml"


@cascade.task
async def fail(value: Any) -> None:
    raise ValueError("no")


def said_of(run: Any) -> dict[str, str]:
    """What the picture of *run* says in words of each node."""
    words = ElementTree.fromstring(shown(run)[SVG]).findtext("{http://www.w3.org/2000/svg}desc") or ""
    told = [line.rpartition(": ") for line in words.splitlines()]
    return {line.partition(" ")[0]: state for line, _, state in told if line}


def shown(thing: Any, **asked: Any) -> dict[str, str]:
    """What IPython asks for."""
    return dict(thing._repr_mimebundle_(**asked))


@pytest.mark.parametrize(
    "flow",
    [step(source()), step.map(value=[1, 2]), cascade.Router(source(), {1: step()}), cascade.settled(step())],
    ids=lambda flow: type(flow).__name__,
)
def test_a_flow_is_a_picture_and_text(flow: Any) -> None:
    bundle = shown(flow)

    assert bundle["text/plain"] == repr(flow)
    assert bundle[SVG] == cascade.visualize(flow, "svg")
    assert bundle[MERMAID] == cascade.visualize(flow, "mermaid")


def test_a_plan_is_a_picture_and_text() -> None:
    bundle = shown(cascade.plan(step(source())))

    assert bundle["text/plain"] == "<Plan of 2 nodes in 2 stages>"
    assert bundle[SVG] == cascade.visualize(step(source()), "svg")


async def test_a_run_shows_how_its_nodes_are(schedule: Any) -> None:
    flow = cascade.gather(step(source()), cascade.settled(fail(source())))
    async with cascade.start(flow, schedule=schedule) as run:
        await run.result()

    bundle = shown(run)
    assert bundle["text/plain"] == repr(run)
    assert bundle.keys() == {"text/plain", SVG}
    words = ElementTree.fromstring(bundle[SVG]).findtext("{http://www.w3.org/2000/svg}desc")
    assert words is not None
    assert "step needs source: succeeded" in words
    assert "fail needs source#2: failed, handled" in words


async def test_a_run_shows_failures_that_were_handled_as_such(schedule: Any) -> None:
    collected = fail.map(value=[1, 2]).with_errors("collect")
    flow = cascade.gather(collected, step.map(value=collected), cascade.settled(fail.map(value=[3])))
    async with cascade.start(flow, schedule=schedule) as run:
        await run.result()

    states = {"fail": "failed, handled", "step": "succeeded", "fail#2": "failed, handled", "gather": "succeeded"}
    assert said_of(run) == states


async def test_a_resumed_run_shows_maps_with_failures_from_before_as_such(schedule: Any, tmp_path: Path) -> None:
    collected = fail.map(value=[1, 2]).with_errors("collect")
    flow = fail(3).after(collected, step.map(value=[1, 2]))
    said = []
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            async with cascade.start(
                flow, schedule=schedule, on_error="first", state=f"sqlite:///{tmp_path}/runs.db", run_id="one"
            ) as run:
                await run.result()
        said.append(said_of(run))

    assert said[0] == said[1]
    assert (said[1]["fail"], said[1]["step"], said[1]["fail#2"]) == ("failed, handled", "succeeded", "failed")


async def test_a_box_for_a_task_says_how_many_of_its_nodes_are_how(schedule: Any) -> None:
    flow = [*(step(source()) for _ in range(300)), *(cascade.settled(fail(number)) for number in range(120))]
    async with cascade.start(flow, schedule=schedule) as run:
        await run.result()

    picture = shown(run)[SVG]
    assert said_of(run) == {"source": "succeeded", "step": "succeeded", "fail": "failed, handled"}
    assert ">✓300</text>" in picture
    assert ">!120</text>" in picture


async def test_a_run_shows_what_waits() -> None:
    flow = step(cascade.signal("go", int))
    async with cascade.start(flow, schedule="eager") as run:
        async with run.subscribe(cascade.SignalAwaited) as events:
            if not run.status().waiting:
                await events.receive()
        states = said_of(run)
        await run.send("go", 1)
        await run.result()

    assert states["go"] == "waiting"
    assert said_of(run)["go"] == "succeeded"


async def test_a_run_shows_the_failure_that_it_fails_by_as_one(schedule: Any) -> None:
    flow = cascade.gather(cascade.settled(fail(0)), fail(source()))
    with pytest.raises(ValueError, match="no"):
        async with cascade.start(flow, schedule=schedule) as run:
            await run.result()

    said = said_of(run)
    assert (said["fail"], said["fail#2"]) == ("failed, handled", "failed")


def test_a_large_flow_has_a_small_picture_and_is_not_laid_out_by_the_browser() -> None:
    bundle = shown(step([source() for _ in range(10 * MOST_MERMAID)]))

    assert bundle.keys() == {"text/plain", SVG}
    assert len(bundle[SVG]) < 10_000


def test_a_flow_that_makes_no_sense_is_text() -> None:
    circle: list[Any] = [source()]
    circle.append(circle)

    assert shown(step(circle)).keys() == {"text/plain"}


def test_what_is_asked_for_is_given() -> None:
    flow = step(source())

    assert shown(flow, include={SVG}).keys() == {SVG}
    assert shown(flow, exclude={SVG, MERMAID}).keys() == {"text/plain"}


def test_ipython_finds_the_picture() -> None:
    formatters = pytest.importorskip("IPython.core.formatters")

    data, _ = formatters.DisplayFormatter().format(step(source()))

    assert {"text/plain", SVG, MERMAID} <= data.keys()
