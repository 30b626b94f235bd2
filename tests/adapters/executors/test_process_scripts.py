"""Process tasks of programs: scripts, modules that are started, what is typed in; and what workers inherit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import process_tasks
import pytest

import cascade

PATH = [str(Path(cascade.__file__).parent.parent), str(Path(process_tasks.__file__).parent)]


def outcome_of(*command: str | Path, text: str | None = None, folder: Path) -> str:
    """What Python writes to the standard output, or otherwise the end of what it writes to the other one."""
    done = subprocess.run(
        [sys.executable, *command],
        input=text,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATH)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.stdout if done.returncode == 0 else done.stderr[-3000:]


def outcome_of_script(text: str, folder: Path, *arguments: str) -> str:
    (folder / "script.py").write_text(text)
    return outcome_of("script.py", *arguments, folder=folder)


SCRIPT = """
import contextvars
import dataclasses
import sys

import cascade

variable = contextvars.ContextVar("variable", default="default")


@dataclasses.dataclass
class Point:
    x: int


class OddError(Exception):
    def __init__(self, point: Point, *, why: str) -> None:
        super().__init__(why)
        self.point = point


@cascade.task(mode="process")
def moved(point: Point, by: int = 1) -> Point:
    assert isinstance(point, Point)
    assert variable.get() == "set"
    return Point(point.x + by)


@cascade.task(mode="process")
def moved_by(point: Point, function: object) -> Point:
    assert isinstance(point, Point)
    return function(point)


@cascade.task(mode="process")
def fails(point: Point) -> None:
    raise OddError(point, why="odd")


@cascade.task(mode="process")
def nested(point: Point) -> Point:
    return cascade.run_sync(moved(point))


def main(backend: str = "asyncio") -> None:
    variable.set("set")
    assert cascade.run_sync(moved(moved(Point(1))), backend=backend) == Point(3)
    assert cascade.run_sync(nested(Point(1)), backend=backend) == Point(2)
    try:
        cascade.run_sync(fails(Point(1)), backend=backend)
    except OddError as error:
        assert error.point == Point(1)
        print("done")
"""

GUARD = """

if __name__ == "__main__":
    sys.modules.pop("__mp_main__", None)  # there if anything, say a coverage tool, has imported multiprocessing
    main(*sys.argv[1:])
"""


def test_classes_and_functions_of_a_script_go_to_the_process_and_back(backend_name: str, tmp_path: Path) -> None:
    assert outcome_of_script(SCRIPT + GUARD, tmp_path, backend_name) == "done\n"


@pytest.mark.needs("cloudpickle")
def test_local_functions_of_a_script_see_its_classes(tmp_path: Path) -> None:
    more = """
    flow = moved_by(Point(1), lambda point: Point(point.x + 7))
    assert cascade.run_sync(flow) == Point(8)
    """
    assert outcome_of_script(SCRIPT + GUARD + more, tmp_path) == "done\n"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["module", "folder", "package"])
def test_what_is_started_may_be_a_module_or_a_folder(kind: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "neighbour.py").write_text("")
    name = "started" if kind == "module" else "__main__"
    (package / f"{name}.py").write_text(("" if kind == "folder" else "from . import neighbour\n") + SCRIPT + GUARD)
    command = {"module": ["-m", "package.started"], "folder": ["package"], "package": ["-m", "package"]}[kind]
    assert outcome_of(*command, folder=tmp_path) == "done\n"


def test_a_started_package_whose_tasks_are_elsewhere_needs_no_guard(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__main__.py").write_text(
        "import cascade, process_tasks\nprint(cascade.run_sync(process_tasks.add(1, 2)))\n"
    )
    assert outcome_of("-m", "package", folder=tmp_path) == "3\n"


# -- scripts that cannot be loaded -----------------------------------------------------------------------------

UNGUARDED = """
import sys
import anyio, cascade

@cascade.task(mode="process")
def works() -> None: ...

async def main() -> None:
    await cascade.run(works())

anyio.run(main)
"""
BROKEN = """
import sys
import cascade

if __name__ != "__main__":
    raise LookupError("only as\\na script")

@cascade.task(mode="process")
def works() -> None: ...

cascade.run_sync(works())
"""
EXITS = BROKEN.replace('raise LookupError("only as\\na script")', "sys.exit(2)")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (UNGUARDED, "RuntimeError: a flow is run while a worker process imports the script"),
        (BROKEN, "LookupError: only as a script"),
        (EXITS, "SystemExit: 2"),
    ],
    ids=["unguarded", "broken", "exits"],
)
def test_a_script_that_cannot_be_loaded_is_named_with_the_remedy(text: str, reason: str, tmp_path: Path) -> None:
    told = outcome_of_script(text, tmp_path)
    (line,) = [line for line in told.splitlines() if line.startswith("anyio.BrokenWorkerProcess: ")]
    assert line.removeprefix("anyio.BrokenWorkerProcess: ") == (
        f"the worker process of 'works' cannot load {tmp_path / 'script.py'}: {reason}; "
        'put what starts the program under: if __name__ == "__main__":'
    )
    assert "Exception ignored" not in told


# -- what is typed in ------------------------------------------------------------------------------------------

TYPED_IN = SCRIPT + "\nmain()\n"


@pytest.mark.slow
@pytest.mark.needs("cloudpickle")
@pytest.mark.parametrize("way", ["standard input", "-c"])
def test_tasks_and_classes_that_are_typed_in_are_sent_with_their_code(way: str, tmp_path: Path) -> None:
    if way == "-c":
        assert outcome_of("-c", TYPED_IN, folder=tmp_path) == "done\n"
    else:
        assert outcome_of("-", text=TYPED_IN, folder=tmp_path) == "done\n"


@pytest.mark.needs("cloudpickle")
def test_tasks_of_a_console_are_sent_with_their_code(tmp_path: Path) -> None:
    """Also those that are typed in after a script was loaded, which has no guard."""
    (tmp_path / "script.py").write_text("import cascade\nprint('loaded')\n")
    text = """
@cascade.task(mode="process")
def squared(n):
    return n * n

print(cascade.run_sync(squared(3)))
"""
    assert outcome_of("-i", "script.py", text=text, folder=tmp_path) == "loaded\n9\n"


def test_without_cloudpickle_a_task_that_is_typed_in_is_refused_with_the_remedy(tmp_path: Path) -> None:
    text = "import sys; sys.modules['cascade.adapters.serialization.by_value'] = None\n" + TYPED_IN
    told = outcome_of("-", text=text, folder=tmp_path)
    assert told.splitlines()[-1] == (
        "cascade.model.errors.GraphError: 'moved' cannot run in a worker process, which cannot import "
        "__main__.moved (typed into a notebook or console, or given by -c); define it at the top level of a "
        "module, or install cloudpickle (pip install 'cascade-anyio[process]')"
    )


# -- what workers inherit --------------------------------------------------------------------------------------


async def test_workers_have_path_folder_arguments_and_environment_as_they_are_when_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["program", "--option"])
    monkeypatch.setenv("SET_LATE", "yes")
    (tmp_path / "late_module.py").write_text("value = 7\n")
    seen = await cascade.run(process_tasks.surroundings())
    assert seen == (str(tmp_path), ["program", "--option"], "yes", 7)


def test_options_of_the_interpreter_hold_for_workers(tmp_path: Path) -> None:
    text = """
import sys, warnings, cascade

@cascade.task(mode="process")
def options() -> object:
    return __debug__, sys.flags.dev_mode, sys.flags.dont_write_bytecode, sys.warnoptions

if __name__ == "__main__":
    print(cascade.run_sync(options()))
"""
    (tmp_path / "script.py").write_text(text)
    command = ["-O", "-B", "-W", "error::UserWarning", "script.py"]
    assert outcome_of(*command, folder=tmp_path) == "(False, False, 1, ['error::UserWarning'])\n"


def test_a_library_that_only_the_path_of_this_process_leads_to_is_found(tmp_path: Path) -> None:
    """The worker finds cascade itself by the path of this process."""
    root = Path(cascade.__file__).parent.parent
    libraries = [str(root), *(path for path in sys.path if path.endswith("site-packages"))]
    text = f"""
import sys
sys.path[:0] = {libraries!r}
import cascade

@cascade.task(mode="process")
def works() -> str:
    return "works"

if __name__ == "__main__":
    print(cascade.run_sync(works()))
"""
    (tmp_path / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-S", "script.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.stdout, done.stderr) == ("works\n", "")


async def test_an_interpreter_that_cannot_be_started_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", "/no/such/python")
    with pytest.raises(anyio.BrokenWorkerProcess, match="no worker process for 'pid' can be started"):
        await cascade.run(process_tasks.pid())


async def test_a_worker_that_ends_while_it_starts_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'no room\\n'); os._exit(5)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(anyio.BrokenWorkerProcess, match=r"of 'pid' exited with status 5, .* while it started"):
        await cascade.run(process_tasks.pid())
    assert capsys.readouterr().err == "no room\n"
