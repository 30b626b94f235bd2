"""The decorator that makes tasks of functions: ``task``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from cascade.model.calls.argument_types import Free, OfFree
from cascade.model.calls.callee import Mode
from cascade.model.calls.checked import checked_amounts, checked_cache, checked_retry, checked_timeout
from cascade.model.calls.functions import check_mode, check_texts, is_async_function
from cascade.model.calls.signatures import arity_of, signature_of
from cascade.model.lazies import LazyResult
from cascade.model.policies import NOTHING_SAID, UNSET, CachePolicy, Policies, Retry
from cascade.model.shown.text import encodable
from cascade.model.tasks import Partial, Task

P = ParamSpec("P")
T = TypeVar("T")


class TaskDecorator(Protocol):
    """What ``task(...)`` with settings returns."""

    @overload
    def __call__(
        self, func: Callable[Concatenate[Free, ...], OfFree | Coroutine[Any, Any, OfFree]], /
    ) -> Task[..., Any]: ...
    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, LazyResult[T]]], /) -> Task[P, T]: ...
    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, T | LazyResult[T]]], /) -> Task[P, T]: ...
    @overload
    def __call__(self, func: Callable[P, LazyResult[T]], /) -> Task[P, T]: ...
    @overload
    def __call__(self, func: Callable[P, T | LazyResult[T]], /) -> Task[P, T]: ...


class AsTask(TypedDict, total=False):
    """The settings of :func:`task`, for type checkers."""

    name: str | None
    version: str | None
    mode: Mode | None
    pure: bool
    retry: Retry | int | None
    timeout: float | None
    cache: CachePolicy | None
    constraints: Mapping[str, Any] | None
    abandon_on_cancel: bool


@overload
def task(
    func: Callable[Concatenate[Free, ...], OfFree | Coroutine[Any, Any, OfFree]], /, **settings: Unpack[AsTask]
) -> Task[..., Any]: ...
@overload
def task(func: Callable[P, Coroutine[Any, Any, LazyResult[T]]], /, **settings: Unpack[AsTask]) -> Task[P, T]: ...
@overload
def task(
    func: Callable[P, Coroutine[Any, Any, T | LazyResult[T]]], /, **settings: Unpack[AsTask]
) -> Task[P, T]: ...
@overload
def task(func: Callable[P, LazyResult[T]], /, **settings: Unpack[AsTask]) -> Task[P, T]: ...
@overload
def task(func: Callable[P, T | LazyResult[T]], /, **settings: Unpack[AsTask]) -> Task[P, T]: ...
@overload
def task(func: None = None, /, **settings: Unpack[AsTask]) -> TaskDecorator: ...
def task(
    func: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    mode: Mode | None = None,
    pure: bool = False,
    retry: Retry | int | None = None,
    timeout: float | None = None,
    cache: CachePolicy | None = None,
    constraints: Mapping[str, Any] | None = None,
    abandon_on_cancel: bool = False,
) -> Any:
    """Make the calls of a function lazy.

    Calling the task runs nothing. It checks the arguments against the signature and returns a :class:`LazyResult`,
    to be passed to other tasks and in the end to ``run``. Use ``task`` as a decorator, with settings in
    parentheses or without, or as a function: ``task(func, name="fetch")``.

    Args:
        func: The function. ``None`` (default) if only settings are given: then a decorator is returned.
        name: Name in node ids, events and control rules. ``None`` (default): the function's own name.
        version: Replaces the function's source in digests, for caches and resumed runs; change it when results
            change. ``None`` (default): the source counts.
        mode: Where the function runs. For a sync function: ``"thread"`` (default), a worker thread; ``"inline"``,
            on the event loop, for functions that take microseconds; ``"process"``, a worker process; ``"remote"``,
            a worker of the run's remote executor. For an async function: ``"task"``, an AnyIO task of its own for
            each call. ``None`` (default): the default of the kind.
        pure: Whether equal calls in a flow run only once.
        retry: Default :class:`Retry` of its calls; ``3`` means ``Retry(max_attempts=3)``. ``None`` (default): no
            second attempt.
        timeout: Default timeout of each attempt, in seconds; a positive number. ``None`` (default): no limit.
        cache: Default cache policy. ``None`` (default): no cache.
        constraints: Default claims: resource name to amount. ``None`` (default): no claims.
        abandon_on_cancel: Only for threads: whether a cancelled or late attempt leaves its thread behind instead
            of waiting for it. The thread keeps its capacity until it ends.

    Raises:
        TypeError: If *func* cannot be a task (a generator function, a class, something that is not callable), or a
            setting has a wrong type.
        ValueError: If a setting is out of range, or *mode* does not fit the function.
    """
    make = functools.partial(
        _make_task,
        name=name,
        version=version,
        mode=mode,
        pure=pure,
        retry=retry,
        timeout=timeout,
        cache=cache,
        constraints=constraints,
        abandon_on_cancel=abandon_on_cancel,
    )
    return make if func is None else make(func)


def _make_task(
    func: Callable[..., Any],
    /,
    *,
    name: str | None = None,
    version: str | None = None,
    mode: Mode | None = None,
    pure: bool = False,
    retry: Retry | int | None = None,
    timeout: float | None = None,
    cache: CachePolicy | None = None,
    constraints: Mapping[str, Any] | None = None,
    abandon_on_cancel: bool = False,
) -> Task[Any, Any]:
    check_texts(name=name, version=version)
    name = encodable(name or getattr(func, "__name__", None) or type(func).__name__)  # stores take no other
    if isinstance(func, (Task, Partial)):
        raise TypeError(f"{name} is a task already")
    if name.startswith("~undo"):
        raise ValueError(
            f"a task cannot be called {name!r}: names that begin with '~undo' are for records of undos"
        )
    is_async = is_async_function(func, name)
    check_mode(name, mode, is_async, abandon_on_cancel)
    policies = Policies(
        retry=UNSET if retry is None else checked_retry(retry),
        timeout=UNSET if timeout is None else checked_timeout(timeout),
        cache=UNSET if cache is None else checked_cache(cache),
        constraints=UNSET if constraints is None else checked_amounts(constraints),
    )
    says_nothing = (retry, timeout, cache, constraints) == (None, None, None, None)
    signature = signature_of(func)
    return Task(
        func=func,
        name=name,
        version=version,
        mode=mode or (None if is_async else "thread"),
        is_async=is_async,
        is_pure=pure,
        abandon_on_cancel=abandon_on_cancel,
        policies=NOTHING_SAID if says_nothing else policies,
        signature=signature,
        arity=arity_of(name, func, signature),
    )
