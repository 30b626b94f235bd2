"""One computation at a time for what several nodes would put into a cache under one key.

A node waits for another's computation before it is admitted, so it holds nothing meanwhile.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol, Self, runtime_checkable

import anyio
import attrs
from anyio.lowlevel import current_token

from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Applicant

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
    """A value that a node is computing for a cache, and others wait until it is there.

    Nobody waits for a node that cannot start for a reason that is not their own: a rule or a full subscriber holds
    it, or it waits for the capacity of another engine.

    Attributes:
        node: Run and node that compute it.
        admission: Of the engine of that run.
    """

    node: tuple[str, str]
    admission: Admission
    _place: tuple[int, Hashable] = attrs.field(kw_only=True)
    # Those who wait, with the admission of each.
    _waiting: dict[anyio.Event, Admission] = attrs.field(factory=dict)
    # As whom the node waits for admission, while it does.
    _applicant: Applicant | None = None

    @classmethod
    def join(cls, place: Hashable, run_id: str, node_id: str, admission: Admission) -> tuple[Self, bool]:
        """The flight to *place*, and whether it is the node's own, to be ended by :meth:`land`."""
        key = (id(current_token().native_token), place)
        known = _under_way.get(key)
        if known is not None:
            assert isinstance(known, cls)
            return known, False
        flight = cls((run_id, node_id), admission, place=key)
        _under_way[key] = flight
        _computing.add(flight.node)
        return flight, True

    def is_worth_waiting_for(self, admission: Admission) -> bool:
        """Whether a node of the engine with *admission* is to wait for it."""
        return self._applicant is None or admission is self.admission

    async def until_landed(self, news: anyio.Event, admission: Admission) -> None:
        """Wait until it is over or not worth waiting for; that sets *news*, or somebody else does.

        Args:
            news: Ends the waiting.
            admission: Of the engine of who waits.
        """
        self._waiting[news] = admission
        self._look()
        try:
            await news.wait()
        finally:
            del self._waiting[news]

    def wait_as(self, applicant: Applicant) -> None:
        """Its node waits for admission, as *applicant*, until :meth:`go_on` is called."""
        self._applicant = applicant
        self.admission.gate.on_change.add(self._look)
        self._look()

    def go_on(self) -> None:
        """Its node waits for admission no longer."""
        self._applicant = None
        self.admission.gate.on_change.discard(self._look)

    def _look(self) -> None:
        """See who need not wait for a node that waits for admission itself."""
        if self._applicant is None:
            return
        if self.admission.holding.holder(self._applicant) is not None:
            self.land()
            return
        for news, admission in self._waiting.items():
            if admission is not self.admission:
                news.set()

    def land(self) -> None:
        """It is over, or nobody should wait for it any more. A second call does nothing."""
        self.admission.gate.on_change.discard(self._look)
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
