"""Spans of remote calls: the attempts' are made here, and those of users' code there are below them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from spans_fixture import recorded_spans
from traced_tasks import span_here

import cascade
from cascade.executors import FuturesExecutor

if TYPE_CHECKING:
    from recorded_spans import RecordedSpans

spans = recorded_spans
schedules = pytest.mark.parametrize("schedule", ["stages", "eager"])


@cascade.task(mode="remote")
def far(number: int, _: object = None) -> str:
    if number < 0:
        raise ValueError(number)
    return span_here()


async def run(flow: Any, spans: RecordedSpans, **as_run: Any) -> Any:
    executor = FuturesExecutor(partial(ThreadPoolExecutor, 2))
    return await cascade.run(flow, executor=executor, observers=[spans.observer], **as_run)


def attempts(spans: RecordedSpans) -> set[str]:
    return {f"{span.context.span_id:x}" for span in spans.attempts() if span.context is not None}


@schedules
async def test_each_call_of_a_batch_has_a_span_that_is_the_current_one_there(
    spans: RecordedSpans, schedule: Any
) -> None:
    seen = await run(far.map(number=range(20)), spans, schedule=schedule)
    assert len(set(seen)) == 20
    assert set(seen) == attempts(spans)
    assert spans.paths()
    assert all(span.status.status_code.name != "ERROR" for span in spans.attempts())


@schedules
async def test_a_chain_that_runs_there_has_a_span_for_each_call(spans: RecordedSpans, schedule: Any) -> None:
    flow = far(3, far(2, far(1)))
    seen = await run(flow, spans, schedule=schedule)
    assert seen in attempts(spans)
    assert len(attempts(spans)) == 3
    assert spans.paths()


@schedules
async def test_the_span_of_a_call_with_a_policy_is_the_current_one_there(
    spans: RecordedSpans, schedule: Any
) -> None:
    assert {await run(far(1).with_retry(2), spans, schedule=schedule)} == attempts(spans)
    assert spans.paths()


@schedules
async def test_the_span_of_a_call_that_fails_there_says_so(spans: RecordedSpans, schedule: Any) -> None:
    with pytest.raises(ValueError, match="-1"):
        await run(far(-1), spans, schedule=schedule)
    (attempt,) = spans.attempts()
    assert attempt.status.status_code.name == "ERROR"
    assert (attempt.attributes or {})["error.type"] == "ValueError"
    assert spans.paths()


@schedules
async def test_no_span_stays_open_if_a_call_of_a_batch_fails(spans: RecordedSpans, schedule: Any) -> None:
    with pytest.raises(ValueError, match="-1"):
        await run(far.map(number=[1, 2, -1, 3, 4, 5]), spans, schedule=schedule)
    assert spans.paths()
