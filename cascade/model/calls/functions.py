"""Which functions can be tasks, and how they may be run."""

from __future__ import annotations

import functools
import inspect
from types import MethodType
from typing import Final

_SYNC_MODES: Final = ("thread", "inline", "process", "remote")


def is_async_function(func: object, name: str) -> bool:
    """Whether calling *func* gives a coroutine.

    Raises:
        TypeError: If it cannot be a task.
    """
    if not callable(func) or isinstance(func, type):
        raise TypeError(f"a task wraps a function, not {func!r}")
    while isinstance(func, (functools.partial, MethodType, staticmethod)):
        func = func.func if isinstance(func, functools.partial) else func.__func__
    call = getattr(func, "__call__", None)  # noqa: B004  # what it is may be said by the object's __call__
    if any(inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called) for called in (func, call)):
        raise TypeError(
            f"{name} is a generator function, which cannot be a task; return a list, or declare it with "
            "@cascade.resource if it sets something up"
        )
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(call)


def check_texts(**texts: object) -> None:
    """See that settings of a task, by name, are strings where they are said.

    Raises:
        TypeError: If one is something else.
    """
    for setting, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{setting} of a task is a string, not {text!r}")


def check_mode(name: str, mode: object, is_async: bool, abandon_on_cancel: bool) -> None:
    """See that *mode* is one for the task *name*, and that *abandon_on_cancel* means something for it.

    Raises:
        ValueError: If not.
    """
    if is_async and mode not in (None, "task"):
        raise ValueError(f'{name} is async: its mode can only be "task" (a task of its own), not {mode!r}')
    if not is_async and mode not in (None, *_SYNC_MODES):
        raise ValueError(f'the mode of {name} is "thread", "inline", "process" or "remote", not {mode!r}')
    if abandon_on_cancel and (is_async or mode not in (None, "thread")):
        raise ValueError(f"abandon_on_cancel is about threads, and {name} does not run in one")
