"""Races: several ways to one value, of which the first answer counts."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar

import attrs

from cascade.model.fallbacks import OrElse, OutcomeOf, WithFallback
from cascade.model.inputs import Env, Inject, Param
from cascade.model.placeholders import Placeholder, rendered

T = TypeVar("T")


@attrs.frozen(eq=False, repr=False)
class Race(WithFallback[T], Generic[T]):
    """The value of whichever of several calls succeeds first. Made by :func:`race`.

    Attributes:
        contestants: The calls, at least one.
    """

    contestants: tuple[Placeholder[Any], ...]

    def after(self, *lazies: Placeholder[Any]) -> Self:
        """The same race, if each contestant runs after other calls; see :meth:`LazyResult.after`.

        Args:
            lazies: The other calls.
        """
        return type(self)(tuple(call.after(*lazies) for call in self.contestants))  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return rendered("race(...)", lambda: f"race({', '.join(map(repr, self.contestants[:5]))})")


def race(*lazies: Placeholder[T]) -> Race[T]:
    """The value of the call that succeeds first, of several that run side by side.

    Contestants that have lost, and that nobody else wants, are pruned if they have not begun, with all that only
    they need. If they run, they are cancelled: their status is ``"Cancelled"``, with the reason ``"RaceLost"``. A
    sync task ends at its next :func:`checkpoint`. The run waits for all of them before it ends.

    A contestant that fails, after its retries, is out of the race; that failure is *handled*. If all have ended
    and none has succeeded, the race fails with :class:`RaceFailed`, or is skipped if all of them were skipped.

    Args:
        lazies: The contestants, at least one: lazies, mapped lazies, Routers, races, or what ``settled`` and
            ``or_else`` give.

    Raises:
        TypeError: If one of them is no call: a plain value, a container, a Param, an Env, an injection.
        ValueError: If there are none.
    """
    if not lazies:
        raise ValueError("a race needs at least one contestant")
    for lazy in lazies:
        if isinstance(lazy, (Inject, Param, Env)) or not isinstance(lazy, Placeholder):
            remedy = (
                "call it: race(task(...))" if callable(lazy) else "race several calls: race(first(), second())"
            )
            raise TypeError(f"race takes calls, not {lazy!r:.100}; {remedy}")
    return Race(lazies)


# What may stand in an order beside plain lazies.
HandlingPlaceholder = OutcomeOf[Any] | OrElse[Any] | Race[Any]
