"""Shapes of flow beyond plain calls: routers, sequences, pipelines, gathered values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar, overload

import attrs

from cascade.model.lazies import LazyResult, rendered, short_arguments
from cascade.model.placeholders import Placeholder
from cascade.model.policies import UNSET, Unset
from cascade.model.tasks import task

T = TypeVar("T")


@attrs.frozen(eq=False, init=False, repr=False)
class Router(Placeholder, Generic[T]):
    """One of several values, chosen by another: only the chosen route runs, after the selector is known.

    Args:
        selector: A lazy, Param, Env, Router or plain value that gives the key.
        routes: Key to a lazy, a value, or containers of them. Not empty, unless there is a default.
        default: The route for a key that is not among them; without it such a key is a
            :class:`RouteNotFoundError`.
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
        """Whether unknown keys have a route."""
        return not isinstance(self.default, Unset)

    def __repr__(self) -> str:
        default = {"default": self.default} if self.has_default else {}
        return rendered(
            "Router(...)", lambda: f"<Router {short_arguments((self.selector, dict(self.routes)), default)}>"
        )


@task(name="gather", mode="inline", version="1")
def _gather(*values: object) -> tuple[object, ...]:
    return values


def gather(*lazies: Any) -> LazyResult[tuple[Any, ...]]:
    """The values of *lazies* as a tuple, in order."""
    return _gather(*lazies)


def sequence(members: Iterable[LazyResult[Any]]) -> LazyResult[Any]:
    """*members* one after another; the value is the last one's.

    Only the members' own nodes are ordered: what a member takes as arguments runs as early as it can. A skipped
    member skips all that follow it.

    Raises:
        TypeError: If a member is no lazy result.
        ValueError: If there are none.
    """
    last: LazyResult[Any] | None = None
    for member in members:
        if not isinstance(member, LazyResult):
            raise TypeError(f"members of a sequence are lazy results, not {member!r:.100}")
        last = member if last is None else member.after(last)
    if last is None:
        raise ValueError("a sequence needs at least one member")
    return last


def pipeline(initial: Any, steps: Iterable[Callable[[Any], Any]]) -> Any:
    """*initial* passed through *steps*, each of which takes the lazy result of the one before.

    Args:
        initial: A value, lazy, Param or Router.
        steps: Tasks, partials, or plain functions from lazy to lazy.

    Raises:
        TypeError: If a step is not callable.
    """
    value = initial
    for step in steps:
        if not callable(step):
            raise TypeError(f"steps of a pipeline are tasks or functions from lazy to lazy, not {step!r:.100}")
        value = step(value)
    return value
