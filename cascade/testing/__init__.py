"""For tests of flows."""

from cascade.testing.clocks import VirtualLoop, virtual_backends, virtual_trio_clock
from cascade.testing.connector import MemoryBroker, MemoryConnector
from cascade.testing.record import Recorded, record_events

__all__ = [
    "MemoryBroker",
    "MemoryConnector",
    "Recorded",
    "VirtualLoop",
    "record_events",
    "virtual_backends",
    "virtual_trio_clock",
]
