"""Thread lanes at the moments when several of them and the loop meet."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

import cascade
from cascade.runtime.crew import Crew
from cascade.runtime.lanes import ThreadLanes


async def test_a_lane_that_finds_nothing_left_when_it_comes_takes_no_slot(
    monkeypatch: pytest.MonkeyPatch, schedule: Any
) -> None:
    others_may_go_on = threading.Event()
    lanes: list[ThreadLanes] = []
    found: list[int] = []
    feed, until_heard = ThreadLanes.feed, Crew.until_heard

    def notice(self: ThreadLanes, index: int) -> None:
        lanes.append(self)
        feed(self, index)

    async def until_nothing_is_left(self: Crew) -> bool:
        found.append(len(lanes[0].queue))
        if len(found) == 2:  # the second lane, which came as the first was stuck
            others_may_go_on.set()
            while lanes[0].queue:
                await checkpoint()
        return await until_heard(self)

    monkeypatch.setattr(ThreadLanes, "feed", notice)
    monkeypatch.setattr(Crew, "until_heard", until_nothing_is_left)

    @cascade.task
    def work(n: int) -> int:
        others_may_go_on.wait(20)
        return n

    assert await cascade.run([work(n) for n in range(50)], schedule=schedule) == list(range(50))
    assert len(found) >= 2
    assert found[1] > 0
