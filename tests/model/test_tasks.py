"""What @task accepts, and what its calls check at once."""

from __future__ import annotations

import functools
import inspect
import os
import unittest.mock
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from labels import label

import cascade
from cascade.cache import InputCache, MemoryCacheStore

MOST: Any = cascade.Param("most")
KEY: Any = cascade.Param("key")


@cascade.task
def add(a: int, b: int = 2, /, c: int = 3, *rest: int, d: int, **more: int) -> int:
    return a + b + c + sum(rest) + d + sum(more.values())


@cascade.task
def pair(x: Any, y: Any = None) -> tuple[Any, Any]:
    return x, y


@cascade.task(name="renamed")
def strict(x: int, *, key: int) -> int:
    return x + key


def numbers() -> Iterator[int]:
    yield 1


async def async_numbers() -> AsyncIterator[int]:
    yield 1


class GeneratorCall:
    def __call__(self) -> Iterator[int]:
        yield 1


class AsyncGeneratorCall:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


class Methods:
    @cascade.task
    def shout(self, word: str) -> str:
        return f"{type(self).__name__}: {word}!"

    @staticmethod
    @cascade.task
    def whisper(word: str) -> str:
        return word.lower()

    @classmethod
    @cascade.task
    def named(cls, word: str) -> str:
        return f"{cls.__name__} {word}"

    @cascade.task
    @staticmethod
    def inverted(word: str) -> str:
        return word[::-1]

    def generate(self) -> Iterator[int]:
        yield 1


class Summing:
    def __call__(self, x: int) -> int:
        return x + 1


class AsyncSumming:
    async def __call__(self, x: int) -> int:
        return x + 2


# -- calling checks the arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param((), {"d": 1}, id="missing positional"),
        pytest.param((1,), {}, id="missing keyword-only"),
        pytest.param((1, 2), {"a": 1, "b": 2}, id="missing keyword-only beside strangers"),
        pytest.param((1, 2, 3), {"c": 3, "d": 1}, id="given twice"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        add(*args, **kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param((), {}, id="nothing"),
        pytest.param((1, 2), {"key": 1}, id="too many"),
        pytest.param((1,), {"key": 1, "stranger": 2}, id="unknown keyword"),
        pytest.param((1,), {"x": 1, "key": 1}, id="twice"),
    ],
)
def test_the_refusal_names_task_and_signature(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"renamed\(x: 'int', \*, key: 'int'\)"):
        strict(*args, **kwargs)


def test_a_positional_only_parameter_is_not_given_by_its_name_to_the_keyword_catcher() -> None:
    @cascade.task
    def catching(a: int, /, **more: int) -> int:
        return a

    with pytest.raises(TypeError, match="catching"):
        catching(a=1)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param((1,), {"d": 1}, id="least"),
        pytest.param((1, 2, 3, 4, 5), {"d": 1}, id="variadic"),
        pytest.param((1,), {"c": 1, "d": 2, "e": 3}, id="by keyword"),
        pytest.param((1,), {"d": 2, "a": 5, "b": 6}, id="positional-only names among the others"),
    ],
)
def test_arguments_that_fit_are_passed_as_in_a_plain_call(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    assert cascade.run_sync(add(*args, **kwargs)) == add.func(*args, **kwargs)


def test_a_name_that_there_is_not_is_said_before_what_is_missing_for_it() -> None:
    @cascade.task
    def load(path: str) -> None: ...

    with pytest.raises(TypeError, match=r"unexpected keyword argument 'paht'; did you mean 'path'\?"):
        load(paht="a")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'm'$"):
        load(m="a")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'paht'"):
        load.map(paht=["a"])
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'paht'"):
        load.partial(paht="a")


# To type checkers, as to readers, what follows is a mistake.
a_pair: Any = pair
a_method: Any = Methods().shout
a_builtin: Any = cascade.task(print)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: a_pair.map([1, 2]), r"pair.map(): columns have names: pair.map(x=[1, 2])"),
        (lambda: a_pair.map([1], [2]), r"pair.map(x=[1], y=[2])"),
        (lambda: a_pair.map(range(9), y=[2]), r"pair.map(x=range(0, 9))"),
        (lambda: a_pair.partial(x=1).map([1]), r"pair.map(x=[1])"),
        (lambda: a_pair.partial(3), r"pair.partial(): arguments are given by name: pair.partial(x=3)"),
        (lambda: a_method.map(["a"]), r"shout.map(word=['a'])"),
        (lambda: a_builtin.map([1]), r"print.map("),
    ],
)
def test_columns_without_names_are_refused_with_their_names(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert words in str(caught.value)


# -- decorated functions ---------------------------------------------------------------------------------------


def supplying(func: Any) -> Any:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, session="the session", **kwargs)

    return wrapper


def prepending(func: Any) -> Any:
    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        return func("first", *args)

    return wrapper


def taking(func: Any) -> Any:
    @functools.wraps(func)
    def wrapper(*args: Any, times: int = 1, **kwargs: Any) -> Any:
        return [func(*args, **kwargs)] * times

    return wrapper


def renaming(func: Any) -> Any:
    @functools.wraps(func)
    def wrapper(new: Any, extra: int = 0) -> Any:
        return func(new + extra)

    return wrapper


@supplying
def with_session(x: int, session: str) -> tuple[int, str]:
    return x, session


@supplying
def with_keyword(x: int, *, session: str) -> tuple[int, str]:
    return x, session


@unittest.mock.patch("os.getcwd", return_value="patched")
def patched(x: int, getcwd: Any) -> tuple[int, str]:
    return x, os.getcwd()


@prepending
def after_first(first: str, x: int) -> tuple[int, str]:
    return x, first


DECORATED = [
    (with_session, "the session"),
    (with_keyword, "the session"),
    (patched, "patched"),
    (after_first, "first"),
]


@pytest.mark.parametrize(("func", "supplied"), DECORATED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_decorator_may_supply_arguments(func: Any, supplied: str) -> None:
    assert cascade.run_sync(cascade.task(func)(1)) == (1, supplied)


@pytest.mark.parametrize(("func", "supplied"), DECORATED[:2], ids=lambda value: getattr(value, "__name__", ""))
def test_a_decorator_may_supply_arguments_of_items_partials_and_cached_calls(func: Any, supplied: str) -> None:
    decorated = cascade.task(func)
    assert cascade.run_sync(decorated.map(x=[1, 2])) == [(1, supplied), (2, supplied)]
    assert cascade.run_sync(decorated.partial(x=1)()) == (1, supplied)
    cache = InputCache(MemoryCacheStore())
    flow = [decorated(1).with_cache(cache), decorated(2).with_cache(cache), decorated(1).with_cache(cache)]
    assert cascade.run_sync(flow) == [(1, supplied), (2, supplied), (1, supplied)]


def test_a_decorator_may_take_arguments_of_its_own_and_rename_them() -> None:
    repeated = cascade.task(taking(with_session))
    assert cascade.run_sync(repeated(1, times=2)) == [(1, "the session")] * 2
    renamed = cascade.task(renaming(lambda old: old))
    assert cascade.run_sync(renamed(new=1, extra=2)) == 3
    with pytest.raises(TypeError, match="old"):
        renamed(old=1)


def test_a_decorator_may_say_what_it_takes() -> None:
    func = supplying(with_session.__wrapped__)
    func.__signature__ = inspect.Signature([inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)])
    with pytest.raises(TypeError):
        cascade.task(func)(1, 2)
    assert cascade.run_sync(cascade.task(func)(1)) == (1, "the session")


def test_a_decorated_function_keeps_its_defaults_that_are_inputs() -> None:
    @cascade.task
    @taking
    def load(x: int, most: Any = MOST, *, key: Any = KEY) -> Any:
        return x, most, key

    given = {"most": "10", "key": "k"}
    assert cascade.run_sync(load(1), given) == [(1, "10", "k")]
    assert cascade.run_sync(load(1, most="5", times=1), {"key": "k"}) == [(1, "5", "k")]
    assert cascade.run_sync(load(x=1, key=0), {"most": "10"}) == [(1, "10", 0)]


def test_calling_a_task_runs_nothing() -> None:
    calls: list[int] = []
    cascade.task(calls.append)(1)
    assert calls == []


def test_a_builtin_without_a_signature_takes_any_arguments() -> None:
    assert cascade.run_sync(cascade.task(max)(3, 5)) == 5


def test_an_argument_may_be_called_self_or_func() -> None:
    @cascade.task
    def odd(self: int, func: int, task: int) -> tuple[int, int, int]:
        return self, func, task

    assert cascade.run_sync(odd(self=1, func=2, task=3)) == (1, 2, 3)


# -- what can be a task ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "func",
    [
        pytest.param(numbers, id="generator function"),
        pytest.param(async_numbers, id="async generator function"),
        pytest.param(functools.partial(numbers), id="partial of one"),
        pytest.param(Methods().generate, id="bound method"),
        pytest.param(GeneratorCall(), id="object with one as __call__"),
        pytest.param(AsyncGeneratorCall(), id="object with an async one as __call__"),
        pytest.param(lambda: (yield), id="lambda with yield"),
    ],
)
def test_a_generator_function_is_refused(func: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="generator"):
        cascade.task(func)


@pytest.mark.parametrize("value", [5, "text", int, Methods, classmethod(lambda cls: cls)], ids=label)
def test_what_is_no_function_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="a task wraps a function"):
        cascade.task(value)


@pytest.mark.parametrize("value", [pair, pair.partial(y=1)], ids=["task", "partial"])
def test_a_task_is_not_wrapped_twice(value: Any) -> None:
    with pytest.raises(TypeError, match="task already"):
        cascade.task(value)


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        pytest.param(Summing(), 2, id="callable object"),
        pytest.param(AsyncSumming(), 3, id="async callable object"),
        pytest.param(functools.partial(lambda x, y: x + y, 10), 11, id="partial"),
        pytest.param(lambda x: x + 4, 5, id="lambda"),
    ],
)
def test_other_callables_can_be_tasks(func: Callable[[int], Any], expected: int) -> None:
    assert cascade.run_sync(cascade.task(func)(1)) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(lambda: Methods().shout("a"), "Methods: a!", id="method"),
        pytest.param(lambda: Methods.shout(Methods(), "a"), "Methods: a!", id="method of the class"),
        pytest.param(lambda: Methods().whisper("A"), "a", id="static method of an instance"),
        pytest.param(lambda: Methods.whisper("A"), "a", id="static method of the class"),
        pytest.param(lambda: Methods().named("a"), "Methods a", id="class method"),
        pytest.param(lambda: Methods().inverted("ab"), "ba", id="task around a static method"),
    ],
)
def test_methods_can_be_tasks(call: Callable[[], Any], expected: str) -> None:
    assert cascade.run_sync(call()) == expected


def test_a_method_can_be_mapped() -> None:
    assert cascade.run_sync(Methods().shout.map(word=["a", "b"])) == ["Methods: a!", "Methods: b!"]


def test_a_method_checks_its_arguments() -> None:
    with pytest.raises(TypeError, match="shout"):
        Methods().shout()


def test_the_undecorated_function_stays_reachable() -> None:
    assert pair.func(1, 2) == (1, 2)


@pytest.mark.parametrize("attribute", ["__name__", "__qualname__", "__doc__", "__module__"])
def test_a_task_looks_like_its_function(attribute: str) -> None:
    assert getattr(pair, attribute) == getattr(pair.func, attribute)


# -- settings --------------------------------------------------------------------------------------------------


async def _asynchronous() -> None: ...


def _synchronous() -> None: ...


@pytest.mark.parametrize(
    ("func", "settings"),
    [
        pytest.param(_synchronous, {"mode": "task"}, id="task for a sync function"),
        pytest.param(_synchronous, {"mode": "fiber"}, id="unknown"),
        pytest.param(_synchronous, {"mode": 1}, id="no string"),
        pytest.param(_asynchronous, {"mode": "thread"}, id="thread for an async function"),
        pytest.param(_asynchronous, {"mode": "inline"}, id="inline for an async function"),
        pytest.param(_asynchronous, {"mode": "process"}, id="process for an async function"),
        pytest.param(_asynchronous, {"abandon_on_cancel": True}, id="abandoning an async function"),
        pytest.param(_synchronous, {"abandon_on_cancel": True, "mode": "inline"}, id="abandoning inline"),
        pytest.param(_synchronous, {"abandon_on_cancel": True, "mode": "process"}, id="abandoning a process"),
        pytest.param(_synchronous, {"timeout": 0}, id="timeout of nothing"),
        pytest.param(_synchronous, {"timeout": float("nan")}, id="timeout NaN"),
        pytest.param(_synchronous, {"constraints": {"gpu": -1}}, id="negative amount"),
        pytest.param(_synchronous, {"constraints": {"gpu": "1"}}, id="amount as text"),
    ],
)
def test_a_malformed_setting_is_a_value_error(func: Callable[..., Any], settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        cascade.task(**settings)(func)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"retry": "often"}, id="retry as text"),
        pytest.param({"retry": True}, id="retry as a truth value"),
        pytest.param({"retry": 0}, id="no attempt at all"),
        pytest.param({"cache": "here"}, id="cache as text"),
        pytest.param({"constraints": 5}, id="constraints as a number"),
        pytest.param({"constraints": {1: 2}}, id="resource name as a number"),
        pytest.param({"version": 5}, id="version as a number"),
        pytest.param({"name": 5}, id="name as a number"),
        pytest.param({"colour": "red"}, id="unknown setting"),
    ],
)
def test_a_setting_of_a_wrong_type_is_refused_where_it_is_made(settings: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        cascade.task(**settings)(_synchronous)


@pytest.mark.parametrize("mode", ["thread", "inline"])
def test_each_mode_gives_the_same_value(mode: Any) -> None:
    assert cascade.run_sync(cascade.task(mode=mode)(lambda: 5)()) == 5


# -- partials --------------------------------------------------------------------------------------------------


def test_a_partial_fixes_arguments() -> None:
    assert cascade.run_sync(pair.partial(y=2)(1)) == (1, 2)


def test_a_partial_of_a_partial_takes_the_later_value() -> None:
    assert cascade.run_sync(pair.partial(y=2).partial(y=3)(1)) == (1, 3)


def test_a_partial_leaves_its_origin_alone() -> None:
    first = pair.partial(y=2)
    first.partial(y=3)
    assert cascade.run_sync(first(1)) == (1, 2)


def test_a_partial_refuses_an_unknown_name_at_once() -> None:
    with pytest.raises(TypeError, match=r"pair\(x"):
        pair.partial(z=1)


def test_a_call_of_a_partial_refuses_what_is_given_twice() -> None:
    with pytest.raises(TypeError, match=r"pair\(x"):
        pair.partial(x=1)(2)


# -- standing defaults -----------------------------------------------------------------------------------------


LIMIT = cascade.Param("limit", type=int)
PAIR = pair(1, 2)


def test_a_parameter_whose_default_is_an_input_is_filled_in() -> None:
    @cascade.task
    def limited(x: int, limit: Any = LIMIT) -> tuple[int, Any]:
        return x, limit

    assert cascade.run_sync(limited(1), {"limit": "7"}) == (1, 7)


def test_a_parameter_whose_default_is_a_call_is_filled_in() -> None:
    @cascade.task
    def defaulting(x: Any = PAIR) -> Any:
        return x

    assert cascade.run_sync(defaulting()) == (1, 2)


def test_an_argument_replaces_an_input_that_is_a_default() -> None:
    @cascade.task
    def limited(x: int, limit: Any = LIMIT) -> tuple[int, Any]:
        return x, limit

    assert cascade.run_sync(limited(1, 3)) == (1, 3)


def test_a_positional_only_parameter_cannot_have_an_input_as_its_default() -> None:
    def limited(limit: Any = LIMIT, /) -> Any:
        return limit

    with pytest.raises(TypeError, match="limit"):
        cascade.task(limited)
