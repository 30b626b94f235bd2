"""Tasks: functions whose calls are lazy."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

import attrs

from cascade.model.calls.argument_types import (
    Arg,
    Takes1,
    Takes2,
    Takes3,
    Takes4,
    Takes5,
    Takes6,
    Takes7,
    Takes8,
)
from cascade.model.calls.callee import Mode
from cascade.model.calls.columns import as_column, check_lengths
from cascade.model.calls.misfits import misfit, unnamed_values
from cascade.model.calls.signatures import Arity
from cascade.model.labels import Label, checked_format
from cascade.model.lazies import NO_KWARGS, Draft, LazyResult, MappedLazyResult, sealed
from cascade.model.lazy_texts import short_arguments
from cascade.model.policies import NOTHING_SAID, Policies

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")
T7 = TypeVar("T7")
T8 = TypeVar("T8")
F = TypeVar("F", bound=Callable[..., Any])


def _by_name(rule: str) -> Callable[[F], F]:
    """Have a method of a task or partial that takes keywords say so, with their names, to who gives none."""

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def named_only(self: Task[..., Any] | Partial[Any], /, *unnamed: Any, **named: Any) -> Any:
            if unnamed:
                partial = Partial(self) if isinstance(self, Task) else self
                raise unnamed_values(partial.task, len(partial.args), method.__name__, rule, unnamed)
            return method(self, **named)

        return cast("F", named_only)

    return decorate


@attrs.define(eq=False, slots=False, repr=False)
class Task(Generic[P, R]):
    """A function whose calls are lazy. Made by :func:`~cascade.task`.

    Attributes:
        func: The undecorated function.
        name: The task's name in node ids, events and control rules.
        version: Replaces the function's source in digests; ``None``: the source counts.
        mode: Where the function runs: ``"thread"``, ``"inline"``, ``"process"`` or ``"remote"`` for a sync
            function; ``"task"`` for an async function that gets an AnyIO task of its own; ``None`` for any other
            async function.
        is_async: Whether calling the function gives a coroutine.
        is_pure: Whether equal calls in a flow run only once.
        abandon_on_cancel: Whether a cancelled attempt leaves its thread behind instead of waiting for it.
        policies: Retry, timeout, cache and claims of every call that does not set its own.
        signature: The function's signature; ``None`` if it has none that can be read.
        arity: The same in the form in which calls are checked.
        known_codes: Cached digests of the function's code, with the objects that the function held then.
    """

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
    known_codes: dict[object, tuple[Sequence[object], bytes]] = attrs.field(factory=dict, init=False)
    # From how many to how many positional arguments fit without a closer look; none if a default may stand in.
    _least: float = attrs.field(init=False)
    _most: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        functools.update_wrapper(self, self.func, updated=())
        self._least, self._most = self.arity.least, -1 if self.arity.standing else self.arity.most
        self.__module__ = getattr(self.func, "__module__", None) or "builtins"
        self.__qualname__ = getattr(self.func, "__qualname__", self.name)

    @property
    def full_name(self) -> str:
        """``module.qualname``: the same in every process."""
        return f"{self.__module__}.{self.__qualname__}"

    if TYPE_CHECKING:

        def _takes(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...  # what Takes1 to Takes8 ask for

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> LazyResult[R]: ...
    @overload
    def __call__(self, /, **kwargs: Any) -> LazyResult[R]: ...
    @overload
    def __call__(self: Takes1[T1], a1: Arg[T1], /, **kwargs: Any) -> LazyResult[R]: ...
    @overload
    def __call__(self: Takes2[T1, T2], a1: Arg[T1], a2: Arg[T2], /, **kwargs: Any) -> LazyResult[R]: ...
    @overload
    def __call__(
        self: Takes3[T1, T2, T3], a1: Arg[T1], a2: Arg[T2], a3: Arg[T3], /, **kwargs: Any
    ) -> LazyResult[R]: ...
    @overload
    def __call__(
        self: Takes4[T1, T2, T3, T4], a1: Arg[T1], a2: Arg[T2], a3: Arg[T3], a4: Arg[T4], /, **kwargs: Any
    ) -> LazyResult[R]: ...
    @overload
    def __call__(
        self: Takes5[T1, T2, T3, T4, T5],
        a1: Arg[T1],
        a2: Arg[T2],
        a3: Arg[T3],
        a4: Arg[T4],
        a5: Arg[T5],
        /,
        **kwargs: Any,
    ) -> LazyResult[R]: ...
    @overload
    def __call__(
        self: Takes6[T1, T2, T3, T4, T5, T6],
        a1: Arg[T1],
        a2: Arg[T2],
        a3: Arg[T3],
        a4: Arg[T4],
        a5: Arg[T5],
        a6: Arg[T6],
        /,
        **kwargs: Any,
    ) -> LazyResult[R]: ...
    @overload
    def __call__(
        self: Takes7[T1, T2, T3, T4, T5, T6, T7],
        a1: Arg[T1],
        a2: Arg[T2],
        a3: Arg[T3],
        a4: Arg[T4],
        a5: Arg[T5],
        a6: Arg[T6],
        a7: Arg[T7],
        /,
        **kwargs: Any,
    ) -> LazyResult[R]: ...
    @overload
    def __call__(
        self: Takes8[T1, T2, T3, T4, T5, T6, T7, T8],
        a1: Arg[T1],
        a2: Arg[T2],
        a3: Arg[T3],
        a4: Arg[T4],
        a5: Arg[T5],
        a6: Arg[T6],
        a7: Arg[T7],
        a8: Arg[T8],
        /,
        *more: Any,
        **kwargs: Any,
    ) -> LazyResult[R]: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> LazyResult[R]:
        """Describe a call. Nothing runs.

        Args:
            args: Positional arguments of the function. An argument may be a value, or a lazy, Param, Env or Router
                that stands for one, at any depth inside of lists, tuples, dicts and other containers.
            kwargs: Arguments by name, likewise.

        Raises:
            TypeError: If the arguments do not fit the function's signature.
        """
        count = len(args)
        if kwargs or not self._least <= count <= self._most:
            kwargs = self.checked(args, kwargs)
        # sealed() and filled() in line, as every node of every flow comes by here: see Draft
        draft = Draft()
        draft.task = self
        draft.kwargs = kwargs or NO_KWARGS
        draft.args_count = count
        if count == 1:  # most calls
            (draft.args_first,) = args
        elif count == 2:
            draft.args_first, draft.args_second = args
        if count > 2:
            if count == 3:
                draft.args_first, draft.args_second, draft.args_third = args
            else:
                draft.args_first = args
        draft.__class__ = LazyResult
        return cast("LazyResult[R]", draft)

    def checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Check the arguments of a call; returns *kwargs* with the defaults that stand for resources filled in.

        Args:
            args: Positional arguments.
            kwargs: Arguments by name.

        Raises:
            TypeError: If the arguments do not fit the function's signature.
        """
        if not self.arity.accepts(len(args), kwargs):
            raise misfit(self, args, kwargs)
        return self.arity.complete(len(args), kwargs)

    @_by_name("columns have names")
    def map(self, /, **columns: Any) -> MappedLazyResult[R]:
        """Describe one call for each row of *columns*. Nothing runs.

        Args:
            columns: Parameter name to a sequence, or to a lazy that gives one; ``settled(mapped)`` gives an
                outcome for each item of that map. All columns must have the same length. An iterator is read at
                once. Strings, bytes and mappings are refused. A text for ``name`` is no column but names the
                items: it is a format over the columns, such as ``name="{path}"``, and gives each item its label.

        Raises:
            TypeError: If there is no column, a column is no sequence, or the names do not fit the signature.
            ValueError: If lengths that are already known differ, or ``name`` is no format over the columns.
        """
        return Partial(self).map(**columns)

    @_by_name("arguments are given by name")
    def partial(self, /, **fixed: Any) -> Partial[R]:
        """Fix some arguments; call or map the result with the others.

        Args:
            fixed: Arguments by parameter name.

        Raises:
            TypeError: If a name does not fit the signature.
        """
        return Partial(self).partial(**fixed)

    @overload
    def __get__(self: Takes1[type[S]], instance: None, owner: type[S]) -> Task[..., R]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Task[P, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Task[..., R]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind the task to an instance, as a function in a class body would be."""
        is_unbound = instance is None or isinstance(self.func, staticmethod)
        return self if is_unbound else Partial(self, (instance,))

    def __reduce__(self) -> str:
        # A task is its place in its module; the function itself is not under that name any more.
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<Task {self.name}{self.signature or '(...)'}>"


@attrs.frozen(eq=False, repr=False)
class Partial(Generic[R]):
    """A task with some of its arguments fixed: by ``Task.partial``, or by access through an instance, like a
    method.

    Attributes:
        task: The task.
        args: Fixed positional arguments, such as the instance of a method.
        fixed: Fixed arguments by name.
    """

    task: Task[..., R]
    args: tuple[Any, ...] = ()
    fixed: dict[str, Any] = attrs.field(factory=dict)

    @_by_name("arguments are given by name")
    def partial(self, /, **fixed: Any) -> Partial[R]:
        """Fix further arguments.

        Args:
            fixed: Arguments by parameter name. A name that was fixed before takes the new value.

        Raises:
            TypeError: If a name does not fit the signature.
        """
        together = {**self.fixed, **fixed}
        if not self.task.arity.begins_with(len(self.args), together):
            raise misfit(self.task, self.args, together, is_whole=False)
        return Partial(self.task, self.args, together)

    def __call__(self, /, *args: Any, **kwargs: Any) -> LazyResult[R]:
        """Describe a call with the fixed arguments and these. Nothing runs.

        Args:
            args: Further positional arguments, as in ``Task.__call__``.
            kwargs: Further arguments by name. A name that was fixed before takes the new value.

        Raises:
            TypeError: If the arguments do not fit the signature.
        """
        return self.task(*self.args, *args, **{**self.fixed, **kwargs})

    @_by_name("columns have names")
    def map(self, /, **columns: Any) -> MappedLazyResult[R]:
        """Describe one call for each row of *columns*; all calls share the fixed arguments. Nothing runs.

        Args:
            columns: Parameter name to a sequence, or to a lazy that gives one, and ``name="..."`` for the labels
                of the items, as in ``Task.map``.

        Raises:
            TypeError: If there is no column, a column is no sequence, a column is fixed already, or the names do
                not fit the signature.
            ValueError: If lengths that are already known differ, or ``name`` is no format over the columns.
        """
        name = self.task.name
        # Texts are refused as columns, so a text for a parameter that happens to be called so is no column either.
        pattern = columns.pop("name") if isinstance(columns.get("name"), str) else None
        if not columns:
            raise TypeError(f"{name}.map() needs at least one column: {name}.map(x=[...])")
        for both in self.fixed.keys() & columns.keys():
            raise TypeError(f"{name}.map(): {both!r} is given by partial and mapped as well")
        # One row stands for all: its arguments are checked, and completed, like those of a plain call.
        completed = self.task.checked(self.args, {**self.fixed, **columns})
        rows = {column: as_column(name, column, values) for column, values in columns.items()}
        check_lengths(name, rows)
        fixed = {key: value for key, value in completed.items() if key not in columns}
        own = NOTHING_SAID
        if pattern is not None:
            own = Policies(name=Label(items=checked_format(name, pattern, columns)))
        lazy = sealed(MappedLazyResult, self.task, self.args, fixed, columns=rows, own=own)
        return cast("MappedLazyResult[R]", lazy)

    def __repr__(self) -> str:
        return f"<Partial {self.task.name}({short_arguments(self.args, self.fixed)})>"
