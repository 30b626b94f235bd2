"""One file is one module, however its program was started; two programs are two, whatever they are called."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cascade
from cascade.graph.canonical import home, module_name, qualified_name
from cascade.graph.code import code_home

ROOT = Path(cascade.__file__).parent.parent
JOB = """
import json, sys
import attrs, cascade
from cascade.graph.build import build
from cascade.graph.identity import digests

@attrs.frozen
class Setting:
    name: str

def helper(x): return x

@cascade.task
def get(x, *more): return x

flow = get(get(Setting("a"), Setting, helper, lambda x: x), {get(1), get(2)})

def picture():
    graph = build(flow)
    names = [graph.name(index) for index in range(len(graph.rows))]
    return [names, [found.hex() for _, found in digests(graph, {})]]

if __name__ == "__main__":
    print(json.dumps(picture()))
"""
IMPORTED = "import json, {module} as job; print(json.dumps(job.picture()))"


def run(folder: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text(JOB, encoding="utf-8")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "job.py").write_text(JOB, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_a_file_has_the_same_digests_as_a_script_as_a_module_and_when_it_is_imported(folder: Path) -> None:
    found = [run(folder, "job.py"), run(folder, "-m", "job"), run(folder, "-c", IMPORTED.format(module="job"))]
    assert found == [found[0]] * 3


@pytest.mark.slow
def test_so_has_a_file_in_a_package(folder: Path) -> None:
    by_target = (
        "import json; from cascade.cli.targets import load_flow; load_flow('pkg/job.py:flow'); import job; "
        "print(json.dumps(job.picture()))"
    )
    found = [
        run(folder, "pkg/job.py"), run(folder, "-m", "pkg.job"),
        run(folder, "-c", IMPORTED.format(module="pkg.job")), run(folder, "-c", by_target),
    ]  # fmt: skip
    assert found == [found[0]] * 4


# -- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["__main__", "__mp_main__"])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("job.py", "job"),
        ("pkg/job.py", "pkg.job"),
        ("pkg/sub/job.py", "pkg.sub.job"),
        ("pkg/__init__.py", "pkg"),
        ("pkg/__main__.py", "pkg.__main__"),
        ("app/__main__.py", "app.__main__"),
        ("app/run.py", "run"),
        ("no_ending", "no_ending"),
    ],
)
def test_a_script_is_called_as_its_file_would_be_as_a_module(
    tmp_path: Path, script: str, file: str, name: str
) -> None:
    for package in ("pkg", "pkg/sub"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    assert module_name(script, {"__file__": str(tmp_path / file), "__spec__": None}) == name


class Spec:
    """What ``python -m`` leaves in a script."""

    name = "namespace.job"


def test_a_module_that_is_run_is_called_as_it_was_asked_for(tmp_path: Path) -> None:
    space = {"__file__": str(tmp_path / "job.py"), "__spec__": Spec}
    assert module_name("__main__", space) == "namespace.job"


def test_a_file_that_was_loaded_by_its_path_belongs_to_its_package(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    assert module_name("job", {"__file__": str(tmp_path / "pkg" / "job.py")}) == "pkg.job"
    assert module_name("other", {"__file__": str(tmp_path / "pkg" / "job.py")}) == "other"


def test_a_session_without_a_file_has_no_other_name() -> None:
    assert module_name("__main__", {}) == module_name("__mp_main__", {}) == "__main__"


def test_an_imported_module_keeps_its_name() -> None:
    assert module_name("json.decoder") == "json.decoder"
    assert module_name("json") == "json"
    assert module_name("no_such_module") == "no_such_module"


def wrapped(func: Any) -> Any:
    @functools.wraps(func)
    def wrapper() -> None: ...

    return wrapper


@pytest.mark.parametrize(
    "decorate", [lambda func: func, wrapped, lambda func: wrapped(wrapped(func)), cascade.task]
)
def test_what_a_decorator_returns_belongs_to_the_module_of_what_it_wraps(tmp_path: Path, decorate: Any) -> None:
    space: dict[str, Any] = {"__name__": "__main__", "__file__": str(tmp_path / "job.py")}
    exec("def work(): pass", space)
    assert qualified_name(decorate(space["work"])) == b"job.work"


# -- homes -----------------------------------------------------------------------------------------------------


def test_files_of_one_name_in_two_folders_have_two_homes(tmp_path: Path) -> None:
    homes = {
        home(name, {"__file__": str(tmp_path / app / "job.py")}) for app in "ab" for name in ("job", "__main__")
    }
    assert homes == {str(tmp_path / "a"), str(tmp_path / "b")}


def test_a_home_is_where_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert home("job", {"__file__": str(tmp_path / "link" / "job.py")}) == str(tmp_path / "there")


@pytest.mark.parametrize("file", ["lib/site-packages/six.py", "usr/lib/python3/dist-packages/six.py"])
def test_what_is_installed_is_at_home_anywhere(tmp_path: Path, file: str) -> None:
    assert home("six", {"__file__": str(tmp_path / file)}) == ""


@pytest.mark.parametrize("name", ["json.decoder", "textwrap", "not_a_module", "cascade.graph.code"])
def test_so_is_what_a_package_or_the_language_provides(name: str) -> None:
    __import__("textwrap")
    assert home(name) == ""


def test_sessions_and_notebooks_have_homes_of_their_own() -> None:
    """``__session__`` is set by IPython, the other by VS Code."""
    session = home("__main__", {})
    assert session == home("__main__", {"get_ipython": None}) != ""
    notebooks = [{"__session__": "/work/a.ipynb"}, {"__vsc_ipynb_file__": "/work/b.ipynb"}]
    assert [home("__main__", space) for space in notebooks] == ["/work/a.ipynb", "/work/b.ipynb"]


def test_no_other_process_has_the_home_of_this_session(tmp_path: Path) -> None:
    question = "import json; from cascade.graph.canonical import home; print(json.dumps(home('__main__').hex()))"
    assert run(tmp_path, "-c", question) != bytes(home("__main__", {})).hex()  # type: ignore[arg-type]  # of a session


def test_a_task_with_a_version_is_at_home_anywhere() -> None:
    def work() -> None: ...

    work.__module__ = "__main__"
    assert code_home(cascade.task(version="1")(work)) == b""
