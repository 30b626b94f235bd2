"""Inputs of a flow: parameters, environment variables and injected resources."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar, overload

import attrs

from cascade.model.placeholders import Placeholder
from cascade.model.typed.declared import REQUIRED, Input, check_name

T = TypeVar("T")
Scope = Literal["run", "task"]
# A sync or async generator function that yields the resource once.
Provider = Callable[..., Any]


class Param(Input[T]):
    """A named input of a flow. Its value is given to ``run`` in ``params``.

    Text is converted to the type. A value that is not text is checked, and refused if it is not of the type. If a
    flow has several Params of one name, they must be equal, apart from their descriptions.

    Args:
        name: Key in ``params``.
        default: Value if ``params`` does not have the name. Without a default the parameter is required. It is
            converted and checked like a value, except ``None``, which stays as it is.
        type: An annotation: a builtin, ``int | None``, ``Literal``, ``list[int]``, ``dict``, an Enum (by name or
            value), ``Path``, ``Decimal``, dates and times (ISO), an attrs or dataclass type, a pydantic model; or
            a function from text to value. Collections and records are read from JSON, lists also from ``1,2,3``.
            ``Any`` takes every value as it is. ``None`` (default): the class of *default*, or ``str`` without one.
        description: One line for the help of the command line. Empty by default.
        validate: A function that is called with each value except ``None``, after the conversion. It refuses a
            value by raising (``ValueError`` with the reason as its text) or by returning something false other
            than ``None``. ``None`` (default): every value passes.
        secret: Whether the value, and every text that contains it, is shown as ``***``.

    Raises:
        TypeError: If *type* is neither an annotation nor a function, or has a name in quotes in it, or *validate*
            is no function.
        ValueError: If *name* is empty or no string.
    """

    __slots__ = ()

    _noun: ClassVar[str] = "parameter"

    @overload
    def __init__(
        self: Param[str],
        name: str,
        *,
        description: str = ...,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Param[T],
        name: str,
        default: T,
        *,
        description: str = ...,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Param[T],
        name: str,
        default: T = ...,
        type: type[T] | Callable[[str], T] = ...,
        description: str = ...,
        *,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Param[Any],
        name: str,
        default: object = ...,
        type: object = ...,
        description: str = ...,
        *,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        default: Any = REQUIRED,
        type: Any = None,
        description: str = "",
        *,
        validate: Callable[[Any], object] | None = None,
        secret: bool = False,
    ) -> None:
        self.declare(name, default, type, description=description, validate=validate, secret=secret)

    def _missing(self) -> str:
        return f"missing parameter {self.name!r} ({self.kind_name}); pass params={{{self.name!r}: ...}}"


class Env(Input[T]):
    """An environment variable. It is read when the run starts.

    Args:
        name: Name of the variable.
        default: Value if the variable is not set; ``None`` is possible. Without a default the variable is
            required. It is converted and checked like the default of a :class:`Param`.
        type: What the text is converted to, as for a :class:`Param`. ``None`` (default): the class of *default*,
            or ``str`` without one.
        validate: As for a :class:`Param`. ``None`` (default): every value passes.
        secret: As for a :class:`Param`.

    Raises:
        TypeError: As for a :class:`Param`.
        ValueError: If *name* is empty or no string.
    """

    __slots__ = ()

    _noun: ClassVar[str] = "environment variable"

    @overload
    def __init__(
        self: Env[str],
        name: str,
        *,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Env[T],
        name: str,
        default: T,
        *,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Env[T],
        name: str,
        default: T = ...,
        type: type[T] | Callable[[str], T] = ...,
        *,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Env[Any],
        name: str,
        default: object = ...,
        type: object = ...,
        *,
        validate: Callable[[Any], object] | None = ...,
        secret: bool = ...,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        default: Any = REQUIRED,
        type: Any = None,
        *,
        validate: Callable[[Any], object] | None = None,
        secret: bool = False,
    ) -> None:
        self.declare(name, default, type, description="", validate=validate, secret=secret)

    def _missing(self) -> str:
        return f"missing environment variable {self.name!r} ({self.kind_name}); set it, or give the Env a default"


@attrs.frozen
class Inject(Placeholder):
    """Stands for a resource; made by :func:`inject`."""

    name: str = attrs.field(validator=check_name)


def inject(name: str) -> Any:
    """The resource of that name. Use it as the default of a task's parameter, or anywhere inside an argument.

    Args:
        name: The name under which a provider is registered.

    Raises:
        ValueError: If *name* is empty or no string.
    """
    return Inject(name)


def injections(func: Callable[..., object]) -> dict[str, Inject]:
    """The parameters of *func* whose default is a resource."""
    parameters = inspect.signature(func).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, Inject)}


@attrs.frozen(eq=False)
class Resource:
    """A provider of a resource: a generator function that yields the resource once. Made by :func:`resource`.

    Attributes:
        name: The name by which tasks inject the resource.
        scope: ``"run"``: one instance for the run; ``"task"``: one for each node that injects it.
        func: The generator function.
        is_async: Whether it is an async generator function.
        injects: The resources that it needs itself, by parameter name.
    """

    name: str
    scope: Scope
    func: Provider
    is_async: bool
    injects: dict[str, Inject]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the generator function, as without the decorator.

        Args:
            args: Its positional arguments.
            kwargs: Its arguments by name.
        """
        return self.func(*args, **kwargs)


def as_resource(provider: Resource | Provider, name: str | None = None, scope: Scope | None = None) -> Resource:
    """The resource that *provider* (a resource, or a bare generator function) describes.

    Raises:
        TypeError: If it is neither.
        ValueError: If the scope is unknown.
    """
    if isinstance(provider, Resource):
        return attrs.evolve(provider, name=name or provider.name, scope=scope or provider.scope)
    is_async = inspect.isasyncgenfunction(provider)
    if not is_async and not inspect.isgeneratorfunction(provider):
        raise TypeError(
            f"a resource is a sync or async generator function that yields once, not {provider!r}; "
            "write `yield value` instead of `return value`"
        )
    if scope not in (None, "run", "task"):
        raise ValueError(f'scope of a resource is "run" or "task", not {scope!r}')
    return Resource(name or provider.__name__, scope or "run", provider, is_async, injections(provider))


@overload
def resource(func: Provider, /) -> Resource: ...
@overload
def resource(
    func: None = None, /, *, name: str | None = None, scope: Scope = "run"
) -> Callable[[Provider], Resource]: ...
def resource(
    func: Provider | None = None, *, name: str | None = None, scope: Scope = "run"
) -> Resource | Callable[[Provider], Resource]:
    """Declare the provider of a resource: a sync or async generator function that yields the resource once.

    The code before the ``yield`` sets up, the code after it tears down. If the scope ends with an exception or a
    cancellation, that is raised at the ``yield``; the provider cannot swallow it. Parameters may inject other
    resources. A sync generator runs on one thread of its own from set-up to tear-down, so a value that is tied to
    its thread (such as an ``sqlite3`` connection) cannot be used by tasks.

    Args:
        func: The generator function. ``None`` (default) if only settings are given: then a decorator is returned.
        name: Name to inject by. ``None`` (default): the function's own name.
        scope: ``"run"`` (default): one instance for the run, opened before the first node that may need it.
            ``"task"``: one instance for each node that injects it.

    Raises:
        TypeError: If *func* is no generator function.
        ValueError: If *scope* is neither ``"run"`` nor ``"task"``.
    """
    if func is not None:
        return as_resource(func, name, scope)
    return lambda provider: as_resource(provider, name, scope)
