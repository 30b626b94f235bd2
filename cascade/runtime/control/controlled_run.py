"""What control knows of a run."""

from __future__ import annotations

from typing import Any, Protocol

from cascade.model.events import Event
from cascade.runtime.control.timer import ServiceHost
from cascade.runtime.observation.bus import EventBus


class SignalSink(Protocol):
    """Takes the signals of a run."""

    async def send(self, name: str, value: object) -> None:
        """Accept a value, or raise."""
        ...


class ControlledRun(ServiceHost, Protocol):
    """A run, as far as control knows it."""

    @property
    def run_id(self) -> str:
        """Its id."""
        ...

    @property
    def bus(self) -> EventBus:
        """Its events."""
        ...

    @property
    def signals(self) -> SignalSink:
        """What takes its signals."""
        ...

    def cancel(self) -> None:
        """Cancel the run."""
        ...

    def cancel_node(self, node_id: str) -> bool:
        """Cancel a node; returns ``False`` if it has ended.

        Raises:
            NodeNotFoundError: If there is none at present.
        """
        ...

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Publish an event of the run."""
        ...
