"""Values whose classes are defined in a script, between the script itself and others that import it."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cascade.adapters.pickles import dumps, loads
from cascade.model.shown.labels import Label

JOB = """
import enum
import attrs
import cascade

@attrs.frozen
class Point:
    x: object
    class Inner: pass

class Colour(enum.Enum):
    RED = 1

def helper(): pass

@cascade.task
def work(): pass

def made():
    class Local: pass
    return Local
"""


class Program:
    """A process in which the file is run, or imported."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.monkeypatch = monkeypatch

    def starts(self, *, as_script: bool) -> Any:
        """The module, in a process that has just been started."""
        name = "__main__" if as_script else "job"
        module = ModuleType(name)
        module.__file__ = str(self.path)
        main = module if as_script else ModuleType("__main__")
        self.monkeypatch.setitem(sys.modules, "__main__", main)
        self.monkeypatch.delitem(sys.modules, "job", raising=False)
        self.monkeypatch.setitem(sys.modules, name, module)
        exec(self.path.read_text(encoding="utf-8"), vars(module))
        return module


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    (tmp_path / "job.py").write_text(JOB, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Program(tmp_path / "job.py", monkeypatch)


@pytest.mark.parametrize("reads_as_script", [True, False], ids=["read by the script", "read by others"])
@pytest.mark.parametrize("writes_as_script", [True, False], ids=["written by the script", "written by others"])
def test_each_reads_what_the_other_has_written(
    program: Program, writes_as_script: bool, reads_as_script: bool
) -> None:
    job = program.starts(as_script=writes_as_script)
    data = dumps([job.Point([job.Colour.RED]), job.Point, job.Point.Inner, job.helper, job.work, "__main__", 5])
    job = program.starts(as_script=reads_as_script)
    expected = [job.Point([job.Colour.RED]), job.Point, job.Point.Inner, job.helper, job.work, "__main__", 5]
    assert loads(data) == expected


def test_what_cannot_be_found_again_is_not_written(program: Program) -> None:
    job = program.starts(as_script=True)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        dumps(job.made())
    job.Old, job.Point = job.Point, None
    with pytest.raises((pickle.PicklingError, AttributeError)):
        dumps(job.Old)


def test_what_is_gone_from_the_script_is_told(program: Program) -> None:
    job = program.starts(as_script=True)
    data = dumps(job.Point(1))
    job = program.starts(as_script=False)
    del job.Point
    with pytest.raises(AttributeError):
        loads(data)


def test_what_is_gone_from_the_script_that_runs_is_not_looked_for_by_running_it_again(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = program.starts(as_script=True)
    data = dumps(job.Point(1))
    del job.Point
    monkeypatch.syspath_prepend(program.path.parent)
    with pytest.raises(AttributeError):
        loads(data)
    assert "job" not in sys.modules


def test_a_module_that_is_called_like_the_program_that_runs_is_not_mistaken_for_it(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = program.starts(as_script=False)
    data = dumps(job.Point(1))
    runner = ModuleType("__main__")
    runner.__file__ = str(program.path.parent / "bin" / "job")
    monkeypatch.setitem(sys.modules, "__main__", runner)
    assert loads(data) == job.Point(1)


@pytest.mark.parametrize("value", [None, 5, "text", [1, {"a": (2.5, b"x")}], Path("a")])
def test_other_values_are_pickled_as_ever(value: Any) -> None:
    assert dumps(value) == pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    assert loads(dumps(value)) == value


def test_names_of_calls_are_read_from_where_they_were_before() -> None:
    label = Label("june", "{value}")
    data = pickle.dumps(label, 2).replace(b"cascade.model.shown.labels", b"cascade.model.labels")
    assert loads(data) == label
    assert loads(dumps(label)) == label
