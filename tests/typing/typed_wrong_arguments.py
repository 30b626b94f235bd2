"""Arguments of a wrong type, which type checkers refuse; checked by mypy and pyright, never run.

Each ``type: ignore`` stands for an error that has to be there: both checkers report one that is not needed. What
only one of them refuses is in ``typed_by_*_only.py``; what neither refuses is in the guide.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from pathlib import Path

from typed_tasks import fetch, number, parse

import cascade
from cascade import Env, LazyResult, Param, Router


@cascade.task
def nothing(x: int) -> None:
    return None


@cascade.task
def total(*values: int) -> int:
    return sum(values)


@cascade.task
def located(path: Path) -> LazyResult[Path]:
    return located(path)


@cascade.task
def eight(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: str) -> int:
    return a


def values() -> None:
    fetch(3)  # type: ignore[arg-type]
    fetch("a", "often")  # type: ignore[arg-type]
    fetch(number(), 3)  # type: ignore[arg-type]
    total(1, "two")  # type: ignore[arg-type]


def lazies() -> None:
    parse(number())  # type: ignore[arg-type]
    parse(parse(fetch("a")))  # type: ignore[arg-type]
    parse(fetch.map(url=["a"]))  # type: ignore[arg-type]
    fetch("a", fetch("b"))  # type: ignore[arg-type]
    total(number(), number(), fetch("a"))  # type: ignore[arg-type]
    nothing(nothing(1))  # type: ignore[arg-type]
    parse(located(Path("a")))  # type: ignore[arg-type]
    parse(cascade.gather(number(), number()))  # type: ignore[arg-type]
    eight(number(), 2, 3, 4, 5, 6, 7, number())  # type: ignore[arg-type]


def inputs_and_routers() -> None:
    parse(Param("page"))  # type: ignore[arg-type]
    times = Env("N", 3)
    fetch(times)  # type: ignore[arg-type]
    located(Param("path"))  # type: ignore[arg-type]
    routed = Router(number(), {1: number(), 2: number()})
    parse(routed)  # type: ignore[arg-type]


def too_many() -> None:
    parse(fetch("a"), 3)  # type: ignore[call-overload]
    number(number())  # type: ignore[call-overload]
