"""Lazy results: descriptions of calls that have not happened yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NoReturn, Self, TypeVar, cast, overload

import attrs

from cascade.model.calls.callee import Callee
from cascade.model.calls.checked import (
    checked_amounts,
    checked_cache,
    checked_concurrency,
    checked_cost,
    checked_errors,
    checked_priority,
    checked_timeout,
    checked_undo,
)
from cascade.model.calls.drafts import Draft, filled
from cascade.model.errors import LazyUseError
from cascade.model.fallbacks import Kinds, OrElse, OutcomeOf, Race
from cascade.model.outcomes import Failed
from cascade.model.placeholders import PASS_IT_ON, Placeholder
from cascade.model.policies import (
    NOTHING_SAID,
    UNSET,
    CachePolicy,
    Errors,
    OnSkip,
    Policies,
    Retry,
    as_exception_types,
)
from cascade.model.shown.labels import Label, checked_name
from cascade.model.shown.lazy_texts import rendered, short_arguments

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

# Shared by all calls without keyword arguments, which are most: a dict less for each. Nobody writes to it.
NO_KWARGS: Final[dict[str, Any]] = {}


class LazyResult(Draft, Placeholder[R_co]):
    """A call that has not happened yet. Pass it to other tasks, or run it.

    A lazy result is frozen. Two of them are equal only if they are the same object. Each ``with_...`` method
    returns a copy that stands for the same call: a flow that contains both runs the call once. An instance of
    exactly this class has no policies of its own; copies have a class of their own.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise LazyUseError(f"lazy results are frozen: {name!r} of {self!r} cannot be set; chain with_... instead")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def _saying(self, **said: object) -> Self:
        kind: type[LazyResult[Any]] = ChainedLazyResult if self.columns is None else MappedLazyResult
        own = attrs.evolve(self.own, **cast("Any", said))
        copy = sealed(kind, self.task, self.args, self.kwargs, columns=self.columns, own=own, parent=self)
        return cast("Self", copy)

    def with_retry(
        self, max_attempts: int | Retry | None = 3, delay: float = 0.0, backoff: float = 1.0, **more: Any
    ) -> Self:
        """The same call, attempted again when it fails.

        Args:
            max_attempts: Attempts in total, the first included, at least 1; 3 by default. Or a whole
                :class:`Retry`. ``None`` removes the task's default.
            delay: Seconds before the second attempt. 0 (default): no pause.
            backoff: Factor on the delay for each further attempt, at least 1. 1 (default): the delay stays the
                same.
            more: ``max_delay``, ``jitter`` and ``on``, as in :class:`Retry`.

        Raises:
            TypeError: If both a Retry and fields of one are given.
            ValueError: If a number is out of range.
        """
        if max_attempts is None or isinstance(max_attempts, Retry):
            if delay or backoff != 1.0 or more:
                raise TypeError("with_retry takes a Retry, or its fields, not both")
            return self._saying(retry=max_attempts)
        return self._saying(retry=Retry(max_attempts, delay, backoff, **more))

    def with_timeout(self, seconds: float | None) -> Self:
        """The same call with a timeout for each attempt. Time spent waiting for capacity or for a control rule
        does not count.

        Args:
            seconds: A positive number of seconds, counted from the moment at which the function starts. ``None``
                removes the task's default.

        Raises:
            ValueError: If *seconds* is not positive.
        """
        return self._saying(timeout=checked_timeout(seconds))

    def with_cache(self, policy: CachePolicy | None) -> Self:
        """The same call, looked up in a cache before it runs.

        Args:
            policy: The cache policy. ``None`` removes the task's default.

        Raises:
            TypeError: If *policy* has no ``check`` and ``save``.
        """
        return self._saying(cache=checked_cache(policy))

    def with_constraints(self, **amounts: Any) -> Self:
        """The same call, which claims some of the run's resources while it runs.

        All amounts are taken together or not at all. They replace earlier ones of the call and the task's default.

        Args:
            amounts: Resource name to a number from 0, or to a lazy, Param or Router that gives one. Without any,
                the call claims nothing.

        Raises:
            TypeError: If a name is no string.
            ValueError: If a number is negative or not finite.
        """
        return self._saying(constraints=checked_amounts(amounts))

    def with_cost(self, seconds: float | None) -> Self:
        """The same call, with the time that it is expected to take.

        A hint for the eager schedule: where threads or resources are scarce, the call with the longest way to the
        end of the flow goes first. The cost counts until the node has been run once; from then on, the time that
        it took counts. A call without cost counts as long as its task took on average, or 1 second if no task has
        been run. A wrong cost changes the order of calls and nothing else.

        Args:
            seconds: A finite number of seconds from 0; of a map, for all its items together. ``None`` removes what
                was said before.

        Raises:
            ValueError: If *seconds* is negative, not finite or no number.
        """
        return self._saying(cost=checked_cost(seconds, self.task.name))

    def with_priority(self, priority: int) -> Self:
        """The same call, which goes before others of its run that wait for the same but have a lower priority.

        It counts where something is scarce: threads, worker processes, resources, and what control rules let
        through. It interrupts nothing that has begun. Among equal priorities it is first come first served; in the
        eager schedule, the longest way to the end first. A run's priorities are of no concern to other runs of its
        engine, which are served as they come.

        Args:
            priority: Any whole number; the highest goes first. 0 by default. The items of a map have that of the
                map.

        Raises:
            TypeError: If it is no whole number.
        """
        return self._saying(priority=checked_priority(priority, self.task.name))

    def with_name(self, text: str | None) -> Self:
        """The same call with a name for people: a label, shown beside the id of its node.

        It is in the field ``label`` of events, in notes on errors, in ``explain()``, in ``cascade show``, in logs
        and in pictures. Ids and digests do not change, so a recorded run goes on whatever its calls are called.
        Labels need not be unique. At most 100 characters are shown.

        Args:
            text: The name. ``None`` removes it. A map hands its name on to its items, unless these have their own
                (``.map(..., name=...)``).

        Raises:
            TypeError: If *text* is no text.
            ValueError: If *text* is empty.
        """
        known = Label() if self.own.name is UNSET else self.own.name
        return self._saying(name=attrs.evolve(known, own=checked_name(text)))

    def with_undo(self, task: Callable[..., LazyResult[Any]] | None) -> Self:
        """The same call, with a task that undoes it if the run fails or is cancelled.

        The undo is called with the value of the call, after all nodes have ended and before resources are closed.
        The calls that have succeeded are undone one after another, the last one first. Of a map, each item that
        has succeeded is undone. A value from a cache is not undone.

        Args:
            task: A task, or a partial of one, that can be called with one argument. Its own retry, timeout and
                claims hold. ``None`` removes what was said before.

        Raises:
            TypeError: If *task* is no task, or cannot be called with one argument.
        """
        return self._saying(undo=checked_undo(task))

    def run_if(self, condition: Any, on_skip: OnSkip = "pass") -> Self:
        """The same call, skipped unless *condition* is true. Several conditions must all be true.

        The inputs of a call whose condition is false still run.

        Args:
            condition: A lazy, Param, Env, Router or plain value, tested for truth.
            on_skip: What consumers get if the call is skipped. ``"pass"`` (default): the value of its only
                upstream call, if it has exactly one. ``"skip"``: the consumers are skipped too.

        Raises:
            TypeError: If *condition* is a function, or ``settled(...)``: outcomes have no truth.
            ValueError: If *on_skip* is neither ``"pass"`` nor ``"skip"``.
        """
        if isinstance(condition, OutcomeOf):
            raise TypeError(
                f"run_if takes what is true or false, and {condition!r} gives an outcome, which is neither: "
                "pass it to a task that returns a bool"
            )
        if callable(condition):
            raise TypeError(f"run_if takes a value or a lazy, not the callable {condition!r}; call it")
        if on_skip not in ("pass", "skip"):
            raise ValueError(f'on_skip is "pass" or "skip", not {on_skip!r}')
        return self._saying(conditions=(*self.own.conditions, condition), on_skip=on_skip)

    def after(self, *lazies: Placeholder[Any]) -> Self:
        """The same call, which runs after other calls: it starts once they have succeeded. No data passes.

        Args:
            lazies: The other calls. If one of them is skipped, this call is skipped too. After ``settled(other)``
                it runs however the other call ends.

        Raises:
            TypeError: If one of them is no lazy result.
        """
        for lazy in lazies:
            if not isinstance(lazy, (LazyResult, OutcomeOf, OrElse, Race)):
                raise TypeError(f"after takes lazy results, not {lazy!r:.100}")
        return self._saying(after=(*self.own.after, *lazies))

    @overload
    def or_else(self, other: Placeholder[S], on: Kinds = ...) -> OrElse[R_co | S]: ...
    @overload
    def or_else(self, other: S, on: Kinds = ...) -> OrElse[R_co | S]: ...
    def or_else(self, other: Any, on: Kinds = (Exception,)) -> OrElse[Any]:
        """The value of the call; if it fails, after its retries, the value of *other* instead.

        The call fails as well if something that it needs fails. A failure that nobody else wants is *handled*: it
        cancels nothing, and the run does not fail by it. If the call is skipped, so is what this gives.

        Args:
            other: A value, a lazy, or a container with lazies in it. Lazies run only if they are wanted.
            on: An exception class, or a tuple of them, below ``Exception``: the errors after which *other* stands
                in. By default ``Exception``, so all of them. A group counts if all its members do.

        Raises:
            ValueError: If *on* names something else.
        """
        return OrElse(self, other, as_exception_types(on))

    def _refuse(self, what: str, remedy: str = PASS_IT_ON) -> NoReturn:
        raise LazyUseError(f"{self!r} is a call that has not happened yet: it {what}; {remedy}")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        plain = (type(self), self.task, self.args, self.kwargs)
        if type(self) is LazyResult:
            return sealed, plain
        return _revived, (*plain, self.columns, self.own, self.parent)

    def __repr__(self) -> str:
        return rendered(f"{self.task.name}(...)", lambda: _text_of(self))


class SpeakingDraft(Draft):
    """A lazy that is still being written, of which something is said."""

    __slots__ = ("columns", "own", "parent")

    columns: dict[str, Any] | None
    own: Policies
    parent: LazyResult[Any] | None


class ChainedLazyResult(SpeakingDraft, LazyResult[R_co]):
    """A copy of a call, made to say how it is to be run."""

    __slots__ = ()


class MappedLazyResult(SpeakingDraft, LazyResult[list[R]]):
    """A task called once for each row of some columns. Its value is the list of results, in input order."""

    __slots__ = ()

    def with_concurrency(self, limit: int | None) -> Self:
        """The same map with a limit on the items that run at a time.

        Args:
            limit: Items at a time, at least 1. ``None``: as many as the run allows.

        Raises:
            ValueError: If *limit* is no whole number from 1.
        """
        return self._saying(concurrency=checked_concurrency(limit))

    @overload
    def with_errors(self, errors: Literal["raise"]) -> MappedLazyResult[R]: ...
    @overload
    def with_errors(
        self, errors: Literal["collect"], min_success: float | None = None
    ) -> MappedLazyResult[R | Failed]: ...
    def with_errors(self, errors: Errors, min_success: float | None = None) -> MappedLazyResult[Any]:
        """The same map, with what becomes of it if items fail.

        Args:
            errors: ``"raise"``, as without this method: the map fails with the error of the item that failed
                first. ``"collect"``: a failed item is a :class:`Failed` in the list, in its place, and the others
                run on.
            min_success: With ``"collect"``, how many items must succeed: a count, or a fraction below 1 of all. As
                soon as that cannot be reached, the other items are cancelled, and the map fails with
                :class:`MapFailed`. ``None`` (default) and 0: all may fail.

        Raises:
            ValueError: If *errors* is neither of these, *min_success* is no such number, or is given with
                ``"raise"``.
        """
        return self._saying(errors=checked_errors(errors, min_success))


def _text_of(lazy: LazyResult[Any]) -> str:
    arguments = short_arguments(lazy.args, {**lazy.kwargs, **(lazy.columns or {})})
    kind, verb = ("LazyResult", "") if lazy.columns is None else ("MappedLazyResult", ".map")
    return f"<{kind} {lazy.task.name}{verb}({arguments})>"


def sealed(
    kind: type[LazyResult[Any]],
    task: Callee,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    columns: dict[str, Any] | None = None,
    own: Policies = NOTHING_SAID,
    parent: LazyResult[Any] | None = None,
) -> LazyResult[Any]:
    """A lazy of class *kind* with these fields; of the class for copies, if something is said of it."""
    if kind is LazyResult and (parent is not None or own != NOTHING_SAID):
        kind = ChainedLazyResult
    draft = filled(Draft() if kind is LazyResult else SpeakingDraft(), task, args, kwargs)
    if isinstance(draft, SpeakingDraft):
        draft.columns, draft.own, draft.parent = columns, own, parent
    draft.__class__ = kind  # sealed: the same layout, but no setters any more
    return cast("LazyResult[Any]", draft)


def _revived(
    kind: type[LazyResult[Any]], task: Callee, args: tuple[Any, ...], kwargs: dict[str, Any], *said: Any
) -> LazyResult[Any]:
    """A copy that was pickled: what is said of it comes in the order of the fields of :class:`SpeakingDraft`."""
    columns, own, parent = said
    return sealed(kind, task, args, kwargs, columns=columns, own=own, parent=parent)
