"""What a module is called, however its program was started, and where its code lives.

The same file is ``__main__`` when it is run as a script or with ``python -m``, and ``job`` or ``pkg.job`` when it
is imported. Digests must not depend on that.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

# ``multiprocessing`` and AnyIO import the script of their parent under the second name.
_SCRIPTS: Final = ("__main__", "__mp_main__")
# Tells this process from all others, and its forks not from it.
_SESSION: Final = os.urandom(16)
_MOST_WRAPPED: Final = 32
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def module_name(name: str, namespace: Mapping[str, Any] | None = None) -> str:
    """The name under which the module called *name* in this process can be imported.

    Args:
        name: ``__name__`` of the module, or ``__module__`` of what it defines.
        namespace: The variables of the module, if they are at hand.

    Returns:
        For a script: the name of its module if it was started by ``python -m``, else the name that its file has
        as a module. ``__main__`` for a session without a file (a notebook, an interpreter, ``python -c``).
    """
    if "." in name:
        return name
    space = _variables(name) if namespace is None else namespace
    if name in _SCRIPTS:
        spec = getattr(space.get("__spec__"), "name", None)
        if isinstance(spec, str) and spec not in _SCRIPTS:
            return spec
    file = space.get("__file__")
    if not isinstance(file, str):
        return "__main__" if name in _SCRIPTS else name
    found = _name_of_file(os.path.abspath(file))
    # A file may have been loaded under its stem although it belongs to a package.
    return found if name in _SCRIPTS or found.endswith(f".{name}") else name


def _variables(name: str) -> Mapping[str, Any]:
    return getattr(sys.modules.get(name), "__dict__", {})


@functools.lru_cache(maxsize=4096)
def _name_of_file(path: str) -> str:
    """The dotted name of the module in the file *path*: each folder above with an ``__init__.py`` is a package."""
    folder, base = os.path.split(path)
    stem = os.path.splitext(base)[0]
    parts = [] if stem == "__init__" else [stem]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.append(package)
    if parts == ["__main__"]:  # of a folder that is run as a program
        parts.append(os.path.basename(folder))
    return ".".join(reversed(parts))


def qualified_name(thing: Any) -> bytes:
    """``module.qualname`` of a class, a function or a task, with the name of its module as :func:`module_name`
    gives it."""
    module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    name = module_name(module, namespace_of(thing, module)) if isinstance(module, str) else ""
    return f"{name}.{qualname}".encode()


def namespace_of(thing: Any, module: str) -> Mapping[str, Any]:
    """The variables of the module called *module*, in which *thing* was defined."""
    if not isinstance(thing, type):
        for _ in range(_MOST_WRAPPED):  # a decorator gives what it returns the name of what it wraps
            space = getattr(thing, "__globals__", None)
            if type(space) is dict and space.get("__name__") == module:
                return space
            thing = getattr(thing, "__wrapped__", None)
            if thing is None:
                break
    return _variables(module)


def home(module: str, namespace: Mapping[str, Any] | None = None) -> str | bytes:
    """What tells the module called *module* from another of that name; empty if the name is enough.

    A module in a package, or one that is installed, is known by its name. A lone file counts with its folder, a
    notebook with its path, and any other session counts as itself: another never has the same.
    """
    space = _variables(module) if namespace is None else namespace
    file = space.get("__file__")
    if isinstance(file, str):
        folder = os.path.dirname(os.path.realpath(file))
        is_installed = module in sys.stdlib_module_names or not _INSTALLED.isdisjoint(folder.split(os.sep))
        return "" if is_installed or "." in module_name(module, space) else folder
    if module not in _SCRIPTS:
        return ""
    notebook = space.get("__vsc_ipynb_file__", space.get("__session__"))  # set by VS Code, and by IPython
    return os.path.realpath(notebook) if isinstance(notebook, str) else _SESSION
