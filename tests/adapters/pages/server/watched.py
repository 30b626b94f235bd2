"""A run with a page, for somebody who watches it from another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import anyio

import cascade


@contextmanager
def running(flow: Any, backend: str, **settings: Any) -> Iterator[tuple[str, Queue[object]]]:
    """A run in a thread of its own: a link to its page, and then what it comes to."""
    links: Queue[str] = Queue()
    ended: Queue[object] = Queue()

    async def run() -> object:
        page = cascade.Page(on_link=links.put)
        return await cascade.run(
            flow, run_id="nightly", schedule="eager", system_resources={"disk": 1}, page=page, **settings
        )

    def in_thread() -> None:
        try:
            ended.put(anyio.run(run, backend=backend))
        except Exception as error:
            ended.put(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    yield links.get(timeout=20), ended
    thread.join(20)
    assert not thread.is_alive()
