"""Tasks that say which span is the current one where they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

import cascade


def span_here() -> str:
    """The id of the current span."""
    from opentelemetry import trace

    return f"{trace.get_current_span().get_span_context().span_id:x}"


@cascade.task
async def on_the_loop(_: object = None) -> str:
    return span_here()


@cascade.task
async def after_waiting(_: object = None) -> str:
    await checkpoint()
    return span_here()


@cascade.task
def in_a_thread(_: object = None) -> str:
    return span_here()


@cascade.task(mode="inline")
def in_place(_: object = None) -> str:
    return span_here()


@cascade.task(mode="process")
def in_a_process(_: object = None) -> str:
    return span_here()


def _as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


async def _later(_: object = None) -> str:
    await checkpoint()
    return span_here()


def _gives_a_coroutine(_: object = None) -> Any:
    return _later()


gives_a_coroutine: Any = cascade.task(_gives_a_coroutine)
gives_a_coroutine_in_place: Any = cascade.task(_gives_a_coroutine, mode="inline", name="in_place_too")


@cascade.task
def length(values: Any) -> int:
    return len(values)


@cascade.task
def flow_of(count: int) -> Any:
    return length(in_place.map(_=range(count)))


@cascade.task
async def forever() -> None:
    await anyio.sleep_forever()
