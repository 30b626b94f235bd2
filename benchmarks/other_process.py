"""The other process of ``bench_control.py``: pauses all runs for each line it reads, and says when it began to."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import anyio

from cascade.control import Pause
from cascade.runtime.control.connector import Connector
from cascade.runtime.control.protocol import rule_message
from cascade.runtime.engine.urls import open_connector


async def pauses(connector: Connector) -> None:
    """Pause, line after line; the first one says that all is ready."""
    await connector.connect()
    print("ready", flush=True)
    while await anyio.to_thread.run_sync(sys.stdin.readline):
        message = rule_message(Pause(scope="task:tick", author="bench"))
        began = time.monotonic()
        await connector.publish(message.topic, message.payload, retain=True)
        print(began, flush=True)
    await connector.disconnect()


if __name__ == "__main__":
    anyio.run(partial(pauses, open_connector(sys.argv[1])))
