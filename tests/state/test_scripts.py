"""A run that a script has begun is gone on with by others, and the reverse; two scripts share nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cascade
from cascade.cache import InputCache, MemoryCacheStore

JOB = """
import os, sys
import attrs
import cascade

@attrs.frozen
class Point:
    x: int

@cascade.task
def get(n: int) -> Point:
    print("get", flush=True)
    return Point(n)

@cascade.task
def end(point):
    assert isinstance(point, Point)
    if not os.path.exists("up"):
        raise ValueError("down")
    return point.x

flow = end(get(4))
if __name__ == "__main__":
    try:
        print(cascade.run_sync(flow, state="sqlite:///runs.db", run_id="r"))
    except ValueError as error:
        print(error)
"""
STARTS: dict[str, list[str]] = {
    "script": ["job.py"],
    "module": ["-m", "job"],
    "command line": [
        "-m", "cascade", "run", "job.py:flow", "--state", "sqlite:///runs.db", "--run-id", "r", "--log", "none",
    ],
    "import": [
        "-c", "import job, cascade; print(cascade.run_sync(job.flow, state='sqlite:///runs.db', run_id='r'))",
    ],
}  # fmt: skip


def start(how: str, folder: Path) -> list[str]:
    """What a process prints that runs the flow."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])}
    command = [sys.executable, *STARTS[how]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [("script", "command line"), ("command line", "script"), ("script", "import"), ("import", "module")],
)
def test_a_run_is_gone_on_with_however_its_file_is_started(tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / "job.py").write_text(JOB, encoding="utf-8")
    assert start(first, tmp_path)[:1] == ["get"]
    (tmp_path / "up").touch()
    assert start(second, tmp_path) == ["4"]


LOAD = """
def helper(n): return n * FACTOR

@cascade.task
def load(n):
    return helper(n)
"""


def script(path: str | None, factor: int, module: str = "__main__") -> Any:
    """The task of a script at this path, or of a session without a file."""
    space: dict[str, Any] = {"__name__": module, "cascade": cascade, "FACTOR": factor}
    if path is not None:
        space["__file__"] = path
    exec(compile(LOAD, path or "<stdin>", "exec"), space)
    return space["load"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("/a/a.py", "/b/b.py"), ("/a/a.py", "/a/b.py"), ("/a/main.py", "/b/main.py"), ("/a/a.py", None)],
)
async def test_two_scripts_share_no_cache_entries(first: str | None, second: str | None) -> None:
    cache = InputCache(MemoryCacheStore())
    calls = [script(path, factor)(3).with_cache(cache) for path, factor in ((first, 10), (second, 100))]
    assert [await cascade.run(call) for call in calls] == [30, 300]


@pytest.mark.parametrize("module", ["__main__", "main"])
async def test_a_script_shares_cache_entries_with_itself(module: str) -> None:
    cache = InputCache(MemoryCacheStore())
    calls = [
        script("/a/main.py", factor, name)(3).with_cache(cache)
        for factor, name in ((10, "__main__"), (100, module))
    ]
    assert [await cascade.run(call) for call in calls] == [30, 30]
