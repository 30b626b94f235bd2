"""What parameters and environment variables of a flow have in common: a declared type, a default, a check."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from inspect import iscoroutinefunction
from typing import Any, ClassVar, Final, TypeVar, cast

import attrs

from cascade.model.placeholders import Placeholder
from cascade.model.shown.raised import describe
from cascade.model.shown.secrets import MARK, without
from cascade.model.shown.text import preview
from cascade.model.typed.kinds import Mismatch, is_kind, is_same, kind_of, names_in

T = TypeVar("T")


class Required(Enum):
    """Stands for the default of an input that has none."""

    REQUIRED = "required"

    def __repr__(self) -> str:
        return "<required>"


REQUIRED: Final = Required.REQUIRED


def check_name(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    """See that what something is called is a name."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{attribute.name} must be a non-empty string, not {value!r}")


@attrs.frozen(init=False, eq=False, repr=False)
class Input(Placeholder[T]):
    """Base class of :class:`Param` and :class:`Env`: a name, a default, and how a value is converted.

    Attributes:
        name: Its name.
        default: The value if none is given; :data:`REQUIRED` if there must be one.
        type: The type to which values are converted and against which they are checked.
        validate: The function that each value has to pass; ``None``: there is none.
        secret: Whether values are shown as ``***``.
        description: One line for people.
    """

    name: str = attrs.field(validator=check_name)
    default: T | Required
    type: Any
    description: str = ""
    validate: Callable[[Any], object] | None = None
    secret: bool = False

    # In messages, what such an input is.
    _noun: ClassVar[str] = "input"

    def declare(
        self,
        name: str,
        default: Any,
        type: Any,
        *,
        description: str,
        validate: Callable[[Any], object] | None,
        secret: bool,
    ) -> None:
        """Set the fields, after checks. Called by ``__init__``.

        Args:
            name: Its name; not empty.
            default: The value if none is given, or ``REQUIRED``.
            type: The type. ``None``: the class of *default*, or ``str`` without one.
            description: One line for people.
            validate: The function that each value has to pass. ``None``: there is none.
            secret: Whether values are shown as ``***``.

        Raises:
            TypeError: If *type* is neither an annotation nor a function, or has a name in quotes in it, or
                *validate* is no function.
            ValueError: If *name* is empty or no string.
        """
        kind = (str if default is REQUIRED else kind_of(default)) if type is None else type
        who = f"{self.__class__.__name__} {name!r}"
        if not is_kind(kind):
            raise TypeError(f"type of {who} must be an annotation, or a callable from text, not {kind!r}")
        for unknown in names_in(kind):
            raise TypeError(f"type of {who} names {unknown!r} in quotes: give the class itself")
        if validate is not None and not callable(validate):
            raise TypeError(f"validate of {who} must be a function of the value, not {validate!r}")
        if iscoroutinefunction(validate):
            raise TypeError(f"validate of {who} must be a sync function, not {validate!r}, which is async")
        self.__attrs_init__(name, default, kind, description, validate, secret)

    def convert(self, raw: object) -> T:
        """Convert and check a value: text is converted, any other value is checked.

        Args:
            raw: The value, or text for one.

        Raises:
            ValueError: If *raw* is not of the type and cannot be converted, or ``validate`` refuses it.
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
        """The type as users write it, such as ``list[int]``."""
        from cascade.model.typed.words import name_of

        return name_of(self.type)

    def resolved_default(self) -> T:
        """The default, converted and checked like a value. ``None`` stays as it is.

        Raises:
            ValueError: If there is no default, or it is not valid.
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
        """Whether both may stand in one flow. Their defaults are compared elsewhere.

        Args:
            other: The other input.
        """
        return (
            type(self) is type(other)
            and is_same(self.type, other.type)
            and is_same(self.validate, other.validate)
            and self.secret == other.secret
        )

    def __repr__(self) -> str:
        default = "" if self.default is REQUIRED else f", default={MARK if self.secret else preview(self.default)}"
        secret = ", secret=True" if self.secret else ""
        return f"{type(self).__name__}({self.name!r}{default}, type={self.kind_name}{secret})"
