"""Runs on one machine that are steered through a control file: what else may happen to it, and to its readers."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import anyio
import pytest

import cascade
from cascade.control import ConnectorError, LocalConnector, Pause
from cascade.runtime.remote import Remote


class Gate:
    """A flow that ends when it is let through."""

    def __init__(self) -> None:
        self.opened = anyio.Event()

    def flow(self) -> cascade.LazyResult[str]:
        async def work() -> str:
            await self.opened.wait()
            return "done"

        return cascade.task(name="work")(work)()


async def test_a_control_file_that_was_damaged_is_lost_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    gate, other = Gate(), LocalConnector(path)
    with anyio.fail_after(50):
        engine = cascade.Engine(control=f"local:{path}")
        async with engine, engine.start(gate.flow(), run_id="mine") as run:
            kinds = cascade.ConnectorConnected, cascade.ConnectorDisconnected
            async with run.subscribe(*kinds, policy="drop") as events:
                assert isinstance(await events.receive(), cascade.ConnectorConnected)
                damage(path)
                assert await engine.run(3) == 3  # which has to be announced
                assert isinstance(await events.receive(), cascade.ConnectorDisconnected)
                while not isinstance(await events.receive(), cascade.ConnectorConnected):
                    pass
                await other.connect()
                async with other.subscribe("cascade/engines/#") as presences:  # said after the event
                    while b"mine" not in getattr(await presences.receive(), "payload", b""):
                        pass
                answer = await Remote(other).say([Pause(scope="task:x")], patience=40)
                assert answer.obeying == ("mine",)
                await other.disconnect()
            gate.opened.set()
            assert await run.result() == "done"


def damage(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=20)) as file:
        file.execute("DROP TABLE retained")
        file.commit()


async def test_a_folder_for_temporary_files_with_a_long_name_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    connector = LocalConnector(tmp_path / "control.db")
    await connector.connect()
    assert (await Remote(connector).say([Pause(scope="task:x")])).silent == ()
    await connector.disconnect()


async def test_a_folder_in_which_others_could_replace_the_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "everybodys"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConnectorError, match="chmod o-w"):
        await LocalConnector(folder / "control.db").connect()


async def test_who_does_not_read_keeps_nobody_from_hearing(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    one, other, deaf = LocalConnector(path), LocalConnector(path), LocalConnector(path)
    for connector in (one, other, deaf):
        await connector.connect()
    async with other.subscribe("a/#") as stream, deaf.subscribe("a/#"):
        line = deaf._line
        assert line is not None
        with line._lock, anyio.fail_after(50):  # its thread reads a hundred datagrams at most, and no more
            for number in range(300):
                await one.publish("a/b", str(number).encode())
            for number in range(300):
                signal = await stream.receive()
                assert getattr(signal, "payload", None) == str(number).encode()
    for connector in (one, other, deaf):
        await connector.disconnect()


async def test_a_run_that_ends_without_an_answer_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    engine, other = LocalConnector(path), LocalConnector(path)
    await engine.connect(will="cascade/engines/one")
    await engine.publish("cascade/engines/one", b'{"runs": ["short"]}', retain=True)
    await other.connect()
    answers = []

    async def say() -> None:
        answers.append(await Remote(other).say([Pause(scope="task:x")], patience=1000))

    with anyio.fail_after(50):
        async with engine.subscribe("cascade/constraints/#") as rules, anyio.create_task_group() as group:
            group.start_soon(say)
            await rules.receive()
            await engine.disconnect()
    assert (answers[0].obeying, answers[0].silent) == ((), ())
    await other.disconnect()
