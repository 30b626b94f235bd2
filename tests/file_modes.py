"""Files and folders of chosen modes."""

from __future__ import annotations

from pathlib import Path

import pytest


def folder(path: Path, mode: int) -> Path:
    """Make a folder with *mode*, whatever the umask."""
    path.mkdir()
    path.chmod(mode)
    return path


def file(path: Path, mode: int = 0o600) -> Path:
    """Make an empty file with *mode*, whatever the umask."""
    path.touch()
    path.chmod(mode)
    return path


@pytest.fixture
def exposed_control_file(tmp_path: Path) -> Path:
    """A control file in a folder that others can write to. For a module: ``bad = exposed_control_file``."""
    return folder(tmp_path / "everybodys", 0o777) / "control.db"
