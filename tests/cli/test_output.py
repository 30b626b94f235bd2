"""Where the command line writes: streams that are closed, full, of few characters, or terminals."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Command, Outcome, cascade_process, command_line, command_with, environment, write
from hypothesis import given
from hypothesis import strategies as st
from strategies_events import ANY_TEXT

from cascade.adapters.observers.terminal import Span
from cascade.cli import main, output
from cascade.model.shown.text import columns

FLOWS = r"""
import cascade

@cascade.task
def give(value: object = 1) -> object:
    return value

@cascade.task
def fails() -> None:
    raise ValueError("trouble")

@cascade.task
def text() -> str:
    return "grün 🐍\tx\x1b[31mred\n\u202esecond \udce9"

plain, nothing, bad, words = give(), give(None), fails(), text()
name = give("caf\udce9.csv")
many = [give(n) for n in range(2000)]
"""


command = command_with(FLOWS)


STATE = ("--state", "sqlite:///runs.db")
RUN = ("run", "flows.py:plain", "--log", "none")


class Broken(io.StringIO):
    """A stream that takes nothing, or takes it and cannot send it on."""

    def __init__(self, error: Exception, *, flushes_only: bool = False) -> None:
        super().__init__()
        self.error = error
        self.flushes_only = flushes_only

    def write(self, text: str) -> int:
        if not self.flushes_only:
            raise self.error
        return len(text)

    def flush(self) -> None:
        raise self.error


FULL = OSError(errno.ENOSPC, "No space left on device")
COMMANDS = {
    "run": RUN,
    "json log": ("run", "flows.py:plain", "--log", "json"),
    "runs": ("runs", *STATE),
    "runs as json": ("runs", *STATE, "--format", "json"),
    "show": ("show", "night", *STATE),
    "graph": ("graph", "flows.py:plain"),
    "status": ("control", "status", "--via", "local:control.db"),
    "help": ("--help",),
    "help of a flow": ("run", "flows.py:plain", "--help"),
    "version": ("--version",),
}
each_command = pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)


@pytest.mark.parametrize("flushes_only", [False, True], ids=["write", "flush"])
@each_command
def test_output_that_cannot_be_written_is_one_line_and_no_success(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], flushes_only: bool
) -> None:
    command("run", "flows.py:plain", "--run-id", "night", *STATE, "--log", "none")
    monkeypatch.setattr(sys, "stdout", Broken(FULL, flushes_only=flushes_only))

    assert command(*words) == Outcome(2, "", "cascade: cannot write to standard output: No space left on device\n")


@each_command
def test_a_reader_that_had_enough_is_no_failure(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    command("run", "flows.py:plain", "--run-id", "night", *STATE, "--log", "none")
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(errno.EPIPE, "Broken pipe")))

    assert command(*words) == Outcome(0, "", "")


@each_command
def test_a_closed_output_is_one_line_and_no_success(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    command("run", "flows.py:plain", "--run-id", "night", *STATE, "--log", "none")
    monkeypatch.setattr(sys, "stdout", None)

    assert command(*words) == Outcome(2, "", "cascade: cannot write to standard output: it is closed\n")


def test_a_closed_output_is_no_matter_where_there_is_nothing_to_write(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    assert command("run", "flows.py:nothing", "--log", "none") == Outcome(0, "", "")


@pytest.mark.parametrize("stream", [None, Broken(FULL)], ids=["closed", "full"])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("run", "flows.py:plain", "--log", "human"), 0),
        (("run", "flows.py:bad", "--log", "human"), 1),
        (("run", "flows.py:bad", "--log", "none", "--traceback"), 1),
        (("run", "gone.py:flow"), 2),
        ((), 2),
    ],
)
def test_nobody_can_be_told_where_standard_error_cannot_be_written(
    command: Command, monkeypatch: pytest.MonkeyPatch, stream: object, words: tuple[str, ...], status: int
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)

    assert command(*words).status == status


def test_a_flow_that_failed_has_failed_whatever_becomes_of_its_log(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(FULL))
    outcome = command("run", "flows.py:bad", "--log", "json")

    assert outcome.status == 1
    assert "cascade: fails failed: ValueError: trouble\n" in outcome.err
    assert "cascade: cannot write to standard output: No space left on device\n" in outcome.err


# What other commands do as well, within this process, is slow here.
REPEATED = ("runs, to a full disk", "graph, to head", "help, to a full disk")
SITUATIONS = {
    "runs, to a full disk": ("$CASCADE runs --state sqlite:///runs.db > /dev/full", 2, "No space left"),
    "graph, to head": ("set -o pipefail; $CASCADE graph flows.py:many | head -1 > /dev/null", 0, ""),
    "closed": ("$CASCADE run flows.py:plain --log none >&-", 2, "it is closed"),
    "help, to a full disk": ("$CASCADE --help > /dev/full", 2, "No space left"),
    "log, to a full disk": ("$CASCADE run flows.py:plain --log json > /dev/full", 2, "No space left"),
    "log, to head": ("set -o pipefail; $CASCADE run flows.py:many --log json | head -1 > /dev/null", 0, ""),
    "standard error, full": ("$CASCADE run flows.py:plain 2> /dev/full", 0, ""),
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        pytest.param(*situation, marks=[pytest.mark.slow] * (name in REPEATED), id=name)
        for name, situation in SITUATIONS.items()
    ],
)
def test_a_shell_sees_the_same(command: Command, line: str, status: int, words: str) -> None:
    command("run", "flows.py:plain", "--run-id", "night", *STATE, "--log", "none")
    done = subprocess.run(
        ["bash", "-c", line.replace("$CASCADE", f"{sys.executable} -m cascade")],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == status
    said = done.stderr.splitlines()
    assert (len(said), words in done.stderr) == (1, True) if words else said == []


# -- characters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("utf-8", "grün 🐍\tx\x1b[31mred\n\u202esecond \udce9\n".encode("utf-8", "surrogateescape")),
        ("ascii", b"gr\\xfcn \\U0001f40d\tx\x1b[31mred\n\\u202esecond \\udce9\n"),
    ],
)
def test_a_result_goes_to_a_file_as_it_is_as_far_as_that_can_be(
    command: Command, encoding: str, printed: bytes
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cascade", "run", "flows.py:words", "--log", "human"],
        env=environment(PYTHONIOENCODING=encoding), capture_output=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert done.stdout == printed
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", [pytest.param("utf-8", marks=pytest.mark.slow), "ascii"])
def test_the_name_of_a_file_that_is_no_text_is_printed_as_the_bytes_that_it_is(
    command: Command, encoding: str
) -> None:
    outcome = cascade_process("run", "flows.py:name", "--log", "none", env=environment(PYTHONIOENCODING=encoding))

    assert outcome == Outcome(0, "caf\udce9.csv\n", "")


def test_words_that_are_no_text_are_named_in_one_line(command: Command) -> None:
    for words in (
        ["run", "\udcff.py:flow"],
        ["run", "flows.py:\udcff"],
        ["\udcff"],
        ["run", "flows.py:plain", "\udcff"],
    ):
        outcome = command(*words)
        assert outcome.status == 2
        assert len(outcome.err.splitlines()) == 1
        assert r"\udcff" in outcome.err


# -- terminals ---------------------------------------------------------------------------------------------------


def on_terminal(*words: str, columns: int = 80, **variables: str) -> str:
    """What the command line shows on a terminal of its own, which is its standard output and error."""
    leader, follower = pty.openpty()
    variables = {"TERM": "xterm", **variables}
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "cascade", *words],
        env=environment(**variables), stdin=follower, stdout=follower, stderr=follower, close_fds=True,
    ) as process:  # fmt: skip
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 65536):
                shown += part
        except OSError:  # the other end is closed
            pass
        process.wait(timeout=100)
    os.close(leader)
    return shown.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def test_on_a_terminal_a_result_cannot_steer_it(command: Command) -> None:
    assert on_terminal("run", "flows.py:words", "--log", "none") == (
        "grün 🐍  x\\x1b[31mred\n\\u202esecond \\udce9\n"
    )


def test_on_a_terminal_there_is_colour_unless_the_user_says_no(command: Command) -> None:
    shown = on_terminal("run", "flows.py:bad", "--log", "none")
    assert "\x1b[31mcascade: fails failed: ValueError: trouble\x1b[0m\n" in shown

    assert "\x1b" not in on_terminal("run", "flows.py:bad", NO_COLOR="1")


@pytest.mark.parametrize("width", [80, pytest.param(100, marks=pytest.mark.slow)])
def test_tables_fit_into_the_terminal(command: Command, width: int) -> None:
    command("run", "flows.py:many", "--run-id", "a long id of a run that is", *STATE, "--log", "none")
    shown = on_terminal("runs", *STATE, columns=width, NO_COLOR="1")

    head, line = shown.splitlines()
    assert len(line) <= width
    assert line.startswith("a long id of a run that is  ")
    assert line.endswith("...")
    assert head.index("STATUS") == line.index("succeeded")


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT), min_size=1, max_size=5), st.none() | st.integers(10, 100))
def test_columns_begin_below_their_heads_whatever_is_in_them(
    rows: list[tuple[str, str, str]], screen: int | None
) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(output, "width_of", lambda _: screen)
        output.out_table(("ONE", "TWO", "LAST"), [(Span(one), two, last) for one, two, last in rows])

    written = stream.getvalue()
    assert written.replace("\n", "").isprintable()
    head, *lines = written.split("\n")[:-1]
    assert len(lines) == len(rows)
    for (_, two, _), line in zip(rows, lines, strict=True):
        if two.isascii() and two.isprintable() and two.strip() and len(two) < 8:
            place = head.index("TWO")
            assert "".join(_after(line, place)).startswith(two.rstrip())


def _after(line: str, width: int) -> Iterator[str]:
    """What of *line* is shown from column *width* on."""
    shown = 0
    for letter in line:
        if shown >= width:
            yield letter
        shown += columns(letter)


def test_the_folder_may_be_gone(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    try:
        for words in (["run", "flows:plain"], ["run", f"{tmp_path}/flows.py:plain"], ["runs", *STATE]):
            outcome = command(*words)
            assert outcome.status == 2
            assert len(outcome.err.splitlines()) == 1
    finally:
        os.chdir(tmp_path)


# -- anything ----------------------------------------------------------------------------------------------------

# No NUL: the system hands over no word with one. No socket, no other store than a file in the folder.
ANY_WORD = st.text(st.characters(exclude_characters="\0"), max_size=8)
WORDS = st.sampled_from(
    [
        "run", "graph", "runs", "show", "resume", "control", "pause", "limit", "status", "flows.py:plain", "-p",
        "a=b", "flows.py:bad", "flows.py:nothing", "flows.py:", ":", "--log", "none", "json", "human", "--state",
        "night",
        "sqlite:///runs.db", "sqlite:///", "memory:", "--run-id", "--format", "text", "--help", "--version", "--",
        "-", "--on-error", "group", "--on-change", "fork", "--backend", "trio", "--grace", "0", "--max-threads",
        "1",
        "--resources", "x=1", "--schedule", "eager", "--traceback", "--rate", "1/s", "--concurrency", "global",
        "--ttl", "--burst", "--via", "local:control.db", "--patience", "0.1", "--author", "ada", "\udcff",
        "\x1b[2J", "--state=sqlite:///runs.db", "--control", "--control=local:control.db",
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some flows and a recorded run."""
    return tmp_path_factory.mktemp("any_words")


def test_no_words_whatever_lead_to_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    with command_line(capsys, monkeypatch, folder) as call:
        write("flows.py", FLOWS)
        call("run", "flows.py:plain", "--run-id", "night", *STATE, "--log", "none")
        _check_any_words(call)


def _check_any_words(call: Callable[..., Outcome]) -> None:
    @given(st.lists(WORDS | ANY_WORD, max_size=6))
    def check(words: list[str]) -> None:
        outcome = call(*words, "--via=local:control.db") if words[:1] == ["control"] else call(*words)
        assert outcome.status in (0, 1, 2)
        if outcome.status == 1:
            assert "flows.py:bad" in words
        if outcome.status == 2 and words:
            assert len(outcome.err.splitlines()) == 1
        assert outcome.err.replace("\n", "").isprintable()

    check()


def test_main_is_what_the_command_calls() -> None:
    assert main(["--version"]) == 0
