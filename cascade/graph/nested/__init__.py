"""THE walker over nested values: finds the placeholders in them, and puts values in their place.

:mod:`kinds` says what is looked into, :mod:`look` whether there is anything at all, :mod:`template` what has to be
filled in, and :mod:`records` how records are made anew.
"""

from cascade.graph.nested.kinds import LEAVES, Kind, contents, kind_of
from cascade.graph.nested.look import glance, is_flat
from cascade.graph.nested.records import UnfitError
from cascade.graph.nested.seen import Hold, Seen
from cascade.graph.nested.steps import PAUSE_EVERY, Steps, finish
from cascade.graph.nested.template import Order, Step, Template, compile_nested, compile_steps, has_placeholders

__all__ = [
    "LEAVES",
    "PAUSE_EVERY",
    "Hold",
    "Kind",
    "Order",
    "Seen",
    "Step",
    "Steps",
    "Template",
    "UnfitError",
    "compile_nested",
    "compile_steps",
    "contents",
    "finish",
    "glance",
    "has_placeholders",
    "is_flat",
    "kind_of",
]
