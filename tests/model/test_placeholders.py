"""What stands for a value that is not known yet is no value, and says so when it is used as one."""

from __future__ import annotations

import copy
import json
import logging
import math
import operator
import os
import pickle
import pprint
from collections.abc import Callable
from typing import Any

import pytest
from unshowable import Broken, Loud

import cascade
from cascade.model.errors import LazyUseError
from cascade.model.placeholders import Placeholder


@cascade.task(mode="inline")
def one(x: Any = 1) -> Any:
    return x


KINDS = [
    pytest.param(lambda: one(1), id="call"),
    pytest.param(lambda: one(1).with_retry(2), id="chained call"),
    pytest.param(lambda: one.map(x=[1]), id="map"),
    pytest.param(lambda: cascade.Param("limit", default=3), id="param"),
    pytest.param(lambda: cascade.Env("HOME"), id="variable"),
    pytest.param(lambda: cascade.Router(one(), {1: one()}), id="router"),
    pytest.param(lambda: cascade.inject("database"), id="resource"),
]
Make = Callable[[], Any]
every_kind = pytest.mark.parametrize("make", KINDS)


def _await(lazy: Any) -> None:
    async def body() -> None:
        await lazy

    coroutine = body()
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


MISUSES: list[Any] = [
    pytest.param(bool, id="bool"),
    pytest.param(operator.not_, id="not"),
    pytest.param(lambda lazy: 1 if lazy else 2, id="if"),
    pytest.param(lambda lazy: lazy and 1, id="and"),
    pytest.param(iter, id="iter"),
    pytest.param(list, id="list"),
    pytest.param(lambda lazy: [*lazy], id="unpack"),
    pytest.param(reversed, id="reversed"),
    pytest.param(len, id="len"),
    pytest.param(lambda lazy: 1 in lazy, id="in"),
    pytest.param(lambda lazy: lazy[0], id="index"),
    pytest.param(lambda lazy: lazy["key"], id="key"),
    pytest.param(lambda lazy: lazy[1:2], id="slice"),
    pytest.param(lambda lazy: lazy < 1, id="less"),
    pytest.param(lambda lazy: lazy <= lazy, id="at most"),
    pytest.param(lambda lazy: lazy > 1, id="greater, reflected"),
    pytest.param(lambda lazy: lazy >= 1, id="at least"),
    pytest.param(lambda lazy: sorted([lazy, lazy]), id="sorted"),
    pytest.param(lambda lazy: max(lazy, lazy), id="max"),
    pytest.param(lambda lazy: lazy.attribute, id="attribute"),
    pytest.param(lambda lazy: lazy.method(), id="method"),
    pytest.param(lambda lazy: lazy._private, id="private attribute"),
    pytest.param(_await, id="await"),
    *[
        pytest.param(misuse, id=f"{name}, {side}")
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")
        for side, misuse in (
            ("left", lambda lazy, name=name: getattr(operator, name)(lazy, 1)),
            ("right", lambda lazy, name=name: getattr(operator, name)(1, lazy)),
        )
    ],
    pytest.param(operator.neg, id="neg"),
    pytest.param(abs, id="abs"),
    pytest.param(operator.pos, id="pos"),
    pytest.param(operator.invert, id="invert"),
    pytest.param(lambda lazy: divmod(lazy, 2), id="divmod"),
    pytest.param(lambda lazy: lazy << 1, id="shift"),
    pytest.param(lambda lazy: lazy + "text", id="concatenate"),
    pytest.param(lambda lazy: "text" + lazy, id="concatenate, right"),
    pytest.param(str, id="str"),
    pytest.param(lambda lazy: f"{lazy}/p1", id="f-string"),
    pytest.param(lambda lazy: f"{lazy!s}", id="f-string, as str"),
    pytest.param(lambda lazy: f"{lazy:>20}", id="f-string, aligned"),
    pytest.param(lambda lazy: "{}/p1".format(lazy), id="format"),  # noqa: UP032  # the point
    pytest.param(lambda lazy: "%s/p1" % lazy, id="percent s"),  # noqa: UP031  # the point
    pytest.param(print, id="print"),
    pytest.param(int, id="int"),
    pytest.param(float, id="float"),
    pytest.param(complex, id="complex"),
    pytest.param(round, id="round"),
    pytest.param(math.floor, id="floor"),
    pytest.param(bytes, id="bytes"),
    pytest.param(operator.index, id="index of a list"),
    pytest.param(range, id="range"),
    pytest.param(lambda lazy: [1, 2][lazy], id="as an index"),
    pytest.param(os.fspath, id="fspath"),
    pytest.param(open, id="open"),
]


@every_kind
@pytest.mark.parametrize("misuse", MISUSES)
def test_using_it_as_the_value_is_a_type_error_with_a_remedy(make: Make, misuse: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"not (happened|known) yet.*; (use|pass|return) ") as caught:
        misuse(make())
    assert isinstance(caught.value, LazyUseError)


@every_kind
@pytest.mark.parametrize(
    "misuse",
    [
        pytest.param(json.dumps, id="json"),
        pytest.param("".join, id="join"),
        pytest.param(lambda it: "".join([it]), id="join of a list"),
        pytest.param(lambda it: os.path.join("folder", it), id="join of paths"),
        pytest.param(lambda it: "%d" % it, id="percent d"),  # noqa: UP031  # the point
        pytest.param(lambda it: it(), id="call"),
        pytest.param(sum, id="sum"),
        pytest.param(lambda it: [0] * it, id="repeat"),
    ],
)
def test_other_uses_are_type_errors(make: Make, misuse: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        misuse(make())


@pytest.mark.parametrize(
    ("placeholder", "name"),
    [
        (one(1), "LazyResult one"),
        (cascade.Param("limit"), "Param.*limit"),
        (cascade.Env("HOME"), "Env.*HOME"),
        (cascade.Router(1, {1: 2}), "Router"),
        (cascade.inject("database"), "database"),
    ],
    ids=["call", "param", "variable", "router", "resource"],
)
def test_the_error_names_what_was_used(placeholder: Any, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        bool(placeholder)


@pytest.mark.parametrize(
    ("misuse", "remedy"),
    [
        (str, "pass it as an argument to a task that makes the text"),
        (bool, r"use \.run_if\(\.\.\.\) or a Router"),
        (iter, r"use task\.map\(\.\.\.\)"),
        (_await, r"return it.*`await cascade\.run\(it\)`"),
        (len, "pass it as an argument to a task"),
        (lambda it: it.attribute, "no attribute 'attribute'; pass it as an argument"),
    ],
    ids=["str", "bool", "iter", "await", "len", "attribute"],
)
@every_kind
def test_the_error_says_what_to_do_instead(make: Make, misuse: Callable[[Any], Any], remedy: str) -> None:
    with pytest.raises(TypeError, match=remedy):
        misuse(make())


# -- what works ------------------------------------------------------------------------------------------------


@every_kind
def test_it_can_be_shown_hashed_and_compared(make: Make) -> None:
    it, other = make(), object()
    assert repr(it)
    assert f"{it!r}" == repr(it) == f"{it!r:.2000}"
    assert str([it]) == f"[{it!r}]"
    assert pprint.pformat(it)
    assert {it: 1}[it] == 1
    assert (it == it, it == other, [it].index(it) == 0, isinstance(it, Placeholder)) == (True, False, True, True)


@every_kind
def test_it_can_be_copied_and_pickled(make: Make) -> None:
    it = make()
    for same in (copy.copy(it), copy.deepcopy(it), pickle.loads(pickle.dumps(it))):
        assert repr(same) == repr(it)


@every_kind
def test_a_probe_for_an_attribute_finds_none(make: Make) -> None:
    assert not hasattr(make(), "read")
    assert not hasattr(make(), "__array__")


@every_kind
def test_a_log_that_shows_it_goes_on(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(__name__).warning("about %r", make())
    assert "about " in caplog.text


def test_the_text_of_a_task_is_no_mistake() -> None:
    assert "one" in str(one)
    assert "one" in f"{one}"


@pytest.mark.parametrize(
    "default", [Loud(), [Loud()] * 100, "x" * 100_000, list(range(100_000)), Broken(), one(1)]
)
def test_the_repr_of_a_parameter_is_bounded(default: Any) -> None:
    assert len(repr(cascade.Param("p", default=default, type=Any))) < 1000
