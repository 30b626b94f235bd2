"""Run-time control: rules, the plane on which they stand, and connectors that bring them from other processes."""

from cascade.model.rules import Concurrency, ControlRule, Pause, Rate
from cascade.runtime.control import ControlPlane

__all__ = ["Concurrency", "ControlPlane", "ControlRule", "Pause", "Rate"]
