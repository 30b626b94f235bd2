"""What task.map takes, checked when it is called."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from labels import label

import cascade


@cascade.task(mode="inline")
def couple(x: Any, y: Any = None) -> tuple[Any, Any]:
    return x, y


@cascade.task(mode="inline")
def value(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        pytest.param([1, 2], [1, 2], id="list"),
        pytest.param((1, 2), [1, 2], id="tuple"),
        pytest.param(range(1, 3), [1, 2], id="range"),
        pytest.param(deque([1, 2]), [1, 2], id="deque"),
        pytest.param(array("i", [1, 2]), [1, 2], id="array"),
        pytest.param({1: "a", 2: "b"}.keys(), [1, 2], id="dict view"),
    ],
)
def test_columns_are_sequences(column: Any, expected: list[Any]) -> None:
    assert cascade.run_sync(value.map(x=column)) == expected


@pytest.mark.parametrize(
    "column", ["text", b"bytes", bytearray(b"bytes"), {"a": 1}, 5, None, object], ids=lambda column: repr(column)
)
def test_what_is_no_sequence_of_items_is_refused(column: Any) -> None:
    with pytest.raises(TypeError, match=r"couple.*'x'"):
        couple.map(x=column)


def test_an_iterator_is_read_when_map_is_called() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(3):
            read.append(number)
            yield number

    couple.map(x=numbers())
    assert read == [0, 1, 2]


def test_a_map_over_an_iterator_can_be_run_twice() -> None:
    flow = value.map(x=iter([1, 2]))
    assert [cascade.run_sync(flow), cascade.run_sync(flow)] == [[1, 2], [1, 2]]


@pytest.mark.parametrize("error", [TypeError("mine"), ValueError("mine")], ids=lambda error: type(error).__name__)
def test_an_error_of_an_iterator_is_passed_on_as_itself(error: Exception) -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(type(error), match="mine"):
        couple.map(x=failing())


@pytest.mark.parametrize("column", ["x", "y"])
def test_mismatched_lengths_are_refused_when_they_are_known(column: str) -> None:
    columns = {"x": [1, 2], "y": [1, 2], column: [1, 2, 3]}
    with pytest.raises(ValueError, match=r"mismatched lengths.*(2.*3|3.*2)"):
        couple.map(**columns)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: couple.map(), id="no column"),
        pytest.param(lambda: couple.map(y=[1]), id="missing argument"),
        pytest.param(lambda: couple.map(x=[1], z=[1]), id="unknown column"),
        pytest.param(lambda: couple.partial(x=1).map(x=[1]), id="fixed and mapped"),
        pytest.param(lambda: couple.partial(y=1).map(y=[1]), id="fixed, mapped, and another missing"),
    ],
)
def test_names_that_do_not_fit_are_refused_at_the_call(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="couple"):
        call()


def test_partial_fixes_what_all_items_share() -> None:
    assert cascade.run_sync(couple.partial(y=0).map(x=[1, 2])) == [(1, 0), (2, 0)]


def test_what_all_items_share_may_be_a_lazy() -> None:
    assert cascade.run_sync(couple.partial(y=value("shared")).map(x=[1, 2])) == [(1, "shared"), (2, "shared")]


def test_a_fixed_sequence_is_not_spread() -> None:
    assert cascade.run_sync(couple.partial(y=[8, 9]).map(x=[1, 2])) == [(1, [8, 9]), (2, [8, 9])]


def test_a_column_may_be_a_lazy_of_a_sequence() -> None:
    assert cascade.run_sync(couple.map(x=value([1, 2]), y=[3, 4])) == [(1, 3), (2, 4)]


def test_a_column_may_hold_lazies() -> None:
    assert cascade.run_sync(value.map(x=[value(1), 2, (value(3),)])) == [1, 2, (3,)]


@pytest.mark.parametrize("make", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_a_column_of_lazies_is_filled_whatever_sequence_it_is(make: Callable[[list[Any]], Any]) -> None:
    assert cascade.run_sync(value.map(x=make([value(1), value(2)]))) == [1, 2]


def test_a_column_may_be_a_param() -> None:
    flow = value.map(x=cascade.Param("xs", type=list))
    assert cascade.run_sync(flow, {"xs": [1, 2]}) == [1, 2]


def test_an_empty_map_is_an_empty_list() -> None:
    assert cascade.run_sync(value.map(x=[])) == []


def test_a_map_makes_a_mapped_lazy_result() -> None:
    assert isinstance(couple.map(x=[1]), cascade.MappedLazyResult)


def test_the_policies_of_a_map_keep_it_a_map() -> None:
    lazy = value.map(x=[1]).with_retry(2).with_timeout(1).run_if(True).after(value(1))
    assert isinstance(lazy, cascade.MappedLazyResult)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "2", True, float("nan")], ids=label)
def test_a_bound_on_items_in_flight_is_a_whole_number_from_one(limit: Any) -> None:
    with pytest.raises(ValueError, match="with_concurrency"):
        value.map(x=[1]).with_concurrency(limit)


def test_a_plain_call_has_no_bound_on_items() -> None:
    with pytest.raises(TypeError, match="with_concurrency"):
        value(1).with_concurrency(2)  # type: ignore[attr-defined]
