"""Log records know their run, node and attempt."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import attrs
import pytest

import cascade

log = logging.getLogger("of_log_ids")


@attrs.define(eq=False)
class Records(logging.Handler):
    """Keeps what it handles."""

    seen: list[tuple[object, ...]] = attrs.field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()
        self.addFilter(cascade.observers.LogIds())

    def emit(self, record: logging.LogRecord) -> None:
        ids = vars(record)
        self.seen.append((ids["run_id"], ids["node_id"], ids["attempt"], record.getMessage()))

    __hash__ = object.__hash__


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)


def says(value: object) -> object:
    """What tasks do."""
    log.info("%s", value)
    return value


async def says_on_the_loop(value: object) -> object:
    return says(value)


in_thread = cascade.task(says, name="in_thread")
in_place = cascade.task(says, name="in_place", mode="inline")
in_process = cascade.task(says, name="in_process", mode="process")
on_loop = cascade.task(says_on_the_loop, name="on_loop")


async def test_records_have_ids_in_every_mode(records: Records) -> None:
    flow = on_loop(in_place(in_thread("a")))
    await cascade.run(flow, run_id="r")
    assert records.seen == [("r", "in_thread", 1, "a"), ("r", "in_place", 1, "a"), ("r", "on_loop", 1, "a")]


@pytest.mark.needs("cloudpickle")
async def test_records_of_worker_processes_have_ids(records: Records) -> None:
    await cascade.run(in_process.map(value=["a"]), run_id="r")
    assert records.seen == [("r", "in_process[0]", 1, "a")]


async def test_attempts_are_numbered(records: Records) -> None:
    tries: list[int] = []

    @cascade.task(name="flaky")
    def flaky() -> None:
        tries.append(1)
        log.info("try")
        if len(tries) == 1:
            raise OSError

    await cascade.run(flaky().with_retry(2), run_id="r")
    assert records.seen == [("r", "flaky", 1, "try"), ("r", "flaky", 2, "try")]


def test_outside_of_tasks_there_are_none(records: Records) -> None:
    says("a")
    log.info("b", extra={"run_id": "mine"})
    assert records.seen == [("-", "-", 0, "a"), ("mine", "-", 0, "b")]
