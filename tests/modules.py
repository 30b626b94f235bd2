"""Modules written on the spot, so that one function can be had in two versions."""

from __future__ import annotations

import itertools
import textwrap
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_numbers = itertools.count()


def write_module(folder: Path, source: str, name: str = "written") -> ModuleType:
    """Import *source* as a module called *name*, from a file of its own."""
    path = folder / f"{name}_{next(_numbers)}.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
