"""``cascade page``: the runs of a store in a browser, until it is interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import Signals

import anyio

from cascade.adapters.event_loops import check_backend
from cascade.cli.control import connector_of
from cascade.cli.output import say
from cascade.cli.pages.options import page_of
from cascade.cli.targets import UsageError, working_folder
from cascade.model.errors import InputError, StateError
from cascade.model.shown.raised import describe
from cascade.model.shown.urls import shown_url
from cascade.runtime.control.connector import ConnectorRefused
from cascade.runtime.engine.history import recorded_runs
from cascade.runtime.foundation.lazy_import import adapter


def run_page(options: argparse.Namespace) -> Signals:
    """Serve the page; returns the signal that ended it.

    Raises:
        UsageError: If it cannot be served.
    """
    sys.path.insert(0, working_folder())  # the type of a signal may be a class in a module there
    try:
        check_backend(options.backend)
        return anyio.run(_serve, options, backend=options.backend)
    except (InputError, StateError, ImportError, ConnectorRefused) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(describe(error)) from error


async def _serve(options: argparse.Namespace) -> Signals:
    opened = adapter("pages.server.service:OpenPage")
    stored = adapter("pages.server.sources.stored:StoredRuns")
    await recorded_runs(options.state)  # so that a store that cannot be read is told at once
    async with _reached(options.via) as remote:
        page = opened.of(page_of(options, f"the runs in {shown_url(options.state)}"))
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as group:
                group.start_soon(page.serve, stored(options.state, remote), _say_failed)
                received = await anext(signals)
                group.cancel_scope.cancel()
    return received


def _say_failed(error: Exception) -> None:
    say(f"cascade: the page has failed: {describe(error)}")


@asynccontextmanager
async def _reached(via: str | None) -> AsyncIterator[object]:
    """The way to the processes that execute runs; ``None`` if none was named."""
    if via is None:
        yield None
        return
    connector = connector_of(via)
    await connector.connect()
    try:
        yield adapter("pages.server.sources.remote:RemoteRuns")(connector, shown_url(via))
    finally:
        with anyio.CancelScope(shield=True):
            await connector.disconnect()
