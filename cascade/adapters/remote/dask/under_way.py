"""The batches that a dask client has on its cluster. All methods are for coroutines on the client's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from cascade.adapters.remote.dask.there import revoke_there

# Seconds between two questions to a worker whether a batch has left it: at first, and at most.
_LOOK_FIRST: Final = 0.02
_LOOK_LAST: Final = 0.5


@attrs.define(eq=False)
class UnderWay:
    """What is known of batches that have not ended.

    Attributes:
        client: The client.
        on_start: By batch: called with the position of a call that has begun, and the name of the worker.
        running: By worker: the batches that have begun there, and not left it alive.
    """

    client: Any
    on_start: dict[str, Callable[[int, str], None]] = attrs.field(factory=dict)
    running: dict[str, set[str]] = attrs.field(factory=dict)

    def hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take in what a worker, or the scheduler, has logged for the client."""
        _, told = event
        key = told.get("batch", "")  # the scheduler has other news under this topic
        if key in self.on_start:
            self.running.setdefault(told["worker"], set()).add(key)
            self.on_start[key](told["position"], told["worker"])

    async def revoke(self, key: str, worker: str | None) -> str | None:
        """Have the batch *key* not begin, or stop, and wait until it has left its worker.

        Args:
            key: The batch.
            worker: Where it runs, if that is known.

        Returns:
            The worker where it had begun; ``None`` if nowhere.
        """
        pause, begun = _LOOK_FIRST, worker
        while True:
            with suppress(OSError):  # the connection was lost in the middle: ask again, until the watch gives up
                found = await self._ledgers([key], worker)
                begun = next(iter(found), begun)
                if not any(found.values()):
                    return begun
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_LAST)

    async def _ledgers(self, keys: Sequence[str], worker: str | None) -> dict[str, bool]:
        """The workers where one of *keys* has begun, and whether one runs there."""
        asked = self.client.run(
            revoke_there, keys, workers=None if worker is None else [worker], on_error="return", asynchronous=True
        )
        answers: Mapping[str, Any] = await asked
        return {
            address: any(answer.values())
            for address, answer in answers.items()
            if isinstance(answer, Mapping) and answer
        }
