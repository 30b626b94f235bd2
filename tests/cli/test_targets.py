"""What ``cascade run`` and ``cascade graph`` take as a target, and what they say of one that means nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command, Outcome, assert_is_a_mistake, command_alone, write

FLOWS = """
import cascade

@cascade.task
def one() -> int:
    return 1

@cascade.task
def double(x: int) -> int:
    return 2 * x

lazy = double(one())
router = cascade.Router(one(), {1: double(4)})
mapped = double.map(x=[1, 2])
partial = double.partial(x=21)
parameter = cascade.Param("size", default=7)
as_list = [one(), double(3)]
as_tuple = (one(), double(3))
as_dict = {"one": one(), "six": double(3)}
as_set = {one()}
as_frozenset = frozenset([double(3)])
in_a_list_in_a_dict = {"deep": [one()]}

def make():
    return lazy

def make_list():
    return [one()]

class Namespace:
    flow = double(5)

    class Inner:
        flow = double(6)
"""

command = command_alone


# -- what can be a target ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("lazy", "2"),
        ("router", "8"),
        ("mapped", "[2, 4]"),
        ("partial", "42"),
        ("parameter", "7"),
        ("as_list", "[1, 6]"),
        ("as_tuple", "(1, 6)"),
        ("as_dict", "{'one': 1, 'six': 6}"),
        ("as_set", "{1}"),
        ("as_frozenset", "frozenset({6})"),
        ("in_a_list_in_a_dict", "{'deep': [1]}"),
        ("one", "1"),
        ("make", "2"),
        ("make_list", "[1]"),
        ("Namespace.flow", "10"),
        ("Namespace.Inner.flow", "12"),
    ],
)
def test_whatever_run_takes_can_be_named(command: Command, name: str, printed: str) -> None:
    write("flows.py", FLOWS)

    outcome = command("run", f"flows.py:{name}", "--log", "none")

    assert outcome == Outcome(0, printed + "\n", "")


def test_a_module_is_found_in_the_current_folder(command: Command) -> None:
    write("flows.py", FLOWS)

    assert command("run", "flows:lazy", "--log", "none") == Outcome(0, "2\n", "")


def test_a_module_may_lie_in_a_package(command: Command) -> None:
    write("package/__init__.py", "")
    write("package/flows.py", FLOWS)

    assert command("run", "package.flows:Namespace.flow", "--log", "none") == Outcome(0, "10\n", "")


@pytest.mark.parametrize("shape", ["relative", "dotted", "absolute"])
def test_a_file_may_lie_anywhere(command: Command, tmp_path: Path, shape: str) -> None:
    write("some/where/flows.py", FLOWS)
    relative = "some/where/flows.py"
    path = {"relative": relative, "dotted": f"./{relative}", "absolute": str(tmp_path / relative)}[shape]

    assert command("run", f"{path}:lazy", "--log", "none") == Outcome(0, "2\n", "")


@pytest.mark.parametrize("stem", ["with-dash", "with.dot", "with space", "größe"])
def test_a_file_need_not_have_the_name_of_a_module(command: Command, stem: str) -> None:
    write(f"{stem}.py", FLOWS)

    assert command("run", f"{stem}.py:lazy", "--log", "none") == Outcome(0, "2\n", "")


def test_a_file_can_import_its_neighbours_like_a_script(command: Command) -> None:
    write("some/where/flows.py", FLOWS)
    write("some/where/main_flow.py", "from flows import lazy as flow")

    assert command("run", "some/where/main_flow.py:flow", "--log", "none") == Outcome(0, "2\n", "")


def test_a_file_can_define_dataclasses_and_attrs_classes(command: Command) -> None:
    text = """
    from __future__ import annotations
    import dataclasses, attrs, cascade

    @dataclasses.dataclass
    class Pair:
        x: int

    @attrs.frozen
    class Box:
        x: int

    @cascade.task
    def add(pair: Pair, box: Box) -> int:
        return pair.x + box.x

    flow = add(Pair(1), Box(2))
    """
    write("records.py", text)

    assert command("run", "records.py:flow", "--log", "none") == Outcome(0, "3\n", "")


def test_a_file_is_not_run_as_a_script(command: Command) -> None:
    write("guarded.py", FLOWS + "\nif __name__ == '__main__':\n    raise RuntimeError('run as a script')\n")

    assert command("run", "guarded.py:lazy", "--log", "none").status == 0


def test_a_function_is_called_once_for_a_run(command: Command) -> None:
    text = """
    import cascade

    calls = []

    @cascade.task
    def count() -> int:
        return len(calls)

    def flow():
        calls.append(1)
        return count()
    """
    write("counting.py", text)

    assert command("run", "counting.py:flow", "--log", "none") == Outcome(0, "1\n", "")


# -- what cannot ------------------------------------------------------------------------------------------------

BROKEN = """
import cascade

@cascade.task
def one() -> int:
    return 1

@cascade.task
def double(x: int) -> int:
    return 2 * x

flow = one()
number = 5
text = "flow"
contradiction = [flow.with_timeout(1), flow.with_timeout(2)]

def raises():
    raise KeyError("no such flow")

def returns_nothing():
    pass

def needs(x):
    return flow

async def asynchronous():
    return flow

def __getattr__(name):
    if name == "lazy_import":
        raise ImportError("the module behind it is missing")
    raise AttributeError(name)
"""


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("broken", ["module:name", "path/to/file.py:name"]),
        ("broken.py", ["module:name"]),
        ("broken.py:", ["module:name"]),
        (":flow", ["module:name"]),
        (":", ["module:name"]),
        ("", ["module:name"]),
        ("missing_module:flow", ["missing_module"]),
        ("missing_package.broken:flow", ["missing_package"]),
        ("missing.py:flow", ["missing.py", "no file"]),
        ("broken/:flow", ["broken/"]),
        ("..broken:flow", ["..broken"]),
        ("broken.py:missing", ["missing", "flow"]),
        ("broken.py:flow.missing", ["missing"]),
        ("broken.py:flow..missing", ["missing"]),
        ("broken.py:number", ["5", "no flow"]),
        ("broken.py:text", ["no flow"]),
        ("broken.py:cascade", ["no flow"]),
        ("broken.py:returns_nothing", ["None", "no flow"]),
        ("broken.py:raises", ["KeyError", "no such flow", "broken.py"]),
        ("broken.py:double", ["double", "'x'"]),
        ("broken.py:lazy_import", ["the module behind it is missing"]),
        ("broken.py:contradiction", ["one", "timeout"]),
    ],
)
@pytest.mark.parametrize("verb", ["run", "graph"])
def test_a_target_that_means_nothing_is_one_clear_line(
    command: Command, verb: str, target: str, words: list[str]
) -> None:
    write("broken.py", BROKEN)

    assert_is_a_mistake(command(verb, target), *words)


@pytest.mark.parametrize("name", ["needs", "double"])
def test_a_target_that_needs_arguments_blames_no_line_of_the_library(command: Command, name: str) -> None:
    write("broken.py", BROKEN)

    outcome = command("run", f"broken.py:{name}")

    assert_is_a_mistake(outcome, name, "'x'")
    assert "targets.py" not in outcome.err
    assert "tasks.py" not in outcome.err


def test_a_target_whose_text_cannot_be_made_is_one_clear_line(command: Command) -> None:
    write(
        "broken.py",
        BROKEN
        + """
class Mute:
    def __repr__(self):
        raise RuntimeError

mute = Mute()
""",
    )

    assert_is_a_mistake(command("run", "broken.py:mute"), "no flow")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_an_async_function_as_a_target_is_one_clear_line(command: Command) -> None:
    write("broken.py", BROKEN)

    assert_is_a_mistake(command("run", "broken.py:asynchronous"), "asynchronous", "no flow")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:", ["SyntaxError", "line 1"]),
        ("x = 1\nraise RuntimeError('bad day')", ["RuntimeError", "bad day", "line 2"]),
        ("raise RuntimeError('first\\nsecond')", ["first", "second"]),
        ("import there_is_no_such_module", ["there_is_no_such_module"]),
        ("from cascade import there_is_no_such_name", ["there_is_no_such_name"]),
        ("import sys\nsys.exit(0)", ["fails"]),
        ("import sys\nsys.exit('no thanks')", ["fails"]),
        ("\0", ["fails"]),
    ],
    ids=["syntax", "raises", "raises-two-lines", "import", "import-name", "exits", "exits-with-words", "null"],
)
@pytest.mark.parametrize("target", ["fails.py:flow", "fails:flow"])
def test_a_module_that_cannot_be_imported_is_one_clear_line(
    command: Command, target: str, text: str, words: list[str]
) -> None:
    write("fails.py", text)

    assert_is_a_mistake(command("run", target), *words)


def test_a_file_that_cannot_be_decoded_is_one_clear_line(command: Command) -> None:
    Path("latin.py").write_bytes(b"name = '\xe4'\n")

    assert_is_a_mistake(command("run", "latin.py:flow"), "latin.py")


def test_a_missing_name_is_answered_with_the_flows_that_there_are(command: Command) -> None:
    write("flows.py", FLOWS)

    outcome = command("run", "flows.py:lasy")

    assert_is_a_mistake(outcome, "lazy", "router", "mapped")
    assert "Namespace" not in outcome.err


def test_a_target_that_has_failed_can_be_tried_again(command: Command) -> None:
    write("flows.py", "raise RuntimeError('not yet')")
    assert command("run", "flows.py:lazy").status == 2
    write("flows.py", FLOWS + "\n# a longer file, so that no byte code of the first one is taken for it\n")

    assert command("run", "flows.py:lazy", "--log", "none") == Outcome(0, "2\n", "")
