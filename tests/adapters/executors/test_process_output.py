"""What worker processes write and log: where it goes, in which order, and when."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import talking_tasks as talking
from life import until

import cascade

Run = Callable[..., Any]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file descriptors are inherited there")


def test_what_is_printed_arrives_in_the_streams_of_this_process(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(talking.says("to out", "to err")) == "said"
    assert capsys.readouterr() == ("to out\n", "to err\n")


def test_it_goes_where_the_streams_lead_at_that_moment(run: Run) -> None:
    first, second = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(first):
        run(talking.says("one"))
    with contextlib.redirect_stdout(second), contextlib.redirect_stderr(second):
        run(talking.says("two", "three"))
    assert (first.getvalue(), second.getvalue()) == ("one\n", "two\nthree\n")


class Everything(logging.Handler):
    """Takes text and log records, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + "\n"


def everything_of(run: Run, flow: cascade.LazyResult[Any]) -> str:
    """All that running *flow* writes and logs, in order."""
    taker: Any = Everything()
    talking.log.addHandler(taker)
    try:
        with contextlib.redirect_stdout(taker), contextlib.redirect_stderr(taker):
            run(flow)
    finally:
        talking.log.removeHandler(taker)
    return str(taker.text)


def test_all_that_a_task_writes_keeps_its_order(run: Run) -> None:
    lines = [int(line) for line in (everything_of(run, talking.says_in_turn(500))).split()]
    # What follows each other past Python goes through two pipes, between which there is no order: 3 and 4.
    for start in range(0, 500, 5):
        assert sorted(lines[start : start + 5]) == list(range(start, start + 5))
        assert lines[start : start + 3] == list(range(start, start + 3))


def test_pieces_of_lines_keep_their_order(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert everything_of(run, talking.says_in_pieces()) == "abcöd"
    run(talking.says_in_pieces())
    assert capsys.readouterr() == ("acöd", "b")


@pytest.mark.skipif(sys.platform != "linux", reason="pipes have their size elsewhere")
def test_much_that_goes_past_python_keeps_its_place(run: Run) -> None:
    assert everything_of(run, talking.says_much_at_once(900_000)) == "x" * 900_000 + "after\n"


def test_what_children_write_arrives_in_its_place(run: Run) -> None:
    text = everything_of(run, talking.says_past_python("from a child"))
    assert text == "before\nfrom a child\nfrom a child\nafter\n"


def test_a_forked_child_can_write_and_log_and_disturbs_nothing(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(talking.says_in_a_fork("a fork")) == "status 0"
    assert run(talking.says("then")) == "said"
    out, err = capsys.readouterr()
    assert sorted(out.replace("unfinished", "").splitlines()) == ["a fork", "then"]
    assert out.count("unfinished") == 1  # what was kept back when the child was forked is not its own
    assert "logged by a fork" in err


def test_a_function_that_returns_in_a_forked_child_as_well_returns_once(run: Run) -> None:
    worker = run(talking.returns_twice())
    assert run(talking.returns_twice()) == worker


@pytest.mark.parametrize("data", [b"\xff\x00\xfe\n", b"\0", "ö".encode()[:1]], ids=repr)
def test_what_is_no_text_arrives_as_it_is_or_escaped(run: Run, data: bytes) -> None:
    lenient = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", newline="\n")
    strict = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    with contextlib.redirect_stdout(lenient):
        run(talking.says_binary(data))
    with contextlib.redirect_stdout(strict):
        run(talking.says_binary(data + b"!"))
    assert isinstance(lenient.buffer, io.BytesIO)
    assert isinstance(strict.buffer, io.BytesIO)
    assert lenient.buffer.getvalue() == data.removesuffix(b"\xc3")  # may be half a character
    assert strict.buffer.getvalue().endswith(b"!")


def test_more_than_pipes_hold_arrives_whole(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(talking.says_much(6000)) == 6000
    out, err = capsys.readouterr()
    assert out == "".join(f"line {number}\n" for number in range(1, 6000, 2)) + "x" * 300_000
    assert err == "".join(f"line {number}\n" for number in range(0, 6000, 2))


async def test_what_a_task_wrote_before_it_was_killed_arrives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "pid"
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, talking.says_and_waits(str(marker)))
        await until(marker.exists, patience=10**9)
        group.cancel_scope.cancel()
    assert capsys.readouterr().out == "last words\n"


def test_what_a_process_wrote_before_it_died_arrives(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(anyio.BrokenWorkerProcess, match="exited with status 3"):
        run(talking.says_and_dies())
    assert capsys.readouterr() == ("last words\n", "of the process\n")


async def test_a_process_that_writes_without_end_is_killed_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "pid"
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, talking.says_forever(str(marker)))
        await until(marker.exists, patience=10**9)
        group.cancel_scope.cancel()
        before = anyio.current_time()
    assert anyio.current_time() - before < 20  # as a rule, some hundredths
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)
    assert set(capsys.readouterr().out.splitlines()[:-1]) <= {"again and again"}


async def test_a_task_that_redirects_its_file_descriptors_disturbs_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with cascade.Engine() as engine:
        await engine.run(talking.redirects())
        await engine.run(talking.says("and on"))
    assert capsys.readouterr() == ("to somewhere\nand on\n", "\n")


async def test_what_a_thread_writes_late_arrives_with_the_next_task_or_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await cascade.run(talking.speaks_up("late")) == "late"
    assert capsys.readouterr().out == "late\n"


def test_the_standard_input_is_empty(run: Run) -> None:
    assert run(talking.reads()) == ""


def test_nothing_is_shown_where_there_are_no_streams(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run(talking.says("nobody hears it")) == "said"


def test_a_stream_that_refuses_fails_the_task_as_print_would(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="closed file"):
        patch.setattr(sys, "stdout", closed)
        run(talking.says("too late"))
    assert run(talking.says("again")) == "said"


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_file_descriptors_of_this_process_are_no_hindrance(
    closed: str, backend_name: str, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    (tmp_path / "script.py").write_text(
        "import pathlib, sys, cascade, talking_tasks\n"
        "if __name__ == '__main__':\n"
        "    value = cascade.run_sync(talking_tasks.says('x', 'y'), backend=sys.argv[2])\n"
        "    pathlib.Path(sys.argv[1]).write_text(value)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = f'"{sys.executable}" script.py "{done}" {backend_name} {closed}'
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, check=True, timeout=60)
    assert done.read_text() == "said"


# -- logging ---------------------------------------------------------------------------------------------------


def test_records_are_handled_by_the_loggers_of_this_process(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="talking.tasks")
    logging.getLogger("talking.other").setLevel(logging.ERROR)
    try:
        run(talking.logs())
    finally:
        logging.getLogger("talking.other").setLevel(logging.NOTSET)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("talking.tasks", "INFO", "info 1"),
        ("talking.tasks", "WARNING", "warning <a thing>"),
        ("talking.tasks", "ERROR", "extra"),
        ("talking.tasks", "ERROR", "failed"),
        ("root", "WARNING", "root"),
    ]


def test_records_keep_their_fields(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="talking.tasks")
    run(talking.logs())
    info, _, extra, failed, _, _ = caplog.records
    assert (info.msg, info.args) == ("info %s", (1,))
    assert info.process != os.getpid()
    assert (info.funcName, info.module) == ("logs", "talking_tasks")
    assert vars(extra)["number"] == 1
    assert vars(extra)["thing"] == "<a thing>"
    assert failed.exc_info is not None
    assert repr(failed.exc_info[1]) == "ValueError('bad')"
    assert "talking_tasks.py" in caplog.text
    assert caplog.text.count("ValueError: bad") == 1


def test_levels_count_as_they_are_when_the_run_starts(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    for level, count in [(logging.DEBUG, 7), (logging.ERROR, 2), (logging.NOTSET, 5)]:
        caplog.clear()
        with caplog.at_level(level, logger="talking.tasks"):
            run(talking.logs())
        assert len(caplog.records) == count
    caplog.clear()
    logging.disable(logging.ERROR)
    try:
        run(talking.logs())
    finally:
        logging.disable(logging.NOTSET)
    assert caplog.records == []


def test_a_record_with_too_few_arguments_arrives(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(None)
    filtered: list[str] = []

    def takes(record: logging.LogRecord) -> bool:
        filtered.append(str(record.msg))
        return False  # or the handlers would complain, as they do of those from here

    talking.log.addFilter(takes)
    try:
        run(talking.logs_wrongly())
    finally:
        talking.log.removeFilter(takes)
    assert filtered == ["%s and %s"]


def test_a_handler_that_a_task_adds_is_called_there(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(talking.logs_with_its_own_handler(str(tmp_path / "log")))
    assert (tmp_path / "log").read_text() == "to both\n"
    assert caplog.messages == ["to both"]


def test_nothing_configures_logging_here(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.level, list(logging.root.handlers)
    run(talking.logs())
    assert (logging.root.level, logging.root.handlers) == before


CONFIGURED = """
import logging, logging.config
import cascade

{configure}

@cascade.task(mode="process")
def works() -> None:
    logging.getLogger("mine").info("logged")

if __name__ == "__main__":
    cascade.run_sync(works())
"""
BY_DICT = """logging.config.dictConfig({
    "version": 1, "formatters": {"f": {"format": "%(name)s: %(message)s"}},
    "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
"""
OF_THE_ROOT = BY_DICT + '"root": {"level": "INFO", "handlers": ["h"]}})'
OF_A_LOGGER = BY_DICT + '"loggers": {"mine": {"level": "INFO", "handlers": ["h"], "propagate": False}}})'


@pytest.mark.parametrize(
    "configure",
    ["logging.basicConfig(level=logging.INFO, format='%(name)s: %(message)s')", OF_THE_ROOT, OF_A_LOGGER],
    ids=["basic", "root", "logger"],
)
def test_a_script_that_configures_logging_at_its_top_sees_each_record_once(configure: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CONFIGURED.format(configure=configure))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("", "mine: logged\n")
