"""``__main__`` in another process: the script that was started has that name in one process only."""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType
from typing import Any, Self

import attrs

from cascade.runtime.current import loading_main

# The name of the script where it is not the program: that of multiprocessing, which libraries know.
ALIAS = "__mp_main__"


@attrs.frozen
class MainModule:
    """Where another process finds what ``__main__`` defines.

    Attributes:
        name: The module that was started by ``python -m``.
        path: The file that was started, otherwise.
    """

    name: str | None
    path: str

    @classmethod
    def here(cls) -> Self | None:
        """The present one; ``None`` if it was typed in: in a notebook, a console, or given by ``python -c``."""
        main: Any = sys.modules["__main__"]
        name = getattr(getattr(main, "__spec__", None), "name", None)
        path = getattr(main, "__file__", None)
        is_typed_in = hasattr(sys, "ps1") or sys.flags.interactive
        if is_typed_in or not isinstance(path, str) or not os.path.isfile(path):
            return None
        # A folder that was started has a spec, with a name under which nobody can import it.
        return cls(None if name == "__main__" else name, os.path.abspath(path))

    @property
    def is_program(self) -> bool:
        """Whether it is a ``__main__.py``: such files run their program without asking for their name."""
        return os.path.basename(self.path) == "__main__.py"

    def load(self) -> None:
        """Run it under the name ``__mp_main__``, and have what it defines found under ``__main__``, too.

        Raises:
            BaseException: Whatever it raises.
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
    """Have classes of the script that come back from another process found in this one."""
    sys.modules.setdefault(ALIAS, sys.modules["__main__"])
