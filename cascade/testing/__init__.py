"""Tools for testing flows: recorded events, simulated runs, virtual time, injected faults, random flows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cascade.testing.building import RandomFlow
from cascade.testing.clocks import VirtualLoop, virtual_backends, virtual_trio_clock
from cascade.testing.connector import MemoryBroker, MemoryConnector
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
from cascade.testing.simulated_run import StalledError
from cascade.testing.simulation import Simulation, simulate
from cascade.testing.trace import Happening, Trace

if TYPE_CHECKING:  # at run time it is imported when it is first used; see __getattr__
    from cascade.testing.strategies import flows

__all__ = [
    "Crash",
    "Fail",
    "FaultPlan",
    "Hang",
    "Happening",
    "InjectedError",
    "LoseStore",
    "MemoryBroker",
    "MemoryConnector",
    "RandomFlow",
    "Recorded",
    "SimulatedCrashError",
    "Simulation",
    "Slow",
    "StalledError",
    "StoreLostError",
    "Trace",
    "VirtualLoop",
    "flows",
    "record_events",
    "simulate",
    "virtual_backends",
    "virtual_trio_clock",
]


def __getattr__(name: str) -> Any:
    """``flows``, which alone needs Hypothesis."""
    if name != "flows":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module("cascade.testing.strategies").flows
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(
            "cascade.testing.flows needs the 'hypothesis' library; install cascade-anyio[hypothesis]"
        ) from error
