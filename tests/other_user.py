"""Doing things as another user of this machine, where the tests run as root."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# "nobody" on most systems; what counts is that it is neither root nor a user of the tests.
STRANGER = 65534

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as another user"
)


def as_stranger(act: Callable[[], object]) -> None:
    """Do *act* in a process of another user. It must not import anything, as that user may not read the library.

    Raises:
        AssertionError: If it raised.
    """
    with warnings.catch_warnings():
        # The child makes system calls and ends; it waits for no lock that another thread may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            act()
            status = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the other user could not do it; see standard error"


@contextmanager
def public_folder(mode: int = 0o1777) -> Iterator[Path]:
    """A folder that every user can reach, like the one for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="cascade-tests-", dir="/tmp" if sys.platform != "win32" else None))
    folder.chmod(mode)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
