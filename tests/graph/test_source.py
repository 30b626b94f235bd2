"""What of a function's source is code: not annotations, docstrings, comments and layout, at any depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from modules import write_module

from cascade.graph.code import code_digest, function_digest


def digest(folder: Path, source: str) -> bytes:
    """Digest of the code of the task ``work`` of a module with this source."""
    return code_digest(write_module(folder, source).work)


RICH = """
import cascade

@cascade.task
def work(x, y=2, *rest, z=3, **more):
    total = x
    def inner(a, b=1):
        return a + b
    class Point:
        x: int = 0
        def shifted(self, by):
            moved = self.x + by
            return moved
    async def later(a):
        return a
    return inner(total, y), Point, later, [lambda a: a]
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("work(x, y=2,", "work(x: int, y: 'int | None'=2,", id="annotation of a parameter"),
        pytest.param("*rest, z=3, **more)", "*rest: int, z: int=3, **more: str)", id="annotation of the others"),
        pytest.param("**more):", "**more) -> dict[str, int]:", id="annotation of the result"),
        pytest.param("total = x", "total: int = x", id="annotation of a variable"),
        pytest.param("total = x", "total: int\n    total = x", id="declaration"),
        pytest.param("inner(a, b=1):", "inner(a: int, b: int=1) -> int:", id="annotations of an inner function"),
        pytest.param("later(a):", "later(a: int) -> int:", id="annotations of an inner coroutine function"),
        pytest.param("shifted(self, by):", "shifted(self, by: int) -> int:", id="annotations of a method"),
        pytest.param("moved = self", "moved: int = self", id="annotation in a method"),
        pytest.param("    total = x", "    '''What it does.'''\n    total = x", id="docstring"),
        pytest.param("        return a + b", "        '''Adds.'''\n        return a + b", id="inner docstring"),
        pytest.param(
            "        x: int = 0", "        '''A point.'''\n        x: int = 0", id="docstring of a class"
        ),
        pytest.param(
            "            moved = ", "            '''Moves.'''\n            moved = ", id="docstring of a method"
        ),
        pytest.param("total = x", "total = x  # type: int", id="type comment"),
        pytest.param("**more):", "**more):\n    # type: (...) -> int", id="type comment of the function"),
        pytest.param("total = x", "total = x  # why", id="comment"),
        pytest.param("total = x", "\n\n    total = (\n        x\n    )", id="layout"),
        pytest.param("import cascade", "# moved down\n\n\n\nimport cascade", id="line numbers"),
        pytest.param("return inner(total, y),", "return inner(total , y ,) ,", id="commas"),
    ],
)
def test_what_is_no_code_does_not_change_the_digest(tmp_path: Path, old: str, new: str) -> None:
    assert RICH.count(old) == 1
    assert digest(tmp_path, RICH.replace(old, new)) == digest(tmp_path, RICH)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("work(x, y=2,", "work(x, y=4,", id="default"),
        pytest.param("total = x", "total = x + 1", id="value of a variable"),
        pytest.param("total = x", "total: int = x + 1", id="value of an annotated variable"),
        pytest.param("        return a + b", "        return a - b", id="inner function"),
        pytest.param("inner(a, b=1)", "inner(a, b=2)", id="default of an inner function"),
        pytest.param("x: int = 0", "x: float = 0", id="type of a field"),
        pytest.param("x: int = 0", "x = 0", id="field or not"),
        pytest.param("x: int = 0", "x: int = 1", id="default of a field"),
        pytest.param("self.x + by", "self.x - by", id="method"),
        pytest.param("async def later", "def later", id="coroutine function"),
        pytest.param("    total = x", "    f'''What it does.'''\n    total = x", id="a text that is computed"),
        pytest.param("    total = x", "    total = x\n    '''no docstring'''", id="a text in the middle"),
    ],
)
def test_what_is_code_changes_the_digest(tmp_path: Path, old: str, new: str) -> None:
    assert RICH.count(old) == 1
    assert digest(tmp_path, RICH.replace(old, new)) != digest(tmp_path, RICH)


SOURCELESS = "def work(x, y=1):\n    def inner(): return 5\n    return inner() in {'a', 'b'}"


def without_source(text: str) -> Any:
    """The function ``work`` of a text that is in no file."""
    names: dict[str, Any] = {}
    exec(text, names)
    return names["work"]


@pytest.mark.parametrize(
    "text",
    [
        "def work(x, y=1):\n    'doc'\n    def inner(): return 5\n    return inner() in {'a', 'b'}",
        "\n\ndef work(x: int, y: int=1) -> bool:\n    def inner(): return 5\n    return inner() in {'a', 'b'}",
        "def work(x, y=1):\n    def inner():\n        'doc'\n        return 5\n    return inner() in {'a', 'b'}",
    ],
    ids=["docstring", "annotations and lines", "inner docstring"],
)
def test_what_is_no_code_does_not_count_without_source_either(text: str) -> None:
    assert function_digest(without_source(text)) == function_digest(without_source(SOURCELESS))
