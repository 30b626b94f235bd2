"""``cascade run --page`` and ``cascade page``."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from command_line import Command, assert_is_a_mistake, command_with, environment

FLOWS = """
    import cascade

    @cascade.task
    async def double(n: int) -> int:
        return 2 * n

    doubled = double(4)
    approved = cascade.signal("approve", int)
"""

command = command_with(FLOWS)
pytestmark = pytest.mark.needs("h11")


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m cascade`` in a process of its own, which is ended with the block."""
    words = [sys.executable, "-m", "cascade", *arguments]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as one:
        try:
            yield one
        finally:
            one.kill()


def link_of(one: subprocess.Popen[str]) -> str:
    """The link that the process tells."""
    assert one.stderr is not None
    for line in one.stderr:
        found = re.search(r"http://\S+/\?key=\S+", line)
        if found:
            return found[0]
    raise AssertionError("it has told no link")


def opened(link: str) -> urllib.request.OpenerDirector:
    """A browser that has opened *link*."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(link, timeout=20) as page:
        assert page.status == 200
    return browser


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_has_a_page_until_it_ends(command: Command, backend: str) -> None:
    with process("run", "flows:approved", "--page", "--run-id", "nightly", "--backend", backend) as one:
        link = link_of(one)
        with opened(link).open(f"{link.partition('?')[0]}run?id=nightly", timeout=20) as page:
            assert "run nightly" in page.read().decode()
        one.send_signal(signal.SIGTERM)
        assert one.wait(20) == 143
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(link, timeout=20)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_all_runs_of_a_store_have_a_page_until_it_is_interrupted(command: Command, backend: str) -> None:
    assert command("run", "flows:doubled", "--state", "sqlite:///runs.db", "--run-id", "one").status == 0
    with process("page", "--state", "sqlite:///runs.db", "--backend", backend, "--metrics") as one:
        link = link_of(one)
        browser = opened(link)
        base = link.partition("/?")[0]
        with browser.open(f"{base}/", timeout=20) as page:
            assert '"id":"one"' in page.read().decode()
        with browser.open(f"{base}/run?id=one", timeout=20) as page:
            assert "double" in page.read().decode()
        with urllib.request.urlopen(f"{base}/metrics", timeout=20) as page:
            lines = page.read().decode().splitlines()
        assert 'cascade_runs{status="succeeded"} 1' in lines
        assert 'cascade_recorded_nodes{status="succeeded"} 1' in lines
        one.send_signal(signal.SIGINT)
        assert one.wait(20) == 130
        assert one.stderr is not None
        assert "Traceback" not in one.stderr.read()


def test_the_page_of_a_run_that_ends_at_once_is_told(command: Command) -> None:
    outcome = command("run", "flows:doubled", "--page", "--log", "none")

    assert outcome.status == 0
    assert outcome.out == "8\n"
    assert re.fullmatch(r"cascade: the page of the run is at http://127\.0\.0\.1:\d+/\?key=\S+\n", outcome.err)


def test_an_address_that_others_can_reach_has_to_be_allowed_and_is_warned_of(command: Command) -> None:
    refused = command("run", "flows:doubled", "--page-address", "0.0.0.0:0")
    allowed = command("run", "flows:doubled", "--page-address", "0.0.0.0:0", "--allow-remote", "--log", "none")
    quiet = command("run", "flows:doubled", "--page", "--allow-remote", "--log", "none")

    assert_is_a_mistake(refused, "other computers can reach 0.0.0.0", "--allow-remote")
    assert allowed.status == 0
    assert "can see and steer the run; the connection is not encrypted" in allowed.err
    assert "not encrypted" not in quiet.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--read-only"], "--page"),
        (["--metrics"], "--page"),
        (["--allow-remote"], "--page"),
        (["--page-address", "here"], "IP:PORT"),
        (["--page-address", "example.org:80"], "IP:PORT"),
    ],
)
def test_a_page_that_makes_no_sense_is_a_mistake(command: Command, words: list[str], said: str) -> None:
    assert_is_a_mistake(command("run", "flows:doubled", *words), said)


def test_an_address_in_use_is_a_mistake_and_nothing_runs(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = command("run", "flows:doubled", "--page-address", f"127.0.0.1:{port}")
        assert command("run", "flows:doubled", "--state", "sqlite:///runs.db").status == 0
        page = command("page", "--state", "sqlite:///runs.db", "--page-address", f"127.0.0.1:{port}")

    assert_is_a_mistake(outcome, f"cannot listen on 127.0.0.1:{port}")
    assert_is_a_mistake(page, f"cannot listen on 127.0.0.1:{port}")


@pytest.mark.parametrize("words", [[], ["--state", "memory:"], ["--state", "sqlite:///none.db"], ["--state", "x"]])
def test_a_page_about_no_store_is_a_mistake(command: Command, words: list[str]) -> None:
    assert_is_a_mistake(command("page", *words))


def test_a_way_to_processes_that_is_none_is_a_mistake(command: Command) -> None:
    assert command("run", "flows:doubled", "--state", "sqlite:///runs.db").status == 0

    assert_is_a_mistake(command("page", "--state", "sqlite:///runs.db", "--via", "x"), "unknown control URL")


def test_a_run_is_resumed_without_the_page_that_it_had(command: Command, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    words = ("--state", state, "--run-id", "one", "--when-idle", "suspend", "--page", "--read-only")
    assert command("run", "flows:approved", *words).status == 75
    assert command("send", "one", "approve", "3", "--state", state).status == 0
    outcome = command("resume", "one", "--state", state)

    assert (outcome.status, outcome.out) == (0, "3\n")
    assert "page" not in outcome.err


def test_a_run_is_resumed_with_the_page_that_it_is_given(command: Command, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    words = ("--state", state, "--run-id", "one", "--when-idle", "suspend")
    assert command("run", "flows.py:approved", *words).status == 75
    assert_is_a_mistake(command("resume", "one", "--state", state, "--read-only"), "--page")
    assert_is_a_mistake(
        command("resume", "one", "--state", state, "--page-address", "0.0.0.0:0"), "--allow-remote"
    )
    assert command("send", "one", "approve", "3", "--state", state).status == 0
    outcome = command("resume", "one", "--state", state, "--page", "--read-only", "--log", "none")

    assert (outcome.status, outcome.out) == (0, "3\n")
    assert "cascade: the page of the run is at http://127.0.0.1:" in outcome.err


def test_a_resumed_run_has_a_report_in_the_folder_where_that_was_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    words = ("--state", state, "--run-id", "one", "--when-idle", "suspend")
    assert command("run", "flows.py:approved", *words).status == 75
    assert command("send", "one", "approve", "3", "--state", state).status == 0
    (tmp_path / "else where").mkdir()
    monkeypatch.chdir(tmp_path / "else where")
    outcome = command("resume", "one", "--state", state, "--report", "run.html", "--capture", "--log", "none")

    assert (outcome.status, outcome.out) == (0, "3\n")
    assert "run one" in (tmp_path / "else where" / "run.html").read_text()
