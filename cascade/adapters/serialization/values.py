"""Values as bytes: by pickle or, for what pickle refuses, by cloudpickle if it is installed."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable, Iterator
from typing import Any, Final

from cascade.model.shown.raised import describe
from cascade.model.tasks import Task

EXTRA: Final = "pip install 'cascade-anyio[process]'"


def code_dumps() -> Callable[..., bytes] | None:
    """``by_value.dumps``, which sends functions and classes with their code; ``None`` without cloudpickle."""
    try:
        module = importlib.import_module("cascade.adapters.serialization.by_value")
    except ImportError:
        return None
    by_value: Callable[..., bytes] = module.dumps
    return by_value


def dumps(value: object, *, shares_main: bool = True) -> bytes:
    """*value* as bytes.

    Args:
        value: Anything.
        shares_main: Whether the process that reads the bytes can import what ``__main__`` defines. If not, that is
            sent together with its code.

    Raises:
        Exception: Whatever pickling the value raises.
    """
    if not shares_main and (by_value := code_dumps()) is not None:
        return by_value(value, shares_main=False)
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # pickling runs the value's __reduce__; cloudpickle may still be able to do it
        by_value = code_dumps()
        if by_value is None:
            raise
    return by_value(value, shares_main=shares_main)


def shortened(error: BaseException) -> str:
    """``"Type: message"`` in one line of at most 200 characters."""
    text = " ".join(describe(error).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def named_arguments(
    task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The arguments of a call by the names of their parameters; those of ``*args`` are ``args[0]`` and so on."""
    if task.signature is None:
        yield from ((f"number {index + 1}", value) for index, value in enumerate(args))
        yield from kwargs.items()
        return
    for name, value in task.signature.bind(*args, **kwargs).arguments.items():
        kind = task.signature.parameters[name].kind
        if kind is kind.VAR_POSITIONAL:
            yield from ((f"{name}[{index}]", item) for index, item in enumerate(value))
        elif kind is kind.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def dump_arguments(
    task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, shares_main: bool = True
) -> bytes:
    """The arguments of a call of *task* as bytes: a pickled pair of positional and keyword arguments.

    Raises:
        TypeError: If an argument cannot be pickled; names the argument.
    """
    try:
        return dumps((args, kwargs), shares_main=shares_main)
    except Exception as error:
        for name, value in named_arguments(task, args, kwargs):
            try:
                dumps(value, shares_main=shares_main)
            except Exception as culprit:
                raise unsendable_argument(task, name, culprit) from culprit
        raise unsendable_argument(task, None, error) from error


def unsendable_argument(task: Task[..., Any], name: str | None, error: Exception) -> TypeError:
    """The error for an argument that cannot be pickled; ``None``: it is not known which one."""
    which = "the arguments" if name is None else f"argument {name!r}"
    return TypeError(
        f"{which} of {task.name!r} cannot be sent to another process: {shortened(error)}; {_remedy('pass')}"
    )


def unreadable_argument(task: Task[..., Any], name: str | None, reason: str) -> TypeError:
    """The error for an argument that cannot be unpickled where it arrives; ``None``: it is not known which one."""
    which = "the arguments" if name is None else f"argument {name!r}"
    return TypeError(
        f"{which} of {task.name!r} cannot be read in the other process: {reason}; its class must be importable "
        "there, and what it pickles to must be enough to make an instance"
    )


def unsendable_result(task: Task[..., Any], reason: str) -> TypeError:
    """The error for a result that cannot be pickled."""
    return TypeError(f"the result of {task.name!r} cannot leave its process: {reason}; {_remedy('return')}")


def unreadable_result(task: Task[..., Any], error: Exception) -> TypeError:
    """The error for a result that cannot be unpickled where it arrives."""
    return TypeError(
        f"the result of {task.name!r} cannot be read in this process: {shortened(error)}; its class must be "
        "importable here, and what it pickles to must be enough to make an instance"
    )


def _remedy(verb: str) -> str:
    """What the user can do about a value that cannot be pickled."""
    remedy = f"{verb} plain data from which it can be made again, or run the task in a thread"
    if code_dumps() is None:
        return f"{remedy}; functions and classes that are not importable need cloudpickle ({EXTRA})"
    return remedy
