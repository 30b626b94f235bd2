"""``cascade completion``: how command lines may go on, and the scripts that ask for it."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import Command, assert_is_a_mistake, command_with, environment, write

FLOWS = """
import cascade

raise_if_imported = 1 / 0

@cascade.task
def fetch(n: int) -> int: ...

@cascade.task(retry=3)
async def total(values: list[int]) -> int: ...

def build(): ...
def helper(x): ...

flow = total(fetch.map(n=[1]))
both = [flow, fetch(1)]
limit = cascade.Param("limit", 3)
_hidden = fetch(1)
NAMES = ["a", "b"]
"""
RECORDED = """
import cascade

@cascade.task
def work(n: int) -> int:
    if n == 2:
        raise ValueError("no luck")
    return n

flow = work.map(n=[1, 2, 3])
"""

call = command_with(FLOWS)


def completed(call: Command, line: str, shell: str = "fish", word: str | None = None) -> list[str]:
    """What is offered for the last word of *line*, of which the shell replaces *word*; by default all of it."""
    outcome = call("completion", shell, "--line", line, *([] if word is None else [f"--word={word}"]))
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cascade ru", ["run", "runs"]),
        ("cascade runs --status su", ["succeeded", "suspended"]),
        ("cascade runs pr", ["prune"]),
        ("cascade runs prune --ol", ["--older-than"]),
        ("cascade run flows.py:flow --backend ", ["asyncio", "trio"]),
        ("cascade run --backend=t", ["--backend=trio"]),
        ("cascade run fl", ["flows.py:"]),
        ("cascade run flows.py:", ["flows.py:build", "flows.py:flow", "flows.py:both"]),
        ("cascade graph flows:b", ["flows:build", "flows:both"]),
        ("cascade run sub", ["sub/"]),
        ("cascade run sub/", ["sub/more.py:"]),
        ("cascade run sub.more:", ["sub.more:flow"]),
        ("cascade run absent.py:", []),
        ("cascade run broken.py:", []),
        ("cascade control p", ["pause"]),
        ("cascade control pause task:", ["task:fetch", "task:total"]),
        ("cascade control limit g", ["global"]),
        ("cascade control send g", []),
        ("cascade completion ", ["bash", "zsh", "fish"]),
        ("cascade show no such run 'or \"quote", []),
    ],
)
def test_a_line_goes_on_without_importing_anything(call: Command, line: str, words: list[str]) -> None:
    write("sub/more.py", "import cascade\nflow = cascade.gather()\n")
    write("broken.py", "def (")
    found = completed(call, line)
    assert found == words or sorted(found) == sorted(words)


def test_options_are_offered_once_a_dash_is_there(call: Command) -> None:
    assert {"--state", "--failed", "--log", "--format", "--help"} <= set(completed(call, "cascade show -"))
    assert "--line" in completed(call, "cascade completion --l")


def test_recorded_runs_and_their_nodes_are_offered(call: Command) -> None:
    write("recorded.py", RECORDED)
    for run_id in ("one", "two"):
        call("run", "recorded.py:flow", "--state", "sqlite:///runs.db", "--run-id", run_id, "--log", "none")
    Path("other.db").write_text("no state file")
    assert completed(call, "cascade show ") == ["two", "one"]
    assert completed(call, "cascade resume --state sqlite:///runs.db t") == ["two"]
    assert completed(call, "cascade show --state sqlite:///other.db ") == []
    assert completed(call, "cascade show one ")[:2] == ["work", "work[1]"]
    assert completed(call, "cascade show one --state ") == ["sqlite:///other.db", "sqlite:///runs.db"]
    assert completed(call, "cascade runs export o") == ["one"]


def test_bash_gets_what_follows_its_last_break_with_backslashes(call: Command) -> None:
    write("recorded.py", RECORDED)
    call("run", "recorded.py:flow", "--state", "sqlite:///runs.db", "--run-id", "one", "--log", "none")
    assert completed(call, "cascade run flows.py:f", "bash", "f") == ["flow"]
    assert completed(call, "cascade run flows.py:f", "bash") == ["flows.py:flow"]
    assert completed(call, "cascade show one --state sqlite:", "bash", "") == ["///runs.db"]
    assert completed(call, "cascade show one work[1", "bash", "work[1") == ["work\\[1\\]"]
    assert completed(call, "cascade show one 'work[1", "bash", "work[1") == ["work[1]"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        (r"a\ ", "a b"), ("'a ", "a b"), ('"a ', "a b"), ("a' '", "a b"), (r'"q\"', 'q"q'), (r'"b\n', r"b\n"),
        (r'"m\$', "m$x"),
    ],
)  # fmt: skip
def test_what_is_typed_is_read_as_the_shell_reads_it(call: Command, shell: str, typed: str, folder: str) -> None:
    Path(folder).mkdir()
    assert len(completed(call, f"cascade run {typed}", shell, "")) == 1


def test_single_quotes_and_backslashes_are_those_of_the_shell(call: Command) -> None:
    Path("it's").mkdir()
    Path(r"b\n").mkdir()
    assert completed(call, r"cascade run 'it\'", "fish") == ["it's/"]
    assert completed(call, r"cascade run 'it\'", "zsh") == []
    assert (
        completed(call, r"cascade run 'b\n", "zsh") == completed(call, r"cascade run 'b\\n", "fish") == [r"b\n/"]
    )


def test_a_name_with_a_line_end_is_not_offered(call: Command) -> None:
    for name in ("xa\nb", "xa\x1b", "xab"):
        Path(name).mkdir()
    for shell in ("bash", "zsh", "fish"):
        assert completed(call, "cascade run x", shell) == ["xab/"]


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete -c")]
)
def test_the_script_of_a_shell_is_printed(call: Command, shell: str, words: str) -> None:
    outcome = call("completion", shell)
    assert outcome.status == 0
    assert words in outcome.out
    assert_is_a_mistake(call("completion", "tcsh"), "tcsh")


# What is typed, and the word that the command gets once the line is complete.
TYPED = [
    ("flows.py:bo", "flows.py:both"), ("flows\".py:bo", "flows.py:both"), ("'it", "it's/"), ("it'", "it's/"),
    ('"w', "w!w/"), (r'"\$', "$v/"), ("'p=", "p=q/"), ("at@", "at@x/"), ("'st*", "st*r/"), ("od", "od d/"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_it(call: Command) -> None:
    for name in ("od d", "it's", "w!w", "$v", "p=q", "at@x", "st*r", "st1r"):
        Path(name).mkdir()
    write("said.py", "import json, sys\nprint('heard', json.dumps(sys.argv[1:]), flush=True)\n")
    python = f"'{sys.executable}'"
    write(
        "begin.sh",
        f"""
        cascade() {{
            if [ "$1" = completion ]; then {python} -m cascade "$@"; else {python} said.py "$@"; fi
        }}
        eval "$(cascade completion bash)"
        """,
    )
    with terminal(["bash", "--norc", "--noprofile", "-i"]) as ask:
        assert ask("source begin.sh; cascade 'are you' there") == ["are you", "there"]
        assert {typed: ask(f"cascade run {typed}\t") for typed, _ in TYPED} == {
            typed: ["run", word] for typed, word in TYPED
        }


@contextmanager
def terminal(command: list[str]) -> Iterator[Callable[[str], list[str]]]:
    """A shell in a terminal: types a line and Enter, and returns what ``said.py`` has heard then."""
    import pty  # here, as it is not everywhere

    outer, inner = pty.openpty()
    told = environment() | {"TERM": "dumb", "PS1": "$ "}
    with subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=told, start_new_session=True
    ) as shell:
        os.close(inner)

        def ask(line: str) -> list[str]:
            os.write(outer, f"{line}\r".encode())
            text = b""
            while (found := re.search(rb"^heard (.*)\r\n", text, re.MULTILINE)) is None:
                assert select.select([outer], [], [], 30)[0], f"nothing is heard after {line!r}: {text!r}"
                text += os.read(outer, 65_536)
            heard: list[str] = json.loads(found[1])
            return heard

        try:
            yield ask
        finally:
            shell.kill()
            os.close(outer)
