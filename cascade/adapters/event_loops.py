"""Event loops other than that of the standard library."""

from __future__ import annotations

import importlib


def check_backend(backend: str) -> None:
    """See that the library of an event loop, ``"asyncio"`` or ``"trio"``, is installed.

    Raises:
        ImportError: If it is not. AnyIO would raise a ``LookupError`` that names an extra of its own.
    """
    if backend != "trio":
        return
    try:
        importlib.import_module("trio")
    except ModuleNotFoundError as error:
        if error.name != "trio":  # it is there, and lacks something
            raise
        raise ImportError(
            "backend 'trio' needs Trio, which is not installed; install the extra: "
            'pip install "cascade-anyio[trio]"'
        ) from error
