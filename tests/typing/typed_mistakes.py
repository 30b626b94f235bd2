"""Mistakes that type checkers find; checked by mypy and pyright, never run.

Each ``type: ignore`` stands for an error that has to be there: both checkers report one that is not needed.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typed_tasks import number

import cascade


def settings_of_tasks() -> None:
    cascade.task(mode="fast")  # type: ignore[call-overload]
    cascade.task(retries=3)  # type: ignore[call-overload]
    cascade.task(retry="often")  # type: ignore[call-overload]
    cascade.task(5)  # type: ignore[call-overload]
    cascade.task(print, retires=3)  # type: ignore[call-overload]
    cascade.task(print, timeout="long")  # type: ignore[call-overload]
    cascade.resource(scope="flow")  # type: ignore[call-overload]


def chaining() -> None:
    lazy = number()
    lazy.with_timeout("long")  # type: ignore[arg-type]
    lazy.with_cost("much")  # type: ignore[arg-type]
    lazy.with_undo(print)  # type: ignore[arg-type]
    lazy.run_if(True, on_skip="fail")  # type: ignore[arg-type]
    lazy.after(5)  # type: ignore[arg-type]
    cascade.sequence([number(), 5])  # type: ignore[list-item]
    cascade.visualize(lazy, format="png")  # type: ignore[arg-type]


def takes_text(_: str) -> None:
    return None


def takes_lazy_text(_: cascade.LazyResult[str]) -> None:
    return None


async def results() -> None:
    takes_text(cascade.run_sync(number()))  # type: ignore[arg-type]
    takes_lazy_text(number())  # type: ignore[arg-type]
    value = await cascade.run(number())
    takes_text(value)  # type: ignore[arg-type]


def use_of_lazies() -> None:
    lazy = number()
    lazy + 1  # type: ignore[operator]
    takes_text(lazy)  # type: ignore[arg-type]
