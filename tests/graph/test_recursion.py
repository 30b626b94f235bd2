"""The analysis of tail calls: which tasks call each other, and whose next turn may have another shape."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
from modules import write_module

import cascade
from cascade.graph.recursion import analyse
from cascade.testing import record_events

PREAMBLE = """
import types
import cascade

@cascade.task(mode="inline")
def helper(n=0): return n

@cascade.task(mode="inline")
def other(n=0): return n

STEPS = [helper, other]
space = types.SimpleNamespace(helper=helper)
def pick(n): return STEPS[n % 2]
"""


def written(folder: Path, body: str) -> types.ModuleType:
    """A module with a task ``loop``, of which *body* is the body."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    source = f'{PREAMBLE}\n@cascade.task(mode="inline")\ndef loop(n=0, x=0, **more):\n{lines}\n'
    return write_module(folder, source)


def is_dynamic(folder: Path, body: str) -> bool:
    task = written(folder, body).loop
    return task in analyse([task]).dynamic


# -- the next turn has the same shape --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("return loop(n - 1) if n else 0", id="plain arguments"),
        pytest.param("if n == 0:\n    return 0\nreturn loop(n - 1, x + 1)", id="early return"),
        pytest.param("return loop(n - 1, helper(n)) if n else x", id="always a call"),
        pytest.param("return loop(n - 1, helper(other(n)))", id="always nested calls"),
        pytest.param("return loop(n - 1, [1, {'k': helper(n)}])", id="always a call in a container"),
        pytest.param("y = helper(n)\nreturn loop(n - 1, y)", id="always a call by a name"),
        pytest.param("return loop(n - 1, helper.map(n=[1] * n))", id="map over any number of items"),
        pytest.param("return loop(n - 1, helper(n).run_if(n % 2))", id="call with a condition of its own"),
        pytest.param("return loop(n - 1, cascade.Router(n % 2, {0: helper(1), 1: other(1)}))", id="router"),
        pytest.param("return loop(n - 1, n if n % 2 else 0)", id="values under a condition"),
        pytest.param("return loop(n - 1, [i for i in range(n)])", id="values in a comprehension"),
        pytest.param("return loop(n - 1, max(n, 1) if n % 2 else n)", id="function under a condition"),
        pytest.param("return loop(n - 1, helper(n).with_retry(2)).with_timeout(3)", id="policies"),
        pytest.param("return helper(other(n) if n % 2 else n)", id="condition, but no recursion"),
        pytest.param(
            "y = helper(n) if n % 2 else n\nreturn loop(n - 1, x)", id="condition, but not in an argument"
        ),
        pytest.param(
            "if n > 0:\n    y = helper(n)\n    return loop(n - 1, y)\nreturn x", id="all under one condition"
        ),
    ],
)
def test_a_call_whose_arguments_have_one_shape_is_not_dynamic(tmp_path: Path, body: str) -> None:
    assert not is_dynamic(tmp_path, body)


# -- the next turn may have another ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("return loop(n - 1, helper(n) if n % 2 else n)", id="conditional expression"),
        pytest.param("return loop(n - 1, x=helper(n) if n % 2 else n)", id="keyword"),
        pytest.param("return loop(n - 1, n % 2 and helper(n))", id="and"),
        pytest.param("return loop(n - 1, n % 2 or helper(n))", id="or"),
        pytest.param("return loop(n - 1, helper(other(n) if n % 2 else n))", id="nested more deeply"),
        pytest.param("return loop(n - 1, {'k': [helper(n) if n % 2 else n]})", id="in a container"),
        pytest.param("return loop(n - 1, [helper(i) for i in range(n)])", id="list comprehension"),
        pytest.param("return loop(n - 1, {helper(i) for i in range(n)})", id="set comprehension"),
        pytest.param("return loop(n - 1, {i: helper(i) for i in range(n)})", id="dict comprehension"),
        pytest.param("return loop(n - 1, tuple(helper(i) for i in range(n)))", id="generator expression"),
        pytest.param("return loop(*[helper(i) for i in range(n)])", id="spread"),
        pytest.param("return loop(n - 1, **{str(i): helper(i) for i in range(n)})", id="spread keywords"),
        pytest.param("return loop(n - 1, space.helper(n) if n % 2 else 0)", id="attribute"),
        pytest.param("return loop(n - 1, helper(n).with_retry(2) if n % 2 else n)", id="call with a policy"),
        pytest.param("return loop(n - 1, helper.map(n=[1]) if n % 2 else n)", id="map"),
        pytest.param("return loop(n - 1, helper.partial(n=1)() if n % 2 else n)", id="partial"),
        pytest.param(
            "return loop.partial(n=n - 1)(x=helper(n) if n % 2 else 1)", id="call of a partial of itself"
        ),
        pytest.param("return loop.partial(x=helper(n) if n % 2 else 1)(n - 1)", id="partial of itself"),
        pytest.param("return loop(n - 1, STEPS[n % 2](n))", id="callee from a table"),
        pytest.param("return loop(n - 1, pick(n)(n))", id="callee from a function"),
        pytest.param("return loop(n - 1, (helper if n % 2 else other)(n))", id="callee under a condition"),
        pytest.param("return loop(n - 1, getattr(space, 'helper')(n))", id="callee by its name"),
        pytest.param("step = STEPS[n % 2]\nreturn loop(n - 1, step(n))", id="callee from a table, by a name"),
        pytest.param(
            "step = helper if n % 2 else other\nreturn loop(n - 1, step(n))", id="conditional callee, by a name"
        ),
        pytest.param("for step in STEPS:\n    x = step(x)\nreturn loop(n - 1, x)", id="callee of a loop"),
        pytest.param("y = helper(n) if n % 2 else n\nreturn loop(n - 1, y)", id="by a name"),
        pytest.param("if n % 2:\n    x = helper(n)\nreturn loop(n - 1, x)", id="if statement"),
        pytest.param("if n % 2:\n    x = 1\nelse:\n    x = helper(n)\nreturn loop(n - 1, x)", id="else branch"),
        pytest.param("for i in range(n):\n    x = helper(x)\nreturn loop(n - 1, x)", id="for loop"),
        pytest.param("while n % 5:\n    n, x = n - 1, helper(x)\nreturn loop(n - 1, x)", id="while loop"),
        pytest.param(
            "match n:\n    case 1:\n        x = helper(n)\n    case _:\n        x = 2\nreturn loop(n - 1, x)",
            id="match",
        ),
        pytest.param(
            "try:\n    x = helper(int(x))\nexcept ValueError:\n    x = 1\nreturn loop(n - 1, x)", id="try"
        ),
        pytest.param("n % 2 and (x := helper(n))\nreturn loop(n - 1, x)", id="assignment expression"),
        pytest.param("xs = []\nfor i in range(n):\n    xs += [helper(i)]\nreturn loop(n - 1, xs)", id="collected"),
        pytest.param(
            "xs = []\nfor i in range(n):\n    xs.append(helper(i))\nreturn loop(n - 1, xs)", id="appended"
        ),
        pytest.param(
            "if n % 2:\n    return loop(n - 1, helper(n))\nreturn loop(n - 1, n)", id="two different calls"
        ),
        pytest.param(
            "return loop(n - 1, helper(n)) if n % 2 else loop(n - 1, n)", id="two calls in one expression"
        ),
    ],
)
def test_a_call_whose_arguments_may_have_another_shape_is_dynamic(tmp_path: Path, body: str) -> None:
    assert is_dynamic(tmp_path, body)


def test_an_async_task_is_analysed_too(tmp_path: Path) -> None:
    source = PREAMBLE + "\n@cascade.task\nasync def loop(n, x=0):\n    return loop(n, helper(n) if n else n)\n"
    task = write_module(tmp_path, source).loop
    assert analyse([task]).dynamic == (task,)


# -- cycles ----------------------------------------------------------------------------------------------------

CYCLES = """
import cascade

@cascade.task
def alone(n): return n

@cascade.task
def self_calling(n): return self_calling(n)

@cascade.task
def ping(n): return pong(n)

@cascade.task
def pong(n): return ping(n)

@cascade.task
def red(n): return green(n)

@cascade.task
def green(n): return blue(n) if n else alone(n)

@cascade.task
def blue(n): return red.map(n=[n])

@cascade.task
def entry(n): return ping(red(n))

@cascade.task
def varying(n): return partner(alone(n) if n else n)

@cascade.task
def partner(n): return varying(n)

@cascade.task
def once_varying(n): return self_calling(alone(n) if n else n)

class Methods:
    @cascade.task
    def again(self, n): return self.again(n)

    @cascade.task
    def varying(self, n): return self.varying(alone(n) if n else n)

def make():
    @cascade.task
    def inner(n): return inner(n)
    return inner

def make_early():
    @cascade.task
    def early(n): return red(n)
    yield early
    red = early

@cascade.task
def by_partial(n, x=0): return half(n)

half = by_partial.partial(x=1)
"""


@pytest.fixture
def cycles(tmp_path: Path) -> types.ModuleType:
    return write_module(tmp_path, CYCLES)


@pytest.mark.parametrize(
    ("start", "members"),
    [
        ("alone", []),
        ("self_calling", ["self_calling"]),
        ("ping", ["ping", "pong"]),
        ("pong", ["ping", "pong"]),
        ("red", ["blue", "green", "red"]),
        ("blue", ["blue", "green", "red"]),
        ("entry", ["blue", "green", "ping", "pong", "red"]),
        ("once_varying", ["self_calling"]),
    ],
)
def test_tasks_that_lead_to_themselves_are_in_a_cycle(cycles: Any, start: str, members: list[str]) -> None:
    assert sorted(task.name for task in analyse([getattr(cycles, start)]).cycles) == members


def test_tasks_of_one_cycle_have_one_number_and_others_another(cycles: Any) -> None:
    found = analyse([cycles.entry, cycles.self_calling]).cycles
    groups = [{found[getattr(cycles, name)] for name in names} for names in (
        ["ping", "pong"], ["red", "green", "blue"], ["self_calling"]
    )]  # fmt: skip
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set().union(*groups)) == 3


def test_a_cycle_of_an_inner_function_is_found(cycles: Any) -> None:
    inner = cycles.make()
    assert inner in analyse([inner]).cycles


def test_a_cycle_by_a_partial_is_found(cycles: Any) -> None:
    assert [task.name for task in analyse([cycles.by_partial]).cycles] == ["by_partial"]


def test_a_name_that_stands_for_nothing_yet_is_in_no_cycle(cycles: Any) -> None:
    early = next(cycles.make_early())  # where it says red, that will not be the task of the module
    assert len(analyse([early]).cycles) == 0


def test_a_cycle_of_a_method_is_found(cycles: Any) -> None:
    assert cycles.Methods.again in analyse([cycles.Methods.again]).cycles


@pytest.mark.parametrize(
    ("start", "dynamic"),
    [("varying", ["varying"]), ("partner", ["varying"]), ("once_varying", []), ("entry", [])],
)
def test_only_a_varying_call_within_a_cycle_counts(cycles: Any, start: str, dynamic: list[str]) -> None:
    assert [task.name for task in analyse([getattr(cycles, start)]).dynamic] == dynamic


def test_a_varying_call_of_a_method_counts(cycles: Any) -> None:
    assert analyse([cycles.Methods.varying]).dynamic == (cycles.Methods.varying,)


def test_a_long_cycle_of_tasks_can_be_analysed(tmp_path: Path) -> None:
    size = 1200
    tasks = [f"@cascade.task\ndef t{n}(n): return t{(n + 1) % size}(n)" for n in range(size)]
    module = write_module(tmp_path, "import cascade\n\n" + "\n\n".join(tasks))
    assert len(analyse([module.t0]).cycles) == size


@pytest.mark.parametrize(
    "task",
    [cascade.task(max), cascade.task(eval("lambda n: n"))],  # a function without source is the point
    ids=["builtin", "no source"],
)
def test_a_task_without_source_is_in_no_cycle(task: Any) -> None:
    found = analyse([task])
    assert (dict(found.cycles), found.dynamic) == ({}, ())


# -- the warning -----------------------------------------------------------------------------------------------

VARYING = "return loop(n - 1, helper(n) if n % 2 else n) if n else x"


async def test_a_dynamic_recursion_is_warned_of_once_per_task_and_run(schedule: Any, tmp_path: Path) -> None:
    loop = written(tmp_path, VARYING).loop
    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        await engine.run([loop(3), loop(4)])
        warnings = recorded.of(cascade.StaticAnalysisWarning)
    assert [warning.warning_code for warning in warnings] == ["CS-W001"]


async def test_the_warning_names_the_task(tmp_path: Path) -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(written(tmp_path, VARYING).loop(3))
        (warning,) = recorded.of(cascade.StaticAnalysisWarning)
    assert warning.message.startswith("Task 'loop' uses a dynamic recursion pattern")


async def test_each_run_is_warned_anew(tmp_path: Path) -> None:
    loop = written(tmp_path, VARYING).loop
    engine = cascade.Engine()
    async with engine:
        with record_events(engine) as recorded:
            await engine.run(loop(1))
            await engine.run(loop(1))
            assert len(recorded.of(cascade.StaticAnalysisWarning)) == 2


async def test_a_steady_recursion_is_not_warned_of(tmp_path: Path) -> None:
    loop = written(tmp_path, "return loop(n - 1, helper(n)) if n else x").loop
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(loop(3))
        assert recorded.of(cascade.StaticAnalysisWarning) == []


async def test_a_dynamic_recursion_gives_its_value_all_the_same(schedule: Any, tmp_path: Path) -> None:
    assert await cascade.run(written(tmp_path, VARYING).loop(5), schedule=schedule) == 1
