"""``cascade completion``: how command lines may go on, and the scripts that ask for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
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


def completed(call: Command, line: str, shell: str = "fish") -> list[str]:
    """What is offered for the last word of *line*."""
    outcome = call("completion", shell, "--line", line)
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
    assert completed(call, "cascade run flows.py:f", "bash") == ["flow"]
    assert completed(call, "cascade show one --state sqlite:", "bash") == ["///runs.db"]
    assert completed(call, "cascade show one work[1", "bash") == ["work\\[1\\]"]
    assert completed(call, "cascade show one 'work[1", "bash") == ["work[1]"]


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete -c")]
)
def test_the_script_of_a_shell_is_printed(call: Command, shell: str, words: str) -> None:
    outcome = call("completion", shell)
    assert outcome.status == 0
    assert words in outcome.out
    assert_is_a_mistake(call("completion", "tcsh"), "tcsh")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_it(call: Command) -> None:
    script = (
        call("completion", "bash").out
        + f"""
    cascade() {{ '{sys.executable}' -m cascade "$@"; }}
    COMP_LINE='cascade run flows.py:bo'; COMP_POINT=${{#COMP_LINE}}
    _cascade_complete
    printf '%s,' "${{COMPREPLY[@]}}"
    """
    )
    done = subprocess.run(
        ["bash", "-c", script], env=environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.stdout, done.stderr) == ("both,", "")
