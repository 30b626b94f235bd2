"""A flow runs, on every loop and in both schedules."""

from __future__ import annotations

from typing import Any

import pytest

import cascade

pytestmark = pytest.mark.loop


@cascade.task
def add(a: int, b: int) -> int:
    return a + b


@cascade.task
async def one() -> int:
    return 1


async def test_a_flow_gives_its_value(schedule: Any) -> None:
    assert await cascade.run(add(one(), add(1, 2)), schedule=schedule) == 4
