"""What a flow takes from outside: parameters, environment variables, injected resources."""

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
    """A named input of the flow, given to ``run`` as ``params``.

    Text is converted to the type; a value of another kind is checked against it, and refused if it is none. Two
    Params of one name in one flow must be equal, apart from their descriptions.

    Args:
        name: Key in ``params``.
        default: Value when none is given; without a default the parameter is required. It is converted and checked
            as a value is, but for ``None``, which stands for itself.
        type: An annotation: a builtin, ``int | None``, ``Literal``, ``list[int]``, ``dict``, an Enum (by name or
            value), ``Path``, ``Decimal``, dates and times (ISO), an attrs or dataclass type, a pydantic model; or
            a function from text. Collections and records are read from JSON, lists also from ``1,2,3``. ``Any``
            takes everything as it is. By default the class of the default, otherwise ``str``.
        description: One line for ``--help``.
        validate: Called with each value that is not ``None``, once it is converted. It refuses by raising
            (``ValueError`` with the reason as its text) or by returning something false other than ``None``.
        secret: Whether the value, and whatever text contains it, is shown as ``***``.
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
        self.declare(name, default, type, description, validate, secret)

    def _missing(self) -> str:
        return f"missing parameter {self.name!r} ({self.kind_name}); pass params={{{self.name!r}: ...}}"


class Env(Input[T]):
    """An environment variable, read when the run starts.

    Args:
        name: Name of the variable.
        default: Value when it is not set; without a default it is required. Treated as that of a :class:`Param`.
        type: What the text is converted to, as for a :class:`Param`; ``str`` by default.
        validate: As of a :class:`Param`.
        secret: As of a :class:`Param`.
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
        self.declare(name, default, type, "", validate, secret)

    def _missing(self) -> str:
        return f"missing environment variable {self.name!r} ({self.kind_name}); set it, or give the Env a default"


@attrs.frozen
class Inject(Placeholder):
    """Stands for a resource; made by :func:`inject`."""

    name: str = attrs.field(validator=check_name)


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
