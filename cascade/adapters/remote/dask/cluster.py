"""What a dask executor uses while it is open. Imported then, as it needs dask."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import attrs

from cascade.adapters.remote.dask.batch import Batch, Outcome, fetched
from cascade.adapters.remote.dask.connection import Connection
from cascade.adapters.remote.dask.source import Source
from cascade.adapters.remote.wire import Packed
from cascade.runtime.foundation.remote_executor import KeptValue


@attrs.frozen(eq=False)
class Cluster:
    """A cluster that is connected. Its methods may be called in any thread, and wait for nothing."""

    connection: Connection

    @classmethod
    def of(cls, source: Source) -> Cluster:
        """The cluster of *source*. To be called in a thread, as this waits until it is connected."""
        return cls(Connection.by(*source.connect()))

    def begin(
        self, packed: Packed, resources: Mapping[str, float], started: Callable[[int, str], None]
    ) -> tuple[Future[Outcome], Callable[[], Future[None]]]:
        """Begin to run a batch; returns its outcome, and what stops it."""
        key = f"cascade-{uuid.uuid4().hex}"
        batch = Batch(self.connection, key, packed.header, packed.payload, packed.needs, resources, started)
        return self.connection.begin(batch.run), lambda: self.connection.begin(batch.stop)

    def fetch(self, value: KeptValue) -> Future[Any]:
        """Get a value that has stayed."""
        return self.connection.begin(fetched, self.connection, value)
