"""Names that users have given show wherever a run tells of a node: events, notes, ``explain``, records, logs."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from observed import observe
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.testing import simulate

anyio_backend = virtual_loops


@cascade.task
async def fetch(url: str, seconds: float = 0.0) -> str:
    await pass_time(seconds)
    return url


@cascade.task(mode="inline")
def parse(page: str, limit: int = 3) -> str:
    if page == "bad":
        raise ValueError("no page")
    return page


@cascade.task(mode="inline")
def ask(url: str) -> Any:
    return parse(url).with_name(f"asked for {url}")


@cascade.task(mode="inline")
def turn(left: int) -> Any:
    return turn(left - 1).with_name(f"{left - 1} left") if left else parse("bad").with_name("the end")


def labels(run: Any) -> dict[str, set[str | None]]:
    """By node, the labels of its events."""
    found: dict[str, set[str | None]] = {}
    for event in run.recorded.of(cascade.NodeEvent):
        found.setdefault(event.task_id, set()).add(event.label)
    return found


async def test_events_have_the_label_of_their_node(schedule: Any) -> None:
    page = fetch("a").with_name("july").with_retry(2)
    flow = [parse(page), parse.map(page=["x", "y"], name="page {page}"), fetch.map(url=["u"]).with_name("all")]
    run = await observe(flow, schedule=schedule)
    assert labels(run) == {
        "fetch": {"july"},
        "parse": {None},
        "parse#2": {None},
        "parse#2[0]": {"page x"},
        "parse#2[1]": {"page y"},
        "fetch#2": {"all"},
        "fetch#2[0]": {"all"},
    }


@pytest.mark.parametrize(
    ("make", "ids"),
    [
        (lambda: fetch("u").run_if(False).with_name("july"), {"fetch"}),
        (lambda: fetch("u").with_retry(2).with_name("july"), {"fetch"}),
        (lambda: cascade.sequence([fetch("v"), fetch("u").with_name("july")]), {"fetch#2"}),
        (lambda: cascade.Router(1, {1: fetch("u").with_name("july")}), {"fetch"}),
        (lambda: cascade.Router(1, {1: fetch("v"), 2: fetch("u").with_name("july")}), {"fetch#2"}),
    ],
    ids=["skipped", "retried", "in a sequence", "chosen", "pruned"],
)
async def test_each_kind_of_event_has_it(make: Callable[[], Any], ids: set[str], schedule: Any) -> None:
    run = await observe(cascade.gather(make(), fetch("w")), schedule=schedule)
    assert {node for node, found in labels(run).items() if found == {"july"}} == ids


async def test_flows_that_tasks_return_have_labels_of_their_own(schedule: Any) -> None:
    run = await observe([ask("u").with_name("first"), fetch("v")], schedule=schedule)
    assert labels(run) == {"ask": {"first"}, "ask/parse": {"asked for u"}, "fetch": {None}}


async def test_each_turn_of_a_loop_has_its_own_label(schedule: Any) -> None:
    run = await observe(turn(3), schedule=schedule)
    assert labels(run) == {"turn": {None, "2 left", "1 left", "0 left"}, "parse": {"the end"}}


# -- notes ------------------------------------------------------------------------------------------------------


async def note_of(flow: Any, **settings: Any) -> str:
    with pytest.raises(ValueError, match="no page") as caught:
        await cascade.run(flow, run_id="r", **settings)
    [note] = [note for note in caught.value.__notes__ if note.startswith("raised by")]  # workers add their own
    return str(note)


@pytest.mark.parametrize(
    "mode", ["thread", "inline", pytest.param("process", marks=pytest.mark.needs("cloudpickle")), None]
)
@pytest.mark.parametrize("retry", [None, 2])
async def test_a_note_names_task_label_node_attempt_run_and_arguments(
    mode: Any, retry: Any, schedule: Any
) -> None:
    async def on_the_loop(page: str, *more: int, **named: int) -> None:
        raise ValueError("no page")

    def sync(page: str, *more: int, **named: int) -> None:
        raise ValueError("no page")

    failing: Any = cascade.task(name="failing", mode=mode, retry=retry)(on_the_loop if mode is None else sync)
    note = await note_of(failing(fetch("bad"), 1, 2, x=3).with_name("july"), schedule=schedule)
    attempt = f"attempt {retry or 1} of {retry or 1}"
    where = f"task 'failing' (node 'failing' named 'july', {attempt}) in run 'r'"
    assert note == f"raised by {where}, called with page='bad', 1, 2, x=3"


async def test_the_note_on_an_item_shows_its_own_values_first(schedule: Any) -> None:
    flow = parse.partial(limit=4).map(page=fetch.map(url=["good", "bad"]), name="page {page}")
    assert await note_of(flow, schedule=schedule) == (
        "raised by task 'parse' (node 'parse[1]' named 'page bad', item 1 of the map 'parse', attempt 1 of 1) "
        "in run 'r', called with page='bad', limit=4; "
        '.with_errors("collect") on the map makes failed items values of its list'
    )


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("mode", [None, "inline", "thread"])
async def test_a_failure_late_in_a_loop_shows_the_arguments_of_its_turn(
    mode: Any, waits: bool, schedule: Any
) -> None:
    def following(left: int, *, step: int) -> Any:
        if left == 0:
            raise ValueError("no page")
        return count(left - step, step=step)

    async def following_on_the_loop(left: int, *, step: int) -> Any:
        if left == 0 and waits:
            await anyio.lowlevel.checkpoint()
        return following(left, step=step)

    made = following_on_the_loop if mode is None else following
    count: Any = cascade.task(name="count", mode=mode)(made)
    assert (await note_of(count(100, step=1), schedule=schedule)).endswith("called with left=0, step=1")


async def test_a_flow_that_fails_inside_of_a_node_is_told_of_once_with_its_own_arguments(schedule: Any) -> None:
    note = await note_of([ask("bad"), fetch("a")], schedule=schedule)
    assert "node 'ask/parse' named 'asked for bad'" in note
    assert note.endswith("called with page='bad'")


async def test_at_most_five_arguments_are_shown_and_secrets_and_resources_are_not(schedule: Any) -> None:
    @cascade.resource(name="db")
    def open_db() -> Any:
        yield "the very database"

    @cascade.task
    async def failing(db: object = cascade.inject("db"), **named: object) -> None:
        raise ValueError("no page")

    key = cascade.Param("key", secret=True)
    short = cascade.Param("short", secret=True)
    flow = failing(a=key, b=[short], c=fetch(key), d=1, e=2, f=3)
    with pytest.raises(ValueError, match="no page") as caught:
        await cascade.run(
            flow, {"key": "hunter2-of-the-day", "short": "x"}, providers=[open_db], schedule=schedule
        )
    [note] = caught.value.__notes__
    assert note.endswith("called with a=***, b=***, c='***', d=1, e=2 and 2 more")
    with pytest.raises(ValueError, match="no page") as caught:
        await cascade.run(failing(), providers=[open_db], schedule=schedule)
    assert caught.value.__notes__[0].endswith("called with db=<resource 'db'>")


async def test_items_of_a_secret_column_are_not_shown() -> None:
    rows = cascade.Param("rows", type=list[str], secret=True)
    with pytest.raises(ValueError, match="no page") as caught:
        await cascade.run(parse.map(page=rows), {"rows": ["x", "bad"]})
    assert "called with page=***;" in caught.value.__notes__[0]


async def test_what_was_not_called_has_no_arguments_in_its_note() -> None:
    claim = parse("bad").with_constraints(gpu=fetch("too many")).with_name("july")
    with pytest.raises(ValueError, match="gpu") as caught:
        await cascade.run(claim, system_resources={"gpu": 1})
    [note] = caught.value.__notes__
    assert "named 'july', before it began)" in note
    assert "called with" not in note


# -- errors, explain, logs, simulations --------------------------------------------------------------------------


async def test_errors_that_no_node_raises_name_the_label_too() -> None:
    with pytest.raises(cascade.CapacityError, match=r"by 'fetch' named 'july' exceeds total system capacity"):
        await cascade.run(fetch("a").with_constraints(gpu=2).with_name("july"), system_resources={"gpu": 1})
    with pytest.raises(cascade.DependencyMissingError, match=r"target 'fetch' named 'july' was skipped \(Reason"):
        await cascade.run(fetch("a").run_if(False).with_name("july"))


async def test_explain_names_labels_of_nodes_and_items(schedule: Any) -> None:
    claim = fetch.partial(seconds=5.0).map(url=["u", "v"], name="from {url}").with_constraints(gpu=1)
    late = parse(fetch("w", 9.0).with_name("slow")).with_name("july")
    async with cascade.start([claim, late], system_resources={"gpu": 1}, schedule=schedule) as run:
        await pass_time(1)
        found = {each.node_id: each for each in run.explain()}
        [waiting] = [each for name, each in found.items() if name.startswith("fetch[")]
        assert waiting.label in ("from u", "from v")
        assert found["parse"].label == "july"
        assert str(found["parse"]).startswith("parse (july): ")
        run.cancel()


async def test_logs_and_traces_show_labels() -> None:
    stream = io.StringIO()
    flow = [fetch("a").with_name("july"), parse.map(page=["p"], name="page {page}")]
    await cascade.run(flow, observers=[cascade.observers.human_log(stream)])
    for line in ("  fetch (july) succeeded in ", "  parse[0] (page p) succeeded in "):
        assert line in stream.getvalue()


def test_a_simulation_shows_labels() -> None:
    shown = str(simulate([fetch("a").with_name("july"), parse("b")], seed=1).trace)
    assert "TaskExecutionStarted fetch (july)" in shown
    assert "label" not in shown
