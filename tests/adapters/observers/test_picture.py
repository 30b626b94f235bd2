"""A run's progress as lines, for terminals of any size and for logs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies_events import any_events

import cascade
from cascade.adapters.observers.picture import Line, about, picture, plain_line, stopwatch
from cascade.adapters.observers.tally import Tally
from cascade.model.shown.text import columns, one_line

WHEN: dict[str, Any] = {"seq": 1, "timestamp": 0.0, "run_id": "nightly"}


def text_of(lines: list[Line]) -> list[str]:
    """What is shown, without colours and blanks at the ends."""
    return ["".join(span.text for span in line).rstrip() for line in lines]


def drawn(tally: Tally, now: float, width: int = 80, height: int = 24, *, is_ascii: bool = False) -> list[str]:
    """The picture as text."""
    return text_of(picture(tally, now, width=width, height=height, is_ascii=is_ascii))


def begun(calls: dict[str, int], maps: dict[str, Any] | None = None) -> Tally:
    """A run of so many nodes, at the moment 0."""
    tally = Tally()
    event = cascade.RunStarted(**WHEN, target_tasks=(), params={}, calls=calls, maps=maps or {})
    tally.hear(event, 0.0)
    return tally


def start(tally: Tally, name: str, now: float) -> None:
    """A node begins."""
    task = name.partition("[")[0]
    tally.hear(cascade.TaskExecutionStarted(**WHEN, task_id=name, task_name=task), now)


def end(tally: Tally, name: str, now: float, status: Any = "Succeeded", seconds: float = 1.0) -> None:
    """A node has ended."""
    task = name.partition("[")[0]
    event = cascade.TaskExecutionFinished(
        **WHEN, task_id=name, task_name=task, status=status, duration=seconds, attempt=1
    )
    tally.hear(event, now)


def finish(tally: Tally, now: float, status: Any = "Succeeded") -> None:
    """The run has ended."""
    tally.hear(cascade.RunFinished(**WHEN, status=status, duration=now, error=None, failures=(), counts={}), now)


def half_done() -> Tally:
    """A run of two tasks, in the middle, at the moment 10."""
    tally = begun({"get": 0, "report": 1}, {"get": {"get": 40}})
    tally.hear(cascade.TaskExecutionStarted(**WHEN, task_id="get", task_name="get", items=40), 0.0)
    for number in range(10):
        start(tally, f"get[{number}]", 0.0)
        end(tally, f"get[{number}]", 9.0)
    start(tally, "get[20]", 9.0)
    start(tally, "get[21]", 9.0)
    retrying: dict[str, Any] = {
        "task_id": "get[21]",
        "task_name": "get",
        "attempt": 1,
        "max_attempts": 3,
        "delay": 1.0,
    }
    tally.hear(cascade.TaskRetrying(**WHEN, **retrying, error="OSError: no"), 9.5)
    return tally


def test_a_run_is_a_bar_with_a_line_for_each_task() -> None:
    assert drawn(half_done(), 10.0) == [
        "run nightly  ━━━━━━─────────────────────   24 %  10/41  0:10  about 30 s left",
        "  get     10/40  1 running  1 waiting  1 retry",
        "  report    0/1",
    ]


@pytest.mark.parametrize(
    ("width", "headline"),
    [
        (120, "run nightly  ━━━━━━━━━───────────────────────────────   24 %  10/41  0:10  about 30 s left"),
        (66, "run nightly  ━━━──────────   24 %  10/41  0:10  about 30 s left"),
        (58, "run nightly  ━━─────────   24 %  10/41  about 30 s left"),
        (50, "run nightly  ━━━━━──────────────────   24 %  10/41"),
        (30, "run nightly   24 %  10/41"),
        (20, "run nightly   24 %"),
        (4, "r..."),
    ],
)
def test_where_there_is_no_room_the_least_interesting_is_left_out(width: int, headline: str) -> None:
    assert drawn(half_done(), 10.0, width)[0] == headline


@pytest.mark.parametrize(
    ("width", "headline"),
    [
        (80, "run nightly  ━━━━━━━━━──────────────────────────────   24 %  10/41  1:05  failed"),
        (42, "run nightly  ━━━───────────  10/41  failed"),
        (34, "run nightly   24 %  10/41  failed"),
        (28, "run nightly  10/41  failed"),
        (20, "run nightly  failed"),
        (12, "r...  failed"),
    ],
)
def test_in_the_end_the_last_to_be_left_out_is_how_it_ended(width: int, headline: str) -> None:
    tally = half_done()
    finish(tally, 65.0, "Failed")

    assert drawn(tally, 99.0, width)[0] == headline


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (47, "  get     10/40  1 running  1 waiting  1 retry"),
        (45, "  get     10/40  1 running  1 waiting"),
        (36, "  get     10/40  1 running"),
        (25, "  get     10/40"),
    ],
)
def test_no_number_of_a_task_is_cut_in_the_middle(width: int, line: str) -> None:
    assert drawn(half_done(), 10.0, width)[1] == line


def test_failures_come_before_retries() -> None:
    tally = half_done()
    end(tally, "get[20]", 9.8, "Failed")

    assert drawn(tally, 10.0)[1] == "  get     11/40  1 waiting  1 failed  1 retry"


def test_the_bar_does_not_move_when_the_time_that_is_left_comes_to_be_known() -> None:
    tally = begun({"a": 10})
    lines = []
    for now in range(1, 10):
        start(tally, f"a[{now}]", now - 1)
        end(tally, f"a[{now}]", now)
        lines.append(drawn(tally, float(now))[0])

    assert len({line.rindex("─") for line in lines}) == 1
    assert "left" not in lines[0]
    assert "left" in lines[-1]


def test_a_terminal_of_few_characters_has_a_bar_too() -> None:
    assert drawn(half_done(), 10.0, is_ascii=True)[0].isascii()


@pytest.mark.parametrize("status", ["Succeeded", "Failed", "Cancelled", "Drained", "Suspended"])
def test_in_the_end_it_says_how_it_ended(status: Any) -> None:
    tally = begun({"a": 2})
    end(tally, "a[0]", 1.0)
    finish(tally, 65.0, status)

    assert drawn(tally, 99.0)[0].endswith(f"1:05  {status.lower()}")


def test_what_was_cancelled_is_not_done() -> None:
    tally = begun({"a": 2})
    end(tally, "a[0]", 1.0)
    end(tally, "a[1]", 1.0, "Cancelled")
    finish(tally, 2.0, "Cancelled")

    assert drawn(tally, 2.0)[1] == "  a  1/2  1 cancelled"
    assert plain_line(tally, 2.0) == "run nightly cancelled after 2.0 s: 1 of 2 done, 1 cancelled"


@pytest.mark.parametrize(("status", "share"), [("Succeeded", "100 %"), ("Cancelled", " 50 %")])
def test_a_run_that_has_succeeded_is_whole_also_without_the_losers_of_its_races(status: Any, share: str) -> None:
    tally = begun({"mirror": 2})
    end(tally, "mirror[0]", 1.0)
    end(tally, "mirror[1]", 1.0, "Cancelled")
    finish(tally, 1.0, status)
    headline, task = drawn(tally, 1.0)
    assert share in headline
    assert "1/2" in headline
    assert "1 cancelled" in task
    assert ("─" in headline) is (status == "Cancelled")


def test_while_a_length_is_unknown_the_total_is_at_least_so_much() -> None:
    tally = begun({"a": 3}, {"b": {"b": None}})

    assert "0/3+" in drawn(tally, 0.0)[0]
    assert "0 of 3+ done" in plain_line(tally, 0.0)


def test_a_run_of_which_the_beginning_was_missed_has_no_bar() -> None:
    tally = Tally()
    end(tally, "a", 5.0)
    end(tally, "a", 6.0)

    assert drawn(tally, 12.0) == ["run nightly  2 done  0:07", "  a  2 done"]
    assert plain_line(tally, 12.0) == "run nightly: 2 done"


def test_of_many_tasks_those_are_shown_that_are_under_way() -> None:
    tally = begun({f"step{n}": 1 for n in range(20)})
    for number in range(5):
        end(tally, f"step{number}", 1.0)
    end(tally, "step6", 1.0, "Failed")
    for number in (7, 17):
        start(tally, f"step{number}", 1.0)

    assert drawn(tally, 2.0, height=9)[1:] == [
        "  step5   0/1",
        "  step6   1/1  1 failed",
        "  step7   0/1  1 running",
        "  step8   0/1",
        "  step17  0/1  1 running",
        "  and 15 more tasks, 5 of these done",
    ]


def test_a_loop_tells_its_turns() -> None:
    tally = begun({"poll": 1})
    tally.hear(cascade.LoopProgress(**WHEN, task_name="poll", turns=5000), 1.0)

    assert "poll: 5000 turns" in drawn(tally, 1.0, 120)[0]


def test_no_name_of_a_task_leaves_its_line() -> None:
    name = "evil\n\x1b]2\x07\u202e"
    tally = begun({name: 1})
    start(tally, name, 0.0)
    tally.hear(cascade.LoopProgress(**WHEN, task_name=name, turns=5), 1.0)

    lines = drawn(tally, 1.0, 200)
    assert lines[0].endswith(r"evil\n\x1b]2\x07\u202e: 5 turns")
    assert lines[1] == r"  evil\n\x1b]2\x07\u202e  0/1  1 running"


def test_a_log_gets_all_of_it_in_one_line() -> None:
    assert plain_line(half_done(), 10.0) == (
        "run nightly: 10 of 41 done (24 %), 1 running, 1 waiting, 1 retry; get 10/40; about 30 s left"
    )


def test_a_log_is_told_that_nothing_ran_where_a_run_had_finished() -> None:
    tally = begun({"a": 2})
    tally.hear(cascade.RunResumed(**WHEN, recorded=2, epoch=2, by_task={"a": 2}, is_finished=True), 0.0)
    finish(tally, 0.0)

    assert plain_line(tally, 0.0) == "run nightly had finished before: nothing ran, 2 done"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "a few seconds"), (12, "about 10 s"), (33, "about 35 s"), (61, "about 1 min"), (170, "about 3 min"),
        (1234, "about 21 min"), (5000, "about 1 h 20 min"), (36_500, "about 10 h"), (1e6, "about 11 d 14 h"),
    ],
)  # fmt: skip
def test_the_time_that_is_left_is_told_as_roughly_as_it_is_known(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize(("seconds", "shown"), [(-1, "0:00"), (7.9, "0:07"), (61, "1:01"), (3723, "1:02:03")])
def test_time_that_has_passed_is_told_as_a_stopwatch_does(seconds: float, shown: str) -> None:
    assert stopwatch(seconds) == shown


@given(st.lists(any_events(), max_size=8), st.integers(1, 200), st.integers(1, 60), st.booleans())
@example([], 1, 1, False)
def test_nothing_is_longer_or_higher_than_the_terminal_or_steers_it(
    events: list[cascade.Event], width: int, height: int, is_ascii: bool
) -> None:
    tally = Tally()
    for number, event in enumerate(events):
        tally.hear(event, float(number))
        lines = picture(tally, float(number), width=width, height=height, is_ascii=is_ascii)
        assert 1 <= len(lines) <= max(height, 2)
        for line in text_of(lines):
            assert line.isprintable()
            assert columns(line) <= width
        plain = one_line(plain_line(tally, float(number)))
        assert plain.startswith("run ")
