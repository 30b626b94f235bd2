"""For tests of flows."""

from cascade.testing.clocks import VirtualLoop, virtual_backends, virtual_trio_clock
from cascade.testing.faults import (
    Crash,
    Fail,
    FaultPlan,
    Hang,
    InjectedError,
    LoseStore,
    SimulatedCrashError,
    Slow,
    StoreLostError,
)
from cascade.testing.record import Recorded, record_events
from cascade.testing.simulation import Simulation, StalledError, simulate
from cascade.testing.trace import Happening, Trace

__all__ = [
    "Crash",
    "Fail",
    "FaultPlan",
    "Hang",
    "Happening",
    "InjectedError",
    "LoseStore",
    "Recorded",
    "SimulatedCrashError",
    "Simulation",
    "Slow",
    "StalledError",
    "StoreLostError",
    "Trace",
    "VirtualLoop",
    "record_events",
    "simulate",
    "virtual_backends",
    "virtual_trio_clock",
]
