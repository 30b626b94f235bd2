"""What a function says: its digest changes with its meaning, and with nothing else."""

from __future__ import annotations

import ast
import functools
import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from modules import write_module

import cascade
from cascade.graph import code
from cascade.graph.build import build
from cascade.graph.code import code_digest, function_digest, function_tree
from cascade.graph.identity import digests

PLAIN = """
import cascade

@cascade.task
def work(x, y=2):
    return x + y
"""


def digest(folder: Path, source: str, name: str = "work", module: str = "written") -> bytes:
    """Digest of the code of the task *name* of a module with this source."""
    task: Any = write_module(folder, source, module)
    for part in name.split("."):
        task = getattr(task, part)
    return code_digest(task)


def call_digest(task: Any) -> object:
    """Digest of the one node of a call of *task*."""
    return dict(digests(build(task(1)), {}))[0]


# -- what makes no difference ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(PLAIN.replace("return", "# why\n    return"), id="comment"),
        pytest.param(PLAIN.replace("return x + y", "return  (x\n        +   y)"), id="layout"),
        pytest.param(PLAIN.replace("    return", '    """What it does."""\n    return'), id="docstring"),
        pytest.param(PLAIN.replace("def work(x, y=2)", "def work(\n    x,\n    y=2,\n)"), id="wrapped signature"),
        pytest.param(PLAIN.replace("@cascade.task", "@cascade.task(timeout=5, pure=True)"), id="settings"),
        pytest.param(PLAIN.replace("@cascade.task", "@cascade.task(name='other')"), id="name"),
        pytest.param(PLAIN.replace("import cascade", "import cascade\n\n\nX = 1\n\n"), id="lines before"),
        pytest.param(PLAIN + "\n\ndef other(): return 5\n", id="other functions"),
        pytest.param(PLAIN.replace("2", "0x2"), id="spelling of a number"),
    ],
)
def test_what_does_not_change_the_meaning_does_not_change_the_digest(tmp_path: Path, source: str) -> None:
    assert digest(tmp_path, source) == digest(tmp_path, PLAIN)


# -- what does -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(PLAIN.replace("x + y", "x - y"), id="body"),
        pytest.param(PLAIN.replace("y=2", "y=3"), id="default"),
        pytest.param(PLAIN.replace("return", 'f"""not a docstring"""\n    return'), id="statement"),
        pytest.param(PLAIN.replace("def work", "async def work"), id="async"),
        pytest.param(PLAIN.replace("y=2", "z=2, y=2"), id="parameter"),
        pytest.param(PLAIN.replace("@cascade.task", "@cascade.task(version='1')"), id="version"),
    ],
)
def test_what_changes_the_meaning_changes_the_digest(tmp_path: Path, source: str) -> None:
    assert digest(tmp_path, source) != digest(tmp_path, PLAIN)


def test_the_module_is_part_of_the_digest(tmp_path: Path) -> None:
    assert digest(tmp_path, PLAIN, module="other") != digest(tmp_path, PLAIN)


def test_the_qualified_name_is_part_of_the_digest(tmp_path: Path) -> None:
    source = """
    import cascade

    class A:
        @cascade.task
        def work(x): return x

    class B:
        @cascade.task
        def work(x): return x
    """
    assert digest(tmp_path, source, "A.work") != digest(tmp_path, source, "B.work")


def test_a_decorator_below_the_task_is_part_of_the_function(tmp_path: Path) -> None:
    source = """
    import functools
    import cascade

    def times(factor):
        def decorate(func):
            @functools.wraps(func)
            def wrapper(x):
                return factor * func(x)
            return wrapper
        return decorate

    @cascade.task
    @times(2)
    def work(x):
        return x
    """
    assert digest(tmp_path, source) != digest(tmp_path, source.replace("times(2)", "times(3)"))


MAKER = """
import cascade

def make(number):
    @cascade.task
    def work(x, by=number):
        return x + by
    return work

def make_closure(number):
    @cascade.task
    def work(x):
        return x + number
    return work
"""


@pytest.mark.parametrize("maker", ["make", "make_closure"])
def test_calls_of_one_source_differ_by_the_values_that_it_holds(tmp_path: Path, maker: str) -> None:
    make = getattr(write_module(tmp_path, MAKER), maker)
    assert call_digest(make(1)) != call_digest(make(2))


@pytest.mark.parametrize("maker", ["make", "make_closure"])
def test_calls_of_one_source_differ_by_what_is_in_the_records_that_it_holds(tmp_path: Path, maker: str) -> None:
    @attrs.define(eq=False)
    class Scale:
        factor: int

    make = getattr(write_module(tmp_path, MAKER), maker)
    assert call_digest(make(Scale(1))) != call_digest(make(Scale(2)))


@pytest.mark.parametrize("maker", ["make", "make_closure"])
def test_a_record_that_a_function_holds_may_change_and_it_is_the_same_task(tmp_path: Path, maker: str) -> None:
    @attrs.define(eq=False)
    class Calls:
        count: int = 0

    calls = Calls()
    work = getattr(write_module(tmp_path, MAKER), maker)(calls)
    before = call_digest(work)
    calls.count = 1
    assert call_digest(work) == before


def test_what_a_function_holds_may_be_replaced_and_it_is_another_task(tmp_path: Path) -> None:
    factor = 2

    def scaled(x: int) -> int:
        return x * factor

    work = cascade.task(scaled)
    before = call_digest(work)
    factor = 3
    assert call_digest(work) != before


# -- version ---------------------------------------------------------------------------------------------------

VERSIONED = PLAIN.replace("@cascade.task", "@cascade.task(version='1')")


def test_a_version_stands_for_the_source(tmp_path: Path) -> None:
    assert digest(tmp_path, VERSIONED.replace("x + y", "x - y")) == digest(tmp_path, VERSIONED)


@pytest.mark.parametrize(
    ("source", "module"),
    [(VERSIONED.replace("'1'", "'2'"), "written"), (VERSIONED, "other")],
    ids=["version", "module"],
)
def test_another_version_or_module_is_another_digest(tmp_path: Path, source: str, module: str) -> None:
    assert digest(tmp_path, source, module=module) != digest(tmp_path, VERSIONED)


# -- lambdas, callables, functions without source --------------------------------------------------------------


def test_two_lambdas_on_one_line_differ() -> None:
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    assert function_digest(first) != function_digest(second)


def test_a_lambda_is_told_from_one_inside_it() -> None:
    outer = lambda x: (lambda y: y)(x)  # noqa: E731
    inner = lambda y: y  # noqa: E731
    assert function_digest(outer) != function_digest(inner)


def test_an_inner_function_of_the_same_name_is_not_taken_for_the_outer() -> None:
    def work(x: int) -> int:
        def work(y: int) -> int:
            return y + 1

        return work(x) * 2

    tree = function_tree(work)
    assert tree is not None
    assert [argument.arg for argument in tree.args.args] == ["x"]


def _without_source(text: str) -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec(text, names)
    made: Callable[..., Any] = names["work"]
    return made


SOURCELESS = "def work(x, y=1):\n    def inner(): return 5\n    return inner() in {'a', 'b'}"


def test_a_function_without_source_has_a_digest() -> None:
    assert function_digest(_without_source(SOURCELESS)) == function_digest(_without_source(SOURCELESS))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'b'", "'c'"),
        ("return 5", "return 6"),
        ("in {", "not in {"),
        ("inner() in", "(x or inner()) in"),
    ],
    ids=["constant", "inner constant", "operator", "name"],
)
def test_a_function_without_source_is_told_by_its_code(old: str, new: str) -> None:
    changed = _without_source(SOURCELESS.replace(old, new))
    assert function_digest(changed) != function_digest(_without_source(SOURCELESS))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(functools.partial(max, 1), functools.partial(max, 2), id="arguments of a partial"),
        pytest.param(functools.partial(sorted, key=abs), functools.partial(sorted), id="keywords of a partial"),
        pytest.param(functools.partial(max), functools.partial(min), id="function of a partial"),
    ],
)
def test_bound_arguments_are_part_of_the_digest(first: Callable[..., Any], second: Callable[..., Any]) -> None:
    assert call_digest(cascade.task(first)) != call_digest(cascade.task(second))


@attrs.frozen
class Multiplier:
    factor: int

    def __call__(self, x: int) -> int:
        return self.factor * x

    def apply(self, x: int) -> int:
        return self.factor * x


class Adder:
    def __call__(self, x: int) -> int:
        return x + 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(Multiplier(1), Multiplier(2), id="state of an object"),
        pytest.param(Multiplier(1).apply, Multiplier(2).apply, id="state of a method's object"),
        pytest.param(Multiplier(1), Adder(), id="class of an object"),
    ],
)
def test_what_a_callable_object_is_is_part_of_the_digest(first: Any, second: Any) -> None:
    assert call_digest(cascade.task(name="same")(first)) != call_digest(cascade.task(name="same")(second))


class Slotted:
    """Has no room for weak references."""

    __slots__ = ()

    def __call__(self, x: int) -> int:
        return x + 1


def test_a_callable_object_that_nothing_can_refer_to_weakly_has_a_digest() -> None:
    first, second = (cascade.task(name="same")(Slotted()) for _ in range(2))
    assert code_digest(first) == code_digest(second) != code_digest(cascade.task(name="same")(Adder()))


def test_a_static_method_has_the_digest_of_its_function(tmp_path: Path) -> None:
    def work(x: int) -> int:
        return x + 1

    static: Any = staticmethod(work)
    assert code_digest(cascade.task(name="same")(static)) == code_digest(cascade.task(name="same")(work))


def test_the_code_of_a_callable_object_is_part_of_the_digest(tmp_path: Path) -> None:
    source = """
    import cascade

    class Work:
        def __call__(self, x):
            return x + 1

    work = cascade.task(Work())
    """
    assert digest(tmp_path, source) != digest(tmp_path, source.replace("x + 1", "x + 2"))


def test_the_digest_does_not_keep_a_function_alive() -> None:
    def work() -> None: ...

    function_digest(work)
    watch = weakref.ref(work)
    del work
    gc.collect()
    assert watch() is None


# -- a parser that is disturbed --------------------------------------------------------------------------------


@pytest.mark.parametrize("disturbances", [1, 4])
def test_a_parser_that_other_threads_disturb_is_asked_again(
    disturbances: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [SystemError("AST constructor recursion depth mismatch (before=18, after=5)")] * disturbances
    parse = ast.parse

    def disturbed(source: str) -> ast.Module:
        if left:
            raise left.pop()
        return parse(source)

    monkeypatch.setattr(ast, "parse", disturbed)
    assert function_tree(call_digest) is not None
    assert left == []


def test_threads_take_turns_at_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = ast.parse
    found: list[bool] = []

    def come_in_between() -> None:
        found.append(code._parsing.acquire(blocking=False))

    def noted(source: str) -> ast.Module:
        other = threading.Thread(target=come_in_between)
        other.start()
        other.join()
        return parse(source)

    monkeypatch.setattr(ast, "parse", noted)
    assert function_tree(call_digest) is not None
    assert found == [False]


def test_a_finalizer_may_want_a_tree_while_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = ast.parse

    def interrupted(source: str) -> ast.Module:
        monkeypatch.setattr(ast, "parse", parse)
        assert function_tree(digest) is not None
        return parse(source)

    monkeypatch.setattr(ast, "parse", interrupted)
    assert function_tree(call_digest) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="about processes that are forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of just this, from Python 3.12 on
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with code._parsing:
            is_held.set()
            may_go.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    is_held.wait(10)
    child = os.fork()
    if not child:  # nothing but the question, and no clean-up of what is the parent's
        os._exit(0 if code._parsing.acquire(blocking=False) else 1)
    may_go.set()
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
