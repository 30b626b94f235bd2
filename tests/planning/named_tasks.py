"""Tasks that differ in nothing but their names, for graphs of which only the shape counts."""

from __future__ import annotations

from typing import Any

import cascade


@cascade.task(mode="inline")
def step(x: Any = None, y: Any = None) -> Any:
    """In place, gives the first thing that it is given."""
    return x


def named(name: str, **settings: Any) -> Any:
    """``step`` under another name; it runs in place unless *settings* say another mode."""
    return cascade.task(name=name, **{"mode": "inline", **settings})(step.func)
