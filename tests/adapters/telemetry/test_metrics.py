"""What is counted and measured of runs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from traced_tasks import in_place, length, on_the_loop

import cascade

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, NoOpTracer, NoOpTracerProvider
from recorded_spans import measured, metered, metered_alone


@cascade.task
def breaks() -> None:
    raise LookupError("no page")


async def test_runs_nodes_and_calls_are_counted_by_outcome() -> None:
    reader, observer = metered()
    engine = cascade.Engine(observers=[observer])
    skipped = in_place(1).run_if(length([]))
    await engine.run([length(on_the_loop.map(_=[1, 2])), cascade.settled(skipped)])
    with pytest.raises(LookupError):
        await engine.run(breaks())
    found = measured(reader)
    assert found["cascade.runs"] == {("Succeeded",): 1, ("Failed",): 1}
    assert found["cascade.run.duration"] == {("Succeeded",): 1, ("Failed",): 1}
    assert found["cascade.nodes"] == {("succeeded",): 5, ("failed",): 1, ("skipped",): 1, ("cancelled",): 0}
    assert found["cascade.attempts"] == {
        ("on_the_loop", "succeeded"): 2,
        ("length", "succeeded"): 2,
        ("breaks", "failed", "LookupError"): 1,
    }
    assert found["cascade.runs.active"] == {(): 0}


@pytest.mark.parametrize("least", [0.001, 3600.0])
async def test_calls_are_measured_that_take_at_least_so_long(
    least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade.adapters.telemetry.metrics.LEAST", least)
    reader, observer = metered()
    over = threading.Event()

    @cascade.task
    def waits() -> None:
        over.wait(0.002)

    await cascade.run(waits(), observers=[observer])
    found = measured(reader).get("cascade.attempt.duration", {})
    assert found == ({("waits", "succeeded"): 1} if least < 1 else {})


async def test_waits_are_measured_by_reason() -> None:
    reader, observer = metered()
    plane = cascade.control.ControlPlane()
    await plane.limit("task:in_place", concurrency=1)

    @cascade.task(constraints={"gpu": 1})
    async def trains(_: object) -> None:
        await cascade_checkpoint()

    flow = [trains.map(_=[1, 2, 3]), on_the_loop.map(_=[1])]
    await cascade.run(flow, observers=[observer], system_resources={"gpu": 1}, control=plane)
    assert measured(reader)["cascade.wait.duration"] == {("trains", "ResourceContention"): 2}


async def cascade_checkpoint() -> None:
    from anyio.lowlevel import checkpoint

    await checkpoint()


async def test_what_waits_in_lanes_and_what_has_ended_is_seen_while_a_run_goes_on() -> None:
    reader, observer = metered()
    seen: list[Any] = []

    @cascade.task(mode="inline")
    def looks(number: int) -> None:
        if number == 60:
            seen.append(measured(reader))

    await cascade.run(looks.map(number=range(100)), observers=[observer])
    (found,) = seen
    assert found["cascade.lane.depth"] == {("loop",): 39, ("thread",): 0}
    assert found["cascade.runs.active"] == {(): 1}
    assert measured(reader)["cascade.lane.depth"] == {("loop",): 0, ("thread",): 0}


async def test_a_run_has_ended_in_the_numbers_though_its_span_raises() -> None:
    class Raising(NonRecordingSpan):
        def set_attribute(self, key: str, value: object) -> None:
            raise RuntimeError("the span is broken")

    class Provider(NoOpTracerProvider):
        def get_tracer(self, *_: object, **__: object) -> Any:
            tracer = NoOpTracer()
            tracer.start_span = lambda *_, **__: Raising(INVALID_SPAN_CONTEXT)  # type: ignore[method-assign]
            return tracer

    reader, provider = metered_alone()
    await cascade.run(in_place(1), observers=[cascade.observers.open_telemetry(Provider(), provider)])
    found = measured(reader)
    assert found["cascade.runs.active"] == {(): 0}
    assert found["cascade.runs"] == {("Succeeded",): 1}
    assert found["cascade.nodes"][("succeeded",)] == 1


async def test_observers_with_one_provider_share_their_instruments() -> None:
    reader, provider = metered_alone()
    for _ in range(2):
        await cascade.run(in_place(1), observers=[cascade.observers.open_telemetry(meter_provider=provider)])
    assert measured(reader)["cascade.nodes"][("succeeded",)] == 2
