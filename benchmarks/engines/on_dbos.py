"""DBOS, with its database in SQLite, its default: async steps of a workflow."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any, cast

from dbos import DBOS
from measure import FAILS_AFTER, SIBLINGS, Outcome, Siblings, Trouble, async_outcome, report

url = f"sqlite:///{tempfile.mkdtemp()}/steps.sqlite"
DBOS(config={"name": "peer", "system_database_url": url, "log_level": "CRITICAL"})
CURRENT: list[Siblings] = []


@DBOS.step()
async def work(value: int) -> int:
    """Nothing."""
    return value


@DBOS.step()
async def fails() -> None:
    """Fails soon."""
    await asyncio.sleep(FAILS_AFTER)
    raise Trouble


@DBOS.step()
async def sibling(number: int) -> None:
    """Takes longer."""
    await CURRENT[-1].wait(asyncio.sleep)


@DBOS.workflow()
async def side_by_side(size: int) -> int:
    """Steps in a gather, as its documentation shows."""
    return len(await asyncio.gather(*[work(number) for number in range(size)]))


@DBOS.workflow()
async def one_by_one(length: int) -> int:
    """Each takes the one before."""
    value = 1
    for _ in range(length):
        value = await work(value)
    return value


@DBOS.workflow()
async def failing() -> None:
    """One fails among others."""
    await asyncio.gather(fails(), *[sibling(number) for number in range(SIBLINGS)])


LOOP: Any = asyncio.new_event_loop()


def fan_out(size: int) -> None:
    """Tasks side by side."""
    assert LOOP.run_until_complete(side_by_side(size)) == size


def chain(length: int) -> None:
    """Each takes the one before."""
    assert LOOP.run_until_complete(one_by_one(length)) == 1


async def failed(siblings: Siblings) -> None:
    """The workflow, whose steps are no closures."""
    CURRENT.append(siblings)
    await failing()


if __name__ == "__main__":
    DBOS.launch()

    def failure() -> Outcome:
        return cast("Outcome", LOOP.run_until_complete(async_outcome(failed, asyncio.sleep)))

    report({"a": chain, "j": fan_out}, {"gather": failure}, smaller=50)
    DBOS.destroy()
