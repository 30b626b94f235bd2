"""Routers, sequences, pipelines and gathered values: flows that are more than nested calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar, overload

import attrs

from cascade.model.calls.decorator import task
from cascade.model.fallbacks import HandlingPlaceholder, OrElse, OutcomeOf, Race, WithFallback
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import OneOf, Placeholder
from cascade.model.policies import UNSET, Unset
from cascade.model.shown.lazy_texts import rendered, short_arguments
from cascade.model.tasks import Partial, Task

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")


@attrs.frozen(eq=False, init=False, repr=False)
class Router(WithFallback[T], OneOf[T]):
    """One of several values, chosen by a key. Only the chosen route runs, after its key is known.

    Args:
        selector: A lazy, Param, Env, Router or plain value that gives the key.
        routes: Key to route: a lazy, a value, or a container of them. May be empty only with a default.
        default: The route for every other key. Without a default, such a key is a :class:`RouteNotFoundError` of
            the run.

    Raises:
        TypeError: If *routes* is no mapping, or a key is itself a lazy, Param, Env or Router.
        ValueError: If there are neither routes nor a default.
    """

    selector: Any
    routes: Mapping[Hashable, Any] = attrs.field()
    default: Any = UNSET

    @overload
    def __init__(
        self: Router[T], selector: Any, routes: Mapping[Any, LazyResult[T]], default: LazyResult[T] = ...
    ) -> None: ...
    @overload
    def __init__(self: Router[Any], selector: Any, routes: Mapping[Any, Any], default: Any = ...) -> None: ...
    def __init__(self, selector: Any, routes: Any, default: Any = UNSET) -> None:
        self.__attrs_init__(selector, routes, default)

    @routes.validator
    def _check_routes(self, _: object, routes: object) -> None:
        if not isinstance(routes, Mapping):
            raise TypeError(f"the routes of a Router are a mapping from key to lazy, not {routes!r:.100}")
        if not routes and self.default is UNSET:
            raise ValueError("a Router without routes and default cannot choose anything")
        for key in routes:
            if isinstance(key, Placeholder):
                raise TypeError(f"{key!r} is the key of a route; keys are plain values that the selector may give")

    @property
    def has_default(self) -> bool:
        """Whether there is a default route."""
        return not isinstance(self.default, Unset)

    def __repr__(self) -> str:
        default = {"default": self.default} if self.has_default else {}
        return rendered(
            "Router(...)", lambda: f"<Router {short_arguments((self.selector, dict(self.routes)), default)}>"
        )


@task(name="gather", mode="inline", version="1")
def _gather(*values: object) -> tuple[object, ...]:
    return values


@overload
def gather(
    a1: Placeholder[T1],
    /,
) -> LazyResult[tuple[T1]]: ...
@overload
def gather(
    a1: Placeholder[T1],
    a2: Placeholder[T2],
    /,
) -> LazyResult[tuple[T1, T2]]: ...
@overload
def gather(
    a1: Placeholder[T1],
    a2: Placeholder[T2],
    a3: Placeholder[T3],
    /,
) -> LazyResult[tuple[T1, T2, T3]]: ...
@overload
def gather(
    a1: Placeholder[T1],
    a2: Placeholder[T2],
    a3: Placeholder[T3],
    a4: Placeholder[T4],
    /,
) -> LazyResult[tuple[T1, T2, T3, T4]]: ...
@overload
def gather(
    a1: Placeholder[T1],
    a2: Placeholder[T2],
    a3: Placeholder[T3],
    a4: Placeholder[T4],
    a5: Placeholder[T5],
    /,
) -> LazyResult[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def gather(*lazies: Placeholder[T]) -> LazyResult[tuple[T, ...]]: ...
@overload
def gather(*lazies: Any) -> LazyResult[tuple[Any, ...]]: ...
def gather(*lazies: Any) -> LazyResult[tuple[Any, ...]]:
    """Combine several values into one tuple, in order.

    Args:
        lazies: Lazies, or plain values.
    """
    return _gather(*lazies)


@overload
def sequence(members: Iterable[LazyResult[Any]]) -> LazyResult[Any]: ...
@overload
def sequence(members: Iterable[LazyResult[Any] | HandlingPlaceholder]) -> Any: ...
def sequence(members: Iterable[LazyResult[Any] | HandlingPlaceholder]) -> Any:
    """Run calls one after another. The value is that of the last one.

    Only the members themselves are ordered: their arguments run as early as they can. A skipped member skips all
    members after it.

    Args:
        members: The calls, in order; at least 1. What comes after ``settled(call)`` runs however that call ends.

    Raises:
        TypeError: If a member is no lazy result.
        ValueError: If there are no members.
    """
    last: LazyResult[Any] | HandlingPlaceholder | None = None
    for member in members:
        if not isinstance(member, (LazyResult, OutcomeOf, OrElse, Race)):
            raise TypeError(f"members of a sequence are lazy results, not {member!r:.100}")
        last = member if last is None else member.after(last)
    if last is None:
        raise ValueError("a sequence needs at least one member")
    return last


def pipeline(initial: Any, steps: Iterable[Callable[[Any], Any]]) -> Any:
    """Pass a value through a series of steps. Each step gets the lazy result of the one before.

    Args:
        initial: The first value: a plain value, lazy, Param or Router. Returned as it is if there are no steps.
        steps: Tasks, partials, or plain functions that take a lazy and return one.

    Raises:
        TypeError: If a step is not callable.
    """
    value = initial
    for step in steps:
        if not callable(step):
            raise TypeError(f"steps of a pipeline are tasks or functions from lazy to lazy, not {step!r:.100}")
        value = step(value)
    return value


def refuse_uncalled(flow: object) -> None:
    """See that *flow* is something to run, and not what would give something to run if it were called.

    Raises:
        TypeError: If it is a task, a partial, a function or a coroutine.
    """
    if isinstance(flow, (Task, Partial)):
        name = flow.name if isinstance(flow, Task) else flow.task.name
        raise TypeError(f"{name!r} is a task, not a call of one; what can be run is {name}(...)")
    if inspect.iscoroutine(flow):
        flow.close()
        raise TypeError(f"a coroutine is no flow: make {flow.__name__!r} a task with @cascade.task, and call that")
    if inspect.isfunction(flow) or inspect.ismethod(flow):
        name = getattr(flow, "__name__", repr(flow))  # methods of callable objects have none
        raise TypeError(f"{name!r} is a function, not a flow; run what it returns: {name}(...)")
