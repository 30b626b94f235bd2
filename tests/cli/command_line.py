"""What the tests of the command line share."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import IO, Any

import attrs
import pytest

import cascade
from cascade.cli import main

PACKAGE_ROOT = Path(cascade.__file__).parent.parent


@attrs.frozen
class Outcome:
    """What a command did: its exit status, and what it wrote."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@contextmanager
def command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> Iterator[Command]:
    """The command line in this process, in *folder*; modules that it imports from there are forgotten."""

    def call(*arguments: str) -> Outcome:
        importlib.invalidate_caches()
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        out, err = capsys.readouterr()
        return Outcome(status, out, err)

    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield call
    for name, module in list(sys.modules.items()):
        if str(folder) in str(getattr(module, "__file__", None) or ""):
            del sys.modules[name]
    sys.modules.update(before)


def write(path: str, text: str) -> None:
    """Write a module, and the folders in which it lies."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(dedent(text), encoding="utf-8")


@pytest.fixture
def command_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Command]:
    """The command line, in an empty folder. For a module: ``command = command_alone``."""
    with command_line(capsys, monkeypatch, tmp_path) as call:
        yield call


def folder_with(flows: str) -> Any:
    """A fixture for a module: each test runs in a folder with *flows* in ``flows.py``."""

    @pytest.fixture(autouse=True)
    def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        write("flows.py", flows)

    return folder


def command_with(flows: str) -> Any:
    """A fixture for a module: the command line, in a folder with *flows* in ``flows.py``."""

    @pytest.fixture
    def command(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Iterator[Command]:
        with command_line(capsys, monkeypatch, tmp_path) as call:
            write("flows.py", flows)
            yield call

    return command


def assert_is_a_mistake(outcome: Outcome, *words: str) -> None:
    """Status 2 and one clear line, and nothing but it."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("cascade: "), outcome.err
    assert outcome.err.endswith("\n")
    assert len(outcome.err.splitlines()) == 1, outcome.err
    for word in words:
        assert word in outcome.err


def environment(*first_on_path: Path, **more: str) -> dict[str, str]:
    """The environment of a Python process that finds this cascade, and before it what lies in some folders."""
    path = os.pathsep.join([*map(str, first_on_path), str(PACKAGE_ROOT)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def cascade_process(*arguments: str, env: dict[str, str] | None = None) -> Outcome:
    """``python -m cascade`` in a process of its own, in the current folder."""
    done = subprocess.run(
        [sys.executable, "-m", "cascade", *arguments],
        env=environment() if env is None else env,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        stdin=subprocess.DEVNULL,
        timeout=100,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(*arguments: str, grace: float = 0) -> Iterator[subprocess.Popen[str]]:
    """``cascade`` in a process of its own; killed if a test leaves it alive."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cascade", arguments[0], "--grace", str(grace), *arguments[1:]],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(stream: IO[str] | None, *words: str) -> None:
    """Read lines until each of *words* has come, in any order."""
    assert stream is not None
    missing = set(words)
    for line in stream:
        missing -= {word for word in words if line.rstrip().endswith(word)}
        if not missing:
            return
    raise AssertionError(f"the process ended without saying {missing}")


def ended(process: subprocess.Popen[str], words: str = "") -> Outcome:
    """What the process did in the end, after *words* on its standard input."""
    out, err = process.communicate(words, timeout=100)
    return Outcome(process.returncode, out, err)
