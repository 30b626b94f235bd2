"""Commands to runs of other processes: said once, and answered."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from life import Log, forever, until
from virtual_time import virtual_loops

import cascade
from cascade.control import Message
from cascade.runtime.control.commands import Reply, tell
from cascade.runtime.control.protocol import ANSWERS, COMMANDS, decode, encode
from cascade.testing import MemoryBroker, MemoryConnector

anyio_backend = virtual_loops


async def said(broker: MemoryBroker, run_id: str, **command: str) -> Reply | None:
    connector = MemoryConnector(broker)
    await connector.connect()
    try:
        return await tell(connector, run_id, 5, **command)
    finally:
        await connector.disconnect()


async def test_a_node_is_cancelled_by_another_process(schedule: Any) -> None:
    broker, log = MemoryBroker(), Log()
    with pytest.raises(cascade.TaskCancelledError, match="on request"):
        async with cascade.start(
            log.waits("a"), control=MemoryConnector(broker), run_id="nightly", schedule=schedule
        ):
            await until(log.has("a starts"))
            reply = await said(broker, "nightly", command="cancel", node="waits")
            assert reply == Reply("done", "waits of run nightly is being cancelled")
    assert log.lines == ["a starts", "a is cancelled"]


async def test_a_run_is_cancelled_by_another_process(schedule: Any) -> None:
    broker, log = MemoryBroker(), Log()
    with pytest.raises(cascade.RunCancelled):
        async with cascade.start(
            log.waits("a"), control=MemoryConnector(broker), run_id="nightly", schedule=schedule
        ):
            await until(log.has("a starts"))
            reply = await said(broker, "nightly", command="cancel-run")
            assert reply == Reply("done", "run nightly is being cancelled")
    assert log.lines == ["a starts", "a is cancelled"]


async def test_it_needs_no_handle_of_the_run(schedule: Any) -> None:
    broker, log = MemoryBroker(), Log()

    async def cancel() -> None:
        await until(log.has("a starts"))
        await said(broker, "nightly", command="cancel", node="waits")

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with pytest.raises(cascade.TaskCancelledError):
            await cascade.run(log.waits("a"), control=MemoryConnector(broker), run_id="nightly", schedule=schedule)


async def test_what_cannot_be_is_answered_too() -> None:
    broker = MemoryBroker()

    @cascade.task
    async def quick() -> None: ...

    async with cascade.start([forever(), quick()], control=MemoryConnector(broker), run_id="r") as run:
        await until(lambda: run.status().counts["succeeded"] == 1)
        ended = await said(broker, "r", command="cancel", node="quick")
        unknown = await said(broker, "r", command="cancel", node="no\nsuch")
        nonsense = await said(broker, "r", command="explode")
        incomplete = await said(broker, "r", command="cancel")
        run.cancel()
    assert ended == Reply("ended", "quick of run r has ended")
    assert unknown is not None
    assert unknown.verdict == "refused"
    assert unknown.text.startswith("run 'r' has no node 'no\\nsuch'")
    assert nonsense == Reply("refused", "this version of cascade knows no command 'explode'")
    assert incomplete == Reply("refused", "this version of cascade knows no command 'cancel'")


async def test_nobody_answers_for_a_run_that_is_not_there() -> None:
    broker = MemoryBroker()
    async with cascade.start(forever(), control=MemoryConnector(broker), run_id="here") as run:
        assert await said(broker, "there", command="cancel", node="forever") is None
        run.cancel()
    assert not [message for message in broker.published if message.topic.startswith(ANSWERS)]


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"{}", encode({"run": "r", "answer": "../#", "command": "cancel", "node": "forever"})],
)
async def test_what_is_no_command_is_ignored(payload: bytes) -> None:
    broker = MemoryBroker()
    async with cascade.start(forever(), control=MemoryConnector(broker), run_id="r") as run:
        await until(lambda: run.status().running == ("forever",))
        broker.publish(f"{COMMANDS}/r", payload)
        reply = await said(broker, "r", command="cancel", node="nothing")
        assert reply is not None
        run.cancel()
    answers = [message for message in broker.published if message.topic.startswith(ANSWERS)]
    assert len(answers) == 1
    assert decode(answers[0].payload)["schema"] == 1


async def test_what_is_no_answer_is_not_taken_for_one() -> None:
    broker = MemoryBroker()
    connector = MemoryConnector(broker)
    await connector.connect()

    async def answer() -> None:
        await until(lambda: bool(broker.published))
        token = decode(broker.published[0].payload)["answer"]
        for payload in (b"", b'{"verdict": "maybe", "text": ""}', b'{"verdict": "done", "text": 1}'):
            broker.publish(f"{ANSWERS}/{token}", payload)
        broker.publish(f"{ANSWERS}/{token}", encode({"verdict": "done", "text": "two\nlines"}))

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        assert await tell(connector, "r", 5, command="cancel", node="x") == Reply("done", "two\\nlines")
    assert isinstance(broker.published[0], Message)
    await connector.disconnect()
