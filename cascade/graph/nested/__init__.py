"""The one walker over nested values: finds placeholders, and puts values in their places.

:mod:`kinds` says what is a container, :mod:`look` finds out whether there is any placeholder, :mod:`template`
compiles what has to be filled in, :mod:`records` makes records anew, and :mod:`seen` remembers large plain data.
"""

from cascade.graph.nested.kinds import LEAVES, Kind, contents, kind_of
from cascade.graph.nested.look import glance, is_flat
from cascade.graph.nested.records import UnfitError
from cascade.graph.nested.seen import Hold, Holds, Seen
from cascade.graph.nested.steps import PAUSE_EVERY, Steps, finish
from cascade.graph.nested.template import Order, Step, Template, compile_nested, compile_steps, has_placeholders

__all__ = [
    "LEAVES",
    "PAUSE_EVERY",
    "Hold",
    "Holds",
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
