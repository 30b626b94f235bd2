"""What every stand-in for a value has in common."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, cast

from cascade.model.errors import LazyUseError

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # a TypeVar with a default, before Python 3.13

    V_co = TypeVar("V_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    V_co = TypeVar("V_co", covariant=True)
V = TypeVar("V")

PASS_IT_ON: Final = "pass it as an argument to a task that does this with the value"


class Placeholder(Generic[V_co]):
    """Something in the place of a value that is not known yet: a lazy, a Param, an Env, a Router, an injection.

    May stand anywhere in the arguments of a call, at any depth of containers: lists, tuples, sets, dict values,
    deques, attrs and dataclass instances, and those that the guide lists beside these.

    To use it as if it were the value is a :class:`LazyUseError`, which is a ``TypeError``: to ask for its truth,
    text, length, order, items or attributes, or to calculate with it. ``repr``, ``==`` and ``hash`` work.
    """

    __slots__ = ()

    def _refuse(self, what: str, remedy: str = PASS_IT_ON) -> NoReturn:
        raise LazyUseError(f"{self!r} stands for a value that is not known yet: it {what}; {remedy}")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What notebooks show: a picture of the flow as SVG and, of up to 100 nodes, as Mermaid; and text."""
        # By name, as this is the only thing here that needs to know of graphs.
        bundles = importlib.import_module("cascade.planning.bundles")
        return cast("dict[str, str]", bundles.bundle_of_flow(self, include, exclude))

    if not TYPE_CHECKING:
        # Hidden from type checkers, which would take a method for leave to use it.

        def __bool__(self) -> NoReturn:
            self._refuse("has no truth", "use .run_if(...) or a Router to decide by its value")

        def __str__(self) -> NoReturn:
            self._refuse("has no text", "pass it as an argument to a task that makes the text; {...!r} shows it")

        def __format__(self, _: str) -> NoReturn:
            self.__str__()

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("__") and name.endswith("__"):
                # Protocol probes (copy, pickle, dataclasses, doctest ...) expect the plain error.
                raise AttributeError(name)
            self._refuse(f"has no attribute {name!r}")

        def __iter__(self) -> NoReturn:
            self._refuse(
                "cannot be iterated", "use task.map(...) for its items, or pass it to a task that iterates"
            )

        def __len__(self) -> NoReturn:
            self._refuse("has no length")

        def __contains__(self, _: object) -> NoReturn:
            self._refuse("contains nothing yet")

        def __getitem__(self, _: object) -> NoReturn:
            self._refuse("cannot be indexed")

        def __await__(self) -> NoReturn:
            self._refuse("cannot be awaited", "return it from the task, or `await cascade.run(it)`")

        def _order(self, _: object) -> NoReturn:
            self._refuse("cannot be ordered")

        def _convert(self, *_: object) -> NoReturn:
            self._refuse("is no number, text or path")

        def _calculate(self, *_: object) -> NoReturn:
            self._refuse("cannot be calculated with")

        __lt__ = __le__ = __gt__ = __ge__ = _order
        __int__ = __float__ = __complex__ = __index__ = __bytes__ = __fspath__ = _convert
        __round__ = __trunc__ = __floor__ = __ceil__ = _convert
        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = __matmul__ = _calculate
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = __rmatmul__ = (
            _calculate
        )
        __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = __divmod__ = __rdivmod__ = _calculate
        __lshift__ = __rshift__ = __rlshift__ = __rrshift__ = _calculate
        __neg__ = __pos__ = __abs__ = __invert__ = _calculate


class OneOf(Placeholder[V], Generic[V]):
    """One of several values. It is known which when the flow runs."""

    __slots__ = ()
