"""What is told of a node that failed: how it came to that, for its record."""

from cascade.runtime.execution.telling.account import ON_LOOP, Account, detail_of, this_thread, wall_clock_lead

__all__ = ["ON_LOOP", "Account", "detail_of", "this_thread", "wall_clock_lead"]
