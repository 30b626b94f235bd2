"""Control files that others could read or change: every command refuses them in one line, with status 2."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from command_line import Command, assert_is_a_mistake, command_alone, write
from file_modes import exposed_control_file
from other_user import as_stranger, needs_root, public_folder

pytestmark = [
    pytest.mark.needs("rich"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets"),
]

COMMANDS = [("control", "status"), ("control", "pause"), ("control", "resume", "task:x"), ("watch",)]


cli = command_alone
bad = exposed_control_file


@pytest.mark.parametrize("log", ["none", "human", "json"])
def test_cascade_run_refuses_it_however_it_logs(cli: Command, bad: Path, log: str) -> None:
    write("flows.py", "import cascade\nflow = cascade.task(name='x')(lambda: print('ran'))()\n")
    outcome = cli("run", "flows.py:flow", "--control", f"local:{bad}", "--log", log)
    assert_is_a_mistake(outcome, "everybodys", "mode 0777", "chmod go-w")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_clients_refuse_it_too(cli: Command, bad: Path, words: tuple[str, ...]) -> None:
    assert_is_a_mistake(cli(*words, "--via", f"local:{bad}"), "everybodys", "mode 0777", "chmod go-w")
    assert os.listdir(bad.parent) == []


def impostor(folder: Path) -> None:
    """Takes the name of the default folder first, and offers a control file that all can open."""
    os.mkdir(folder, 0o755)
    os.mkdir(folder / "cascade", 0o755)
    with open(folder / "cascade/control.db", "wb"):
        pass
    os.chmod(folder / "cascade/control.db", 0o666)


@needs_root
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_clients_talk_to_no_impostor_in_the_default_place(
    cli: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with public_folder() as public:
        monkeypatch.setattr(tempfile, "tempdir", str(public))
        as_stranger(lambda: impostor(public / "cascade-0"))
        assert_is_a_mistake(cli(*words), "cascade-0", "belongs to another user", "local:PATH")


def test_a_state_file_that_others_can_write_is_refused_in_one_line(cli: Command, bad: Path) -> None:
    write("flows.py", "import cascade\nflow = cascade.task(name='x')(lambda: print('ran'))()\n")
    outcome = cli("run", "flows.py:flow", "--state", f"sqlite:///{bad}", "--log", "none")
    assert (outcome.status, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    for words in (("runs",), ("show", "it"), ("resume", "it")):
        bad.touch(0o600)
        assert_is_a_mistake(cli(*words, "--state", f"sqlite:///{bad}"), "mode 0777", "?shared=on")
