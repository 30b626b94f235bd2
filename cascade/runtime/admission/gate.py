"""The gate between admission and start: an attempt that passes it checks whether a rule has changed since."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import attrs

from cascade.runtime.admission.claims import Holdings


class Crosser(Protocol):
    """An attempt, or a lane, that passes the gate in a thread of its own."""

    @property
    def is_crossing(self) -> bool:
        """Whether it is between the gate and its start mark."""
        ...


class Unclaimed(Protocol):
    """Where attempts run that hold no claim, as long as nobody counts them: a lane."""

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give every attempt that runs here a claim, if it has none, to be released when it ends."""
        ...


@attrs.define(eq=False)
class Gate:
    """What attempts pass between their admission and their start mark.

    Attributes:
        epoch: Changes whenever an attempt that was admitted, but has not started, may have to go back; and with
            every change of the rules.
        crossers: Who may be between the gate and a function, in other threads.
        lanes: Where attempts run that hold no claim.
        on_change: Called whenever the epoch has changed.
    """

    epoch: int = 0
    crossers: set[Crosser] = attrs.field(factory=set)
    lanes: set[Unclaimed] = attrs.field(factory=set)
    on_change: set[Callable[[], None]] = attrs.field(factory=set)

    def change(self) -> None:
        """Something that may hold attempts has changed: whoever has not started yet must ask again."""
        self.epoch += 1
        for on_change in tuple(self.on_change):
            on_change()

    def close(self, holdings: Holdings) -> None:
        """Let nobody through who does not ask anew, and know of everybody who is through.

        Returns when nobody is between gate and start mark: who comes later has seen the gate as it is now. A
        crossing is a few steps of a thread without a wait in them. So this takes microseconds, and must not give
        way to other tasks, who would see rules that do not know yet what runs.
        """
        self.change()
        while any(crosser.is_crossing for crosser in self.crossers):
            time.sleep(0)  # pragma: no cover  # the moment is too short to be met
        for lane in self.lanes:
            lane.adopt(holdings, self.epoch)
