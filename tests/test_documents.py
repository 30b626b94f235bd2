"""What README and docs show is run: Python blocks, and commands of console blocks.

The ``python`` blocks of a document run in order, in one namespace, in a process and a folder of their own. An
``output`` block shows what the ``python`` block before it prints. A block whose first line is ``# some_name.py``
or ``# some_name.sh`` is saved under that name. Then the commands of ``console`` blocks run in the same folder,
where ``examples`` lies too, if they begin with ``$ cascade``, ``$ python``, ``$ sh`` or ``$ cat`` (environment
variables may be set before). If output is shown below a command, it has to be what the command prints. In both
kinds of output, ``...`` stands for what differs.

A comment before a block changes how it is run. ``<!-- not run: reason -->`` leaves it out.
``<!-- a notebook cell -->`` runs it as Jupyter does: inside an event loop, with ``await`` outside of functions,
and printing the values of expressions.

Where FastAPI is not installed, pages get the part of it that is in ``stand_ins/fastapi``.
"""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import pkgutil
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import attrs
import pytest
from test_docstrings import THINGS

import cascade

ROOT = Path(__file__).parents[1]
PACKAGE_ROOT = Path(cascade.__file__).parent.parent
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
DOCUMENTS = [path for path in (ROOT / "README.md", *PAGES) if path.exists()]
STAND_INS = Path(__file__).parent / "stand_ins"
SECONDS = 100

_FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,}) *(?P<language>[^\s`]*)[^`]*$")
_NOT_RUN = re.compile(r"^\s*<!-- not run: \S.*-->\s*$")
_CELL = re.compile(r"^\s*<!-- a notebook cell -->\s*$")
_SAVED_AS = re.compile(r"^# (\w+\.(?:py|sh))$")
_COMMAND = re.compile(r"^\$ (?:[A-Z_]+=\S* )*(?:cascade|python|sh|cat) ")
_END_OF_BLOCK = "\x1e"
_DRIVER = """
def drive():
    import ast, asyncio, inspect, json, sys

    async def run_cell(code):
        value = eval(code, names)
        if inspect.iscoroutine(value):
            await value

    names = vars(sys.modules["__main__"])
    name, end, blocks = json.loads(sys.stdin.read())
    with asyncio.Runner() as runner:
        for line, text, is_cell in blocks:
            source = "\\n" * line + text
            if is_cell:
                tree = ast.Interactive(ast.parse(source, name).body)
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                runner.run(run_cell(compile(tree, name, "single", flags, dont_inherit=True)))
            else:
                exec(compile(source, name, "exec", dont_inherit=True), names)
            print(end=end, flush=True)

drive()
"""


@attrs.frozen
class Block:
    """A fenced block.

    Attributes:
        language: First word after the fence.
        line: Number of lines before its text.
        text: What it shows.
        is_run: Whether it is to be run.
        is_cell: Whether it is run as a cell of a notebook.
    """

    language: str
    line: int
    text: str
    is_run: bool
    is_cell: bool = False


@attrs.frozen
class Command:
    """A command of a console block, and the output that is shown below it."""

    line: int
    text: str
    output: str


def blocks_in(text: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found = []
    lines = iter(enumerate(text.splitlines(), 1))
    before = ""
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            before = line if line.strip() else before
            continue
        shown = []
        closing = re.compile(rf"^ *{fence['mark'][0]}{{{len(fence['mark'])},}} *$")
        for _, inner in lines:
            if closing.match(inner):
                break
            shown.append(inner)
        else:
            raise ValueError(f"the block in line {number} has no end")
        text = dedent("\n".join(shown)) + "\n"
        is_run, is_cell = not _NOT_RUN.match(before), bool(_CELL.match(before))
        found.append(Block(fence["language"], number, text, is_run, is_cell))
        before = ""
    return found


def commands_in(block: Block) -> Iterator[Command]:
    """The commands of a console block that are to be run."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    for part in re.split(r"^(?=\$ )", joined, flags=re.MULTILINE):
        first, _, output = part.partition("\n")
        if _COMMAND.match(first):
            yield Command(block.line, first.removeprefix("$ "), output)


def python_path() -> str:
    """Where this cascade is, and the stand-ins for what is not installed."""
    stand_ins = [] if importlib.util.find_spec("fastapi") else [str(STAND_INS)]
    return os.pathsep.join([str(PACKAGE_ROOT), *stand_ins])


def run_python(name: str, blocks: list[Block], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run blocks in order in one namespace; tracebacks show *name* and its lines."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", _DRIVER],
        input=json.dumps([name, _END_OF_BLOCK, [(block.line, block.text, block.is_cell) for block in blocks]]),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


def run_command(command: Command, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line where ``cascade`` and ``python`` mean this cascade and this Python."""
    for name, words in (("cascade", f'"{sys.executable}" -m cascade'), ("python", f'"{sys.executable}"')):
        program = folder / ".bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(folder / ".bin"), os.environ.get("PATH", "")])
    return subprocess.run(
        ["/bin/sh", "-c", command.text],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python_path(), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


def says(expected: str, printed: str) -> bool:
    """Whether *printed* is what is shown, with ``...`` for anything."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, printed, flags)


def wrong_outputs(name: str, shown: list[Block], printed: list[str]) -> Iterator[str]:
    """The ``output`` blocks that differ from what the ``python`` block before them has *printed*."""
    outputs = iter(printed)
    before = None
    for block in shown:
        if block.language == "python":
            before = next(outputs)
        elif block.language == "output" and before is None:
            yield f"{name}, line {block.line}: no Python block whose output this could be"
        elif block.language == "output" and not says(block.text, before or ""):
            yield f"{name}, line {block.line}: the block before prints {before}"


def failures_in(name: str, text: str, folder: Path) -> list[str]:
    """Everything in a document that does not do what it shows."""
    shown = [block for block in blocks_in(text) if block.is_run]
    for block in shown:
        saved_as = _SAVED_AS.match(block.text.partition("\n")[0])
        if saved_as is not None:
            (folder / saved_as[1]).write_text(block.text, encoding="utf-8")
    found: list[str] = []
    python = [block for block in shown if block.language == "python"]
    done = run_python(name, python, folder)
    if done.returncode == 0:
        found += wrong_outputs(name, shown, done.stdout.split(_END_OF_BLOCK))
    else:
        found.append(done.stderr)
    for command in (command for block in shown if block.language == "console" for command in commands_in(block)):
        done = run_command(command, folder)
        if done.returncode != 0:
            found.append(
                f"{name}, line {command.line}: {command.text!r} ends with {done.returncode}: {done.stdout}"
            )
        elif command.output.strip() and not says(command.output, done.stdout):
            found.append(f"{name}, line {command.line}: {command.text!r} prints {done.stdout}")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a document's blocks run."""
    if (ROOT / "examples").exists():
        shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the commands are those of a POSIX shell")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_does_what_it_shows(document: Path, folder: Path) -> None:
    pytest.importorskip("trio")  # they show both event loops
    name = str(document.relative_to(ROOT))

    assert failures_in(name, document.read_text(encoding="utf-8"), folder) == []


def named_in(reference: str) -> set[int]:
    """The ids of the classes and functions that a page of Sphinx directives documents."""
    found = set()
    directive = re.compile(r"^\.\. auto(\w+):: ([\w.]+)((?:\n +:.*)*)$", re.MULTILINE)
    for kind, name, options in directive.findall(reference):
        if kind != "module":
            found.add(id(pkgutil.resolve_name(name)))
            continue
        module = importlib.import_module(name)
        members = re.search(r":members: *(.*)", options)
        chosen = members[1].split(", ") if members and members[1] else list(vars(module))
        found |= {id(getattr(module, member)) for member in chosen}
    return found


@pytest.mark.skipif(not PAGES, reason="the documentation is not here")
def test_the_reference_has_everything_that_is_public() -> None:
    pytest.importorskip("paho.mqtt")
    named = named_in((ROOT / "docs/reference.md").read_text(encoding="utf-8"))

    assert [name for name, thing in THINGS.items() if id(thing) not in named] == []


# -- the test itself notices what is wrong -----------------------------------------------------------------------

SOUND = """
```python
import cascade

@cascade.task
def one() -> int:
    return 1
```

Text in between, and a block that is no Python:

```sh
exit 1
```

```python
assert cascade.run_sync(one()) == 1
print(cascade.run_sync(one()))
print("some time:", 0.123)
```

```output
1
some time: ...
```

<!-- a notebook cell -->
```python
two = await cascade.run([one(), one()])
two
```

```output
[1, 1]
```

<!-- a notebook cell -->
```python
try:
    cascade.run_sync(one())
except RuntimeError as error:
    print(error)
```

```output
run_sync cannot be used inside an event loop; ...
```

<!-- not run: it needs a network -->
```python
raise RuntimeError("not run")
```

```python
# saved.py
import cascade

@cascade.task
def words(who: str) -> str:
    return f"hello {who}"

flow = words(cascade.Param("who"))
```

```sh
# tell.sh
echo "saved too"
```

```console
$ rm -rf somewhere
$ sh tell.sh
saved too
$ cat tell.sh
...
echo "saved too"
$ cascade run saved.py:flow --who me \\
      --log none
hello me
$ cascade run saved.py:flow --who me
...run ... started: words
...
hello me
$ python -c "print(1)"
$ NUMBER=2 python -c "import os; print(os.environ['NUMBER'])"
2
```
"""


def test_a_sound_document_has_no_failures(folder: Path) -> None:
    assert failures_in("sound.md", SOUND, folder) == []


def test_blocks_are_found_with_language_and_line() -> None:
    text = "a\n```python\nx\n```\n\n  ~~~ console\n  $ y\n  ~~~\n````text\n```python\n```\n````\n"

    assert blocks_in(text) == [
        Block("python", 2, "x\n", is_run=True),
        Block("console", 6, "$ y\n", is_run=True),
        Block("text", 9, "```python\n```\n", is_run=True),
    ]


def test_a_block_may_be_a_cell_of_a_notebook() -> None:
    text = "<!-- a notebook cell -->\n```python\nx\n```\n```python\nx\n```\n"

    assert [block.is_cell for block in blocks_in(text)] == [True, False]


@pytest.mark.parametrize(
    ("comment", "is_run"),
    [
        ("<!-- not run: it needs a network -->", False),
        ("<!-- not run: it needs a network -->\n", False),
        ("<!-- not run: -->", True),
        ("<!-- not run -->", True),
        ("<!-- not run: far away -->\ntext", True),
        ("text", True),
    ],
)
def test_a_block_is_left_out_only_for_a_reason(comment: str, is_run: bool) -> None:
    assert [block.is_run for block in blocks_in(f"{comment}\n```python\n```\n")] == [is_run]


def test_a_reason_holds_for_one_block_only() -> None:
    text = "<!-- not run: it needs a network -->\n```python\n```\n```python\n```\n"

    assert [block.is_run for block in blocks_in(text)] == [False, True]


def test_a_block_without_end_is_noticed() -> None:
    with pytest.raises(ValueError, match="line 2"):
        blocks_in("text\n```python\nx = 1\n")


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("python\nassert 1 == 2", ["wrong.md", "line 3", "AssertionError"]),
        ("python\nx = (", ["wrong.md", "SyntaxError"]),
        ("python\nundefined_name", ["NameError"]),
        ("python\nimport warnings\nwarnings.warn('old', DeprecationWarning)", ["old"]),
        ("python\nimport cascade\nawait cascade.run(1)", ["SyntaxError"]),
        ("python\nprint(1)\n```\n```output\n2", ["line 5", "prints 1"]),
        ("output\n2", ["line 2", "no Python block"]),
        ("console\n$ cascade run nothing.py:flow", ["line 2", "nothing.py", "ends with 2"]),
        ("console\n$ python -c 'print(1)'\n2", ["line 2", "prints 1"]),
    ],
)
def test_a_wrong_block_is_noticed(block: str, words: list[str], folder: Path) -> None:
    (failure,) = failures_in("wrong.md", f"text\n```{block}\n```\n", folder)

    for word in words:
        assert word in failure
