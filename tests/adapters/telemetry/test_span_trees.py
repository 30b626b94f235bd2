"""Which span is below which, and that users' own spans are below those of their attempts, wherever they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from spans_fixture import recorded_spans
from traced_tasks import (
    after_waiting,
    flow_of,
    gives_a_coroutine,
    gives_a_coroutine_in_place,
    in_a_process,
    in_a_thread,
    in_place,
    length,
    on_the_loop,
)

import cascade

if TYPE_CHECKING:
    from recorded_spans import RecordedSpans

spans = recorded_spans
schedules = pytest.mark.parametrize("schedule", ["stages", "eager"])
everywhere = pytest.mark.parametrize(
    "task",
    [on_the_loop, after_waiting, in_a_thread, in_place, gives_a_coroutine, gives_a_coroutine_in_place],
    ids=lambda task: task.__qualname__ + task.name,
)


def the_attempt(spans: RecordedSpans) -> str:
    (attempt,) = spans.attempts()
    assert attempt.context is not None
    return f"{attempt.context.span_id:x}"


@everywhere
@schedules
async def test_the_span_of_an_attempt_is_the_current_one_in_a_lane(
    spans: RecordedSpans, task: Any, schedule: Any
) -> None:
    seen = await cascade.run(task(), observers=[spans.observer], schedule=schedule)
    assert seen == the_attempt(spans)
    assert len(spans.paths()) == 2


@everywhere
async def test_the_span_of_an_attempt_is_the_current_one_in_a_task_of_its_own(
    spans: RecordedSpans, task: Any
) -> None:
    seen = await cascade.run(task().with_retry(2), observers=[spans.observer])
    assert seen == the_attempt(spans)
    assert len(spans.paths()) == 3


@everywhere
async def test_a_rule_changes_nothing_in_the_spans(spans: RecordedSpans, task: Any) -> None:
    plane = cascade.control.ControlPlane()
    await plane.limit("global", concurrency=3)
    seen = await cascade.run(task(), observers=[spans.observer], control=plane)
    assert seen == the_attempt(spans)
    assert len(spans.paths()) == 2


async def test_the_span_of_an_attempt_is_the_current_one_in_a_worker_process(spans: RecordedSpans) -> None:
    seen = await cascade.run(in_a_process(), observers=[spans.observer])
    assert seen == the_attempt(spans)


async def test_spans_that_a_task_makes_are_below_that_of_its_attempt(spans: RecordedSpans) -> None:
    tracer = spans.tracer

    @cascade.task
    def outer(value: int) -> int:
        with tracer.start_as_current_span("mine"), tracer.start_as_current_span("inner"):
            return value

    @cascade.task
    async def another(value: int) -> int:
        with tracer.start_as_current_span("other"):
            return value

    await cascade.run(another(outer(1)), observers=[spans.observer])
    assert spans.paths() == [
        "cascade.run",
        "cascade.run > another (1)",
        "cascade.run > another (1) > other",
        "cascade.run > outer (1)",
        "cascade.run > outer (1) > mine",
        "cascade.run > outer (1) > mine > inner",
    ]


async def test_a_run_is_below_the_span_around_it_also_within_a_task(spans: RecordedSpans) -> None:
    @cascade.task
    async def nested() -> str:
        return await cascade.run(on_the_loop(), observers=[spans.observer])

    with spans.tracer.start_as_current_span("request"):
        await cascade.run(nested(), observers=[spans.observer])
    assert spans.paths()[-1] == "request > cascade.run > nested (1) > cascade.run > on_the_loop (1)"


@schedules
async def test_items_are_below_their_map_and_calls_below_the_flow_that_they_are_part_of(
    spans: RecordedSpans, schedule: Any
) -> None:
    flow = length([flow_of(2), length(in_a_thread.map(_=[1]))])
    await cascade.run(flow, observers=[spans.observer], schedule=schedule)
    assert spans.paths() == [
        "cascade.run",
        "cascade.run > flow_of",
        "cascade.run > flow_of (1)",
        "cascade.run > flow_of > flow_of/in_place",
        "cascade.run > flow_of > flow_of/in_place > flow_of/in_place[0] (1)",
        "cascade.run > flow_of > flow_of/in_place > flow_of/in_place[1] (1)",
        "cascade.run > flow_of > flow_of/length (1)",
        "cascade.run > in_a_thread",
        "cascade.run > in_a_thread > in_a_thread[0] (1)",
        "cascade.run > length (1)",
        "cascade.run > length#2 (1)",
    ]


async def test_a_flow_that_a_call_with_policies_returns_is_below_the_span_of_the_call(
    spans: RecordedSpans,
) -> None:
    await cascade.run(length([flow_of(1).with_retry(2)]), observers=[spans.observer])
    assert spans.paths() == [
        "cascade.run",
        "cascade.run > flow_of",
        "cascade.run > flow_of > flow_of (1)",
        "cascade.run > flow_of > flow_of/in_place",
        "cascade.run > flow_of > flow_of/in_place > flow_of/in_place[0] (1)",
        "cascade.run > flow_of > flow_of/length (1)",
        "cascade.run > length (1)",
    ]


@pytest.mark.parametrize("kind", ["async", "waiting", "sync"])
@pytest.mark.parametrize("observers", ["alone", "with events"])
async def test_the_turns_of_a_loop_are_numbered(spans: RecordedSpans, kind: str, observers: str) -> None:
    from anyio.lowlevel import checkpoint

    @cascade.task(name="turn")
    async def turn_async(left: int) -> Any:
        if kind == "waiting" and left == 20:
            await checkpoint()
        return turn_async(left - 1) if left else "done"

    @cascade.task(name="turn")
    def turn_sync(left: int) -> Any:
        return turn_sync(left - 1) if left else "done"

    heard = [spans.observer] if observers == "alone" else [spans.observer, ignore]
    flow: Any = (turn_sync if kind == "sync" else turn_async)(40)
    assert await cascade.run(flow, observers=heard) == "done"
    turns = [f"cascade.run > turn (1) @{turn}" for turn in range(2, 42)]
    assert spans.paths() == sorted(["cascade.run", "cascade.run > turn (1)", *turns])


async def ignore(events: Any) -> None:
    async for _ in events:
        pass


async def test_turns_with_policies_are_numbered_too(spans: RecordedSpans) -> None:
    @cascade.task(retry=2)
    def turn(left: int) -> Any:
        return turn(left - 1) if left else "done"

    await cascade.run(turn(1), observers=[spans.observer])
    assert spans.paths() == [
        "cascade.run",
        "cascade.run > turn",
        "cascade.run > turn > turn (1)",
        "cascade.run > turn @2",
        "cascade.run > turn @2 > turn (1) @2",
    ]


async def test_lanes_stay_in_use(spans: RecordedSpans) -> None:
    import threading

    import anyio

    @cascade.task
    def thread() -> int:
        return threading.get_ident()

    @cascade.task
    async def task() -> int:
        return anyio.get_current_task().id

    flow = [[thread() for _ in range(300)], [task() for _ in range(300)]]
    threads, tasks = await cascade.run(flow, observers=[spans.observer])
    assert len(set(threads)) < 10
    assert len(set(tasks)) < 10
    assert len(spans.attempts()) == 600
    run, attempt = spans.of(run_status="Succeeded")[0], spans.of(node_id="thread#7")[0]
    assert dict(run.attributes or {}) == {
        "cascade.run.id": (attempt.attributes or {})["cascade.run.id"],
        "cascade.run.schedule": "stages",
        "cascade.run.status": "Succeeded",
        "cascade.nodes.succeeded": 600,
        "cascade.nodes.failed": 0,
        "cascade.nodes.skipped": 0,
        "cascade.nodes.cancelled": 0,
    }


async def test_attempts_say_what_they_call(spans: RecordedSpans) -> None:
    await cascade.run(in_place.map(_=[1], name="first of {_}"), observers=[spans.observer], run_id="nightly")
    (attempt,) = spans.attempts()
    assert attempt.name == "in_place"
    assert dict(attempt.attributes or {}) == {
        "cascade.run.id": "nightly",
        "cascade.node.id": "in_place[0]",
        "cascade.node.label": "first of 1",
        "cascade.attempt": 1,
        "code.function.name": in_place.full_name,
    }


class Unformattable:
    """Which no label can show."""

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__ = lambda self: self.__format__("")


@pytest.mark.parametrize("rules", [False, True])
async def test_labels_are_shown_in_lanes_and_under_rules_and_never_fail_a_node(
    spans: RecordedSpans, rules: bool
) -> None:
    plane = cascade.control.ControlPlane()
    if rules:
        await plane.limit("global", concurrency=3)
    flow = length(in_place.map(_=["july", Unformattable()], name="of {_}"))
    assert await cascade.run(flow, observers=[spans.observer], control=plane) == 2
    labels = {str((span.attributes or {}).get("cascade.node.label")) for span in spans.attempts()}
    assert "of july" in labels
    assert len(labels) == 3
