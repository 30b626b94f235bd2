"""Reading a command line before the options of the flow are known, and when they are."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies_events import ANY_TEXT

from cascade.cli.words import place_of_target, with_values

KNOWN = {"-h": False, "--help": False, "-p": True, "--log": True, "--traceback": False}
FLAGS = {"--when": False, "--dash-name": False, "--flag": True}


def target_of(*words: str) -> str | None:
    """What is taken for the target."""
    line = ["run", *words]
    place = place_of_target(line, KNOWN)
    return None if place is None else line[place]


@pytest.mark.parametrize(
    "words",
    [
        ["fl.py:when"],
        ["fl.py:when", "--when", "12:30"],
        ["--when", "12:30", "fl.py:when"],
        ["--when=12:30", "fl.py:when"],
        ["--when", "http://a/b", "fl.py:when"],
        ["--when", "a:b", "fl.py:when"],
        ["--flag", "fl.py:when"],
        ["--flag", "fl.py:when", "--when", "a:b"],
        ["--flag", "fl.py:when", "--log", "none"],
        ["--log", "a:b", "fl.py:when"],
        ["-p", "a:b", "fl.py:when"],
        ["-pa:b", "fl.py:when"],
        ["--log=a:b", "fl.py:when"],
        ["--traceback", "fl.py:when"],
        ["--when", "-5", "fl.py:when"],
        ["--", "fl.py:when"],
    ],
)
def test_the_target_is_found_wherever_it_stands(words: list[str]) -> None:
    assert target_of(*words) == "fl.py:when"


@pytest.mark.parametrize(
    "target",
    ["pkg.mod:flow", "pkg:a.b", "C:\\x\\fl.py:flow", "my flöws 🐍/my-flow.py:flow", "größe:flöw", "a\nb.py:x"],
)
def test_what_looks_like_a_target_comes_before_what_may_be_a_value(target: str) -> None:
    assert target_of("--when", "12:30", target) == target
    assert target_of("--flag", target, "nonsense") == target


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ([], None),
        (["--log", "none"], None),
        (["--", "-not:target"], None),
        (["nonsense"], "nonsense"),
        (["--when", "x", "nonsense"], "nonsense"),
        (["--when", "x"], "x"),
        (["12:30", "x:y"], "x:y"),
    ],
)
def test_the_best_there_is_is_taken_for_the_target_so_that_what_is_wrong_can_be_named(
    words: list[str], target: str | None
) -> None:
    assert target_of(*words) == target


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["--when", "-5"], ["--when=-5"]),
        (["--when", "-1e-3"], ["--when=-1e-3"]),
        (["--when", "-x y"], ["--when=-x y"]),
        (["--when", ""], ["--when="]),
        (["--when=a=b"], ["--when=a=b"]),
        (["--when", "fl.py:x", "--log", "none"], ["--when=fl.py:x", "--log", "none"]),
        (["--dash_name", "q"], ["--dash-name=q"]),
        (["--dash_name=a_b"], ["--dash-name=a_b"]),
        (["--flag"], ["--flag=true"]),
        (["--flag", "no"], ["--flag=no"]),
        (["--flag", "--when", "x"], ["--flag=true", "--when=x"]),
        (["--flag", "-p", "a=b"], ["--flag=true", "-p", "a=b"]),
        (["--flag", "-pa=b"], ["--flag=true", "-pa=b"]),
        (["--when"], ["--when"]),
        (["--when", "--log", "none"], ["--when", "--log", "none"]),
        (["--when", "--typo", "1"], ["--when", "--typo", "1"]),
        (["-p", "--when", "x"], ["-p", "--when", "x"]),
        (["--log", "--flag"], ["--log", "--flag"]),
        (["--log"], ["--log"]),
        (["--other", "--when", "-1"], ["--other", "--when=-1"]),
    ],
)
def test_values_of_the_options_of_a_flow_are_joined_to_them(words: list[str], joined: list[str]) -> None:
    assert with_values(words, FLAGS, KNOWN) == joined


WORDS = st.sampled_from([*KNOWN, *FLAGS, "--", "-", "-5", "a:b", "fl.py:when", "--when=1", "--when_ever", "-px"])


@given(st.lists(WORDS | ANY_TEXT))
@example(["--when"])
def test_no_word_is_lost_and_reading_joined_words_again_changes_nothing(words: list[str]) -> None:
    joined = with_values(words, FLAGS, KNOWN)

    rest = [word for word in joined if word != "--flag=true"]
    flat = "".join(rest).replace("=", "").replace("-", "_")
    for word in words:
        if word != "--flag" and not word.startswith("--flag="):
            assert word.replace("=", "").replace("-", "_") in flat
    assert with_values(joined, FLAGS, KNOWN) == joined


@given(st.lists(WORDS | ANY_TEXT))
def test_a_target_is_a_word_of_its_own_and_no_option(words: list[str]) -> None:
    target = target_of(*words)

    assert target is None or (target in words and not target.startswith("-"))
