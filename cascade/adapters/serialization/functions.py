"""References to the functions of tasks: by name, or with their code if another process cannot import them."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

from cascade.adapters.serialization.main_module import MainModule
from cascade.adapters.serialization.values import EXTRA, code_dumps, shortened
from cascade.model.errors import GraphError
from cascade.model.tasks import Task

# Module and qualified name of the task, or its pickled function.
Reference = tuple[str, str] | bytes


def name_of(task: Task[..., Any], *, shares_main: bool) -> tuple[str, str] | None:
    """Module and qualified name under which another process finds *task*; ``None`` if there is no such name."""
    module, qualname = task.__module__, task.__qualname__
    if module == "__main__" and not shares_main:
        return None
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return (module, qualname) if found is task else None


def check_function(task: Task[..., Any]) -> None:
    """Check that the function of *task* can be sent to a worker process of this machine.

    Raises:
        GraphError: If it has no importable name, and cloudpickle is not installed.
    """
    if name_of(task, shares_main=MainModule.here() is not None) is None and code_dumps() is None:
        raise GraphError(
            f"{task.name!r} cannot run in a worker process, which cannot import {_where(task)}; define it at the "
            f"top level of a module, or install cloudpickle ({EXTRA})"
        )


def refer(task: Task[..., Any], *, shares_main: bool = True) -> Reference:
    """A reference to the function of *task*, for :func:`resolve`.

    Args:
        task: The task.
        shares_main: Whether the other process can import what ``__main__`` defines.

    Raises:
        GraphError: If the function can be sent neither by name nor with its code.
    """
    name = name_of(task, shares_main=shares_main)
    if name is not None:
        return name
    by_value = code_dumps()
    if by_value is None:
        check_function(task)
        raise AssertionError("unreachable")  # pragma: no cover
    try:
        return by_value(task.func, shares_main=shares_main)
    except Exception as error:
        raise GraphError(
            f"{task.name!r} cannot be sent to another process, which cannot import {_where(task)}: "
            f"{shortened(error)}; define it at the top level of a module, or pass what it uses as arguments"
        ) from error


def _where(task: Task[..., Any]) -> str:
    """The full name of *task*, and why it cannot be imported."""
    name = f"{task.__module__}.{task.__qualname__}"
    if task.__module__ == "__main__" and MainModule.here() is None:
        return f"{name} (typed into a notebook or console, or given by -c)"
    if "<locals>" in task.__qualname__ or "<lambda>" in task.__qualname__:
        return f"{name} (defined inside a function, or a lambda)"
    return f"{name} (that name stands for something else)"


def resolve(reference: Reference) -> Callable[..., Any]:
    """In the other process: the function of a reference.

    Raises:
        BaseException: Whatever importing or unpickling the function raises.
    """
    if isinstance(reference, bytes):
        function: Callable[..., Any] = pickle.loads(reference)
        return function
    module, qualname = reference
    found: Any = importlib.import_module(module)  # waits for another thread that imports it just now
    for part in qualname.split("."):
        found = getattr(found, part)
    return found.func  # type: ignore[no-any-return]  # of the task
