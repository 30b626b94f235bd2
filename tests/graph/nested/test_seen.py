"""What is remembered of large data that was looked through, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from holes import LAZY
from looks import Visits, noted_visits, rows

from cascade.graph.nested import Hold, compile_steps, finish, has_placeholders

visits = noted_visits


def looked_into(visits: Visits, value: Any, hold: Hold) -> int:
    """How many containers were looked into in order to find *value* plain."""
    visits.clear()
    assert finish(has_placeholders(value, hold)) is False
    return visits.total


def _deep() -> Any:
    value: Any = []
    for _ in range(1000):
        value = [value]
    return value


LARGE: dict[str, Callable[[], Any]] = {
    "list": lambda: [[number] for number in range(1000)],
    "dict": lambda: {number: [number] for number in range(1000)},
    "deep": _deep,
    "few large ones": lambda: {"rows": [[number] for number in range(500)], "more": [(n,) for n in range(500)]},
}
every_large = pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)


@every_large
def test_large_data_is_looked_through_once(make: Callable[[], Any], visits: Visits) -> None:
    hold, value = Hold(), make()
    assert looked_into(visits, value, hold) >= 900
    assert looked_into(visits, value, Hold(hold.seen)) < 50
    assert looked_into(visits, ["new", {"k": value}], Hold(hold.seen)) < 50


@every_large
def test_what_nobody_holds_is_forgotten(make: Callable[[], Any], visits: Visits) -> None:
    value, first = make(), Hold()
    looked_into(visits, value, first)
    second = Hold(first.seen)
    looked_into(visits, [value], second)
    first.release()
    assert looked_into(visits, value, Hold(first.seen)) < 50
    second.release()
    first.seen._entries.clear()  # what the last look has held, as nobody has released it
    assert looked_into(visits, value, Hold(first.seen)) >= 900


def test_a_hold_that_was_taken_over_is_released_with_the_other() -> None:
    first, value = Hold(), [[number] for number in range(1000)]
    finish(has_placeholders(value, first))
    second = Hold(first.seen)
    second.take(first)
    first.release()
    assert (bool(first), bool(second), first.seen.knows(value)) == (False, True, True)
    second.release()
    assert not first.seen.knows(value)


def test_what_has_become_longer_or_shorter_is_looked_through_again() -> None:
    hold, value = Hold(), rows(1000)
    assert finish(has_placeholders(value, hold)) is False
    value.append([LAZY])
    assert finish(has_placeholders(value, hold)) is True
    assert finish(has_placeholders([value], hold)) is True
    value.pop()
    assert finish(has_placeholders(value, hold)) is False
    value.pop()
    value[0] = [LAZY]
    assert finish(has_placeholders(value, hold)) is True


@pytest.mark.parametrize("deep", [False, True], ids=["small", "beside something large"])
def test_small_containers_are_looked_into_each_time(deep: bool) -> None:
    state: dict[str, Any] = {"pending": [], "rows": [[number] for number in range(1000)] if deep else []}
    hold = Hold()
    assert finish(has_placeholders(state, hold)) is False
    state["pending"].append((1, LAZY))
    assert finish(has_placeholders(state, hold)) is True


def test_what_has_placeholders_inside_is_not_remembered() -> None:
    hold, value = Hold(), [[LAZY] for _ in range(1000)]
    assert finish(compile_steps(value, hold=hold)) is not None
    assert not hold
    assert not hold.seen.knows(value)


def test_plain_data_beside_placeholders_is_remembered(visits: Visits) -> None:
    hold, data = Hold(), rows(1000)
    finish(compile_steps({"rows": data, "limit": LAZY}, hold=hold))
    assert hold.seen.knows(data)
    visits.clear()
    finish(compile_steps({"rows": data, "limit": LAZY}, hold=Hold(hold.seen)))
    assert visits.total < 50
