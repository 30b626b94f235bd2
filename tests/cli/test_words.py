"""Reading a command line before the options of the flow are known, and when they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies_events import ANY_TEXT

from cascade.cli.params import FlowOptions
from cascade.cli.targets import UsageError
from cascade.cli.words import place_of_target
from cascade.model.inputs import Param

KNOWN = {"-h": False, "--help": False, "-p": True, "--log": True, "--traceback": False}
OF_FLOW = FlowOptions.of([Param("when"), Param("dash_name"), Param("flag", default=False)], KNOWN)


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
    ("words", "as_pairs"),
    [
        (["--when", "-5"], ["-p", "when=-5"]),
        (["--when", "-1e-3"], ["-p", "when=-1e-3"]),
        (["--when", "-x y"], ["-p", "when=-x y"]),
        (["--when", ""], ["-p", "when="]),
        (["--when=a=b"], ["-p", "when=a=b"]),
        (["--when", "fl.py:x", "--log", "none"], ["-p", "when=fl.py:x", "--log", "none"]),
        (["--dash_name", "q"], ["-p", "dash_name=q"]),
        (["--dash-name=a_b"], ["-p", "dash_name=a_b"]),
        (["--flag"], ["-p", "flag=true"]),
        (["--no-flag"], ["-p", "flag=false"]),
        (["--flag", "no"], ["-p", "flag=no"]),
        (["--flag", "--when", "x"], ["-p", "flag=true", "-p", "when=x"]),
        (["--flag", "-p", "a=b"], ["-p", "flag=true", "-p", "a=b"]),
        (["--flag", "-pa=b"], ["-p", "flag=true", "-pa=b"]),
        (["--no-flag", "x"], ["-p", "flag=false", "x"]),
        (["-p", "--when", "x"], ["-p", "--when", "x"]),
        (["--log", "--flag"], ["--log", "--flag"]),
        (["--log"], ["--log"]),
        (["--other", "--when", "-1"], ["--other", "-p", "when=-1"]),
    ],
)
def test_options_of_a_flow_become_pairs_of_name_and_value(words: list[str], as_pairs: list[str]) -> None:
    assert OF_FLOW.as_pairs(words) == as_pairs


@pytest.mark.parametrize("words", [["--when"], ["--when", "--log", "none"], ["--when", "--typo", "1"]])
def test_an_option_without_its_value_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--when takes a value"):
        OF_FLOW.as_pairs(words)


def test_a_word_that_settles_a_flag_takes_no_value() -> None:
    with pytest.raises(UsageError, match="--no-flag takes no value"):
        OF_FLOW.as_pairs(["--no-flag=yes"])


WORDS = st.sampled_from(
    [*KNOWN, *OF_FLOW.meanings, "--", "-", "-5", "a:b", "fl.py:when", "--when=1", "--when_ever"]
)


@given(st.lists(WORDS | ANY_TEXT))
def test_no_word_is_lost_and_reading_pairs_again_changes_nothing(words: list[str]) -> None:
    try:
        found = OF_FLOW.as_pairs(words)
    except UsageError:
        return
    flat = "".join(found).replace("-", "_")
    for word in words:
        option, _, value = word.partition("=")
        is_of_flow = option.replace("_", "-") in OF_FLOW.meanings
        assert (value if is_of_flow else word).replace("-", "_") in flat
    assert OF_FLOW.as_pairs(found) == found


@given(st.lists(WORDS | ANY_TEXT))
def test_a_target_is_a_word_of_its_own_and_no_option(words: list[str]) -> None:
    target = target_of(*words)

    assert target is None or (target in words and not target.startswith("-"))
