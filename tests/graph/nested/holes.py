"""What is put into data as a placeholder, and put back as a value."""

from __future__ import annotations

from typing import Any

import attrs

import cascade
from cascade.graph.nested import Template, compile_nested


@cascade.task
def one(x: Any = None) -> Any:
    """Its call is a placeholder."""
    return x


LAZY = one()


def filled(value: Any, with_: Any = 7) -> Any:
    """*value* with one thing in all places.

    Raises:
        AssertionError: If there is no place, or *value* itself is one.
    """
    found = compile_nested(value)
    assert isinstance(found, Template)
    return found.fill([with_ for _ in found.holes])


@attrs.frozen(slots=False, cache_hash=True)
class Hashed:
    """A record that remembers its hash."""

    content: Any
