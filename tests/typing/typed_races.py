"""Types of races; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

import cascade
from cascade import LazyResult, Race, race


@cascade.task
async def number(n: int) -> int:
    return n


@cascade.task
async def word(n: int) -> str:
    return "a" * n


@cascade.task
def either(value: int | str) -> bool:
    return bool(value)


def races() -> None:
    assert_type(race(number(1)), Race[int])
    assert_type(race(number(1), word(2)), Race[int | str])
    assert_type(race(number(1), race(number(2), number(3)), number(4), number(5)), Race[int])
    assert_type(either(race(number(1), word(2))), LazyResult[bool])
    assert_type(number(race(number(1), number(2))), LazyResult[int])
    assert_type(race(*[number(n) for n in range(9)]), Race[int])
