"""Failures as values: how a call ended (``settled``), what stands in for a call that fails (``or_else``), and the
first of several calls that succeeds (``race``).
"""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, overload

import attrs

from cascade.model.lazy_texts import rendered
from cascade.model.outcomes import Outcome
from cascade.model.placeholders import Placeholder
from cascade.model.policies import as_exception_types

T = TypeVar("T")
S = TypeVar("S")
U = TypeVar("U")
Kinds = type[Exception] | tuple[type[Exception], ...]


class WithFallback(Placeholder[T], Generic[T]):
    """A placeholder that can be given a fallback."""

    __slots__ = ()

    @overload
    def or_else(self, other: Placeholder[S], on: Kinds = ...) -> OrElse[T | S]: ...
    @overload
    def or_else(self, other: S, on: Kinds = ...) -> OrElse[T | S]: ...
    def or_else(self, other: Any, on: Kinds = (Exception,)) -> OrElse[Any]:
        """The same value, or *other* if it fails; as :meth:`LazyResult.or_else`.

        Args:
            other: A value, or a lazy, which runs only then.
            on: An exception class, or a tuple of them, below ``Exception``, which is the default.

        Raises:
            ValueError: If *on* names something else.
        """
        return OrElse(self, other, as_exception_types(on))


@attrs.frozen(eq=False, repr=False)
class OutcomeOf(Placeholder[Outcome[T]], Generic[T]):
    """How a call ends, as a value that never fails and is never skipped. Made by :func:`settled`.

    Attributes:
        call: The call, Router, or other placeholder.
    """

    call: Placeholder[T]

    def after(self, *lazies: Placeholder[Any]) -> Self:
        """How the same call ends if it runs after other calls; see :meth:`LazyResult.after`.

        Args:
            lazies: The other calls.
        """
        return type(self)(self.call.after(*lazies))  # type: ignore[attr-defined]  # a Router says that it cannot

    def __repr__(self) -> str:
        return rendered("settled(...)", lambda: f"settled({self.call!r})")


@attrs.frozen(repr=False)
class ItemOutcomesOf(OutcomeOf[Any]):
    """How each item of a map ends, as a column: what ``settled(mapped)`` means there. Two of one map are equal."""


@attrs.frozen(eq=False, repr=False)
class OrElse(WithFallback[T], Generic[T]):
    """The value of a call, or another value if the call fails. Made by ``or_else``.

    Attributes:
        call: What is tried.
        other: What stands in for it: a value, a lazy, or a container with lazies in it.
        on: The errors after which it does; by default all, which is ``Exception``.
    """

    call: Placeholder[Any]
    other: Any
    on: tuple[type[Exception], ...] = (Exception,)

    def after(self, *lazies: Placeholder[Any]) -> Self:
        """The same, if the call that is tried runs after other calls; see :meth:`LazyResult.after`.

        Args:
            lazies: The other calls.
        """
        tried = self.call.after(*lazies)  # type: ignore[attr-defined]  # a Router says that it cannot
        return type(self)(tried, self.other, self.on)

    def __repr__(self) -> str:
        return rendered("or_else(...)", lambda: f"{self.call!r}.or_else(...)")


def settled(call: Placeholder[T]) -> OutcomeOf[T]:
    """How a call ends, as a value: :class:`Done`, :class:`Failed` or :class:`Skipped`.

    Pass it to a task that does something in any case. It never fails and is never skipped, and may stand wherever
    a lazy may. A failure of the call, or of something that the call needs, is *handled* if everybody who wants it
    takes it in this way or by ``or_else``: then nothing is cancelled for it, and the run does not fail by it.
    Only an ``Exception`` can be handled.

    Args:
        call: A lazy, mapped lazy, Router, or what ``settled`` or ``or_else`` gave. Of a map, the outcome is that
            of the whole map; but as a column of another map, ``task.map(x=settled(mapped))``, it is one outcome
            for each item.

    Raises:
        TypeError: If it is a plain value or a container, or stands for an injected resource.
    """
    from cascade.model.inputs import Inject  # here, as whoever makes a task needs none of it

    if isinstance(call, Placeholder) and not isinstance(call, Inject):
        return OutcomeOf(call)
    if isinstance(call, Inject):
        remedy = "a resource is opened by the task that injects it; settle the call of that task"
    elif callable(call):
        remedy = "call it: settled(task(...))"
    elif isinstance(call, (list, tuple, set, frozenset, dict)):
        remedy = "settle each call in it, or all together: settled(gather(a, b))"
    else:
        remedy = "a plain value cannot fail"
    raise TypeError(f"settled takes a call, not {call!r:.100}; {remedy}")


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


@overload
def race(first: Placeholder[T], /) -> Race[T]: ...
@overload
def race(first: Placeholder[T], second: Placeholder[S], /) -> Race[T | S]: ...
@overload
def race(first: Placeholder[T], second: Placeholder[S], third: Placeholder[U], /) -> Race[T | S | U]: ...
@overload
def race(*lazies: Placeholder[T]) -> Race[T]: ...
@overload
def race(*lazies: Placeholder[Any]) -> Race[Any]: ...
def race(*lazies: Placeholder[Any]) -> Race[Any]:
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
    from cascade.model.inputs import Env, Inject, Param  # as above

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
