"""``__main__`` in another process: the script that was started has this name in its own process only."""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType
from typing import Any, Self

import attrs

from cascade.runtime.foundation.task_context import loading_main

# The name of the script in other processes. It is the one that multiprocessing uses, which libraries know.
ALIAS = "__mp_main__"


@attrs.frozen
class MainModule:
    """Where another process finds what ``__main__`` defines.

    Attributes:
        name: The module that was started by ``python -m``; ``None`` if a file was started.
        path: The file of the script.
    """

    name: str | None
    path: str

    @classmethod
    def here(cls) -> Self | None:
        """The script of this process; ``None`` in a notebook or console, and for ``python -c``."""
        main: Any = sys.modules["__main__"]
        name = getattr(getattr(main, "__spec__", None), "name", None)
        path = getattr(main, "__file__", None)
        is_typed_in = hasattr(sys, "ps1") or sys.flags.interactive
        if is_typed_in or not isinstance(path, str) or not os.path.isfile(path):
            return None
        # For a folder that was started, the name is "__main__", which cannot be imported.
        return cls(None if name == "__main__" else name, os.path.abspath(path))

    @property
    def is_program(self) -> bool:
        """Whether it is a ``__main__.py``: such files usually run their program whatever ``__name__`` is."""
        return os.path.basename(self.path) == "__main__.py"

    def load(self) -> None:
        """Run the script under the name ``__mp_main__``, so that what it defines is found under ``__main__``, too.

        Raises:
            BaseException: Whatever the script raises.
        """
        module = ModuleType(ALIAS)
        token = loading_main.set(True)
        try:
            if self.name is not None:
                content = runpy.run_module(self.name, run_name=ALIAS, alter_sys=True)
            else:
                content = runpy.run_path(self.path, run_name=ALIAS)
        finally:
            loading_main.reset(token)
        vars(module).update(content)
        sys.modules["__main__"] = sys.modules[ALIAS] = module


def answer_to_alias() -> None:
    """Let this process unpickle instances of the script's classes that come from another process."""
    sys.modules.setdefault(ALIAS, sys.modules["__main__"])
