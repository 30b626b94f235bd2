"""A flow that may grow by calls that its tasks return may be given parameters that it does not know yet."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import growth
import pytest
from growth import BY_NAME, Builder, ByProperty, Inheriting, Statically, call_inner, make_inner

import cascade


@cascade.task
def by_name_of_a_task() -> Any:
    return growth.inner()


@cascade.task
async def in_an_async_task() -> Any:
    return growth.inner()


@cascade.task
def by_partial() -> Any:
    return growth.inner.partial()()


@cascade.task
def by_local_function() -> Any:
    return _local()


def _local() -> Any:
    return growth.inner()


@cascade.task
def by_function_of_another_module() -> Any:
    return make_inner()


@cascade.task
def by_attribute_of_a_module() -> Any:
    return growth.make_inner()


@cascade.task
def by_table() -> Any:
    return BY_NAME["inner"]()


@cascade.task
def by_method(builder: Builder) -> Any:
    return builder.build()


@cascade.task
def by_attribute(builder: Builder) -> Any:
    return builder.step()


@cascade.task
def by_argument(step: Callable[[], Any]) -> Any:
    return step()


@cascade.task
def by_item(steps: list[Callable[[], Any]]) -> Any:
    return steps[0]()


@cascade.task
def by_class(builder: Any) -> Any:
    return builder.build()


@cascade.task
def by_property(builder: ByProperty) -> Any:
    return builder.built


BUILDER = Builder()


@cascade.task
def by_global_object() -> Any:
    return BUILDER.build()


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(by_name_of_a_task(), id="a task that its code names"),
        pytest.param(in_an_async_task(), id="an async task"),
        pytest.param(by_partial(), id="a partial"),
        pytest.param(by_local_function(), id="a function of its module"),
        pytest.param(by_function_of_another_module(), id="a function of another module"),
        pytest.param(by_attribute_of_a_module(), id="a function of a module that it names"),
        pytest.param(by_table(), id="a table of tasks"),
        pytest.param(by_method(BUILDER), id="a method of an argument"),
        pytest.param(by_attribute(BUILDER), id="an attribute of an argument"),
        pytest.param(by_argument(BUILDER.build), id="an argument that is a method"),
        pytest.param(by_class(Statically), id="a static method of an argument"),
        pytest.param(by_class(Inheriting), id="a method of a base class of an argument"),
        pytest.param(by_property(ByProperty()), id="a property of an argument"),
        pytest.param(by_argument(growth.inner), id="an argument that is a task"),
        pytest.param(by_argument(growth.inner.partial()), id="an argument that is a partial"),
        pytest.param(by_argument(make_inner), id="an argument that is a function"),
        pytest.param(by_argument(functools.partial(make_inner)), id="an argument that is a bound function"),
        pytest.param(by_item([growth.inner]), id="a task in a container"),
        pytest.param(by_argument.map(step=[growth.inner]), id="a column of tasks"),
        pytest.param(by_global_object(), id="a method of a global object"),
        pytest.param(cascade.task(functools.partial(call_inner))(), id="a bound function as a task"),
        pytest.param(cascade.task(call_inner)(), id="a decorated function as a task"),
    ],
)
def test_a_parameter_of_a_flow_that_a_task_returns_can_be_given(flow: Any) -> None:
    got = cascade.run_sync(flow, {"inner": "3"})
    assert got in (3, [3])


def test_a_missing_parameter_of_a_returned_flow_is_an_error_too() -> None:
    with pytest.raises(cascade.InputError, match="'inner'"):
        cascade.run_sync(by_name_of_a_task())


@cascade.task
def by_hand(x: int) -> int:
    return x + 1


@cascade.task
def by_standard_library(text: str) -> Any:
    return json.loads(text.strip())


@pytest.mark.parametrize("flow", [by_hand(1), by_hand.map(x=[1]), by_standard_library(" 1 ")])
def test_a_flow_whose_tasks_cannot_get_at_others_does_not_grow(flow: Any) -> None:
    with pytest.raises(cascade.InputError, match="'inner'"):
        cascade.run_sync(flow, {"inner": 3})
