"""Misuse that a type checker should find before anything runs; checked by mypy and pyright, never run.

A lazy is no value, and settings have names: what raises ``TypeError`` when it runs is an error here already. Each
``type: ignore`` stands for an error that has to be there; each misuse has a function of its own, because nothing
that follows a ``NoReturn`` is checked at all.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typed_tasks import number

import cascade


async def awaited() -> None:
    await number()  # type: ignore[misc]


def indexed() -> None:
    number()[0]  # type: ignore[index]


def called_like_its_value() -> None:
    number().bit_length()  # type: ignore[attr-defined]


def misspelled() -> None:
    number().with_timeuot(3)  # type: ignore[attr-defined]


def unmapped() -> None:
    number().with_concurrency(3)  # type: ignore[attr-defined]


async def settings_of_a_run() -> None:
    await cascade.run(number(), schedule="lazy")  # type: ignore[call-overload]
    await cascade.run(number(), shcedule="eager")  # type: ignore[call-overload]


def settings_of_a_script() -> None:
    cascade.run_sync(number(), max_threads="many")  # type: ignore[call-overload]


def settings_of_an_engine() -> None:
    cascade.Engine(on_error="ignore")  # type: ignore[arg-type]
