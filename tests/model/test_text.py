"""Text as people are shown it."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies_events import ANY_TEXT

from cascade.model.shown.text import clock, columns, counted, duration, fitted, minute, moment, natural, one_line


@given(ANY_TEXT)
@example("a\nb\r\x1b[2J\x85\u2028\u202e\udc80\x9b")
def test_nothing_in_it_leaves_the_line_or_steers_a_terminal(text: str) -> None:
    shown = one_line(text)

    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown


@given(st.text().filter(str.isprintable))
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


def test_what_is_not_printable_is_written_as_python_does() -> None:
    assert one_line("a\tb\n\x1b[31m\u202e\udce9 é 🐍") == r"a\tb\n\x1b[31m\u202e\udce9 é 🐍"


@given(ANY_TEXT.map(one_line), st.integers(0, 40))
def test_what_is_cut_fits(text: str, width: int) -> None:
    shown = fitted(text, width)

    assert columns(shown) <= width
    assert shown == text or shown.endswith("..."[:width])


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("表", 2), ("e\u0301", 1), ("", 0)])
def test_wide_and_combining_characters_count_as_a_terminal_shows_them(text: str, width: int) -> None:
    assert columns(text) == width


def test_numbers_in_names_are_in_the_order_of_numbers() -> None:
    names = ["fetch#10", "fetch", "parse[3]", "fetch#2", "parse[20]", "parse[3]/x", "10", "9a", "", "1" * 9999]

    assert sorted(names, key=natural) == [
        "", "9a", "10", "1" * 9999, "fetch", "fetch#2", "fetch#10", "parse[3]", "parse[3]/x", "parse[20]",
    ]  # fmt: skip


@given(st.permutations(["a2b10", "a2b9", "a10b1", "a", "", "2", "10", "a2b"]))
def test_the_natural_order_is_one(names: list[str]) -> None:
    assert sorted(names, key=natural) == ["", "2", "10", "a", "a2b", "a2b9", "a2b10", "a10b1"]


@given(ANY_TEXT)
def test_every_text_has_its_place_in_the_natural_order(text: str) -> None:
    assert sorted([text, "fetch#2"], key=natural)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.000_02, "<1 ms"),
        (0.04, "40 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (2.53, "2.5 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86_399, "1 d"),
        (273_600, "3 d 4 h"),
        (1e9, "11574 d 2 h"),
        (math.inf, "?"),
        (math.nan, "?"),
        (-1, "?"),
    ],
)
def test_durations_can_be_read(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@given(st.floats(0, 1e12))
def test_a_longer_duration_never_has_more_than_two_numbers(seconds: float) -> None:
    assert len(duration(seconds).split()) in (2, 4)


@pytest.mark.parametrize("seconds", [1e300, -1e300, math.nan, math.inf])
def test_a_moment_that_is_none_is_a_question_mark(seconds: float) -> None:
    assert moment(seconds) == minute(seconds) == clock(seconds) == "?"


def test_nouns_take_an_s() -> None:
    assert [counted(number, "node") for number in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]
