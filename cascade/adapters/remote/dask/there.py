"""On a dask worker: runs batches, and knows which of them are revoked."""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from distributed import Worker, get_worker

from cascade.adapters.remote.cluster_site import ClusterSite
from cascade.adapters.remote.entry import Answer, run_batch

# How many keys of batches that have left, or were revoked, a worker remembers.
_REMEMBERED: Final = 10_000


@attrs.define(eq=False)
class Ledger:
    """The batches of this process, by key. Its methods may be called in any thread."""

    _lock: Any = attrs.field(factory=threading.Lock)
    _running: set[str] = attrs.field(factory=set)
    _left: OrderedDict[str, None] = attrs.field(factory=OrderedDict)
    revoked: OrderedDict[str, None] = attrs.field(factory=OrderedDict)

    def enter(self, key: str) -> bool:
        """The batch *key* is about to begin; returns whether it may."""
        with self._lock:
            if key in self.revoked:
                return False
            self._running.add(key)
            return True

    def leave(self, key: str) -> None:
        """The batch has ended."""
        with self._lock:
            self._running.discard(key)
            _remember(self._left, key)

    def revoke(self, keys: Sequence[str]) -> dict[str, bool]:
        """Those of *keys* that have begun here, and whether they still run; the others never will."""
        with self._lock:
            for key in keys:
                _remember(self.revoked, key)
            return {key: key in self._running for key in keys if key in self._running or key in self._left}


def _remember(known: OrderedDict[str, None], key: str) -> None:
    known[key] = None
    while len(known) > _REMEMBERED:
        known.popitem(last=False)


LEDGER: Final = Ledger()


@attrs.frozen(eq=False)
class WithValues:
    """What a batch gives if values stay: taken apart by tasks of their own, and never fetched as a whole."""

    answer: bytes
    values: Sequence[Any]


class DaskSite(ClusterSite):
    """The worker that runs a batch.

    Args:
        key: The batch.
        topic: Under which its starts are logged.
        worker: The worker.
    """

    def __init__(self, key: str, topic: str, worker: Worker) -> None:
        super().__init__(worker.address)
        self._key = key
        self._topic = topic
        self._worker = worker

    def tell(self, position: int) -> None:
        """Log it."""
        self._worker.log_event(self._topic, {"batch": self._key, "position": position, "worker": self.name})

    def is_cancelled(self) -> bool:
        """Whether the batch is revoked."""
        return self._key in LEDGER.revoked


def run_there(
    key: str, topic: str, header: tuple[str, str], payload: bytes, values: Sequence[Any]
) -> bytes | WithValues:
    """Run the batch *key*; see ``entry.run_batch``."""
    worker = get_worker()
    site = DaskSite(key, topic, worker)
    if not LEDGER.enter(key):
        return pickle.dumps(Answer(site.name))  # no call is made
    try:
        answer = run_batch(header, payload, values, site)
    finally:
        LEDGER.leave(key)
    return WithValues(answer, site.kept) if site.kept else answer


def revoke_there(keys: Sequence[str]) -> Mapping[str, bool]:
    """Revoke batches on this worker; see ``Ledger.revoke``."""
    return LEDGER.revoke(keys)


def answer_of(result: WithValues) -> tuple[bytes, int]:
    """The answer without the values, and how many of them there are."""
    return result.answer, len(result.values)


def value_of(result: WithValues, number: int) -> Any:
    """One of the values."""
    return result.values[number]
