"""What is wrong with arguments that do not fit a signature, in words."""

from __future__ import annotations

from typing import Any

from cascade.model.calls.callee import Callee
from cascade.model.shown.secrets import redacted


def misfit(callee: Callee, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_whole: bool = True) -> TypeError:
    """The error for arguments that do not fit. A wrong name is reported before what is missing.

    Args:
        callee: What would be called.
        args: Positional arguments.
        kwargs: Arguments by name.
        is_whole: Whether these are all arguments of a call. True by default; false for those of a partial.
    """
    assert callee.signature is not None  # what has none takes any arguments
    where = f"{callee.name}{callee.signature}"
    for name in kwargs:
        if not callee.arity.takes(name):
            import difflib  # here, as it is needed for errors only

            alike = difflib.get_close_matches(name, callee.arity.places, n=1)
            remedy = f"; did you mean {alike[0]!r}?" if alike else ""
            return TypeError(f"{where}: got an unexpected keyword argument {name!r}{remedy}")
    try:
        (callee.signature.bind if is_whole else callee.signature.bind_partial)(*args, **kwargs)
    except TypeError as error:
        return TypeError(f"{where}: {error}")
    # Python 3.13.0 and .1 bind what a call would refuse: a positional-only parameter given by its name.
    return TypeError(f"{where}: a positional argument is missing")  # pragma: no cover  # see above


def unnamed_values(callee: Callee, given: int, method: str, rule: str, values: tuple[object, ...]) -> TypeError:
    """The error for values that a method takes by name only, and got without names.

    Args:
        callee: What would be called.
        given: Number of positional arguments that it has already.
        method: Name of the method.
        rule: What the method wants, in words.
        values: The values.
    """
    name, arity = callee.name, callee.arity
    names = [arity.name_of(given + place) or f"parameter{place}" for place in range(len(values))]
    shown = ", ".join(
        f"{name}={redacted(repr(value)):.40}" for name, value in zip(names[:3], values, strict=False)
    )
    more = ", ..." if len(values) > 3 else ""
    return TypeError(f"{name}.{method}(): {rule}: {name}.{method}({shown}{more})")
