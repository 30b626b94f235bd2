"""Signals: values that arrive from outside while a run goes on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, TypeVar, cast, overload

import attrs

from cascade.model.calls.callee import Mode
from cascade.model.calls.checked import checked_timeout
from cascade.model.calls.signatures import Arity, arity_of
from cascade.model.lazies import LazyResult, sealed
from cascade.model.policies import NOTHING_SAID, Policies
from cascade.model.typed.declared import REQUIRED, Input, Required

T = TypeVar("T")


class Signal(Input[T]):
    """What is declared of a signal: its name, its type, and the value that it has if it does not come in time."""

    __slots__ = ()

    _noun: ClassVar[str] = "signal"

    def __init__(self, name: str, default: Any, type: Any, description: str) -> None:
        self.declare(name, default, type, description=description, validate=None, secret=False)

    def _missing(self) -> str:
        return f"signal {self.name!r} has no default"


async def _awaited() -> None:
    """In the place of a function: nothing is called for a signal."""


_NO_ARGUMENTS: Final = arity_of("signal", _awaited, inspect.signature(_awaited))


@attrs.define(eq=False, slots=False)
class SignalTask:
    """What the call of a signal calls, for graphs and runs, which know tasks by ``Callee``. It is never called.

    Calls of it are no plain calls, as they count as pure: so lanes and the code of loops leave them alone. As each
    signal has a task of its own, two calls are never taken for one.

    Attributes:
        declared: The signal.
        timeout: Seconds for which it is waited for; ``None`` for no limit.
    """

    declared: Signal[Any]
    timeout: float | None = None
    name: str = attrs.field(init=False)
    version: str | None = attrs.field(init=False)
    func: Callable[..., Any] = attrs.field(default=_awaited, init=False)
    mode: Mode | None = attrs.field(default="task", init=False)
    is_async: bool = attrs.field(default=True, init=False)
    is_pure: bool = attrs.field(default=True, init=False)
    abandon_on_cancel: bool = attrs.field(default=False, init=False)
    policies: Policies = attrs.field(default=NOTHING_SAID, init=False)
    signature: inspect.Signature | None = attrs.field(default=None, init=False)
    arity: Arity = attrs.field(default=_NO_ARGUMENTS, init=False)
    known_codes: dict[object, tuple[Sequence[object], bytes]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.name = self.__qualname__ = self.declared.name
        # What a digest says of its code. The default and the timeout are left out, like those of other calls.
        self.version = f"signal of {self.declared.kind_name}"

    @property
    def full_name(self) -> str:
        """As tasks have it."""
        return f"{self.__module__}.{self.name}"

    @property
    def has_default(self) -> bool:
        """Whether there is a value for the case that it does not come in time."""
        return not isinstance(self.declared.default, Required)

    def agrees_with(self, other: SignalTask) -> bool:
        """Whether both may stand in one run: they differ in nothing but the description."""
        mine, others = self.declared, other.declared
        if self.timeout != other.timeout or not mine.agrees_with(others):
            return False
        return mine.default is others.default or is_same_value(mine.default, others.default)

    def __reduce__(self) -> tuple[object, ...]:
        said = self.declared
        default = (said.default,) if self.has_default else None
        return _declared, (said.name, said.type, default, self.timeout)


def _declared(name: str, type: Any, default: tuple[Any] | None, timeout: float | None) -> SignalTask:
    """A signal that was pickled."""
    return SignalTask(Signal(name, REQUIRED if default is None else default[0], type, ""), timeout)


def is_same_value(value: object, other: object) -> bool:
    """Whether two values for a signal say the same: of one class, and equal. Never raises."""
    if value is other:
        return True
    try:
        return type(value) is type(other) and bool(value == other)
    except Exception:  # user code compares them
        return False


@overload
def signal(name: str, *, timeout: float | None = ..., description: str = ...) -> LazyResult[str]: ...
@overload
def signal(
    name: str,
    type: type[T] | Callable[[str], T],
    default: T = ...,
    timeout: float | None = ...,
    description: str = ...,
) -> LazyResult[T]: ...
@overload
def signal(
    name: str, type: object = ..., default: object = ..., timeout: float | None = ..., description: str = ...
) -> LazyResult[Any]: ...
def signal(
    name: str,
    type: Any = str,
    default: Any = REQUIRED,
    timeout: float | None = None,
    description: str = "",
) -> LazyResult[Any]:
    """A value that somebody sends while the run goes on: an approval, an answer, a file that has arrived.

    It may stand wherever a call may stand: as an argument, a condition, a selector, a target, inside containers.
    Waiting for it starts nothing and holds no thread, task, slot or claim. What does not need it runs meanwhile.
    All signals of one name in a run have one value: the first that was accepted. ``run.send``, ``cascade.send``
    and the command line send values.

    A signal is waited for from when it is wanted: as soon as the flow in which it stands begins, or a router has
    chosen it. With ``.after(call)`` it is wanted once that call has succeeded; ``.run_if(...)`` skips it.

    Args:
        name: Its name, and the id of its node.
        type: What values are converted to and checked against, as for a :class:`~cascade.Param`; ``str`` by
            default.
        default: The value if *timeout* has passed. Without a default, that is a ``TaskTimeoutError``. It is
            converted and checked like a value, except ``None``, which stays as it is.
        timeout: Seconds from when it is wanted, more than 0. With a state, the time in which no process executes
            the run counts too. ``None`` (default): no limit, so that a default has no effect.
        description: One line for people. Empty by default.

    Raises:
        TypeError: If *type* is neither an annotation nor a function.
        ValueError: If *name* is empty or no string, *timeout* is no positive number, or *default* is not valid.
    """
    declared: Signal[Any] = Signal(name, default, type, description)
    if default is not REQUIRED:
        declared.resolved_default()
    return sealed(LazyResult, cast("Any", SignalTask(declared, checked_timeout(timeout))), (), {})
