"""What a flow takes from outside: parameters, environment variables, injected resources."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar, cast, overload

import attrs

from cascade.model.errors import describe
from cascade.model.events import preview
from cascade.model.placeholders import Placeholder
from cascade.model.secrets import MARK, without
from cascade.model.typed.kinds import Mismatch, is_kind, kind_of

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


def _check_name(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{attribute.name} must be a non-empty string, not {value!r}")


@attrs.frozen(init=False, eq=False, repr=False)
class Input(Placeholder, Generic[T]):
    """What :class:`Param` and :class:`Env` have in common: a name, a default, and how a value is converted.

    Attributes:
        name: What it is called.
        default: The value when none is given; :data:`REQUIRED` if there must be one.
        type: What values are converted to and checked against.
        validate: What each value has to pass, if anything.
        secret: Whether values are shown as ``***``.
        description: One line for people.
    """

    name: str = attrs.field(validator=_check_name)
    default: T | Required
    type: Any
    description: str = ""
    validate: Callable[[Any], object] | None = None
    secret: bool = False

    # In messages, what such an input is.
    _noun: ClassVar[str] = "input"

    def _declare(
        self,
        name: str,
        default: Any,
        type: Any,
        description: str,
        validate: Callable[[Any], object] | None,
        secret: bool,
    ) -> None:
        kind = (str if default is REQUIRED else kind_of(default)) if type is None else type
        who = f"{self.__class__.__name__} {name!r}"
        if not is_kind(kind):
            raise TypeError(f"type of {who} must be an annotation, or a callable from text, not {kind!r}")
        if validate is not None and not callable(validate):
            raise TypeError(f"validate of {who} must be a function of the value, not {validate!r}")
        self.__attrs_init__(name, default, kind, description, validate, secret)

    def convert(self, raw: object) -> T:
        """The value that *raw* stands for: text is converted, any other value is checked.

        Raises:
            ValueError: If it stands for none, or ``validate`` refuses it.
            ImportError: If the type needs a library that is not installed.
        """
        # Flows without inputs start sooner without these.
        from cascade.model.typed.convert import converted
        from cascade.model.typed.words import described

        try:
            value = converted(raw, self.type)
        except Mismatch as error:
            must = f"{self._noun} {self.name!r} must be {described(self.type)}"
            if self.secret:
                raise ValueError(
                    f"{must}; what was given is something else (it is secret, so it is not shown)"
                ) from None
            raise ValueError(f"{must}, not {preview(raw)}{f': {error}' if str(error) else ''}") from error
        if value is not None and self.validate is not None:
            self._check(value, raw)
        return cast("T", value)

    def _check(self, value: object, raw: object) -> None:
        """See that ``validate`` accepts *value*: that it raises nothing and returns ``None`` or something true."""
        assert self.validate is not None
        try:
            verdict = self.validate(value)
            if verdict is None or verdict:
                return
            why = f"{getattr(self.validate, '__name__', repr(self.validate))} refuses it"
        except Exception as error:  # whatever the function finds wrong with the value
            why = str(error) if isinstance(error, ValueError) else describe(error)
            if self.secret:
                why = without(why, raw, value)
            raise ValueError(f"{self._refused(raw)}: {why}") from (None if self.secret else error)
        raise ValueError(f"{self._refused(raw)}: {why}")

    def _refused(self, raw: object) -> str:
        return f"{self._noun} {self.name!r} must not be {MARK if self.secret else preview(raw)}"

    @property
    def kind_name(self) -> str:
        """What users call the type, such as ``list[int]``."""
        from cascade.model.typed.words import name_of

        return name_of(self.type)

    def resolved_default(self) -> T:
        """The default, converted and checked as a value is, but for ``None``, which stands for itself.

        Raises:
            ValueError: If there is none, or it means nothing.
        """
        if isinstance(self.default, Required):
            raise ValueError(self._missing())
        if self.default is None:
            return cast("T", None)
        try:
            return self.convert(self.default)
        except ValueError as error:
            raise ValueError(f"the default of {error}") from error

    def _missing(self) -> str:
        raise NotImplementedError

    def agrees_with(self, other: Input[Any]) -> bool:
        """Whether both may stand in one flow; apart from their defaults, which are compared elsewhere."""
        return (
            type(self) is type(other)
            and _is_same(self.type, other.type)
            and _is_same(self.validate, other.validate)
            and self.secret == other.secret
        )

    def __repr__(self) -> str:
        default = "" if self.default is REQUIRED else f", default={MARK if self.secret else preview(self.default)}"
        secret = ", secret=True" if self.secret else ""
        return f"{type(self).__name__}({self.name!r}{default}, type={self.kind_name}{secret})"


def _is_same(one: object, other: object) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # it has an equality that raises
        return False


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
        self._declare(name, default, type, description, validate, secret)

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
        self._declare(name, default, type, "", validate, secret)

    def _missing(self) -> str:
        return f"missing environment variable {self.name!r} ({self.kind_name}); set it, or give the Env a default"


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
