"""Calls that are right, and must not be refused; checked by mypy and pyright, never run.

Arguments that are of their type or stand for it, by position and by name, at any depth; methods, variadic and
generic functions, tasks kept in attributes, flows that tasks return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, assert_type

from typed_tasks import fetch, number, parse, word

import cascade
from cascade import Env, LazyResult, Param, Router, Task

T = TypeVar("T")
Number = TypeVar("Number", bound=float)


@cascade.task
def size(words: list[str], *, unit: str = "words") -> int:
    return len(words)


@cascade.task
def total(*values: float) -> float:
    return sum(values)


@cascade.task
def labelled(first: int, /, *rest: str, **named: str) -> int:
    return first


@cascade.task
def optional(x: int | None, y: str | None = None) -> int | None:
    return x


@cascade.task
def either(x: bytes | int) -> None:
    return None


@cascade.task
def table(rows: Mapping[str, int], pair: tuple[int, str] = (1, "a")) -> dict[str, Any]:
    return dict(rows)


@cascade.task
def apply(function: Callable[[int], str], x: int) -> str:
    return function(x)


@cascade.task
def nine(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int) -> int:
    return a


def by_position_and_by_name() -> None:
    assert_type(fetch(word(1), number()), LazyResult[bytes])
    assert_type(fetch(word(1), retries=number()), LazyResult[bytes])
    assert_type(fetch(url=word(1), retries=2), LazyResult[bytes])
    assert_type(fetch(Param("url"), Param("n", 3)), LazyResult[bytes])
    assert_type(fetch(Env("URL"), Env("N", 3)), LazyResult[bytes])
    assert_type(parse(Router(number(), {1: fetch("a"), 2: fetch("b")})), LazyResult[list[str]])
    assert_type(parse(fetch("a").with_retry(3).after(number())), LazyResult[list[str]])
    assert_type(labelled(number(), "a", word(1), by=word(2), of="b"), LazyResult[int])
    assert_type(nine(number(), 2, 3, 4, 5, 6, 7, 8, number()), LazyResult[int])
    assert_type(nine(number(), 2, 3, 4, 5, 6, 7, h=8, g=7, i=number()), LazyResult[int])
    anything: Any = fetch
    assert_type(fetch(anything, number()), LazyResult[bytes])
    assert_type(fetch(cascade.inject("url"), number()), LazyResult[bytes])
    assert_type(fetch(*("a",), retries=number()), LazyResult[bytes])
    assert_type(total(*[number(), number()]), LazyResult[float])


def values_of_narrower_types() -> None:
    total(number(), 2, 0.5)
    optional(optional(None), word(1))
    optional(number(), None)
    either(number())
    either(fetch("a"))
    either(Router(number(), {1: fetch("a"), 2: number()}))
    apply(lambda x: f"{x + 1}", number())
    apply(str, 3)


def in_containers() -> None:
    words = [word(1), word(2)]
    size(words)
    size(["a", word(1)], unit=Param("unit"))
    size(parse(fetch("a")))
    size(word.map(n=[1, 2]))
    table({"a": 1, "b": number()}, (number(), word(1)))
    table({}, cascade.gather(number(), word(1)))
    total(*(number() for _ in words))


# -- functions of many types -------------------------------------------------------------------------------------


@cascade.task
def same(x: T) -> T:
    return x


@cascade.task
async def first(items: Sequence[T]) -> T:
    return items[0]


@cascade.task
def turned(items: list[T]) -> list[T]:
    return items[::-1]


@cascade.task
def double(x: Number) -> Number:
    return x


@cascade.task
def count(items: Sequence[T], others: Sequence[T] = ()) -> int:
    return len(items) + len(others)


def of_many_types(task: Task[[T], int], x: T, lazy: LazyResult[T]) -> LazyResult[int]:
    parse(same(fetch("a")))
    parse(same(x=fetch("a")))
    parse(first([fetch("a")]))
    parse(first(Param("pages", [b""])))
    size(turned(parse(fetch("a"))))
    size(turned(items=parse(fetch("a"))))
    size(same.map(x=["a"]))
    word(count(parse(fetch("a")), parse(fetch("b"))))
    total(double(number()), double(2))
    task(x)
    return task(lazy)


# -- methods, and tasks kept in attributes -----------------------------------------------------------------------


class Service:
    @cascade.task
    def ask(self, question: str, times: int = 1) -> int:
        return len(question) * times

    @classmethod
    @cascade.task
    def of_class(cls, x: int) -> int:
        return x

    @staticmethod
    @cascade.task
    def of_nothing(x: int) -> int:
        return x

    def flow(self) -> LazyResult[int]:
        return self.ask("q", number())


def methods(service: Service) -> None:
    assert_type(service.ask("q"), LazyResult[int])
    assert_type(service.ask(word(1), times=number()), LazyResult[int])
    assert_type(Service.ask(service, word(1)), LazyResult[int])
    assert_type(service.ask.name, str)
    service.of_class(number())
    Service.of_class(1)
    service.of_nothing(number())
    Service.of_nothing(number())


@dataclass
class Step:
    task: Task[[str], int]
    other: Task[..., Any]


def takes_step(task: Task[[str], int]) -> str:
    return task.name


def kept(step: Step) -> str:
    step.task("a")
    step.task(word(1))
    step.other(1, 2, number())
    takes_step(step.task)
    return step.other.name


def of_functions_of_others() -> None:
    cascade.task(len)(parse(fetch("a")))
    cascade.task(sorted)([number(), 1])
    cascade.task(print)(number(), "a", sep=" ")
    cascade.task(lambda x: x)(number())
    cascade.pipeline(word(1), [fetch, parse, lambda words: size(words)])
    as_function: Callable[[str], LazyResult[bytes]] = fetch
    del as_function


# -- flows that tasks return -------------------------------------------------------------------------------------


@cascade.task
def flow_of(n: int) -> LazyResult[str]:
    return word(n)


@cascade.task
async def async_flow_of(n: int) -> LazyResult[str]:
    return word(n)


@cascade.task(timeout=3)
def loop(n: int) -> LazyResult[int] | int:
    return loop(n - 1) if n else n


@cascade.task
def mapped_flow() -> cascade.MappedLazyResult[str]:
    return word.map(n=[1])


async def flows_that_tasks_return() -> None:
    assert_type(flow_of(1), LazyResult[str])
    assert_type(async_flow_of(number()), LazyResult[str])
    assert_type(fetch(flow_of(1), loop(3)), LazyResult[bytes])
    assert_type(loop(3), LazyResult[int])
    assert_type(mapped_flow(), LazyResult[list[str]])
    assert_type(await cascade.run(flow_of(1)), str)
    assert_type(cascade.run_sync(async_flow_of(1)), str)
    async with cascade.start(async_flow_of(1)) as run:
        assert_type(await run.result(), str)


@cascade.task
def located(path: Path) -> Path:
    return path


def paths() -> None:
    assert_type(located(Param("path", type=Path)), LazyResult[Path])
