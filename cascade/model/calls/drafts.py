"""Lazies that are still being written."""

from __future__ import annotations

from typing import Any, cast

from cascade.model.calls.callee import Callee
from cascade.model.policies import NOTHING_SAID, Policies


class Draft:
    """A lazy that is still being written; it is sealed by changing its class.

    Plain stores into slots and one change of class cost a third of a frozen ``__init__``, and every node of
    every flow pays for it. Up to three positional arguments stand in the lazy itself: a tuple beside each would
    double what garbage collections, which come by the number of objects, have to walk.
    """

    __slots__ = ("args_count", "args_first", "args_second", "args_third", "kwargs", "task")

    task: Callee
    # Of positional arguments; more than three are a tuple in the place of the first.
    args_count: int
    args_first: Any
    args_second: Any
    args_third: Any
    kwargs: dict[str, Any]
    # Of a map: parameter name to a sequence or a placeholder for one.
    columns: dict[str, Any] | None = None
    own: Policies = NOTHING_SAID
    # The lazy that a chained copy was made from.
    parent: Any = None

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments, as a tuple."""
        count = self.args_count
        if count == 1:
            return (self.args_first,)
        if count == 2:
            return (self.args_first, self.args_second)
        if count == 3:
            return (self.args_first, self.args_second, self.args_third)
        return cast("tuple[Any, ...]", self.args_first) if count else ()


def filled(draft: Draft, task: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Draft:
    """*draft*, with what any call has."""
    draft.task = task
    draft.kwargs = kwargs
    count = draft.args_count = len(args)
    if count == 1:  # most calls
        (draft.args_first,) = args
        return draft
    if count == 2:
        draft.args_first, draft.args_second = args
    elif count == 3:
        draft.args_first, draft.args_second, draft.args_third = args
    elif count:
        draft.args_first = args
    return draft
