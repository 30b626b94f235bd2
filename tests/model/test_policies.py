"""What is said about how a call is run, and what cannot be said."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labels import label

import cascade
from cascade.cache import FileExistenceCache
from cascade.graph.build import build
from cascade.graph.nodes import Hints, Node, Terms
from cascade.graph.slots import Constant
from cascade.model.policies import exact
from cascade.planning.layout import Place, place_of

NAN = float("nan")


@cascade.task(mode="inline")
def one(x: Any = 1) -> Any:
    return x


def terms(lazy: Any) -> Terms:
    """What holds for the last call of a flow."""
    node = build(lazy).nodes[-1]
    assert isinstance(node, Node)
    return node.terms


# -- Retry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("max_attempts", value) for value in (0, -1, 1.5, "3", True, None, NAN)],
        *[("delay", value) for value in (-1, NAN, math.inf, "1", None, True)],
        *[("backoff", value) for value in (0.5, 0, -1, NAN, math.inf, "2", None, True)],
        *[("max_delay", value) for value in (-1, NAN, "1", None, True)],
        *[("jitter", value) for value in (-0.1, 1.1, NAN, "1", None)],
        *[("on", value) for value in (5, "ValueError", None, (ValueError, 5), ValueError("an instance"))],
        *[("on", value) for value in (BaseException, KeyboardInterrupt, (ValueError, SystemExit), GeneratorExit)],
    ],
)
def test_a_malformed_field_of_retry_is_a_value_error(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        cascade.Retry(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("max_attempts", 0), ("delay", -1), ("backoff", 0), ("jitter", 2)])
def test_with_retry_checks_like_retry(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        one().with_retry(**{field: value})


def test_retry_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        cascade.Retry().max_attempts = 5  # type: ignore[misc]  # that it is refused is the point


def test_one_exception_class_is_as_good_as_a_tuple() -> None:
    assert cascade.Retry(on=ValueError) == cascade.Retry(on=(ValueError,))


@pytest.mark.parametrize(
    "more", [{"delay": 1}, {"backoff": 2}, {"jitter": 0.5}, {"max_delay": 1}], ids=lambda more: next(iter(more))
)
def test_with_retry_takes_a_retry_or_its_fields(more: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="not both"):
        one().with_retry(cascade.Retry(), **more)


def test_with_retry_refuses_an_unknown_field() -> None:
    with pytest.raises(TypeError, match="colour"):
        one().with_retry(3, colour="red")


@pytest.mark.parametrize(
    ("error", "is_covered"),
    [
        (ValueError(), True),
        (KeyError(), False),
        (UnicodeError(), True),
        (ExceptionGroup("", [ValueError(), ValueError()]), True),
        (ExceptionGroup("", [ValueError(), KeyError()]), False),
        (ExceptionGroup("", [ExceptionGroup("", [ValueError()])]), True),
        (ExceptionGroup("", [ExceptionGroup("", [KeyError()]), ValueError()]), False),
        (BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()]), False),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
    ],
    ids=label,
)
def test_retry_covers_its_exceptions_also_in_groups(error: BaseException, is_covered: bool) -> None:
    assert cascade.Retry(on=(ValueError,)).covers(error) is is_covered


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), BaseExceptionGroup("", [SystemExit()])])
def test_retry_on_everything_leaves_interrupts_alone(error: BaseException) -> None:
    assert not cascade.Retry().covers(error)


@pytest.mark.parametrize(
    ("retry", "pauses"),
    [
        (cascade.Retry(delay=1), [1, 1, 1]),
        (cascade.Retry(delay=1, backoff=2), [1, 2, 4]),
        (cascade.Retry(delay=1, backoff=3, max_delay=5), [1, 3, 5]),
        (cascade.Retry(delay=4, max_delay=1), [1, 1, 1]),
        (cascade.Retry(), [0, 0, 0]),
    ],
)
def test_pauses_grow_by_the_backoff_up_to_the_bound(retry: cascade.Retry, pauses: list[float]) -> None:
    assert [retry.pause_after(attempt, 0.5) for attempt in (1, 2, 3)] == pauses


@given(st.integers(1, 10_000), st.floats(1, 100), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_no_delay_is_no_delay_after_any_number_of_attempts(
    attempt: int, backoff: float, jitter: float, share: float
) -> None:
    assert cascade.Retry(10_001, 0.0, backoff, jitter=jitter).pause_after(attempt, share) == 0


@given(
    st.integers(1, 10_000), st.floats(0, 1e6), st.floats(1, 100), st.floats(0, 60), st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_a_pause_lies_between_its_jittered_least_and_the_bound(
    attempt: int, delay: float, backoff: float, bound: float, jitter: float, share: float
) -> None:
    retry = cascade.Retry(10_001, delay, backoff, bound, jitter)
    whole = cascade.Retry(10_001, delay, backoff, bound).pause_after(attempt, 0)
    assert whole * (1 - jitter) <= retry.pause_after(attempt, share) <= whole <= bound


# -- timeouts, caches, conditions, order -----------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, NAN, "1", True, [1]], ids=label)
def test_a_timeout_is_a_positive_number(seconds: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        one().with_timeout(seconds)


def test_an_infinite_timeout_is_none() -> None:
    assert terms(one().with_timeout(math.inf)).timeout is None


@pytest.mark.parametrize("seconds", [-1, -1e-300, NAN, math.inf, 10**400, "1", True, [1], 1j], ids=label)
def test_a_cost_is_a_finite_number_from_zero(seconds: Any) -> None:
    with pytest.raises(ValueError, match="the cost of 'one' must be a finite number of seconds from 0"):
        one().with_cost(seconds)


def test_a_cost_changes_nothing_in_what_a_node_is() -> None:
    plain = one()
    costly = plain.with_cost(5)
    assert terms(costly) == terms(plain)
    assert place_of(build(costly).rows[0]) == place_of(build(plain).rows[0]) != Place.OWN  # type: ignore[arg-type]
    assert len(build([costly, costly.with_cost(6), plain]).rows) == 1


def test_two_costs_of_one_call_contradict_each_other() -> None:
    call = one()
    with pytest.raises(cascade.GraphError, match=r"contradict each other: cost is 1\.0 in one and 2\.0"):
        build([call.with_cost(1), call.with_cost(2)])


@pytest.mark.parametrize("policy", [5, "cache", object(), FileExistenceCache, lambda: None], ids=label)
def test_a_cache_policy_checks_and_saves(policy: Any) -> None:
    with pytest.raises(TypeError, match="cache policy"):
        one().with_cache(policy)


@pytest.mark.parametrize("condition", [one, bool, lambda: True], ids=["task", "class", "lambda"])
def test_a_condition_is_called_before_it_is_given(condition: Any) -> None:
    with pytest.raises(TypeError, match="run_if"):
        one().run_if(condition)


@pytest.mark.parametrize("on_skip", ["fail", None, True, ""], ids=label)
def test_on_skip_is_one_of_two_words(on_skip: Any) -> None:
    with pytest.raises(ValueError, match="on_skip"):
        one().run_if(True, on_skip=on_skip)


@pytest.mark.parametrize("predecessor", [1, None, one, [one()], "one"], ids=label)
def test_predecessors_are_lazies(predecessor: Any) -> None:
    with pytest.raises(TypeError, match="after"):
        one().after(one(), predecessor)


# -- amounts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amount",
    [
        -1,
        -0.5,
        NAN,
        math.inf,
        -math.inf,
        "1",
        None,
        True,
        [1],
        1j,
        Decimal("NaN"),
        Decimal("-0.5"),
        Fraction(-1, 2),
    ],
    ids=label,
)
def test_an_amount_is_a_finite_number_from_zero(amount: Any) -> None:
    with pytest.raises(ValueError, match="gpu"):
        one().with_constraints(gpu=amount)


def test_one_bad_amount_is_named_among_good_ones() -> None:
    with pytest.raises(ValueError, match="memory_gb"):
        one().with_constraints(gpu=1, memory_gb=-2)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, 0),
        (3, 3),
        (0.1, Fraction(1, 10)),
        (2.0, 2),
        (1e-7, Fraction(1, 10**7)),
        (Decimal("0.30"), Fraction(3, 10)),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
    ids=label,
)
def test_an_amount_is_exact(amount: Any, expected: Any) -> None:
    assert exact(amount, "gpu") == expected


@given(st.floats(0, 1e300))
def test_a_float_means_its_shortest_decimal(amount: float) -> None:
    assert exact(amount, "gpu") == Fraction(Decimal(repr(amount)))


def test_a_float_of_another_class_is_an_amount() -> None:
    """Numbers of numpy are such floats, and their repr is not the number."""

    class Measured(float):
        def __repr__(self) -> str:
            return f"Measured({float(self)})"

    assert exact(Measured(0.5), "gpu") == Fraction(1, 2)


# -- one chain -------------------------------------------------------------------------------------------------


@cascade.task(mode="inline", retry=cascade.Retry(5), timeout=5.0, constraints={"gpu": 5})
def defaulting() -> int:
    return 1


@pytest.mark.parametrize(
    ("lazy", "field", "expected"),
    [
        pytest.param(one().with_retry(2).with_retry(4), "retry", cascade.Retry(4), id="last retry"),
        pytest.param(one().with_timeout(2).with_timeout(4), "timeout", 4.0, id="last timeout"),
        pytest.param(one().with_timeout(2).with_timeout(None), "timeout", None, id="timeout lifted"),
        pytest.param(one().with_cost(2).with_cost(0), "hints", Hints(cost=0.0), id="last cost"),
        pytest.param(one().with_cost(2).with_cost(None), "hints", Hints(cost=None), id="cost lifted"),
        pytest.param(one.map(x=[1]).with_cost(2), "hints", Hints(cost=2.0), id="cost of a map"),
        pytest.param(one().with_retry(2).with_timeout(4), "retry", cascade.Retry(2), id="another said after it"),
        pytest.param(defaulting(), "retry", cascade.Retry(5), id="default retry"),
        pytest.param(defaulting(), "timeout", 5.0, id="default timeout"),
        pytest.param(defaulting().with_retry(2), "retry", cascade.Retry(2), id="own retry"),
        pytest.param(defaulting().with_timeout(2), "timeout", 2.0, id="own timeout"),
        pytest.param(defaulting().with_retry(None), "retry", None, id="default retry lifted"),
        pytest.param(defaulting().with_timeout(None), "timeout", None, id="default timeout lifted"),
        pytest.param(
            defaulting().with_timeout(math.inf), "timeout", None, id="default timeout lifted by infinity"
        ),
        pytest.param(defaulting().run_if(True), "retry", cascade.Retry(5), id="default beside a condition"),
        pytest.param(one().run_if(True, on_skip="skip"), "on_skip", "skip", id="on_skip"),
        pytest.param(
            one.map(x=[1]).with_concurrency(2).with_concurrency(3), "concurrency", 3, id="last concurrency"
        ),
    ],
)
def test_the_last_word_of_a_chain_holds(lazy: Any, field: str, expected: Any) -> None:
    assert getattr(terms(lazy), field) == expected


@pytest.mark.parametrize(
    ("lazy", "expected"),
    [
        pytest.param(one().with_constraints(gpu=1).with_constraints(cpu=2), [("cpu", 2)], id="last"),
        pytest.param(defaulting(), [("gpu", 5)], id="default"),
        pytest.param(defaulting().with_constraints(cpu=1), [("cpu", 1)], id="own"),
        pytest.param(defaulting().with_constraints(), [], id="none instead of the default"),
    ],
)
def test_the_last_claim_of_a_chain_holds(lazy: Any, expected: list[tuple[str, int]]) -> None:
    assert terms(lazy).amounts == tuple((name, Constant(amount)) for name, amount in expected)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda call, a, b: call.after(a).after(b), id="one by one"),
        pytest.param(lambda call, a, b: call.after(a, b), id="together"),
        pytest.param(lambda call, a, b: call.after(a, b).after(a), id="repeated"),
    ],
)
def test_predecessors_unite_along_a_chain(make: Callable[..., Any]) -> None:
    assert terms(make(one(), one(), one())).after == (0, 1)


def test_conditions_conjoin_along_a_chain() -> None:
    assert terms(one().run_if(one()).run_if(one())).conditions == (0, 1)


@pytest.mark.parametrize("conditions", [(True, False), (False, True)])
def test_all_conditions_of_a_chain_must_hold(conditions: tuple[bool, bool]) -> None:
    flow = one(5).run_if(conditions[0]).run_if(conditions[1])
    with pytest.raises(cascade.DependencyMissingError, match="ConditionFalse"):
        cascade.run_sync(flow)
