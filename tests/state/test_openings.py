"""What keeps a run from beginning is told before anything runs: which part of the call, and what to do."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import cascade
from cascade.adapters import redis_client
from state.cleared import cleared

RAN: list[Any] = []


@cascade.task(version="1")
async def note(value: Any = None) -> Any:
    RAN.append(value)
    return value


nothing_has_run = cleared(RAN)


@pytest.fixture(autouse=True)
def _own_folder_and_little_patience(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(redis_client, "PATIENCE", 0.1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "known are: memory:, sqlite:"),
        ("postgres://x", "unknown state URL 'postgres://x'"),
        ("memory:x", "nothing after the colon"),
        ("sqlite:runs.db", r"sqlite:///path/to/file\.db"),
        ("sqlite:///:memory:", r"sqlite:///path/to/file\.db"),
        ("sqlite:///a\0b.db", r"sqlite:///path/to/file\.db"),
        ("sqlite:///runs.db?mode=ro", "takes no options"),
    ],
)
async def test_a_url_that_means_nothing_is_bad_input(url: str, said: str) -> None:
    with pytest.raises(cascade.InputError, match=said):
        await cascade.run(note(), state=url)
    assert RAN == []
    assert os.listdir() == []


@pytest.mark.parametrize(
    "url",
    ["redis:", "redis:localhost", "redis://host:port", "redis://host:99999/0", "redis://host/name",
     "redis://host/0?nonsense=1"],
)  # fmt: skip
async def test_a_url_of_redis_that_means_nothing_is_bad_input(url: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(cascade.InputError, match="redis://host:port/number"):
        await cascade.run(note(), state=url)
    assert RAN == []


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis://127.0.0.1:1/", "redis://:word@127.0.0.1:1/3"])
async def test_urls_of_redis_that_say_less_or_more_are_understood(url: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(cascade.StateError, match=r"connecting to 127\.0\.0\.1:1"):
        await cascade.run(note(), state=url)


async def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(cascade.StateError, match="there is no folder 'no/such'; make it first"):
        await cascade.run(note(), state="sqlite:///no/such/runs.db")
    assert RAN == []


async def test_a_folder_in_place_of_the_file_is_an_error() -> None:
    with pytest.raises(cascade.StateError, match="it is a folder"):
        await cascade.run(note(), state="sqlite:///.")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
async def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(0o500)
    with pytest.raises(cascade.StateError, match="theirs' may not be written"):
        await cascade.run(note(), state=f"sqlite:///{folder}/runs.db")


def test_what_is_no_database_is_left_as_it_is(backend_name: str) -> None:
    Path("notes.txt").write_text("hello " * 1000)
    with pytest.raises(cascade.StateError, match=r"'notes\.txt': DatabaseError: file is not a database"):
        cascade.run_sync(note(), state="sqlite:///notes.txt", backend=backend_name)
    assert Path("notes.txt").read_text() == "hello " * 1000


@pytest.mark.parametrize("version", [1, 99])
async def test_a_file_of_another_format_says_what_to_do(version: int) -> None:
    await cascade.run(note(), state="sqlite:///old.db", run_id="r")
    with closing(sqlite3.connect("old.db")) as file:
        file.execute(f"PRAGMA user_version = {version}")
    message = f"it has format {version}, and this one reads 2; finish its runs with the version that wrote it"
    with pytest.raises(cascade.StateError, match=message):
        await cascade.run(note(), state="sqlite:///old.db", run_id="r", on_change="recompute")
    with pytest.raises(cascade.StateError, match=message):
        await cascade.api.recorded_runs("sqlite:///old.db")
    assert len(RAN) == 1


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 99", "CREATE TABLE nodes (x)"])
async def test_a_file_of_another_version_or_purpose_is_refused(statement: str) -> None:
    connection = sqlite3.connect("other.db")
    connection.execute(statement)
    connection.close()
    with pytest.raises(cascade.StateError, match=r"'other\.db' is no state file of this version of cascade"):
        await cascade.run(note(), state="sqlite:///other.db")
    assert RAN == []


@pytest.mark.parametrize("run_id", ["", "a\nb", "a\0b", "\ud800", "x" * 201, 5])
async def test_a_run_id_that_cannot_be_shown_is_bad_input(run_id: Any) -> None:
    with pytest.raises(cascade.InputError, match="run_id is a printable string"):
        await cascade.run(note(), state="sqlite:///runs.db", run_id=run_id)


@pytest.mark.parametrize("run_id", [" ", "a/b", "a:b", "ü😀", 'it\'s "quoted"; DROP TABLE runs', "~", "*", "%s"])
async def test_any_other_run_id_will_do(durable: Any, run_id: str) -> None:
    for _ in range(2):
        assert await cascade.run(note(1), state=durable.state, run_id=run_id) == 1
    assert RAN == [1]


async def test_a_lease_is_given_back_if_taking_it_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(sqlite3.Connection):
        left = 0

        def execute(self, *args: Any) -> Any:
            done = super().execute(*args)
            if args[0] == "COMMIT":
                Failing.left -= 1
            if args[0] == "COMMIT" and not Failing.left:
                raise sqlite3.OperationalError("disk I/O error")
            return done

    connect = sqlite3.connect
    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, **kwargs, factory=Failing))
        await cascade.run(note(1), state="sqlite:///runs.db", run_id="night")
        Failing.left = 1
        with pytest.raises(cascade.StateError, match="disk I/O error"):
            await cascade.run(note(1), state="sqlite:///runs.db", run_id="day")
    file = sqlite3.connect("runs.db")
    assert file.execute("SELECT owner, lease_until FROM runs WHERE run_id = 'day'").fetchall() == [(None, 0.0)]
    file.close()
    assert await cascade.run(note(1), state="sqlite:///runs.db", run_id="day") == 1
