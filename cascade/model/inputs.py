"""What a flow takes from outside: parameters, environment variables, injected resources."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeVar, cast, overload

import attrs

from cascade.model.lazies import short
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
    """A named input of the flow, given to ``run`` as ``params``.

    A string is converted to *type* (``bool`` understands true/false, yes/no, on/off, 1/0); any other value must
    be of that type already, except that a whole number may stand for a ``float``. Two Params of one name in one
    flow must be equal.

    Args:
        name: Key in ``params``.
        default: Value when none is given; without a default the parameter is required.
        type: A class, or any callable from text to value, or ``Any`` for what is taken as it is; by default that
            of a number or truth value given as the default, otherwise ``str``.
        description: One line for ``--help``.
    """

    name: str = attrs.field(validator=_check_name)
    default: T | Required = attrs.field(repr=short)
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
        """The value that *raw* stands for.

        Raises:
            ValueError: If it has no meaning as this parameter's type.
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
    """An environment variable, read when the run starts; a string.

    Args:
        name: Name of the variable.
        default: Value when it is not set; without a default it is required.
    """

    name: str = attrs.field(validator=_check_name)
    default: str | Required | None = attrs.field(default=REQUIRED, repr=short)


@attrs.frozen
class Inject(Placeholder):
    """Stands for a resource; made by :func:`inject`."""

    name: str = attrs.field(validator=_check_name)


def inject(name: str) -> Any:
    """The resource called *name*, as the default of a task's parameter or anywhere inside an argument."""
    return Inject(name)


def injections(func: Callable[..., object]) -> dict[str, Inject]:
    """The parameters of *func* whose default is a resource."""
    parameters = inspect.signature(func).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, Inject)}


@attrs.frozen(eq=False)
class Resource:
    """A provider of a resource: a generator function that yields it once and cleans up after.

    Attributes:
        name: The name by which tasks inject it.
        scope: ``"run"``: one instance per run; ``"task"``: one per node that injects it.
        func: The generator function.
        injects: Resources it needs itself, by parameter.
    """

    name: str
    scope: Scope
    func: Provider
    is_async: bool
    injects: dict[str, Inject]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the generator function itself, as without the decorator."""
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
    """Declare a provider: a sync or async generator function that yields the resource once.

    What stands before the ``yield`` sets up, what stands after it tears down; the exception that ends the scope
    is raised at the ``yield``. Parameters may inject other resources. A sync generator runs on one thread of its
    own, from set-up to tear-down, so a value tied to its thread must not be used elsewhere.

    Args:
        func: The generator function, when used without parentheses.
        name: Name to inject by; the function's own by default.
        scope: ``"run"`` (one instance for the run) or ``"task"`` (one per node that injects it).

    Raises:
        TypeError: If the function is no generator function.
    """
    if func is not None:
        return as_resource(func, name, scope)
    return lambda provider: as_resource(provider, name, scope)
