"""Names that users give to calls and items: checked where they are said, and short where they are shown."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_tasks import one

import cascade
from cascade.graph.build import build
from cascade.model.shown.labels import Label, labelled
from cascade.model.shown.secrets import KeepingSecrets, keep_secret
from cascade.planning.layout import Place, place_of


@cascade.task
def parse(path: str, limit: int = 3) -> str:
    return path


@cascade.task
def greet(name: str) -> str:
    return name


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        one(1).with_name(text)
    with pytest.raises(ValueError, match="must not be empty"):
        parse.map(path=["a"], name=text)


@pytest.mark.parametrize("name", [3, b"july", one(1), cascade.Param("name")])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(TypeError, match="a name is a text"):
        one(1).with_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("{url}", "the field {url}, which is no column; use {path}, and {{ for a brace"),
        ("{}", "the field {}, which is no column"),
        ("{0}", "the field {0}, which is no column"),
        ("{path:{width}}", "the field {width}"),
        ("{limit}", "the field {limit}"),
        ("{path", "is no format"),
        ("}", "is no format"),
    ],
)
def test_a_format_that_does_not_fit_the_columns_is_refused_at_once(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"parse\.map") as caught:
        parse.partial(limit=3).map(path=["a"], name=name)
    assert why in str(caught.value)


def test_a_text_for_a_parameter_called_name_is_a_format_and_all_else_a_column() -> None:
    assert cascade.run_sync(greet.map(name=["ada", "bob"])) == ["ada", "bob"]
    assert cascade.run_sync(parse.map(path=["a"], name="file {path}")) == ["a"]
    with pytest.raises(TypeError):
        greet.map(name="ada")


@pytest.mark.parametrize(
    ("items", "values", "text"),
    [
        ("{path}", {"path": "a.csv"}, "a.csv"),
        ("{x:03d} {x!r}", {"x": 7}, "007 7"),
        ("{{{x.real}}}", {"x": 7}, "{7}"),
        ("{x[0]}", {"x": ["first"]}, "first"),
        ("{x:d}", {"x": "no number"}, "{x:d}: ValueError"),
        ("{x.nothing}", {"x": 1}, "{x.nothing}: AttributeError"),
        ("{x}", {"x": "y" * 500}, "y" * 97 + "..."),
    ],
)
def test_an_item_is_called_what_the_format_says_and_never_fails(items: str, values: Any, text: str) -> None:
    assert Label(items=items).text_of_item(values) == text


def test_items_without_a_name_of_their_own_bear_that_of_the_map() -> None:
    assert Label("july").text_of_item({"x": 1}) == "july"
    assert Label("july", "{x}").text_of_item({"x": 1}) == "1"


def test_the_last_name_along_a_chain_wins_and_none_removes_it() -> None:
    call = one(1).with_name("a").with_timeout(3).with_name("b")
    assert call.own.name == Label("b")
    assert call.with_name(None).own.name == Label(None)
    assert pickle.loads(pickle.dumps(call)).own.name == Label("b")


def test_copies_that_are_called_differently_contradict_each_other() -> None:
    call = one(1)
    with pytest.raises(cascade.GraphError, match="name is 'a' in one and 'b' in another"):
        cascade.plan([call.with_name("a"), call.with_name("b")])
    assert cascade.plan([call.with_name("a"), call, call.with_timeout(3)]).stages == (("one",),)


@given(st.text(), st.text(min_size=4).filter(str.strip))
def test_a_label_shows_no_secret_and_is_short(text: str, secret: str) -> None:
    with KeepingSecrets():
        keep_secret(f"hunter2 {secret}")
        shown = Label(own=f"{text * 20} hunter2 {secret}").text()
    assert shown is not None
    assert len(shown) <= 100
    assert f"hunter2 {secret}" not in shown


def test_a_label_stands_beside_the_id() -> None:
    assert labelled("fetch#2", "july") == "fetch#2 (july)"
    assert labelled("fetch#2", None) == "fetch#2"


# -- what does not change ---------------------------------------------------------------------------------------


def named(flow: list[Any]) -> list[Any]:
    return [call.with_name(f"number {place}") for place, call in enumerate(flow)]


def test_names_change_neither_ids_nor_digests_nor_lanes(tmp_path: Any) -> None:
    def flow() -> list[Any]:
        first = one(1)
        return [first, one(first), parse.map(path=["a", "b"]), {one(2), one(3)}]

    plain, called = flow(), flow()
    called[:3] = named(called[:3])
    called[3] = {call.with_name("in a set") for call in called[3]}
    assert cascade.plan(called).stages == cascade.plan(plain).stages
    state = f"sqlite:///{tmp_path}/runs.db"
    assert cascade.run_sync(plain, state=state, run_id="r") == cascade.run_sync(called, state=state, run_id="r")


def test_a_name_keeps_no_call_from_a_lane() -> None:
    node = next(build(one(1).with_name("july")).calls())
    assert place_of(node) == place_of(one(1)) != Place.OWN
