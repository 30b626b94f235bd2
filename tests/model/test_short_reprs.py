"""Texts of any value are short, and harm nobody: whatever their ``__repr__`` does."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unshowable import Broken, Loud

from cascade.model.shown.secrets import Secrets
from cascade.model.shown.short_reprs import PATIENCE, short_repr

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.integers() | st.text(), inner),
        st.sets(st.integers()), st.frozensets(st.text()), st.lists(inner).map(deque),
    ),
    max_leaves=5,
)  # fmt: skip


def none() -> Secrets:
    return Secrets()


@given(VALUES)
def test_it_is_the_repr_cut_to_a_hundred_characters(value: Any) -> None:
    whole = repr(value)
    text = short_repr(value, none())
    if whole.isprintable():
        assert text == (whole if len(whole) <= 100 else whole[:97] + "...")
    assert len(text) <= 100
    assert text.isprintable()


@given(VALUES, st.text(min_size=6, alphabet="abcdefg"), st.integers(0, 200))
def test_no_part_of_a_secret_is_shown(value: Any, secret: str, before: int) -> None:
    secrets = none()
    secrets.add(f"hunter2{secret}")
    for held in ("." * before + f"hunter2{secret}", [value, f"hunter2{secret}"], {f"hunter2{secret}": value}):
        assert "hunter2" not in short_repr(held, secrets)


@attrs.define
class Endless:
    """Has a ``repr`` that does not end before the test."""

    end: threading.Event = attrs.field(factory=threading.Event)

    def __repr__(self) -> str:
        self.end.wait(60)
        return "at last"


class Exits:
    def __repr__(self) -> str:
        raise SystemExit(3)


class NoText:
    def __repr__(self) -> Any:
        return 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Broken(), "<Broken: its __repr__ raised RuntimeError>"),
        (Exits(), "<Exits: its __repr__ raised SystemExit>"),
        (NoText(), "<NoText: its __repr__ raised TypeError>"),
        ([1, Broken()], "[1, <Broken: its __repr__ raised RuntimeError>]"),
        (Loud(), "x" * 97 + "..."),
        ({"k": Loud()}, "{'k': " + "x" * 91 + "..."),
        (10**5000, "<int: its __repr__ raised ValueError>"),
        (OrderedDict(a=1), repr(OrderedDict(a=1))),
        ("two\nlines", r"'two\nlines'"),
    ],
    ids=["raises", "exits", "no text", "inside", "long", "long inside", "huge number", "ordered", "lines"],
)
def test_what_cannot_be_shown_is_told_in_words(value: Any, text: str) -> None:
    assert short_repr(value, none()) == text


def test_a_repr_that_takes_too_long_is_given_up_and_not_called_again() -> None:
    slow = Endless()
    try:
        began = time.perf_counter()
        assert short_repr([slow], none()) == "<Endless: its __repr__ takes too long>"
        assert time.perf_counter() - began < 50 * PATIENCE
        before = threading.active_count()
        assert short_repr([1, Endless()], none()) == "[1, <Endless: its __repr__ takes too long>]"
        assert threading.active_count() == before
    finally:
        slow.end.set()


def test_large_values_are_not_looked_through() -> None:
    began = time.perf_counter()
    for value in ([0] * 10**6, {n: n for n in range(10**5)}, "x" * 10**7, [[[0] * 10**6] * 10**4]):
        assert len(short_repr(value, none())) == 100
    assert time.perf_counter() - began < 5


def test_values_that_contain_themselves_end() -> None:
    around: list[Any] = [1]
    around.append(around)
    assert short_repr(around, none()) == "[1, [...]]" == repr(around)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert short_repr(deep, none()).startswith("[[[[")
    while deep:
        deep = deep.pop()


def test_a_repr_that_waits_for_what_the_caller_holds_is_given_up() -> None:
    lock = threading.Lock()

    class Guarded:
        def __repr__(self) -> str:
            with lock:
                return "guarded"

    with lock:
        assert "takes too long" in short_repr(Guarded(), none())
