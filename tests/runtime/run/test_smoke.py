"""A flow runs, on every loop and in both schedules."""

from __future__ import annotations

from typing import Any

import pytest
from plain_tasks import add, one

import cascade

pytestmark = pytest.mark.loop


async def test_a_flow_gives_its_value(schedule: Any) -> None:
    assert await cascade.run(add(one(), add(1, 2)), schedule=schedule) == 4
