"""Whether what a function has returned is a value, or has calls in it that are to be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.graph.nested import Hold, Steps, glance, has_placeholders
from cascade.model.placeholders import Placeholder
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.foundation.fairness import paced

# Takes what large data is remembered by, to release it when the value is let go of.
Keep = Callable[[Hold], None]


async def is_flow(run_context: RunContext, value: Any, keep: Keep) -> bool:
    """Whether there are placeholders in *value*, which a function of the run has returned; gives way meanwhile."""
    if isinstance(value, Placeholder):
        return True
    return not glance(value) and await paced(find_flow(run_context, value, keep))


def find_flow(run_context: RunContext, value: Any, keep: Keep) -> Steps[bool]:
    """What :func:`is_flow` says, found in steps; for threads, too."""
    hold = Hold(run_context.memory.hold.seen)
    try:
        return (yield from has_placeholders(value, hold))
    except Exception:  # as a record's own attributes may raise, or a placeholder is a dict key
        return True  # running what is in it will fail, as it should, with this error
    finally:
        keep(hold)
