"""``cascade run``: parameters of the flow, as options and with ``-p``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import Command, Outcome, assert_is_a_mistake, cascade_process, command_with, write

FLOWS = """
import enum, pathlib
import cascade

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

def even(text: str) -> int:
    if int(text) % 2:
        raise ValueError(f"{text} is odd")
    return int(text)

@cascade.task
def show(*values: object) -> str:
    pathlib.Path("ran").touch()
    return " ".join(map(repr, values))

@cascade.task
def grow(n: int) -> object:
    return show(n, cascade.Param("late", default="none"))

who = cascade.Param("who", description="whom to greet, 100% of the time")
count = cascade.Param("count", default=3, description="how often")
ratio = cascade.Param("max_ratio", default=0.5)
loud = cascade.Param("loud", default=False)
flow = show(who, count, ratio, loud)

typed = show(
    cascade.Param("colour", type=Colour, default=Colour.RED),
    cascade.Param("path", type=pathlib.Path, default=pathlib.Path("x")),
    cascade.Param("even", type=even, default=0),
    cascade.Param("lam", type=lambda text: text.upper(), default="L"),
)
taken = show(
    cascade.Param("backend", default="b"),
    cascade.Param("help", default="h"),
    cascade.Param("two words", default="t"),
    cascade.Param("target", default="g"),
    cascade.Param("command", default="c"),
    cascade.Param("run_id", default="i"),
)
environment = show(cascade.Env("CASCADE_TEST_MISSING"), who)
growing = grow(1)
routed = cascade.Router(cascade.Param("route", default="a"), {"a": show("a"), "b": show("b")})
plain = show()
"""

KINDS = """
import dataclasses, datetime, enum, typing
import cascade

class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"

    def __repr__(self):
        return str(self)

@dataclasses.dataclass
class Server:
    host: str
    port: int = 80

@cascade.task
def show(*values: object) -> str:
    return " ".join(map(repr, values))

P = cascade.Param
flow = show(
    P("colour", Colour.RED),
    P("mode", type=typing.Literal["fast", "slow"]),
    P("sizes", [1, 2]),
    P("pair", type=tuple[int, str]),
    P("server", Server("h")),
    P("table", type=dict[str, list[int]]),
    P("when", datetime.date(2026, 11, 21)),
    P("least", None, int),
    P("either", type=int | datetime.date),
    P("flag", None, bool | None),
    P("lam", type=lambda text: text.upper()),
    P("token", "hunter2", secret=True, description="the key"),
)
"""

command = command_with(FLOWS)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


# -- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--who", "me"], "'me' 3 0.5 False"),
        (["-p", "who=me"], "'me' 3 0.5 False"),
        (["-pwho=me"], "'me' 3 0.5 False"),
        (["--param", "who=me"], "'me' 3 0.5 False"),
        (["--param=who=me"], "'me' 3 0.5 False"),
        (["--who=me", "--count=5", "--max-ratio", "1", "--loud", "yes"], "'me' 5 1.0 True"),
        (["-p", "who=me", "-p", "count=5", "-p", "max_ratio=1", "-p", "loud=on"], "'me' 5 1.0 True"),
        (["-p", "who=me", "--count", "5"], "'me' 5 0.5 False"),
        (["--who", "me", "--count", "-5"], "'me' -5 0.5 False"),
        (["-p", "who=a=b"], "'a=b' 3 0.5 False"),
        (["--who=a=b"], "'a=b' 3 0.5 False"),
        (["-p", "who="], "'' 3 0.5 False"),
        (["--who", ""], "'' 3 0.5 False"),
        (["-p", "who=a", "-p", "who=b"], "'b' 3 0.5 False"),
        (["--who", "me", "--loud", "no"], "'me' 3 0.5 False"),
        (["--who", "me", "--loud"], "'me' 3 0.5 True"),
        (["--loud", "--who", "me"], "'me' 3 0.5 True"),
        (["--who", "me", "--loud", "-p", "count=4"], "'me' 4 0.5 True"),
        (["--who", "me", "--loud", "--no-loud"], "'me' 3 0.5 False"),
        (["--who", "me", "--max_ratio", "1"], "'me' 3 1.0 False"),
        (["--who", "me", "--max-ratio", "-1e-3"], "'me' 3 -0.001 False"),
        (["--who", "me", "--max-ratio", "-inf"], "'me' 3 -inf False"),
        (["--who", "-x y"], "'-x y' 3 0.5 False"),
        (["--who=--log"], "'--log' 3 0.5 False"),
        (["-p", "count=4", "--who", "me", "--count", "5", "-p", "count=6"], "'me' 6 0.5 False"),
        (["--who", "12:30"], "'12:30' 3 0.5 False"),
        (["--who=--count"], "'--count' 3 0.5 False"),
        (["--who", "\udce9"], "'\\udce9' 3 0.5 False"),
    ],
)
def test_parameters_are_given_as_options_or_with_p(command: Command, words: list[str], printed: str) -> None:
    assert command("run", "flows.py:flow", "--log", "none", *words) == Outcome(0, printed + "\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ["--who=me", "flows.py:flow"],
        ["--who", "me", "flows.py:flow"],
        ["-p", "who=me", "flows.py:flow"],
        ["--log", "none", "--who", "me", "flows.py:flow", "--count", "3"],
        ["--who", "me", "--no-loud", "flows.py:flow"],
        ["--count", "3", "--who", "me", "flows.py:flow", "--loud", "no"],
    ],
)
def test_options_may_stand_before_the_target_as_the_usage_shows(command: Command, words: list[str]) -> None:
    assert command("run", "--log", "none", *words) == Outcome(0, "'me' 3 0.5 False\n", "")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], "<Colour.RED: 'red'> PosixPath('x') 0 'L'"),
        (["--colour", "blue"], "<Colour.BLUE: 'blue'> PosixPath('x') 0 'L'"),
        (["--path", "a/b"], "<Colour.RED: 'red'> PosixPath('a/b') 0 'L'"),
        (["--even", "4", "--lam", "q"], "<Colour.RED: 'red'> PosixPath('x') 4 'Q'"),
    ],
)
def test_values_are_converted_to_the_type_of_the_parameter(
    command: Command, words: list[str], printed: str
) -> None:
    assert command("run", "flows.py:typed", "--log", "none", *words).out.replace("Windows", "Posix") == (
        printed + "\n"
    )


def test_an_option_of_the_command_line_is_not_taken_for_a_parameter_of_that_name(command: Command) -> None:
    outcome = command("run", "flows.py:taken", "--log", "none", "--backend", "asyncio", "--run-id", "mine")

    assert outcome.out == "'b' 'h' 't' 'g' 'c' 'i'\n"


def test_parameters_whose_option_is_taken_or_impossible_are_given_with_p(command: Command) -> None:
    names = ("backend", "help", "two words", "target", "command", "run_id")
    words = [word for name in names for word in ("-p", f"{name}=x")]

    assert command("run", "flows.py:taken", "--log", "none", *words).out == "'x' 'x' 'x' 'x' 'x' 'x'\n"


def test_a_parameter_may_choose_a_route(command: Command) -> None:
    assert command("run", "flows.py:routed", "--log", "none", "--route", "b").out == "'b'\n"


def test_parameters_of_a_flow_that_grows_are_given_with_p(command: Command) -> None:
    assert command("run", "flows.py:growing", "--log", "none", "-p", "late=x").out == "1 'x'\n"


# -- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["'who'", "missing"]),
        (["--who", "me", "--count", "many"], ["'count'", "int", "'many'"]),
        (["--who", "me", "--max-ratio", "half"], ["'max_ratio'", "float", "'half'"]),
        (["--who", "me", "--loud", "perhaps"], ["'loud'", "'perhaps'"]),
        (["--who", "me", "--count", ""], ["'count'"]),
        (["--who", "me", "--count"], ["--count", "int"]),
        (["--who", "--log", "none"], ["--who", "str"]),
        (["--who", "me", "--no-loud=yes"], ["--no-loud", "no value"]),
        (["--who", "me", "--no-count"], ["--no-count"]),
        (["--who", "me", "--number", "3"], ["--number"]),
        (["--who", "me", "-p", "number=3"], ["'number'", "unknown"]),
        (["--who", "me", "-p", "count"], ["count", "NAME=VALUE"]),
        (["--who", "me", "-p", "=3"], ["=3", "NAME=VALUE"]),
        (["--who", "me", "-p"], ["-p"]),
        (["-p", "count=many", "-p", "max_ratio=half", "-p", "x=1"], ["'who'", "'count'", "'max_ratio'", "'x'"]),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(command: Command, words: list[str], expected: list[str]) -> None:
    assert_is_a_mistake(command("run", "flows.py:flow", *words), *expected)


@pytest.mark.parametrize("words", [["--colour", "green"], ["--even", "3"]])
def test_a_value_that_the_type_refuses_is_one_clear_line(command: Command, words: list[str]) -> None:
    assert_is_a_mistake(command("run", "flows.py:typed", *words), *words[1:])


def test_missing_parameters_and_variables_are_listed_together(command: Command) -> None:
    assert_is_a_mistake(command("run", "flows.py:environment"), "CASCADE_TEST_MISSING", "'who'")


def test_what_is_missing_is_explained_in_words_of_the_command_line(command: Command) -> None:
    outcome = command("run", "flows.py:flow")

    assert "params=" not in outcome.err


def test_nothing_runs_if_a_parameter_is_wrong(command: Command) -> None:
    command("run", "flows.py:flow", "--who", "me", "--count", "many")

    assert not Path("ran").exists()


# -- help -------------------------------------------------------------------------------------------------------


def test_the_help_shows_the_parameters_with_type_description_and_default(command: Command) -> None:
    outcome = command("run", "flows.py:flow", "--help")

    text = re.sub(r"\s+", " ", outcome.out)
    assert (outcome.status, outcome.err) == (0, "")
    assert "--who STR whom to greet, 100% of the time (required)" in text
    assert "--count INT how often (default: 3)" in text
    assert "--max-ratio FLOAT (default: 0.5)" in text
    assert "--loud, --no-loud (default: false)" in text


@pytest.mark.parametrize("target", ["typed", "taken", "environment", "growing", "routed", "plain"])
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_help_of_any_flow_can_be_shown(command: Command, target: str, word: str) -> None:
    outcome = command("run", f"flows.py:{target}", word)

    assert (outcome.status, outcome.err) == (0, "")
    assert "usage: cascade run" in outcome.out


def test_a_description_cannot_steer_the_terminal(command: Command) -> None:
    text = r"""
    import cascade

    class Odd:
        def __repr__(self):
            raise RuntimeError

    @cascade.task
    def show(*values): return values

    flow = show(
        cascade.Param("a", description="100% {of} %(default)s \x1b[2J\n  -h, --help  forged", default="\x9b"),
        cascade.Param("b", type=lambda text: text, default=Odd(), description="\udce9 grün"),
    )
    """
    write("odd.py", text)
    text = command("run", "odd.py:flow", "--help").out

    assert r"100% {of} %(default)s \x1b[2J\n -h, --help forged (default: \x9b)" in re.sub(r"\s+", " ", text)
    assert "\\udce9 grün (default: <Odd: its __repr__ raised RuntimeError>)" in re.sub(r"\s+", " ", text)
    assert text.replace("\n", "").isprintable()


def test_the_help_runs_nothing(command: Command) -> None:
    command("run", "flows.py:plain", "--help")

    assert not Path("ran").exists()


def test_the_help_shows_what_may_be_said_for_each_type(command: Command) -> None:
    write("kinds.py", KINDS)
    text = re.sub(r"\s+", " ", command("run", "kinds.py:flow", "--help").out)

    for shown in (
        "--colour {RED,BLUE} (default: RED)",
        "--mode {fast,slow} (required)",
        "--sizes INT,... (default: [1, 2])",
        "--pair INT,STR (required)",
        '--server JSON (default: {"host": "h", "port": 80})',
        "--table JSON (required)",
        "--when DATE (default: 2026-11-21)",
        "--least INT (default: none)",
        "--either INT|DATE (required)",
        "--flag, --no-flag (default: none)",
        "--lam VALUE (required)",
        "--token STR the key (default: ***)",
    ):
        assert shown in text
    assert "hunter2" not in text


def test_values_of_many_types_are_converted(command: Command) -> None:
    write("kinds.py", KINDS)
    outcome = command(
        "run", "kinds.py:flow", "--log", "none", "--colour", "b", "--mode", "slow", "--sizes", "3,-4", "--pair",
        "1,x", "--server", '{"host": "a"}', "--table", '{"a": [1]}', "--when", "2020-02-03", "--least", "-5",
        "--either", "-6", "--no-flag", "--lam", "x",
    )  # fmt: skip

    assert outcome.err == ""
    assert outcome.out.strip() == (
        "Colour.BLUE 'slow' [3, -4] (1, 'x') Server(host='a', port=80) {'a': [1]} datetime.date(2020, 2, 3) -5 -6 "
        "False 'X' '***'"
    )


def test_the_help_shows_each_option_once(command: Command) -> None:
    text = command("run", "flows.py:taken", "--help").out

    for option in ("--backend", "--help", "--run-id"):
        assert len(re.findall(rf"^  (-\w, )?{option}\b", text, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], ["run", "graph"]),
        (["-h"], ["run", "graph"]),
        (["--help", "flows.py:flow"], ["run", "graph"]),
        (
            ["run", "--help"],
            [
                "TARGET",
                "-p",
                "--backend",
                "--schedule",
                "--resources",
                "--max-threads",
                "--on-error",
                "--run-id",
                "--state",
                "--log",
            ],
        ),
        (["graph", "--help"], ["TARGET", "--format", "mermaid", "dot", "text", "json"]),
    ],
)
def test_the_help_without_a_target_shows_what_there_is(
    command: Command, arguments: list[str], shown: list[str]
) -> None:
    outcome = command(*arguments)

    assert (outcome.status, outcome.err) == (0, "")
    for word in shown:
        assert word in outcome.out


def test_python_m_cascade_calls_itself_cascade(command: Command) -> None:
    outcome = cascade_process("--help")

    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("usage: cascade ")
