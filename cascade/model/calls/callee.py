"""What a call knows of what it calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from cascade.model.calls.signatures import Arity
from cascade.model.policies import Policies

Mode = Literal["thread", "inline", "process", "remote", "task"]


class Callee(Protocol):
    """What a call calls: the side of a ``Task`` that is not about making calls.

    Lazies, graphs and runs know tasks by this, as tasks make lazies. ``Task`` says what the attributes mean.
    """

    __qualname__: str

    func: Callable[..., Any]
    name: str
    version: str | None
    mode: Mode | None
    is_async: bool
    is_pure: bool
    abandon_on_cancel: bool
    policies: Policies
    signature: inspect.Signature | None
    arity: Arity
    known_codes: dict[object, tuple[Sequence[object], bytes]]

    @property
    def full_name(self) -> str:
        """``module.qualname``: the same in every process."""
