"""How spans end: failures, retries, timeouts, cancellations, and tracers that fail themselves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spans_fixture import recorded_spans
from traced_tasks import forever, in_place, length
from virtual_time import in_virtual_time

import cascade
from cascade.testing import flows, record_events, simulate

if TYPE_CHECKING:
    from recorded_spans import RecordedSpans


spans = recorded_spans


@cascade.task
def breaks(value: object = None) -> None:
    raise LookupError(f"no {value}")


@cascade.task
async def breaks_on_the_loop(value: object = None) -> None:
    raise LookupError(f"no {value}")


@pytest.mark.parametrize("task", [breaks, breaks_on_the_loop], ids=lambda task: task.name)
@pytest.mark.parametrize("policies", [False, True])
async def test_a_failure_is_an_error_with_its_traceback(spans: RecordedSpans, task: Any, policies: bool) -> None:
    call = task("page").with_timeout(60) if policies else task("page")
    with pytest.raises(LookupError):
        await cascade.run(call, observers=[spans.observer])
    failed = [span for span in spans.recorder.ended if not span.status.is_unset]
    assert len(spans.recorder.ended) == len(failed) == (3 if policies else 2)
    for span in failed:
        (event,) = span.events
        attributes: Any = event.attributes
        assert span.status.description == "LookupError: no page"
        assert (span.attributes or {})["error.type"] == "LookupError"
        assert (event.name, attributes["exception.type"]) == ("exception", "LookupError")
        assert attributes["exception.message"] == "no page"
        assert 'raise LookupError(f"no {value}")' in attributes["exception.stacktrace"]
        assert "run_trace.py" not in attributes["exception.stacktrace"]
    assert not spans.recorder.open


async def test_a_traceback_has_our_frames_if_they_are_asked_for(
    spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_FULL_TRACEBACK", "1")
    with pytest.raises(LookupError):
        await cascade.run(breaks("page").with_timeout(60), observers=[spans.observer])
    events = [event for span in spans.recorder.ended for event in span.events]
    assert events
    assert any("local_executor.py" in str((event.attributes or {})["exception.stacktrace"]) for event in events)


async def test_each_attempt_has_a_span_with_its_own_error(spans: RecordedSpans) -> None:
    tries: list[int] = []

    @cascade.task
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(f"try {len(tries)}")
        return 5

    assert await cascade.run(flaky().with_retry(3), observers=[spans.observer]) == 5
    assert spans.paths() == [
        "cascade.run",
        "cascade.run > flaky",
        "cascade.run > flaky > flaky (1)!",
        "cascade.run > flaky > flaky (2)!",
        "cascade.run > flaky > flaky (3)",
    ]
    (node,) = spans.of(attempts=3)
    assert (node.attributes or {})["cascade.outcome"] == "succeeded"


@in_virtual_time
async def test_a_late_attempt_has_failed(spans: RecordedSpans) -> None:
    with pytest.raises(TimeoutError):
        await cascade.run(forever().with_timeout(5), observers=[spans.observer])
    assert spans.paths() == ["cascade.run!", "cascade.run! > forever!", "cascade.run! > forever! > forever (1)!"]
    assert (spans.attempts()[0].attributes or {})["error.type"] == "cascade.model.errors.TaskTimeoutError"


@pytest.mark.parametrize("policies", [False, True])
async def test_a_cancelled_attempt_is_no_error(spans: RecordedSpans, policies: bool) -> None:
    begun = anyio.Event()

    @cascade.task
    async def waits() -> None:
        begun.set()
        await anyio.sleep_forever()

    call = waits().with_retry(2) if policies else waits()
    async with cascade.start(call, observers=[spans.observer]) as run:
        await begun.wait()
        run.cancel()
        with pytest.raises(cascade.RunCancelled):
            await run.result()
    assert not spans.recorder.open
    assert all(span.status.is_unset for span in spans.recorder.ended)
    (attempt,) = spans.attempts()
    assert (attempt.attributes or {})["cascade.outcome"] == "cancelled"


async def test_a_thread_that_is_cancelled_ends_its_span(spans: RecordedSpans) -> None:
    begun = anyio.Event()

    @cascade.task
    def works() -> None:
        anyio.from_thread.run_sync(begun.set)
        while True:
            cascade.checkpoint()

    async with cascade.start(works(), observers=[spans.observer]) as run:
        await begun.wait()
        run.cancel()
        with pytest.raises(cascade.RunCancelled):
            await run.result()
    assert spans.paths() == ["cascade.run", "cascade.run > works (1)"]


async def test_the_span_of_a_thread_that_is_left_behind_ends_with_its_attempt(spans: RecordedSpans) -> None:
    go_on = threading.Event()

    @cascade.task(abandon_on_cancel=True)
    def stuck() -> None:
        go_on.wait(60)

    try:
        with pytest.raises(TimeoutError):
            await cascade.run(stuck().with_timeout(0.01), observers=[spans.observer], cleanup_timeout=0)
        assert spans.paths() == ["cascade.run!", "cascade.run! > stuck!", "cascade.run! > stuck! > stuck (1)!"]
    finally:
        go_on.set()


async def test_spans_of_what_a_failure_cancels_end(spans: RecordedSpans) -> None:
    with pytest.raises(LookupError):
        await cascade.run([forever(), breaks("page"), forever()], observers=[spans.observer])
    assert not spans.recorder.open


async def test_a_handled_failure_is_an_error_of_its_call_only(spans: RecordedSpans) -> None:
    assert await cascade.run(length([breaks().or_else(1)]), observers=[spans.observer]) == 1
    assert [path for path in spans.paths() if path.endswith("!")] == ["cascade.run > breaks (1)!"]


async def test_a_flow_that_fails_is_an_error_of_the_call_that_returned_it(spans: RecordedSpans) -> None:
    @cascade.task
    def returns() -> Any:
        return length([breaks()])

    assert await cascade.run(length([returns().or_else(1)]), observers=[spans.observer]) == 1
    assert [path for path in spans.paths() if "returns" in path] == [
        "cascade.run > returns (1)",
        "cascade.run > returns!",
        "cascade.run > returns! > returns/breaks (1)!",
    ]


async def test_a_cache_hit_has_no_attempt(spans: RecordedSpans) -> None:
    store = cascade.cache.InputCache(cascade.cache.MemoryCacheStore())
    for _ in range(2):
        await cascade.run(in_place(1).with_cache(store), observers=[spans.observer])
    assert len(spans.attempts()) == 1
    assert len(spans.of(cache_hit=True)) == 1


async def test_secrets_are_in_no_span(spans: RecordedSpans) -> None:
    key = cascade.Param("key", secret=True)

    @cascade.task
    def leaks(key: str) -> None:
        raise ValueError(f"refused: {key}") from KeyError(key)

    flow = leaks.map(key=[key], name="with {key}").with_retry(2)
    with pytest.raises(ValueError, match="refused"):
        await cascade.run(flow, {"key": "hunter2-and-more"}, observers=[spans.observer])
    text = "".join(span.to_json() for span in spans.recorder.ended)
    assert "refused: ***" in text
    assert "hunter2" not in text


class _Broken:
    """A processor that raises wherever it can."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **__: object) -> None:
            if name == self.where:
                raise RuntimeError("the processor is broken")

        return call


@pytest.mark.parametrize("where", ["on_start", "on_end"])
async def test_a_tracer_that_raises_fails_no_run(spans: RecordedSpans, where: str) -> None:
    spans.provider.add_span_processor(_Broken(where))  # type: ignore[arg-type]  # it behaves like one
    engine = cascade.Engine(observers=[spans.observer])
    with record_events(engine) as record:
        async with engine:
            flow = length([in_place(1).with_retry(2), in_place(2), in_place.map(_=[1])])
            assert await engine.run(flow) == 3
    (warning,) = record.of(cascade.events.EngineWarning)
    assert warning.code == "observer-failed"
    assert warning.message == "the observer open_telemetry raised RuntimeError: the processor is broken"


async def test_executors_of_ones_own_are_traced(spans: RecordedSpans) -> None:
    class Own:
        async def execute(self, task: Any, args: Any, kwargs: Any) -> Any:
            with spans.tracer.start_as_current_span("sent"):
                return task.func(*args, **kwargs)

    await cascade.run(length([in_place(1)]), observers=[spans.observer], executor=Own())
    assert spans.paths() == [
        "cascade.run",
        "cascade.run > in_place (1)",
        "cascade.run > in_place (1) > sent",
        "cascade.run > length (1)",
        "cascade.run > length (1) > sent",
    ]


def test_simulations_are_traced(spans: RecordedSpans) -> None:
    simulate(length([in_place(1), in_place.map(_=[2])]), observers=[spans.observer])
    assert len(spans.attempts()) == 3
    assert not spans.recorder.open


def test_one_observer_traces(spans: RecordedSpans) -> None:
    with pytest.raises(ValueError, match="more than one of the observers traces"):
        cascade.Engine(observers=[spans.observer, spans.observer])


@given(flow=flows(most=5), schedule=st.sampled_from(["stages", "eager"]))
@in_virtual_time
async def test_all_spans_end_and_nothing_else_changes(anyio_backend: Any, flow: Any, schedule: Any) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from recorded_spans import RecordedSpans

    traced = RecordedSpans()
    plain = await outcome(flow, schedule)
    assert await outcome(flow, schedule, traced.observer) == plain
    assert not traced.recorder.open
    assert traced.recorder.ended


async def outcome(flow: Any, schedule: Any, *observers: Any) -> object:
    """The value of a flow, or its error."""
    try:
        return await cascade.run(
            flow.build(), schedule=schedule, observers=observers, on_error="continue", **flow.settings
        )
    except Exception as error:
        return type(error)
