"""With which modes files are made, and whose state and cache files are refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_modes import file, folder
from other_user import STRANGER, needs_root, public_folder

import cascade
from cascade.adapters.trusted_paths import private_file, shared_file, trusted_file
from cascade.cache import InputCache, SQLiteCacheStore
from cascade.observers import json_lines
from cascade.state import SQLiteStateBackend

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files without owners")


# -- making ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[0o000, 0o022, 0o777], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    assert tmp_path.exists()  # made before, and not by the umask
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(place: Path) -> dict[str, int]:
    return {str(path.relative_to(place)): stat.S_IMODE(path.lstat().st_mode) for path in place.rglob("*")}


@pytest.mark.usefixtures("umask")
def test_files_and_folders_are_made_for_this_user_only_whatever_the_umask(tmp_path: Path) -> None:
    private_file(str(tmp_path / "a/b/c/control.db"))
    trusted_file(str(tmp_path / "x.db"))
    assert modes(tmp_path) == {
        "a": 0o700, "a/b": 0o700, "a/b/c": 0o700, "a/b/c/control.db": 0o600, "x.db": 0o600,
    }  # fmt: skip


@pytest.mark.usefixtures("umask")
async def test_what_a_run_writes_is_for_this_user_only_whatever_the_umask(tmp_path: Path) -> None:
    @cascade.task
    async def look(value: object) -> dict[str, int]:
        return modes(tmp_path)

    found = await cascade.run(
        look(look(1).with_cache(InputCache(SQLiteCacheStore(str(tmp_path / "cache.db"))))),
        state=f"sqlite:///{tmp_path}/state.db",
        control=f"local:{tmp_path}/control/control.db",
        observers=[json_lines(tmp_path / "events.jsonl")],
        durability="task",
    )
    assert found.pop("control") == 0o700
    assert {"cache.db", "cache.db-wal", "state.db", "state.db-wal", "control/control.db", "events.jsonl"} <= set(
        found
    )
    assert any(name.endswith(".socket") for name in found)
    assert set(found.values()) == {0o600}


def test_files_that_were_there_keep_their_mode(tmp_path: Path) -> None:
    for name in ("state.db", "events.jsonl"):
        file(tmp_path / name, 0o644)
    cascade.run_sync(
        cascade.gather(), state=f"sqlite:///{tmp_path}/state.db", observers=[json_lines(tmp_path / "events.jsonl")]
    )
    assert set(modes(tmp_path).values()) == {0o644}


def test_looking_at_a_file_takes_no_locks_from_those_who_have_it_open(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    mine = sqlite3.connect(trusted_file(path), isolation_level=None)
    mine.execute("PRAGMA journal_mode = WAL")
    mine.execute("CREATE TABLE t (x)")
    for looking in (trusted_file, private_file):
        looking(path)
        write = f"import sqlite3\nwith sqlite3.connect({path!r}) as file: file.execute('INSERT INTO t VALUES (2)')"
        subprocess.run([sys.executable, "-c", f"{write}\nfile.close()"], check=True)
    mine.execute("INSERT INTO t VALUES (3)")
    read = f"import sqlite3\nprint(sqlite3.connect({path!r}).execute('SELECT x FROM t').fetchall())"
    seen = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True, text=True)
    mine.close()
    assert seen.stdout.strip() == "[(2,), (2,), (3,)]"


# -- state and caches --------------------------------------------------------------------------------------------


@cascade.task(version="1")
async def one() -> int:
    return 1


async def test_a_state_file_that_others_can_write_is_refused_unless_they_are_trusted(tmp_path: Path) -> None:
    place = folder(tmp_path / "lab", 0o777)
    url = f"sqlite:///{place}/runs.db"
    with pytest.raises(cascade.StateError, match=r"refused.*mode 0777.*chmod go-w.*\?shared=on"):
        await cascade.run(one(), state=url, run_id="r")
    assert os.listdir(place) == []
    assert await cascade.run(one(), state=f"{url}?shared=on", run_id="r") == 1
    with pytest.raises(cascade.StateError, match="refused"):
        await cascade.api.recorded_runs(url)
    (run,) = await cascade.api.recorded_runs(f"{url}?shared=on")
    assert run.run_id == "r"


async def test_a_cache_that_others_can_write_is_refused_unless_they_are_trusted(tmp_path: Path) -> None:
    path = str(file(tmp_path / "cache.db", 0o666))
    with pytest.raises(cascade.StateError, match="refused"):
        await SQLiteCacheStore(path).get("key")
    store = SQLiteCacheStore(path, shared=True)
    await store.set("key", 1, None)
    assert await SQLiteCacheStore(path, shared=True).get("key") == cascade.cache.Hit(1)
    await store.close()


@pytest.mark.parametrize(("umask_now", "expected"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_shared_file_is_made_as_the_umask_says(tmp_path: Path, umask_now: int, expected: int) -> None:
    before = os.umask(umask_now)
    try:
        cascade.run_sync(one(), state=lambda run: SQLiteStateBackend(run, f"{tmp_path}/x.db", shared=True))
    finally:
        os.umask(before)
    assert set(modes(tmp_path).values()) == {expected}
    assert shared_file(str(tmp_path / "no/such"), makes=False) == str(tmp_path / "no/such")


@pytest.mark.parametrize("path", ["", ":memory:"])
async def test_a_cache_without_a_file_has_nobody_to_trust(path: str) -> None:
    store = SQLiteCacheStore(path)
    await store.set("key", 1, None)
    assert await store.get("key") == cascade.cache.Hit(1)
    await store.close()


@needs_root
async def test_a_state_file_that_another_user_has_planted_runs_no_code() -> None:
    with public_folder() as public:
        mine = folder(public / "mine", 0o700)
        url = f"sqlite:///{mine}/runs.db"
        assert await cascade.run(one(), state=url, run_id="nightly") == 1
        planted = str(public / "planted.db")
        shutil.copy(mine / "runs.db", planted)
        os.chown(planted, STRANGER, STRANGER)
        os.chmod(planted, 0o666)
        with pytest.raises(cascade.StateError, match="refused"):
            await cascade.run(one(), state=f"sqlite:///{planted}", run_id="nightly")


# -- systems without owners --------------------------------------------------------------------------------------

WITHOUT_OWNERS = """
import functools, os, socket, sys
socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)  # event loops have one everywhere
for name in ("geteuid", "getuid", "fchmod", "mknod", "O_NOFOLLOW", "O_DIRECTORY", "listxattr"):
    delattr(os, name)
for name in ("AF_UNIX", "SO_PASSCRED", "SCM_CREDENTIALS", "CMSG_SPACE"):
    delattr(socket, name)
sys.modules["pwd"] = sys.modules["grp"] = None
import cascade
from cascade.control import ConnectorError, LocalConnector
from cascade.observers import json_lines

@cascade.task(mode="inline")
def one():
    return 1

print(cascade.run_sync(one(), state="sqlite:///runs.db", run_id="r", observers=[json_lines("events.jsonl")]))
try:
    cascade.run_sync(one(), control="local:")
except ValueError as error:
    print(error)
try:
    LocalConnector("control.db")
except ConnectorError as error:
    print(error)
"""


def test_a_system_without_owners_has_files_and_a_clear_word_on_local_control(
    tmp_path: Path,
) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(cascade.__file__).parent.parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OWNERS], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    first, *refused = done.stdout.splitlines()
    assert first == "1"
    assert len(refused) == 2
    assert all("local: needs Unix sockets" in line and "use mqtt://HOST" in line for line in refused)
