"""The journal between work and store: ordered, in batches, bounded, and flushed however a run ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import cascade
from cascade import api
from cascade.runtime.durability.records import Batch, NotDurable
from cascade.runtime.durability.write_queue import MOST_WAITING
from cascade.state import InMemoryStateBackend
from state.cleared import cleared
from state.stores import StoreUnderTest


class Watched(InMemoryStateBackend):
    """Notes what is written, and waits before it where that is wanted."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.batches: list[list[str]] = []
        self.gate: anyio.Event | None = None

    async def write(self, batch: Batch) -> NotDurable:
        if self.gate is not None:
            await self.gate.wait()
        self.batches.append([entry.node_id for entry in batch.entries])
        return await super().write(batch)


RAN: list[int] = []


@cascade.task
async def part(n: int) -> int:
    RAN.append(n)
    return n


@cascade.task
def part_in_a_thread(n: int) -> int:
    RAN.append(n)
    return n


@cascade.task(timeout=1000)
async def part_with_a_timeout(n: int) -> int:
    RAN.append(n)
    return n


@cascade.task
async def look(backend: Watched, *_: Any) -> list[str]:
    return [name for batch in backend.batches for name in batch]


nothing_has_run = cleared(RAN)


@pytest.mark.slow
@pytest.mark.parametrize("task", [part, part_in_a_thread, part_with_a_timeout], ids=["loop", "thread", "task"])
async def test_nothing_starts_while_too_much_waits_to_be_recorded(task: Any) -> None:
    backend = Watched("night")
    backend.gate = anyio.Event()
    count, most = 14_000, MOST_WAITING * 1000
    flow = [task(n) for n in range(count)]
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: cascade.run(flow, state=lambda _: backend, schedule="eager"))
        before = -1
        while before != len(RAN) or len(RAN) < most:
            before = len(RAN)
            await anyio.sleep(0.2)  # that nothing happens is seen by waiting only
        assert most <= len(RAN) < most + 2000
        backend.gate.set()
    assert sorted(RAN) == list(range(count))
    assert sum(map(len, backend.batches)) == count
    assert len(backend.batches) < 50


async def test_a_consumer_sees_its_inputs_recorded_with_durability_task(schedule: Any) -> None:
    backend = Watched("night")
    flow = look(backend, part(1), part_in_a_thread(2), part(part(3)))
    seen = await cascade.run(flow, state=lambda _: backend, durability="task", schedule=schedule)
    assert sorted(seen) == ["part", "part#2", "part#3", "part_in_a_thread"]


async def test_a_stage_is_recorded_before_the_next_starts() -> None:
    backend = Watched("night")
    flow = look(backend, part(1), part_in_a_thread(2))
    assert sorted(await cascade.run(flow, state=lambda _: backend)) == ["part", "part_in_a_thread"]


@pytest.mark.parametrize("ending", ["success", "failure", "cancellation"])
@pytest.mark.parametrize("durability", ["task", "stage", "exit"])
async def test_what_settled_is_recorded_however_the_run_ends(
    durable: StoreUnderTest, ending: str, durability: Any, schedule: Any
) -> None:
    entered = anyio.Event()

    @cascade.task
    async def end(_: Any) -> None:
        entered.set()
        if ending == "failure":
            raise ValueError("no luck")
        if ending == "cancellation":
            await anyio.sleep_forever()

    async def run() -> None:
        settings: Any = {"schedule": schedule, "durability": durability, "state": durable.state}
        try:
            await cascade.run(end([part(1), part_in_a_thread(2)]), run_id="night", **settings)
        except ValueError:
            assert ending == "failure"

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await entered.wait()
        if ending == "cancellation":
            group.cancel_scope.cancel()
    run_record = await api.recorded_run(durable.state, "night")
    expected = {"success": "succeeded", "failure": "failed", "cancellation": "cancelled"}[ending]
    assert run_record.status == expected
    assert {node.node_id: node.status for node in run_record.nodes} == {
        "part": "succeeded", "part_in_a_thread": "succeeded", "end": expected,
    }  # fmt: skip
