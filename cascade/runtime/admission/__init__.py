"""Whether an attempt may start now: claims on capacity, the waiting queue, the gate, deadlocks.

May import ``observation`` and ``foundation``.
"""
