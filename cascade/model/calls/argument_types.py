"""What type checkers know of the arguments of a call: each may be of its type, or stand for a value of it.

A ``ParamSpec`` has all parameters of a function with their names and defaults, but cannot say "each of these, or a
placeholder for it". So ``Task.__call__`` has an overload that is the function's own signature, and one for each
number of positional arguments, up to eight. The latter learn the types of the first parameters from ``Takes1`` to
``Takes8``, which a task is one of if its function can be called with so many positional arguments.

What was tried, with mypy and pyright:

- One overload that takes anything, beside that of the ``ParamSpec``: nothing is refused.
- ``self: Task[Concatenate[A1, Q], R]``: pyright infers ``A1``; mypy takes it for ``Never``.
- A protocol with a property that is a ``Callable``: mypy infers it; pyright takes the callable for a method.
- A protocol with a method, as here: both infer the same, from a plain installation.
- A plugin for mypy could check keywords and the items of containers too. It was not built: it would depend on the
  inside of mypy, everybody who uses the library would have to switch it on, and pyright would stay as it is.

Right calls are never to be refused, so these are accepted unseen: containers of the usual kinds, in which
placeholders may stand at any depth; keywords, since a call that gives one may leave out positions; what is called
through an instance, since an attribute may also just keep a task; and generic functions, since their type
variables would stand for the placeholder instead of its value.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeAlias, TypeVar

from cascade.model.placeholders import OneOf, Placeholder

A = TypeVar("A")
A1 = TypeVar("A1", contravariant=True)
A2 = TypeVar("A2", contravariant=True)
A3 = TypeVar("A3", contravariant=True)
A4 = TypeVar("A4", contravariant=True)
A5 = TypeVar("A5", contravariant=True)
A6 = TypeVar("A6", contravariant=True)
A7 = TypeVar("A7", contravariant=True)
A8 = TypeVar("A8", contravariant=True)


class Free(list["Free"]):
    """Of no value: a function takes one and gives it back only if it is generic, or takes and gives anything."""


OfFree: TypeAlias = Free | list[Free] | tuple[Free, ...] | dict[Any, Free] | set[Free]


class Anything(Protocol[A1]):
    """Everything, if ``A1`` is ``Never``; nothing otherwise."""

    def __delattr__(self, name: A1, /) -> None: ...  # type: ignore[override]  # that of object takes a str
    def __reduce_ex__(self, protocol: A1, /) -> str | tuple[Any, ...]: ...  # type: ignore[override]  # a number


# Placeholders may stand inside of these.
Container: TypeAlias = MutableSequence[Any] | tuple[Any, ...] | AbstractSet[Any] | Mapping[Any, Any]
# What a placeholder stands for may be a flow in turn: a task may return one, or pass its argument on.
Arg: TypeAlias = A | Placeholder[A | Placeholder[A]] | OneOf[object] | Container | Anything[A]


class Takes1(Protocol[A1]):
    """Can be called with 1 positional argument of these types."""

    def _takes(self, a1: A1, /, *args: Any, **kwargs: Any) -> Any: ...


class Takes2(Protocol[A1, A2]):
    """Can be called with 2 positional arguments of these types."""

    def _takes(self, a1: A1, a2: A2, /, *args: Any, **kwargs: Any) -> Any: ...


class Takes3(Protocol[A1, A2, A3]):
    """Can be called with 3 positional arguments of these types."""

    def _takes(self, a1: A1, a2: A2, a3: A3, /, *args: Any, **kwargs: Any) -> Any: ...


class Takes4(Protocol[A1, A2, A3, A4]):
    """Can be called with 4 positional arguments of these types."""

    def _takes(self, a1: A1, a2: A2, a3: A3, a4: A4, /, *args: Any, **kwargs: Any) -> Any: ...


class Takes5(Protocol[A1, A2, A3, A4, A5]):
    """Can be called with 5 positional arguments of these types."""

    def _takes(self, a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, /, *args: Any, **kwargs: Any) -> Any: ...


class Takes6(Protocol[A1, A2, A3, A4, A5, A6]):
    """Can be called with 6 positional arguments of these types."""

    def _takes(self, a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, /, *args: Any, **kwargs: Any) -> Any: ...


class Takes7(Protocol[A1, A2, A3, A4, A5, A6, A7]):
    """Can be called with 7 positional arguments of these types."""

    def _takes(
        self, a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, /, *args: Any, **kwargs: Any
    ) -> Any: ...


class Takes8(Protocol[A1, A2, A3, A4, A5, A6, A7, A8]):
    """Can be called with 8 positional arguments of these types."""

    def _takes(
        self, a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, /, *args: Any, **kwargs: Any
    ) -> Any: ...
