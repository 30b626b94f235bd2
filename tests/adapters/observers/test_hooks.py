"""Telling somebody how a run has ended."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest
from plain_tasks import double, fails
from virtual_time import in_virtual_time

import cascade
from cascade.events import EngineWarning, RunFinished
from cascade.observers import on_failure, on_finish
from cascade.testing import record_events


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


@pytest.mark.parametrize("kind", ["sync", "async", "wrapped"])
async def test_what_tells_gets_the_last_event(kind: str) -> None:
    told: list[RunFinished] = []

    async def tell_later(event: RunFinished) -> None:
        await anyio.lowlevel.checkpoint()
        told.append(event)

    tell: Any = {"sync": told.append, "async": tell_later, "wrapped": lambda event: tell_later(event)}[kind]
    assert await cascade.run(double(2), run_id="nightly", observers=[on_finish(tell)]) == 4
    (event,) = told
    assert (event.run_id, event.status, event.counts["succeeded"]) == ("nightly", "Succeeded", 1)


async def test_on_failure_tells_of_failures_only() -> None:
    told: list[str] = []
    engine = cascade.Engine(observers=[on_failure(lambda event: told.append(f"{event.status}: {event.error}"))])
    await engine.run(double(2))
    with pytest.raises(ValueError, match="trouble"):
        await engine.run(fails())
    async with engine.start(cascade.signal("never")) as run:
        run.cancel()
        with pytest.raises(cascade.RunCancelled):
            await run.result()
    assert told == ["Failed: ValueError: trouble"]


async def test_the_caller_gets_the_result_after_somebody_was_told() -> None:
    order: list[str] = []

    async def tell(_: RunFinished) -> None:
        for _step in range(10):
            await anyio.lowlevel.checkpoint()
        order.append("told")

    await cascade.run(double(2), observers=[on_finish(tell)])
    order.append("returned")
    assert order == ["told", "returned"]


def refuses(_: RunFinished) -> None:
    raise ConnectionError("nobody there")


async def test_what_it_raises_is_noted_on_the_error_of_the_run() -> None:
    with pytest.raises(ValueError, match="trouble") as caught:
        await cascade.run(fails(), observers=[on_failure(refuses)])
    assert "the observer on_failure(refuses) raised ConnectionError: nobody there" in notes(caught.value)


async def test_what_it_raises_does_not_fail_a_run_and_is_told() -> None:
    engine = cascade.Engine(observers=[on_finish(refuses)])
    with record_events(engine) as record:
        async with engine, engine.start(double(2)) as run:
            assert await run.result() == 4
    message = "the observer on_finish(refuses) raised ConnectionError: nobody there"
    assert run.status().failures == (message,)
    assert [warning.message for warning in record.of(EngineWarning)] == [message]


@in_virtual_time
async def test_an_async_one_that_takes_too_long_is_cancelled() -> None:
    was_cancelled = False

    async def waits(_: RunFinished) -> None:
        nonlocal was_cancelled
        try:
            await anyio.sleep_forever()
        finally:
            was_cancelled = True

    began = anyio.current_time()
    async with cascade.start(double(2), observers=[on_finish(waits, timeout=3)]) as run:
        assert await run.result() == 4
    assert was_cancelled
    assert anyio.current_time() - began == pytest.approx(3)
    (said,) = run.status().failures
    assert said == "the observer on_finish(waits) raised TimeoutError: it took longer than its timeout of 3 s"


async def test_a_sync_one_that_takes_too_long_is_left_behind() -> None:
    go_on = threading.Event()
    try:
        async with cascade.start(double(2), observers=[on_finish(lambda _: go_on.wait(60), timeout=0.01)]) as run:
            assert await run.result() == 4
        assert "longer than its timeout of 0.01 s" in run.status().failures[0]
    finally:
        go_on.set()


async def test_it_is_told_no_secrets() -> None:
    told: list[RunFinished] = []

    @cascade.task
    def leaks(key: str) -> None:
        raise ValueError(f"refused: {key}")

    flow = leaks(cascade.Param("key", secret=True))
    with pytest.raises(ValueError, match="refused"):
        await cascade.run(flow, {"key": "hunter2-and-more"}, observers=[on_failure(told.append)])
    assert told[0].error == "ValueError: refused: ***"


@pytest.mark.parametrize("hook", [on_failure, on_finish])
def test_mistakes_are_refused_at_once(hook: Any) -> None:
    with pytest.raises(TypeError, match="take a function of the last event"):
        hook("https://example.com")
    for timeout in (0, -1, "5", True):
        with pytest.raises(ValueError, match="seconds above 0"):
            hook(print, timeout=timeout)
