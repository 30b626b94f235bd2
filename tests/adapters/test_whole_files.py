"""Files that are written whole or not at all, and what takes text and is no file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cascade.adapters.whole_files import write_whole

if sys.platform == "win32":
    pytest.skip("there are no pipes with names", allow_module_level=True)


def test_a_file_is_replaced_by_one_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    with path.open(encoding="utf-8") as reader:
        write_whole(path, "new \ud800")
        assert reader.read() == "old"  # whoever reads it has all of what was there
    assert path.read_text(encoding="utf-8") == "new \\ud800"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["run.html"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_the_file_to_which_it_leads_is_written(is_there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if is_there:
        (folder / "run.html").write_text("old", encoding="utf-8")
    (tmp_path / "latest.html").symlink_to("folder/run.html")
    write_whole(tmp_path / "latest.html", "new")
    assert os.readlink(tmp_path / "latest.html") == "folder/run.html"
    assert (folder / "run.html").read_text(encoding="utf-8") == "new"
    assert os.listdir(folder) == ["run.html"]


def test_links_that_lead_nowhere_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "."):
        with pytest.raises(OSError, match=r"levels of symbolic links|directory"):
            write_whole(tmp_path / name, "new")
    assert (tmp_path / "a").is_symlink()


def test_a_name_may_be_as_long_as_files_can_have_it(tmp_path: Path) -> None:
    path = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("name", ["/dev/full", "/dev/fd/999999999", "/dev/fd/99999999999999999999"])
def test_what_takes_nothing_is_refused(name: str) -> None:
    if not os.path.exists(os.path.dirname(name)):
        pytest.skip("there is no such folder")
    with pytest.raises(OSError, match=r"No space left|Bad file descriptor|No such file|not permitted|denied"):
        write_whole(Path(name), "new")


def test_a_pipe_with_a_name_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe, told = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    # Open at this end already, so that neither side waits for the other.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)

    def read() -> None:
        with os.fdopen(reader, encoding="utf-8") as file:
            told.append(file.read())

    thread = threading.Thread(target=read)
    write_whole(pipe, "new")
    thread.start()
    thread.join()
    assert told == ["new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


WRITE = """
import sys
from pathlib import Path
from cascade.adapters.whole_files import write_whole
sys.stdout.write("before ")
write_whole(Path(sys.argv[1]), "new ")
sys.stdout.write("after")
"""
NAMES = ["/dev/fd/1", "/dev/stdout", "/proc/self/fd/1"]


@pytest.mark.parametrize("name", [name for name in NAMES if os.path.exists(name)])
def test_a_stream_that_is_open_is_written_to(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-c", WRITE, name]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stdout == "before new after"
    path = tmp_path / "all.txt"
    path.write_text("first ", encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        subprocess.run(command, stdout=file, check=True)
    assert path.read_text(encoding="utf-8") == "first before new after"
    assert os.listdir(tmp_path) == ["all.txt"]
