"""One computation at a time for what several nodes would put into a cache under one key."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol, Self, runtime_checkable

import anyio
import attrs
from anyio.lowlevel import current_token

# Those under way, by event loop and place: different loops do not wait for each other.
_under_way: dict[tuple[int, Hashable], Flight] = {}
# Run and node of each.
_computing: set[tuple[str, str]] = set()


@runtime_checkable
class Placed(Protocol):
    """A cache policy that can tell when two calls would have one entry."""

    def place_of(self, task_id: str, inputs: Mapping[str, Any]) -> Hashable:
        """Equal for calls that share an entry."""
        ...


@attrs.define(eq=False)
class Flight:
    """A value that a node is computing, and others wait for.

    Attributes:
        node: Run and node that compute it.
        value: What it gave, boxed, if it is over and gave anything.
    """

    node: tuple[str, str]
    value: tuple[Any] | None = None
    _place: tuple[int, Hashable] = attrs.field(kw_only=True)
    _waiting: set[anyio.Event] = attrs.field(factory=set)

    @classmethod
    def join(cls, place: Hashable, run_id: str, node_id: str) -> tuple[Self, bool]:
        """The flight to *place*, and whether it is the node's own, to be ended by :meth:`land`."""
        key = (id(current_token().native_token), place)
        known = _under_way.get(key)
        if known is not None:
            assert isinstance(known, cls)
            return known, False
        flight = cls((run_id, node_id), place=key)
        _under_way[key] = flight
        _computing.add(flight.node)
        return flight, True

    async def until_landed(self, news: anyio.Event) -> None:
        """Wait until it is over, and sets *news*, or somebody else has."""
        self._waiting.add(news)
        try:
            await news.wait()
        finally:
            self._waiting.discard(news)

    def land(self) -> None:
        """It is over, or nobody should wait for it any more. A second call does nothing."""
        if _under_way.get(self._place) is self:
            del _under_way[self._place]
            _computing.discard(self.node)
            for news in self._waiting:
                news.set()


def may_wait(run_id: str, node_id: str) -> bool:
    """Whether a node may wait for another's flight: not if a node that it belongs to is on one itself.

    Whoever is waited for depends on its own parts; so no circle of waiting can close.
    """
    roots = ((run_id, node_id[:place]) for place, letter in enumerate(node_id) if letter in "/[")
    return not any(root in _computing for root in roots)
