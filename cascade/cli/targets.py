"""From ``module:name`` or ``path/to/file.py:name`` to a flow."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import operator
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from cascade.model.errors import CascadeError
from cascade.model.placeholders import Placeholder
from cascade.model.shown.raised import describe
from cascade.model.shown.text import preview
from cascade.model.shown.tracebacks import is_ours


class UsageError(CascadeError, ValueError):
    """What was asked for on the command line has no meaning."""


def load_flow(target: str) -> Any:
    """The flow that *target* names.

    Args:
        target: ``module:name`` or ``path/to/file.py:name``; the name may be dotted, and stand for a lazy, a
            Router, a container of them, or a function that returns one.

    Raises:
        UsageError: If it names nothing that can be run.
    """
    place, separator, name = target.rpartition(":")
    if not separator or not place or not name:
        raise UsageError(f"{target!r} is no target; write module:name or path/to/file.py:name")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    try:
        found = operator.attrgetter(name)(module)
    except AttributeError:
        raise UsageError(f"{place} has no {name!r}; it has: {_flow_names(module)}") from None
    except Exception as error:  # a module's __getattr__, or a property
        raise UsageError(f"cannot get {name!r} from {place}: {_culprit(error)}") from error
    return _flow_of(found, target)


def working_folder() -> str:
    """The working directory.

    Raises:
        UsageError: If it has been removed.
    """
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError("the working directory is gone; go to one that is there") from error


def _load_module(name: str) -> ModuleType:
    folder = working_folder()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"cannot import {name!r}: {_culprit(error)}") from error


def _load_file(path: Path) -> ModuleType:
    """Import a file as a script's own directory would, under its stem."""
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # a .py file always has one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[path.stem]
        raise UsageError(f"cannot import {str(path)!r}: {_culprit(error)}") from error
    return module


def _culprit(error: BaseException) -> str:
    """What went wrong and, unless the error says it itself, in which line of the user's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_ours(frame.filename)]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return describe(error) + ("" if isinstance(error, (SyntaxError, ImportError)) else where)


def _flow_names(module: ModuleType) -> str:
    names = [name for name, thing in vars(module).items() if isinstance(thing, Placeholder)]
    return ", ".join(names) or "no flow at its top level"


def _flow_of(found: Any, target: str) -> Any:
    if inspect.iscoroutinefunction(found):
        raise UsageError(f"{target} is an async function, which is no flow; name a lazy or a sync function")
    if callable(found):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise UsageError(f"{target} could not be called to get a flow: {_culprit(error)}") from error
    if not isinstance(found, (Placeholder, list, tuple, dict, set, frozenset)):
        raise UsageError(
            f"{target} is {preview(found):.60}, which is no flow; name a lazy, or a function that returns one"
        )
    return found
