"""Signals that come over a connector, on every kind of connector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from brokers import control_url

import cascade
from cascade.cli import main
from cascade.runtime.control.remote_client import Remote
from cascade.runtime.engine.urls import open_connector

url = control_url


@cascade.task
async def pair(*values: Any) -> tuple[Any, ...]:
    return values


FLOW = pair(cascade.signal("n", int))


async def sent(remote: Remote, run_id: str, name: str, value: str) -> str | None:
    return await remote.send(run_id, name, value, author="ada", patience=20)


async def check(far: Any, near: Any, schedule: Any) -> None:
    """Send to a run over *far*, which is connected to *near*."""
    await far.connect()
    try:
        remote = Remote(far)
        with pytest.raises(LookupError, match="no connected process executes run 'r'"):
            await sent(remote, "r", "n", "4")
        async with cascade.start(FLOW, run_id="r", control=near, schedule=schedule) as run:
            async with run.subscribe(cascade.SignalAwaited) as events:
                await events.receive()
            refused = await sent(remote, "r", "n", "four")
            assert refused is not None
            assert refused.startswith("signal 'n' must be int")
            assert await sent(remote, "r", "m", "4") == "run 'r' has no signal 'm'; it has: 'n'"
            assert await sent(remote, "r", "n", "4") is None
            assert await run.result() == (4,)
    finally:
        await far.disconnect()


async def test_a_run_takes_signals_over_a_connector(url: str, schedule: Any) -> None:
    with anyio.fail_after(60):
        await check(open_connector(url), url, schedule)


def test_the_command_line_sends_signals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend_name: str
) -> None:
    via = f"local:{tmp_path}/control.db"

    async def run() -> None:
        flow = pair(cascade.signal("n", int), cascade.signal("m", int))
        async with cascade.start(flow, run_id="r", control=via) as run:
            async with run.subscribe(cascade.SignalAwaited) as events:
                await events.receive()
            said = []
            for words in (("run:r", "n", "4"), ("run:r", "n", "4"), ("run:r", "n", "5"), ("run:other", "n", "4")):
                status = await anyio.to_thread.run_sync(main, ["control", "send", "--via", via, *words])
                captured = capsys.readouterr()
                said.append((status, captured.out + captured.err))
            assert said == [
                (0, "accepted by r\n"),
                (0, "accepted by r\n"),
                (2, "cascade: signal 'n' of run 'r' is 4 already, and cannot be 5\n"),
                (1, "cascade: no connected process executes run 'other'\n"),
            ]
            await run.send("m", 1)
            assert await run.result() == (4, 1)

    anyio.run(run, backend=backend_name)
