"""taskiq, with its broker in memory, in one process with what it runs."""

from __future__ import annotations

import asyncio

from measure import SIZES, report
from taskiq import InMemoryBroker

# Results beyond the default hundred would be thrown away before they are read.
broker = InMemoryBroker(max_stored_results=max(SIZES.values()))
in_place = InMemoryBroker(max_stored_results=max(SIZES.values()), await_inplace=True)


async def give(value: int) -> int:
    """Nothing."""
    return value


work = broker.task(task_name="work")(give)
work_in_place = in_place.task(task_name="work_in_place")(give)


async def side_by_side(size: int) -> None:
    """All sent, then all waited for."""
    sent = [await work.kiq(number) for number in range(size)]
    await broker.wait_all()
    assert sum([(await one.get_result()).return_value for one in sent]) == size * (size - 1) // 2


async def one_by_one(length: int) -> None:
    """Each is sent what the one before has returned; to wait for it in another way would mean to poll."""
    value = 1
    for _ in range(length):
        value = (await (await work_in_place.kiq(value)).get_result()).return_value
    assert value == 1


def fan_out(size: int) -> None:
    """Tasks side by side."""
    asyncio.run(side_by_side(size))


def chain(length: int) -> None:
    """Each takes the one before."""
    asyncio.run(one_by_one(length))


if __name__ == "__main__":
    report({"a": chain, "b": fan_out}, {})
