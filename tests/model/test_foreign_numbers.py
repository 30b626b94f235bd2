"""Numbers of numpy are numbers wherever one is taken."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from plain_tasks import give

import cascade
from cascade.adapters.cache.inputs import InputCache, MemoryCacheStore
from cascade.model.policies import exact
from cascade.model.rules import Concurrency, Rate, as_json, checked_ttl
from cascade.testing import FaultPlan, simulate

pytestmark = pytest.mark.needs("numpy")


@pytest.fixture
def np() -> Any:
    return importlib.import_module("numpy")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda np: np.int64(2), 2),
        (lambda np: np.uint8(2), 2),
        (lambda np: np.float64(0.1), Fraction(1, 10)),
        (lambda np: np.float32(0.1), Fraction(1, 10)),
        (lambda np: np.float32(2), 2),
    ],
)
def test_an_amount_is_exact(np: Any, make: Callable[[Any], Any], expected: Any) -> None:
    amount = exact(make(np), "gpu")
    assert (type(amount), amount) == (type(expected), expected)


@pytest.mark.parametrize("make", ["nan", "inf", "-1", "bool", "complex"])
def test_a_number_that_is_no_amount_is_refused(np: Any, make: str) -> None:
    amount = {"bool": np.True_, "complex": np.complex64(1)}.get(make)
    with pytest.raises(ValueError, match="'gpu'"):
        exact(np.float32(make) if amount is None else amount, "gpu")


def test_retries_count_and_wait_by_them(np: Any) -> None:
    retry = cascade.Retry(np.int64(2), delay=np.float32(0.5), backoff=np.int8(2), max_delay=np.int64(9))
    assert retry == cascade.Retry(2, delay=0.5, backoff=2, max_delay=9)
    assert {type(value) for value in (retry.max_attempts, retry.backoff)} == {int}
    assert cascade.task(retry=np.int64(2))(lambda: None).policies.retry == cascade.Retry(2)


@pytest.mark.parametrize("value", ["int64", "float64"])
def test_other_policies_take_them(np: Any, value: str) -> None:
    number = getattr(np, value)(2)
    assert give().with_timeout(number).own.timeout == 2
    assert checked_ttl(number) == 2
    assert InputCache(MemoryCacheStore(), ttl=number).ttl == 2
    assert cascade.Engine(cleanup_timeout=number).settings.cleanup_timeout == 2


def test_limits_take_them_and_are_said_as_json(np: Any) -> None:
    rules = [Concurrency(scope="global", limit=np.int64(2)), Rate(scope="global", rate="1/s", burst=np.int8(3))]
    assert [type(as_json(rules[0])["limit"]), type(as_json(rules[1])["burst"])] == [int, int]


def test_settings_and_subscriptions_take_them(np: Any) -> None:
    engine = cascade.Engine(max_threads=np.int64(3), loop_record=(np.int64(5), np.float64(1)))
    assert engine.settings.max_threads == 3
    assert engine.settings.loop_record == (5, 1.0)
    stream = engine.subscribe(buffer=np.int64(3))
    assert stream.statistics().buffer == 3
    stream.close()


def test_a_simulation_takes_them(np: Any) -> None:
    with_ours = simulate(give(), seed=7, faults=FaultPlan(fail=0.5))
    with_theirs = simulate(give(), seed=np.int64(7), faults=FaultPlan(fail=np.float64(0.5)))
    assert str(with_ours.trace) == str(with_theirs.trace)


@pytest.mark.parametrize("kind", ["float64", "bool_"])
def test_what_counts_is_no_fraction_and_no_truth(np: Any, kind: str) -> None:
    number = getattr(np, kind)(1)
    for refuse in (
        lambda: cascade.Retry(number),
        lambda: cascade.Engine(max_threads=number),
        lambda: Concurrency(scope="global", limit=number),
        lambda: cascade.Engine().subscribe(buffer=number),
        lambda: give.map(value=[1]).with_concurrency(number),
    ):
        with pytest.raises(ValueError, match="whole number"):
            refuse()


def test_a_span_of_time_is_no_number(np: Any) -> None:
    span = np.timedelta64(5, "ms")
    for refuse in (
        lambda: give().with_timeout(span),
        lambda: cascade.Retry(span),
        lambda: cascade.Retry(delay=span),
        lambda: exact(span, "gpu"),
        lambda: cascade.Engine(cleanup_timeout=span),
        lambda: checked_ttl(span),
        lambda: cascade.Param("x", type=int).convert(span),
        lambda: cascade.Param("x", type=float).convert(span),
        lambda: cascade.task(retry=span)(lambda: None),
    ):
        with pytest.raises((TypeError, ValueError), match="number"):
            refuse()


async def test_a_run_takes_them_everywhere(np: Any, schedule: Any) -> None:
    flow = [
        give(1).with_constraints(gpu=np.int64(1), memory=np.float64(0.5)),
        give(2).with_constraints(gpu=give(np.int64(1))),
        give.map(value=[3]).with_concurrency(np.int64(1)),
        give(4).with_retry(np.int64(2), delay=np.float64(0.01)).with_timeout(np.int32(5)).with_cost(np.float32(2)),
    ]
    totals = {"gpu": np.int64(2), "memory": np.float32(1)}
    value = await cascade.run(flow, system_resources=totals, max_threads=np.int64(2), schedule=schedule)
    assert value == [1, 2, [3], 4]
