"""Failures as values: how a call ended (``settled``), and what stands in for a call that fails (``or_else``)."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, overload

import attrs

from cascade.model.outcomes import Outcome
from cascade.model.placeholders import Placeholder, rendered
from cascade.model.policies import as_exception_types

T = TypeVar("T")
S = TypeVar("S")
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
            of the whole map.

    Raises:
        TypeError: If it is a plain value or a container, or stands for an injected resource.
    """
    from cascade.model.inputs import Inject  # here, as programs that make tasks only need none of it

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
