"""Inputs of a flow: parameters, environment variables and injected resources."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeVar, cast, overload

import attrs

from cascade.model.placeholders import Placeholder

T = TypeVar("T")
Scope = Literal["run", "task"]
# A sync or async generator function that yields the resource once.
Provider = Callable[..., Any]


class Required(Enum):
    """Stands for the default of an input that has none."""

    REQUIRED = "required"

    def __repr__(self) -> str:
        return "<required>"


REQUIRED: Final = Required.REQUIRED

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def _check_name(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{attribute.name} must be a non-empty string, not {value!r}")


@attrs.frozen(init=False, eq=False)
class Param(Placeholder, Generic[T]):
    """A named input of a flow. Its value is given to ``run`` in ``params``.

    Text is converted to *type*; ``bool`` accepts true/false, yes/no, on/off and 1/0. A value that is not text must
    already be of that type; a whole number is accepted as a ``float``. If a flow has several Params of one name,
    they must be equal.

    Args:
        name: Key in ``params``.
        default: Value if ``params`` does not have the name. Without a default the parameter is required.
        type: A class, or a function from text to value, or ``Any`` for values of every type, which are not
            converted. ``None`` (default): the type of *default* if that is a number or a bool, otherwise ``str``.
        description: One line for the help of the command line. Empty by default.

    Raises:
        TypeError: If *type* is not callable.
        ValueError: If *name* is empty or no string.
    """

    name: str = attrs.field(validator=_check_name)
    default: T | Required
    type: Callable[..., Any]
    description: str

    @overload
    def __init__(self: Param[str], name: str, *, description: str = ...) -> None: ...
    @overload
    def __init__(self: Param[T], name: str, default: T, *, description: str = ...) -> None: ...
    @overload
    def __init__(
        self: Param[T], name: str, default: T = ..., type: Callable[..., T] = ..., description: str = ...
    ) -> None: ...
    def __init__(self, name: str, default: Any = REQUIRED, type: Any = None, description: str = "") -> None:
        kind = type
        if kind is None:
            kind = default.__class__ if isinstance(default, (bool, int, float)) else str
        if not callable(kind):
            raise TypeError(f"type of Param {name!r} must be a class or a callable from text, not {kind!r}")
        self.__attrs_init__(name, default, kind, description)

    def convert(self, raw: object) -> T:
        """Convert and check a value for this parameter.

        Args:
            raw: The value, or text for one.

        Raises:
            ValueError: If *raw* is not of the parameter's type and cannot be converted.
        """
        kind: Any = self.type
        if kind is Any:
            return cast("T", raw)
        wanted = getattr(kind, "__name__", repr(kind))
        if isinstance(kind, type) and isinstance(raw, kind) and not (kind is int and isinstance(raw, bool)):
            return cast("T", raw)
        if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
            return cast("T", float(raw))
        if not isinstance(raw, str):
            if isinstance(kind, type):
                raise ValueError(f"parameter {self.name!r} must be {wanted}, not {raw!r:.100}")
            return cast("T", raw)
        if kind is bool:
            return cast("T", self._as_bool(raw))
        try:
            return cast("T", kind(raw))
        except Exception as error:
            raise ValueError(f"parameter {self.name!r} must be {wanted}, not {raw!r:.100}: {error}") from error

    def _as_bool(self, text: str) -> bool:
        word = text.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise ValueError(f"parameter {self.name!r} must be true or false, not {text!r:.100}")


@attrs.frozen
class Env(Placeholder):
    """An environment variable. It is read when the run starts, and its value is a string.

    Args:
        name: Name of the variable.
        default: Value if the variable is not set; may be ``None``. Without a default the variable is required.

    Raises:
        ValueError: If *name* is empty or no string.
    """

    name: str = attrs.field(validator=_check_name)
    default: str | Required | None = REQUIRED


@attrs.frozen
class Inject(Placeholder):
    """Stands for a resource; made by :func:`inject`."""

    name: str = attrs.field(validator=_check_name)


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
