"""The page of a run that goes on: what it tells, what it does, and that it ends with the run."""

from __future__ import annotations

import json
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from followed import followed, port_of
from life import forever, joined, just
from page_client import Browser, received

import cascade
from cascade.runtime.context.settings import Schedule
from cascade.testing import record_events, simulate

AT_HOME = "127.0.0.1:0"


def is_closed(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) != 0


async def test_a_page_shows_how_a_run_goes_on_and_how_it_ends(schedule: Schedule) -> None:
    flow = joined(just(1), cascade.signal("go", int))
    async with cascade.start(flow, page=AT_HOME, schedule=schedule) as run, followed(run) as page:
        await page.until(lambda known: known["run"]["counts"]["waiting"])
        await run.send("go", 2)

    assert page.is_over
    assert page.document["run"]["status"] == "succeeded"
    assert page.document["run"]["counts"]["succeeded"] == 3
    assert [bar[3] for bar in page.document["bars"] if bar[2] == "succeeded"] == ["just", "go", "joined"]


async def test_nothing_of_the_page_is_alive_after_the_run() -> None:
    async with cascade.start(cascade.signal("go"), page=AT_HOME) as run:
        link = run.page_link()
        async with await anyio.connect_tcp("127.0.0.1", port_of(link)) as silent:
            await run.send("go", "now")
            assert await run.result() == "now"
            assert (await received(silent)).status == 0
        with pytest.raises(RuntimeError, match="has no page: it has ended"):
            run.page_link()

    assert is_closed(port_of(link))


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
async def test_the_page_ends_with_a_run_that_does_not_succeed(ends: str) -> None:
    async with cascade.start(forever(), page=AT_HOME) as run:
        async with followed(run) as page:
            await page.until(lambda known: known["run"]["counts"]["running"])
            if ends == "cancelled":
                run.cancel()
            else:
                assert run.cancel_node("forever")
        with pytest.raises((cascade.RunCancelled, cascade.TaskCancelledError)):
            await run.result()

    assert page.document["run"]["status"] == ends
    assert is_closed(page.browser.port)


async def test_the_page_ends_when_what_is_around_the_run_is_cancelled() -> None:
    ports = []
    page = cascade.Page(on_link=lambda link: ports.append(port_of(link)))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(cascade.run, forever(), page=page))
            while not ports:
                await anyio.lowlevel.checkpoint()
            scope.cancel()

    assert is_closed(ports[0])


async def test_a_page_pauses_and_resumes() -> None:
    flow = just(cascade.signal("go"))
    async with cascade.start(flow, page=AT_HOME) as run, followed(run) as page:
        assert (await page.act("pause")).status == 200
        await page.until(lambda known: known["control"]["paused"])
        await run.send("go", "now")
        known = await page.until(
            lambda known: any("pause" in one["why"][0] for one in known["control"]["blocked"])
        )
        assert known["control"]["rules"] == [f"pause run:{run.id}"]
        assert not run.status().running
        assert (await page.act("resume")).status == 200
        assert await run.result() == "now"


async def test_a_page_limits() -> None:
    flow = joined(*(just(cascade.signal(name)) for name in "ab"))
    async with cascade.start(flow, page=AT_HOME) as run, followed(run) as page:
        assert (await page.act("limit", concurrency=1, rate="5/s")).status == 200
        known = await page.until(lambda known: len(known["control"]["rules"]) == 2)
        assert any("1" in rule for rule in known["control"]["rules"])
        assert (await page.act("limit", concurrency=None, rate=None)).status == 200
        await page.until(lambda known: not known["control"]["rules"])
        run.cancel()


@pytest.mark.parametrize(
    "given",
    [{}, {"concurrency": 0}, {"concurrency": "2"}, {"concurrency": True}, {"concurrency": 1.5}, {"rate": "x"}],
)
async def test_a_limit_that_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    async with cascade.start(cascade.signal("go"), page=AT_HOME) as run, followed(run) as page:
        assert (await page.act("limit", **given)).status == 409
        assert not (await page.until(lambda known: "control" in known))["control"]["rules"]
        run.cancel()


async def test_a_page_sends_signals_and_says_what_is_wrong_with_a_value() -> None:
    flow = cascade.signal("count", int, description="how many")
    async with cascade.start(flow, page=AT_HOME) as run, followed(run) as page:
        known = await page.until(lambda known: known["control"]["signals"])
        assert known["control"]["signals"] == [{"name": "count", "type": "int", "description": "how many"}]
        refused = await page.act("send", name="count", value="many")
        assert refused.status == 409
        assert "'many'" in json.loads(refused.body)["error"]
        assert (await page.act("send", name="other", value="1")).status == 409
        assert (await page.act("send", name="count", value="3")).status == 200
        assert await run.result() == 3


async def test_a_page_cancels_a_node_and_the_run() -> None:
    flow = joined(cascade.settled(forever()), forever())
    async with cascade.start(flow, page=AT_HOME, schedule="eager") as run, followed(run) as page:
        await page.until(lambda known: known["run"]["counts"]["running"] == 2)
        assert (await page.act("cancel_node", node="nobody")).status == 409
        assert (await page.act("cancel_node", node="forever")).status == 200
        await page.until(lambda known: known["run"]["counts"]["handled"])
        assert (await page.act("cancel")).status == 200
        with pytest.raises(cascade.RunCancelled):
            await run.result()


async def test_what_is_no_action_of_a_run_is_refused() -> None:
    async with cascade.start(cascade.signal("go"), page=AT_HOME) as run, followed(run) as page:
        for action in ("explode", "__init__", "send", "cancel_node"):
            assert (await page.act(action)).status == 409
        run.cancel()


async def test_a_page_that_is_read_only_shows_and_changes_nothing() -> None:
    async with (
        cascade.start(cascade.signal("go"), page=cascade.Page(read_only=True)) as run,
        followed(run) as page,
    ):
        assert (await page.act("cancel")).status == 403
        assert run.status().state == "Running"
        run.cancel()


async def test_links_are_told_one_after_the_other() -> None:
    links: list[str] = []
    async with cascade.start(cascade.signal("go"), page=cascade.Page(on_link=links.append)) as run:
        while not links:
            await anyio.lowlevel.checkpoint()
        browser = Browser(port_of(links[0]))
        assert (await browser.open(links[0])).status == 303
        assert (await Browser(browser.port).open(links[0])).status == 403
        assert (await Browser(browser.port).open(links[1])).status == 303
        run.cancel()

    assert len(set(links)) == 3


async def test_a_run_without_a_page_has_no_link() -> None:
    async with cascade.start(just(1)) as run:
        with pytest.raises(RuntimeError, match="without page="):
            run.page_link()


async def test_an_address_in_use_is_told_before_anything_runs() -> None:
    began = []

    @cascade.task(mode="inline")
    def begin() -> None:
        began.append(True)

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(cascade.InputError, match=f"cannot listen on 127.0.0.1:{port}: .*port 0"):
            await cascade.run(begin(), page=f"127.0.0.1:{port}")

    assert not began


@pytest.mark.parametrize("page", [8080, "8080", "0.0.0.0:1"])
async def test_a_page_that_makes_no_sense_is_told_at_once(page: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        cascade.Engine(page=page)


def test_without_its_library_a_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cascade.adapters.pages.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "h11", None)

    with pytest.raises(ImportError, match=r"'cascade-anyio\[page\]'"):
        cascade.Engine(page=AT_HOME)
    cascade.Engine()


async def test_a_run_in_a_task_shows_no_page_of_its_own() -> None:
    links: list[str] = []

    @cascade.task
    async def around() -> int:
        return await cascade.run(just(1))

    assert await cascade.run(around(), page=cascade.Page(on_link=links.append)) == 1
    assert len(links) == 1


def test_a_simulated_run_has_no_page() -> None:
    links: list[str] = []

    assert simulate(just(1), page=cascade.Page(on_link=links.append)).value == 1
    assert not links


async def test_an_error_of_whoever_is_told_of_links_does_not_fail_the_run() -> None:
    engine = cascade.Engine(page=cascade.Page(on_link=lambda link: 1 / len(link[:0])))
    with record_events(engine) as recorded:
        assert await engine.run(just(1)) == 1

    assert [warning.code for warning in recorded.of(cascade.EngineWarning)] == ["page-failed"]


async def test_a_run_is_shown_among_others_of_its_store(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    await cascade.run(just(1), run_id="before", state=state)
    flow = cascade.signal("go")
    async with cascade.start(flow, run_id="now", state=state, page=AT_HOME) as run, followed(run) as page:
        listed = await page.browser.ask("/")
        before = await page.browser.ask("/run?id=before")
        gone = await page.browser.ask("/run?id=never")
        run.cancel()

    assert b'"id":"before"' in listed.body
    assert b'"id":"now"' in listed.body
    assert (before.status, gone.status) == (200, 404)


async def test_numbers_are_told_in_the_format_of_prometheus() -> None:
    @cascade.task
    async def fail() -> None:
        raise ValueError

    flow = joined(just(1), cascade.settled(fail()), just(cascade.signal("go")))
    async with cascade.start(flow, page=cascade.Page(metrics=True)) as run, followed(run) as page:
        await page.until(
            lambda known: known["run"]["counts"]["succeeded"] == known["run"]["counts"]["handled"] == 1
        )
        lines = (await Browser(page.browser.port).ask("/metrics")).body.decode().splitlines()
        run.cancel()

    assert 'cascade_runs{status="running"} 1' in lines
    assert 'cascade_nodes_total{task="just",outcome="succeeded"} 1' in lines
    assert 'cascade_nodes{task="go",state="waiting"} 1' in lines
    assert 'cascade_nodes_total{task="fail",outcome="handled"} 1' in lines
    assert 'cascade_nodes_total{task="fail",outcome="failed"} 0' in lines
    assert 'cascade_node_seconds_count{task="just"} 1' in lines
    assert 'cascade_node_seconds_count{task="fail"} 1' in lines
    for line in lines:
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0


async def test_numbers_of_very_many_tasks_are_all_counted_and_none_goes_away() -> None:
    def named(number: int) -> Any:
        @cascade.task(name=f"task{number}")
        async def last(value: Any) -> Any:
            return value

        return last

    many = [named(number) for number in range(150)]
    flow = joined(*(task(1) for task in many), many[149].map(value=[1, 2, 3]), many[149](cascade.signal("go")))
    async with (
        cascade.start(flow, page=cascade.Page(metrics=True), schedule="eager") as run,
        followed(run) as page,
    ):
        await page.until(lambda known: known["run"]["counts"]["succeeded"] >= 153)
        lines = (await Browser(page.browser.port).ask("/metrics")).body.decode().splitlines()
        run.cancel()

    ended = [line for line in lines if line.startswith("cascade_nodes_total{") and 'outcome="succeeded"' in line]
    assert sum(float(line.rpartition(" ")[2]) for line in ended) == 153
    assert len(ended) == 101
    assert any('task="(others)"' in line for line in ended)
    assert not any('task="task149"' in line for line in ended)  # it has most nodes, and comes last


SECRET = "correct-horse-battery"


async def test_no_secret_is_on_the_page() -> None:
    @cascade.task
    async def fail(word: str) -> None:
        raise ValueError(f"bad {word}")

    flow = joined(cascade.settled(fail(cascade.Param("word", secret=True))), cascade.signal("go"))
    given = {"word": SECRET}
    async with cascade.start(flow, given, page=AT_HOME, schedule="eager") as run, followed(run) as page:
        await page.until(lambda known: known["failures"])
        html = (await page.browser.ask(f"/run?id={run.id}")).body.decode()
        refused = (await page.act("send", name=SECRET, value="1")).body.decode()
        run.cancel()

    for text in (html, refused, json.dumps(page.document)):
        assert SECRET not in text
        assert "***" in text


async def test_no_secret_is_in_what_a_page_says_of_signals_and_rules() -> None:
    asked = cascade.signal("go", description=f"is {SECRET} right?")
    flow = joined(just(cascade.Param("word", secret=True)), asked)
    async with cascade.start(flow, {"word": SECRET}, page=AT_HOME) as run, followed(run) as page:
        control = (await page.until(lambda known: known["control"]["signals"]))["control"]
        await run.pause(f"task:{SECRET}")
        rules = (await page.until(lambda known: known["control"]["rules"]))["control"]["rules"]
        run.cancel()

    assert [signal["description"] for signal in control["signals"]] == ["is *** right?"]
    assert rules == ["pause task:***"]


async def test_many_events_reach_a_page_in_few_updates_and_hold_nobody_back() -> None:
    @cascade.task
    async def quick(n: int) -> int:
        return n

    flow = joined(cascade.signal("go"), quick.map(n=list(range(5000))).after(cascade.signal("go")))
    async with (
        cascade.start(flow, page=AT_HOME, schedule="eager") as run,
        followed(run) as page,
        await anyio.connect_tcp("127.0.0.1", page.browser.port) as deaf,  # nobody reads what is sent to it
    ):
        words = f"GET /updates?id={run.id} HTTP/1.1\r\nhost: 127.0.0.1:{page.browser.port}\r\n"
        await deaf.send(f"{words}cookie: {page.browser.cookie}\r\n\r\n".encode())
        await run.send("go", "now")
        begun = time.perf_counter()
        await run.result()
        took = time.perf_counter() - begun

    assert page.document["run"]["counts"]["succeeded"] == 5003
    assert page.updates < 100
    assert took < 20
