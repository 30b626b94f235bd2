"""The examples are real programs: they run, and what they report is true."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import threading
import tokenize
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import pytest
from clusters import dask_cluster
from real_time import look_until

import cascade
from cascade.api import recorded_run

EXAMPLES = Path(__file__).parents[1] / "examples"
PACKAGE_ROOT = Path(cascade.__file__).parent.parent
STDLIB = Path(sysconfig.get_path("stdlib"))


def python(*arguments: object, folder: Path) -> str:
    """What a Python process prints in *folder*; it has to succeed, and to say nothing on standard error."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "PYTHONWARNINGS": "default,ignore::SyntaxWarning"},
        capture_output=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if "DeprecationWarning: invalid" not in line]
    assert (done.returncode, [line for line in lines if not line.startswith("  ")]) == (0, []), done.stderr
    return done.stdout


def command(target: str, *words: object, folder: Path) -> str:
    """What ``cascade run`` prints for the flow of an example."""
    return python("-m", "cascade", "run", f"{EXAMPLES / target}:flow", *words, folder=folder)


def test_every_example_is_tested() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == [
        "approval.py",
        "polling_agent.py",
        "scrape_site.py",
        "stdlib_survey.py",
        "tell_somebody.py",
        "trio_native.py",
    ]


# -- stdlib_survey: a tree of known content ----------------------------------------------------------------------

KNOWN = '''
import os.path, json
from collections.abc import Sequence as S
from . import sibling
from .sibling import def_like

def outer(x):
    """A def in a string is none: def no(): pass"""
    import re
    if x:
        pass
    elif x:
        pass
    for i in x:
        pass
    while x:
        pass
    try:
        pass
    except A:
        pass
    numbers = [i for i in x for j in x if j]
    match x:
        case 1:
            pass
        case _:
            pass
    return (lambda y: y) if x and x or 1 else numbers

class C:
    async def method(self):
        async for i in self:
            pass
'''
# Two functions; If 2, For, While, ExceptHandler, comprehension 2, match_case 2, IfExp, BoolOp 2, AsyncFor.
KNOWN_COMPLEXITY = 2 + 13
BROKEN = {
    "broken/syntax.py": b"def f(:\n    pass\n",
    "broken/bytes.py": b"name = '\xff'\n",
    "broken/null.py": b"x = 1\0\n",
    "broken/coding.py": b"# -*- coding: there-is-none -*-\nx = 1\n",
    "broken/indent.py": b"if x:\npass\n",
}
READABLE = {
    "known.py": KNOWN.encode(),
    "sound/empty.py": b"",
    "sound/no_newline.py": b"def f(): pass",
    "sound/windows.py": b"def f():\r\n    pass\r\n\r\ndef g():\r\n    pass\r\n",
    "sound/latin.py": b"# -*- coding: latin-1 -*-\ndef f():\n    return '\xe4'\n",
    "sound/deep/er/still.py": b"class C:\n    def f(self): pass\n    def g(self): pass\n",
    "sound/form_feed.py": b"def f(): pass\n\x0c\ndef g(): pass\n",
}
LEFT_OUT = {
    "site-packages/other.py": b"def f(): pass\n",
    "sound/__pycache__/cached.py": b"def f(): pass\n",
    "sound/readme.txt": b"def f(): pass\n",
}
COPIED = ("json", "wsgiref")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some packages of the standard library, and files that are a trial."""
    root = tmp_path_factory.mktemp("library")
    for package in COPIED:
        shutil.copytree(STDLIB / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path, content in {**BROKEN, **READABLE, **LEFT_OUT}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def sources(root: Path) -> Iterator[Path]:
    """Source files of a library, found another way than the survey finds them."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in ("site-packages", "__pycache__")]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def lines_in(path: Path) -> int:
    """Lines of a file, however they end."""
    with path.open(encoding="latin-1", newline=None) as file:
        return sum(1 for _ in file)


def functions_in(path: Path) -> int:
    """Functions of a file: ``def`` is a keyword, so each of these tokens begins one."""
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(io.StringIO(file.read()).readline)
        return sum(token.type == tokenize.NAME and token.string == "def" for token in tokens)


def counted(root: Path) -> dict[str, dict[str, int]]:
    """Files, lines and functions per package, counted without ``ast``."""
    found: dict[str, dict[str, int]] = {}
    for path in sources(root):
        name = path.relative_to(root).parts[0].removesuffix(".py")
        facts = found.setdefault(name, {"files": 0, "lines": 0, "functions": 0})
        facts["files"] += 1
        facts["lines"] += lines_in(path)
        if str(path.relative_to(root)) not in BROKEN:
            facts["functions"] += functions_in(path)
    return found


def survey(tree: Path, folder: Path, format: str, *words: object) -> str:
    """The report of a survey of *tree*."""
    words = ("--root", tree, "--output", "out.txt", "--format", format, "--log", "none", *words)
    printed = command("stdlib_survey.py", *words, "--resources", "parsers=4", folder=folder)
    assert printed == f"{(folder / 'out.txt').resolve()}\n"
    return (folder / "out.txt").read_text(encoding="utf-8")


def packages(report: str) -> dict[str, Any]:
    """What a report in JSON says, by package."""
    return {facts["package"]: facts for facts in json.loads(report)}


@pytest.fixture(scope="module")
def found(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the survey says of *tree*, by package."""
    return packages(survey(tree, tmp_path_factory.mktemp("report"), "json"))


@pytest.mark.slow
@pytest.mark.parametrize("schedule_name", ["stages", "eager"])
def test_the_survey_counts_what_another_count_finds(
    tree: Path, tmp_path: Path, backend_name: str, schedule_name: str
) -> None:
    words = ("--backend", backend_name, "--schedule", schedule_name)
    found = packages(survey(tree, tmp_path, "json", *words))

    assert {
        name: {key: facts[key] for key in ("files", "lines", "functions")} for name, facts in found.items()
    } == counted(tree)


def test_the_survey_lists_the_files_that_do_not_parse(found: dict[str, Any]) -> None:
    unreadable = {name: facts["unreadable"] for name, facts in found.items() if facts["unreadable"]}

    assert list(unreadable) == ["broken"]
    assert sorted(line.partition(":")[0] for line in unreadable["broken"]) == sorted(BROKEN)


def test_the_survey_knows_branches_and_imports(found: dict[str, Any]) -> None:
    assert found["known"]["complexity"] == KNOWN_COMPLEXITY
    assert found["known"]["imports"] == ["collections", "json", "os", "re"]


def test_the_largest_package_comes_first(found: dict[str, Any]) -> None:
    sizes = [facts["lines"] for facts in found.values()]

    assert sizes == sorted(sizes, reverse=True)


def test_the_report_in_markdown_says_the_same(tree: Path, tmp_path: Path, found: dict[str, Any]) -> None:
    text = survey(tree, tmp_path, "markdown")

    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert [(name, *map(int, numbers)) for name, *numbers in rows] == [
        (name, facts["files"], facts["lines"], facts["functions"], facts["complexity"], len(facts["imports"]))
        for name, facts in found.items()
    ]
    totals = [sum(facts[key] for facts in found.values()) for key in ("files", "lines", "functions")]
    assert f"{totals[0]} files in {len(found)} packages, {totals[1]} lines, {totals[2]} functions." in text
    assert sorted(re.findall(r"^- `(.*?): ", text, re.MULTILINE)) == sorted(BROKEN)
    assert f"do not parse: {len(BROKEN)}\n" in text


def test_the_report_as_text_says_the_same(tree: Path, tmp_path: Path, found: dict[str, Any]) -> None:
    rows = [line.split() for line in survey(tree, tmp_path, "text").splitlines()]

    assert [(name, *map(int, numbers)) for name, *numbers in rows] == [
        (name, facts["files"], facts["lines"], facts["functions"], facts["complexity"])
        for name, facts in found.items()
    ]


@pytest.mark.slow
@pytest.mark.needs("distributed")
def test_the_report_is_the_same_if_a_cluster_parses_the_files(
    tree: Path, tmp_path: Path, backend_name: str, found: dict[str, Any]
) -> None:
    with dask_cluster(tmp_path, also_importable=EXAMPLES) as cluster:
        words = ("--executor", f"{cluster.url}?tasks=sync", "--backend", backend_name)
        assert packages(survey(tree, tmp_path, "json", *words)) == found


def test_only_the_report_that_is_asked_for_is_made(tree: Path, tmp_path: Path) -> None:
    words = ("--root", tree / "json", "--output", "out.txt", "--format", "TEXT", "--log", "json")
    printed = command("stdlib_survey.py", *words, folder=tmp_path)

    events = [json.loads(line) for line in printed.splitlines()]
    skipped = {event["task_id"]: event["reason"] for event in events if event["type"] == "TaskSkipped"}
    assert skipped == {"as_markdown": "Pruned", "as_json": "Pruned"}


def test_the_program_surveys_the_library_of_its_python(tree: Path, tmp_path: Path) -> None:
    # The whole library takes half a minute; `nox -s demo` surveys that.
    text = """
    import runpy, sys, sysconfig
    program, library = sys.argv[1:]
    sysconfig.get_path = {"stdlib": library}.__getitem__
    runpy.run_path(program, run_name="__main__")
    """
    printed = python("-c", dedent(text), EXAMPLES / "stdlib_survey.py", tree, folder=tmp_path)

    assert printed.startswith(f"Parsing every Python file in {tree}, ")
    report = (tmp_path / "stdlib_survey.md").read_text(encoding="utf-8")
    assert "\n".join(report.splitlines()[:14]) in printed
    assert report == survey(tree, tmp_path, "markdown")


async def test_the_program_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    program = runpy.run_path(str(EXAMPLES / "stdlib_survey.py"))
    when: dict[str, Any] = {"seq": 1, "timestamp": 0.0, "run_id": "r"}
    node: dict[str, Any] = {**when, "task_id": "parse", "task_name": "parse"}
    ended = cascade.TaskExecutionFinished(**node, status="Succeeded", duration=0.1, attempt=1)
    other = cascade.TaskExecutionFinished(
        **{**node, "task_name": "write"}, status="Succeeded", duration=0, attempt=1
    )

    async def events() -> AsyncIterator[cascade.Event]:
        yield cascade.TaskExecutionStarted(**node, items=450)
        for event in [ended, other] * 450:
            yield event

    await program["show_progress"](events())

    assert capsys.readouterr().out == "  200 of 450 files parsed\n  400 of 450 files parsed\n"


# -- polling_agent -----------------------------------------------------------------------------------------------


def test_the_agent_polls_until_the_job_is_done(tmp_path: Path) -> None:
    assert python(EXAMPLES / "polling_agent.py", folder=tmp_path) == "build-7 is done after 20 polls\n"


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--job", "deploy-3", "--patience", "20"], "deploy-3 is done after 20 polls"),
        (["--patience", "5"], "gave up on build-7 at 25 %"),
    ],
)
def test_the_agent_takes_job_and_patience(tmp_path: Path, words: list[str], printed: str) -> None:
    assert command("polling_agent.py", *words, "--log", "none", folder=tmp_path) == printed + "\n"


@pytest.mark.slow
def test_the_agent_survives_a_hiccup_of_the_network(tmp_path: Path, backend_name: str) -> None:
    printed = command("polling_agent.py", "--backend", backend_name, "--log", "json", folder=tmp_path)

    events = [json.loads(line) for line in printed.splitlines()]
    retries = [event["error"] for event in events if event["type"] == "TaskRetrying"]
    assert retries == ["ConnectionError: the network had a hiccup"]
    assert [event["type"] for event in events].count("RunFinished") == 1


# -- trio_native -------------------------------------------------------------------------------------------------


def test_the_trio_program_cancels_its_flow_after_ten_observations(tmp_path: Path) -> None:
    pytest.importorskip("trio")
    first, *observed, last = python(EXAMPLES / "trio_native.py", folder=tmp_path).splitlines()

    assert first == "the program has other things to do"
    assert last == "cancelled after 10 observations; nothing of the flow is alive any more"
    rounds = [int(line.strip().strip("'").rpartition(" ")[2]) for line in observed]
    assert rounds == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


# -- approval: days pass, and processes are killed ---------------------------------------------------------------


class Approval:
    """The example in a folder, as people use it: processes that know nothing of each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command on the run."""
        return subprocess.Popen(
            [sys.executable, "-m", "cascade", *words, "--state", "sqlite:///runs.db"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip

    @contextmanager
    def begun(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A process that executes the run; it is killed if it does not end."""
        target = f"{EXAMPLES / 'approval.py'}:flow"
        with self.start("run", target, "--run-id", "march", "--log", "none", *words) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "writing the report on March\n"
                assert look_until(self.has_written, 60)
                yield process
            finally:
                process.kill()

    def has_written(self) -> bool:
        """Whether the report is in the store, and the run waits."""
        try:
            run = anyio.run(recorded_run, f"sqlite:///{self.folder}/runs.db", "march")
        except cascade.StateError:
            return False
        return run.counts == {"succeeded": 1}

    def call(self, *words: str) -> tuple[int, str]:
        """The status of a command on the run, and what it prints."""
        return self.ended(self.start(*words))

    @staticmethod
    def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
        """The status of a process, and what it prints."""
        out, err = process.communicate(timeout=100)
        return process.returncode, out + err


@pytest.fixture
def approval(tmp_path: Path) -> Approval:
    return Approval(tmp_path)


DONE = (0, "publishing Report on March\nReport on March is published, with 12 pages\n")


def test_a_suspended_run_goes_on_when_it_is_approved(approval: Approval) -> None:
    with approval.begun("--when-idle", "suspend") as process:
        status, said = approval.ended(process)
    assert status == 75
    assert said.startswith("cascade: suspended; it waits for signal 'approve'; it goes on with: cascade resume")
    status, said = approval.call("send", "march", "approve", "maybe")
    assert (status, said.splitlines()) == (2, [said.rstrip()])
    assert said.startswith("cascade: signal 'approve' must be bool")
    status, said = approval.call("send", "march", "approve", "yes")
    assert (status, said) == (
        0, "accepted by march, which is suspended; it goes on with: cascade resume march --state sqlite:///runs.db\n"
    )  # fmt: skip
    status, said = approval.call("send", "march", "approve", "no")
    assert (status, said) == (2, "cascade: signal 'approve' of run 'march' is True already, and cannot be False\n")
    assert approval.call("resume", "march", "--log", "none") == DONE
    status, said = approval.call("send", "march", "approve", "yes")
    assert (status, said) == (2, "cascade: run 'march' has succeeded and takes no signal 'approve'\n")


def test_an_approval_survives_kill_9_before_and_after_it(approval: Approval) -> None:
    with approval.begun():
        pass
    assert approval.call("send", "march", "approve", "yes")[0] == 0
    # Killed before it can know of the approval, or after; either way nothing is lost, and nothing done twice.
    with approval.start("resume", "march", "--log", "none") as process:
        process.kill()
    status, said = approval.call("resume", "march", "--log", "none")
    assert status == 0
    assert said in (DONE[1], DONE[1].partition("\n")[2])


def test_a_live_run_takes_an_approval_from_the_store(approval: Approval) -> None:
    with approval.begun() as process:
        assert approval.call("send", "march", "approve", "no") == (0, "accepted by march\n")
        assert approval.ended(process) == (0, "Report on March is withdrawn\n")


# -- scrape_site: a partial failure ------------------------------------------------------------------------------


def scraped(*words: object) -> tuple[int, list[str]]:
    """Exit status and lines of the scraping of a site."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "scrape_site.py", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_scrape_reports_what_there_is_and_why_the_rest_is_missing(backend: str) -> None:
    status, (summary, *reasons) = scraped("--backend", backend)
    assert (status, summary, len(reasons)) == (1, "190 pages, 10 missing", 10)
    for number, reason in zip(range(20, 201, 20), reasons, strict=True):
        assert f"/{number}: HTTP Error 503: Service Unavailable (fetch[{number - 1}], attempts: 2)" in reason


def test_a_scrape_of_a_whole_site_is_a_success() -> None:
    assert scraped("--pages", 20, "--broken", 0) == (0, ["20 pages, 0 missing"])


def test_a_scrape_that_cannot_be_good_enough_gives_up() -> None:
    status, (line,) = scraped("--pages", 40, "--broken", 4, "--enough", 0.95)
    assert status == 2
    assert "at least 38 have to succeed" in line


# -- tell_somebody -----------------------------------------------------------------------------------------------


@contextmanager
def listening(status: int) -> Iterator[tuple[str, list[Any]]]:
    """A server of this machine that answers with *status*: its URL, and what was posted there."""
    posted: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()
        thread.join()


def test_a_failure_is_posted_to_a_url(tmp_path: Path) -> None:
    with listening(204) as (url, posted):
        printed = python(EXAMPLES / "tell_somebody.py", f"{url}/hooks/nightly", folder=tmp_path)
    text = "nightly failed: FileNotFoundError: b.csv (2 failed nodes)"
    assert posted == [("/hooks/nightly", {"text": text})]
    assert printed.startswith("failed: b.csv\n")
    assert "observer" not in printed


def test_a_url_that_refuses_is_noted_on_the_error(tmp_path: Path) -> None:
    with listening(500) as (url, _):
        printed = python(EXAMPLES / "tell_somebody.py", url, folder=tmp_path)
    assert "the observer on_failure(post) raised HTTPError: HTTP Error 500" in printed
