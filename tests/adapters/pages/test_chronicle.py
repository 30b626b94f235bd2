"""The document of a run from its events: what it says, and that it stays small."""

from __future__ import annotations

import json
from typing import Any

import pytest
from effort import effort, once
from hypothesis import given
from hypothesis import strategies as st
from made_events import BEGAN, Told, made_run
from strategies_events import any_events
from told_documents import documented, followed

import cascade
from cascade.adapters.pages.document.chronicle import KINDS, Chronicle
from cascade.adapters.pages.document.timeline import MOST_BARS, MOST_BINS, Activity
from cascade.adapters.pages.document.troubles import MOST_FAILURES
from cascade.events import Event, RunFinished, TaskBlocked, TaskExecutionStarted


@cascade.task
async def fetch(url: str) -> str:
    return url


@cascade.task(retry=cascade.Retry(max_attempts=2))
def parse(page: str, strict: bool = True) -> str:
    if page == "b":
        raise ValueError(f"no title in {page}")
    return page


@cascade.task
async def count(pages: list[Any]) -> int:
    return len(pages)


async def test_a_document_tells_what_became_of_each_task(schedule: Any) -> None:
    flow = count(parse.map(page=fetch.map(url=["a", "b", "c"])).with_errors("collect"))

    document = await documented(flow, schedule=schedule, run_id="nightly")

    assert document["run"]["id"] == "nightly"
    assert document["run"]["status"] == "succeeded"
    assert document["run"]["targets"] == ["count"]
    counts = {task["name"]: (task["total"], task["succeeded"], task["handled"]) for task in document["tasks"]}
    assert counts == {"fetch": (3, 3, 0), "parse": (3, 2, 1), "count": (1, 1, 0)}
    assert document["graph"]["boxes"]["parse"] == {"status": "handled", "text": "!1 ✓2"}
    assert document["graph"]["boxes"]["count"] == {"status": "succeeded", "text": "✓"}
    assert sorted(bar[3] for bar in document["bars"] if bar[2] != "waiting") == sorted(
        [*(f"{name}[{item}]" for name in ("fetch", "parse") for item in range(3)), "count"]
    )


async def test_a_failure_comes_with_its_arguments_attempts_and_traceback(schedule: Any) -> None:
    document = await documented(parse(fetch("b"), strict=False), schedule=schedule)

    (failure,) = document["failures"]
    assert failure["id"] == "parse"
    assert failure["error"] == "ValueError: no title in b"
    assert failure["arguments"] == [["page", "'b'"], ["strict", "False"]]
    assert failure["worker"].startswith("thread ")
    assert failure["attempts"] == 2
    assert [earlier["attempt"] for earlier in failure["earlier"]] == [1]
    assert failure["traceback"].startswith("Traceback (most recent call last):")
    assert 'raise ValueError(f"no title in {page}")' in failure["traceback"]
    assert "cascade/runtime" not in failure["traceback"]
    assert [retry["error"] for retry in document["retries"]] == ["ValueError: no title in b"]
    assert document["run"]["error"] == "ValueError: no title in b"


async def test_a_failure_that_ends_other_nodes_too_is_listed_once() -> None:
    @cascade.task
    def flow() -> Any:
        return parse("b")

    items = await documented(count(parse.map(page=["a", "b"])), on_error="continue")
    inner = await documented(count(flow()), on_error="continue")

    assert [failure["id"] for failure in items["failures"]] == ["parse[1]"]
    assert items["graph"]["boxes"]["parse"] == {"status": "failed", "text": "✗1 ✓1"}
    assert [failure["id"] for failure in inner["failures"]] == ["flow/parse"]
    assert inner["graph"]["boxes"]["flow"]["status"] == "failed"


async def test_a_failure_that_is_handled_counts_as_no_failure(schedule: Any) -> None:
    flow = count([cascade.settled(parse("b")), parse("b").or_else("d"), fetch("a")])

    document = await documented(flow, schedule=schedule)

    assert document["run"]["status"] == "succeeded"
    assert (document["run"]["counts"]["failed"], document["run"]["counts"]["handled"]) == (0, 2)
    assert document["graph"]["boxes"]["parse"] == {"status": "handled", "text": "!"}
    assert sorted(bar[3] for bar in document["bars"] if bar[2] == "handled") == ["parse", "parse#2"]
    assert {node["status"] for node in document["slowest"]} == {"handled", "succeeded"}


async def test_where_one_fails_and_another_is_handled_both_are_counted() -> None:
    document = await documented([parse("b"), cascade.settled(parse("b"))], on_error="continue")

    assert (document["run"]["counts"]["failed"], document["run"]["counts"]["handled"]) == (1, 1)


async def test_a_failure_of_the_run_is_listed_however_many_were_handled_before() -> None:
    handled = parse.map(page=["b"] * (MOST_FAILURES + 20)).with_errors("collect")

    document = await documented([count(handled), parse("b", strict=False).after(cascade.settled(count(handled)))])

    assert len(document["failures"]) == MOST_FAILURES
    assert [failure["id"] for failure in document["failures"] if not failure["handled"]] == ["parse#2"]
    assert document["left_out"]["failures"] == 21
    assert "no title in b" in document["failures"][-1]["traceback"]


async def test_a_map_that_fails_though_no_item_did_is_listed() -> None:
    document = await documented(count(parse.map(page=count([]))))

    assert [failure["id"] for failure in document["failures"]] == ["parse"]
    assert document["graph"]["boxes"]["parse"] == {"status": "failed", "text": "✗"}


async def test_each_bar_says_where_the_node_ran(schedule: Any) -> None:
    document = await documented(count([parse(fetch("a")), fetch("c")]), schedule=schedule)

    workers = document["timeline"]["workers"]
    where = {bar[3]: workers[bar[5]].partition(" ")[0] for bar in document["bars"]}
    assert where == {"fetch": "event", "fetch#2": "event", "parse": "thread", "count": "event"}


async def test_the_critical_path_leads_through_what_was_skipped() -> None:
    @cascade.task
    async def pass_time(pages: Any) -> Any:
        return pages

    document = await documented(count(pass_time(parse(fetch("a"))).run_if(False)))

    assert [step["id"] for step in document["critical"]] == ["fetch", "parse", "count"]


async def test_the_critical_path_leads_from_the_last_node_to_what_it_waited_for() -> None:
    document = await documented(count([parse(fetch("a")), fetch("c")]))

    assert [step["id"] for step in document["critical"]] == ["fetch", "parse", "count"]
    for step in document["critical"]:
        assert step["started"] <= step["ended"]


async def test_waits_are_summed_up_by_their_reason() -> None:
    scarce = [fetch(url).with_constraints(gpu=1) for url in "abc"]

    document = await documented(count(scarce), schedule="eager", system_resources={"gpu": 1})

    assert {(wait["kind"], wait["reason"]) for wait in document["waits"]} <= {("resource", "needs 1 gpu")}


async def test_nodes_of_a_flow_that_a_task_returns_are_listed_but_have_no_boxes() -> None:
    @cascade.task
    def flow() -> Any:
        return count([fetch("a"), fetch("b")])

    inner = await documented(parse(flow()))
    last = await documented(flow())

    for document in (inner, last):
        assert {"flow", "fetch", "count"} <= {task["name"] for task in document["tasks"]}
    assert inner["graph"]["boxes"].keys() == {"flow", "parse"}
    assert last["graph"]["boxes"] == {"flow": {"status": "succeeded", "text": "✓"}}


async def test_no_secret_is_in_a_document_or_its_picture() -> None:
    secret = cascade.Param("token", secret=True)

    @cascade.task
    def leak(token: str) -> str:
        raise ValueError(f"refused {token}")

    chronicle = Chronicle()
    found: list[str] = []

    async def follow(events: Any) -> None:
        await followed(chronicle)(events)
        found.extend([json.dumps(chronicle.document()), chronicle.svg()])

    follow.kinds = KINDS  # type: ignore[attr-defined]  # as observers name what they want
    flow = cascade.Router(leak(secret), {"tok-3f9a7c51": fetch("x")})
    with pytest.raises(ValueError, match="refused"):
        await cascade.run(flow, {"token": "tok-3f9a7c51"}, observers=[follow])

    document, svg = found
    assert "refused ***" in document
    assert "tok-3f9a7c51" not in document
    assert "tok-3f9a7c51" not in svg


# -- size -------------------------------------------------------------------------------------------------------


def test_a_document_of_very_many_nodes_is_small_and_says_what_it_leaves_out() -> None:
    chronicle = Chronicle()
    for event in made_run(30_000, failing=300):
        chronicle.hear(event)
    document = chronicle.document()

    assert len(json.dumps(document)) < 1_000_000
    assert len(document["bars"]) <= MOST_BARS
    assert document["left_out"]["bars"] + len(document["bars"]) == 30_001
    assert len(document["failures"]) == 100
    assert document["left_out"]["failures"] == 200
    assert document["run"]["counts"]["handled"] == 300
    assert sum(bar[2] == "handled" for bar in document["bars"]) == 300
    began, ended = document["run"]["started"], document["run"]["finished"]
    tenths = {int((bar[0] - began) / (ended - began) * 10) for bar in document["bars"]}
    assert tenths == set(range(10))
    assert max(map(len, document["timeline"]["activity"]["rows"])) <= MOST_BINS


def test_what_the_run_fails_by_is_shown_first_though_more_failures_than_fit_were_handled() -> None:
    chronicle, told = Chronicle(), Told()
    for number in range(150):
        for event in told.node(f"load[{number}]", number, number + 1, "Failed", error="no", handled=True):
            chronicle.hear(event)
    for number in range(2):
        for event in told.node(f"sum#{number}", 200, 201, "Failed", error="none", handled=False):
            chronicle.hear(event)

    document = chronicle.document()
    shown = [failure["id"] for failure in document["failures"]]
    assert shown == ["sum#0", "sum#1", *(f"load[{number}]" for number in range(98))]
    assert document["left_out"]["failures"] == 52


def test_the_longest_bars_are_kept() -> None:
    chronicle, told = Chronicle(), Told()
    for number in range(5000):
        for event in told.node(f"work#{number}", number, number + (5 if number % 100 == 50 else 1)):
            chronicle.hear(event)

    kept = {bar[3] for bar in chronicle.document()["bars"]}
    assert {f"work#{number}" for number in range(50, 5000, 100)} <= kept


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e5), st.floats(0, 1e5)), min_size=1, max_size=30))
def test_activity_keeps_the_time_that_was_worked(stints: list[tuple[str, float, float]]) -> None:
    activity = Activity(0.0)
    for task, one, other in stints:
        activity.add(task, min(one, other), max(one, other))

    shown = activity.shown(0.0)
    worked = sum(abs(one - other) for _, one, other in stints)
    assert sum(map(sum, shown["rows"])) * shown["width"] == pytest.approx(
        worked, abs=0.01 * shown["width"] * 200 + 1e-6
    )
    assert max(map(len, shown["rows"])) <= MOST_BINS


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e5)), min_size=1, max_size=30))
def test_what_is_at_work_counts_until_now_and_leaves_nothing_behind_when_it_is_taken_back(
    begun: list[tuple[str, float]],
) -> None:
    activity, now = Activity(0.0), max(at for _, at in begun) + 10
    for task, at in begun:
        activity.begin(task, at)

    shown = activity.shown(now)
    worked = sum(now - at for _, at in begun)
    assert sum(map(sum, shown["rows"])) * shown["width"] == pytest.approx(
        worked, abs=0.01 * shown["width"] * MOST_BINS + 1e-4
    )
    for task, at in begun:
        activity.end(task, at)
    assert not any(map(any, activity.shown(now)["rows"]))


def test_work_that_goes_on_is_spread_over_the_intervals_that_it_has_been_in() -> None:
    activity = Activity(100.0)
    activity.begin("a", 100.005)
    activity.add("a", 100.0, 100.02)
    activity.begin("b", 100.02)

    shown = activity.shown(100.025)
    assert dict(zip(shown["names"], shown["rows"], strict=True)) == {"a": [1.5, 2.0, 0.5], "b": [0, 0, 0.5]}


def at_work(nodes: int) -> Chronicle:
    """A run in which so many nodes have begun, and none has ended."""
    chronicle, told = Chronicle(), Told()
    for number in range(nodes):
        chronicle.hear(told(TaskExecutionStarted, 0.001 * number, task_id=f"load#{number}", task_name="load"))
    return chronicle


def test_an_update_is_no_more_work_where_a_hundred_times_as_many_nodes_are_at_work() -> None:
    few, many = at_work(100), at_work(10_000)

    def update(chronicle: Chronicle) -> None:
        chronicle.changes(None, BEGAN + 1000)

    update(few)  # what is imported or computed once is no part of it
    least, most = (effort(once(update, chronicle)).total for chronicle in (few, many))
    assert most < 1.5 * least


@given(st.lists(any_events(), max_size=20))
def test_no_event_however_odd_keeps_a_document_from_being_made(heard: list[Event]) -> None:
    chronicle = Chronicle()
    for event in heard:
        chronicle.hear(event)

    json.dumps(chronicle.document(), allow_nan=False)
    json.dumps(chronicle.changes()[0], allow_nan=False)


# -- changes ----------------------------------------------------------------------------------------------------


def updated(page: dict[str, Any], changes: dict[str, Any]) -> None:
    """What the script of the page does with *changes*."""
    if "bars" in changes:
        page["bars"][changes["bars"]["from"] :] = changes["bars"]["add"]
    page.update(changes.get("sections", {}))


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_who_follows_the_changes_has_the_document(step: int) -> None:
    chronicle, page, mark = Chronicle(), {"bars": [], "version": 1}, None
    heard = list(made_run(2500))
    for start in range(0, len(heard), step * 10):
        for event in heard[start : start + step * 10]:
            chronicle.hear(event)
        changes, mark = chronicle.changes(mark)
        updated(page, changes)

    assert page == chronicle.document()
    assert chronicle.changes(mark) == ({}, mark)


def test_who_comes_later_gets_everything() -> None:
    chronicle, told = Chronicle(), Told()
    for event in told.node("one", 0, 1):
        chronicle.hear(event)
    first = chronicle.changes()[1]
    for event in told.node("two", 1, 2):
        chronicle.hear(event)

    page: dict[str, Any] = {"bars": [], "version": 1}
    updated(page, chronicle.changes()[0])
    assert page == chronicle.document()
    assert [bar[3] for bar in chronicle.changes(first)[0]["bars"]["add"]] == ["two"]


def test_what_runs_is_shown_until_it_ends() -> None:
    chronicle, told = Chronicle(), Told()
    chronicle.hear(told(TaskExecutionStarted, 0, task_id="one", task_name="one"))

    assert [node["id"] for node in chronicle.document(BEGAN + 5)["active"]] == ["one"]
    assert chronicle.document(BEGAN + 5)["timeline"]["now"] == BEGAN + 5
    chronicle.hear(
        told(RunFinished, 1, status="Cancelled", duration=1.0, error=None, failures=(), counts={"cancelled": 1})
    )
    assert chronicle.document(BEGAN + 5)["active"] == []
    assert chronicle.document(BEGAN + 5)["timeline"]["now"] == BEGAN + 1


def test_what_runs_is_shown_before_what_waits_of_which_some_is_enough() -> None:
    chronicle, told = Chronicle(), Told()
    for number in range(150):
        about = {"task_id": f"one[{number}]", "task_name": "one"}
        runs = number >= 147
        held = {"reason": "ConstraintViolation", "detail": "paused by 'page'"}
        chronicle.hear(told(TaskExecutionStarted, 0, **about) if runs else told(TaskBlocked, 0, **about, **held))

    document = chronicle.document()
    assert [node["waits"] for node in document["active"]] == [""] * 3 + ["paused by 'page'"] * 15
    assert document["left_out"]["active"] == 132
