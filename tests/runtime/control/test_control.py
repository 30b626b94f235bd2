"""Rules on a live run: after `await pause()` nothing starts, limits hold, rates admit at their moments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from anyio import current_time
from anyio.lowlevel import checkpoint
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.control import Concurrency, ControlPlane, Pause, Rate
from cascade.model.rules import as_json, from_json
from cascade.testing import record_events

anyio_backend = virtual_loops


class Starts(list[tuple[str, float]]):
    """Who started when, and how many ran at once."""

    running = 0
    most = 0

    def job(self, name: str, seconds: float = 1.0, task: str = "job") -> cascade.LazyResult[str]:
        """A call of *task* that takes *seconds*."""

        async def work() -> str:
            self.append((name, current_time()))
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await pass_time(seconds)
            finally:
                self.running -= 1
            return name

        return cascade.task(name=task)(work)()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self]

    @property
    def times(self) -> list[float]:
        return [round(moment, 6) for _, moment in self]


# -- pausing ---------------------------------------------------------------------------------------------------


async def test_a_pause_in_the_middle_of_a_stage_holds_who_waits_for_the_slot(schedule: Any) -> None:
    starts = Starts()
    flow = [starts.job(name, 10).with_constraints(slot=1) for name in "AB"]
    async with cascade.start(flow, system_resources={"slot": 1}, schedule=schedule) as run:
        await pass_time(1)
        await run.pause(author="ada")
        await pass_time(50)
        assert len(starts) == 1
        (blocked,) = run.explain()
        assert blocked.node_id.startswith("job")
        assert "pause" in blocked.blockers[0]
        assert "'ada'" in blocked.blockers[0]
        await run.resume()
        assert await run.result() == ["A", "B"]
    assert starts.times[1] == pytest.approx(51)


async def test_a_pause_by_one_task_holds_the_rest_of_its_own_run(schedule: Any) -> None:
    starts, plane = Starts(), ControlPlane()

    @cascade.task
    async def pauses() -> None:
        await plane.pause("task:job")

    flow = [starts.job(str(number)).after(pauses()) for number in range(50)]
    async with cascade.start(flow, schedule=schedule, control=plane) as run:
        await pass_time(5)
        assert starts == []
        await plane.resume("task:job")
        await run.result()
    assert len(starts) == 50


@pytest.mark.parametrize("scope", ["global", "task:jo*", "task:*.job", "run:nightly"])
async def test_every_scope_that_covers_an_attempt_holds_it(scope: str) -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.pause(scope)
    async with cascade.start(starts.job("a"), control=plane, run_id="nightly"):
        await pass_time(100)
        assert starts == []
        await plane.clear(scope)
    assert starts.times == [100]


@pytest.mark.parametrize("scope", ["task:other", "run:daily", "task:job?"])
async def test_other_scopes_hold_nothing(scope: str) -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.pause(scope)
    await cascade.run(starts.job("a"), control=plane, run_id="nightly")
    assert starts.times == [0]


async def test_a_pause_ends_by_itself(schedule: Any) -> None:
    starts, plane = Starts(), ControlPlane()
    engine = cascade.Engine(control=plane, schedule=schedule)
    with record_events(engine) as recorded:
        async with engine.start(starts.job("a").after(starts.job("first"))) as run:
            await pass_time(0.5)
            await plane.pause(ttl=7)
            await run.result()
    assert starts.times == [0, 7.5]
    assert [(event.kind, event.action) for event in recorded.of(cascade.ControlChanged)] == [
        ("pause", "set"),
        ("pause", "expired"),
    ]
    assert plane.rules() == ()


async def test_a_pause_ends_by_itself_although_the_run_that_kept_the_time_is_over() -> None:
    starts, plane = Starts(), ControlPlane()
    engine = cascade.Engine(control=plane)
    async with engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, starts.job("short", 2))
        await pass_time(1)
        await plane.pause("task:late", ttl=20)
        group.start_soon(engine.run, starts.job("b", 1, task="late"))
    assert starts.times == [0, 21]


async def test_retries_are_held_and_holding_takes_nothing(schedule: Any) -> None:
    times: list[float] = []

    @cascade.task
    async def fails() -> None:
        times.append(current_time())
        if len(times) < 3:
            raise ValueError

    flow = fails().with_retry(max_attempts=3, delay=1).with_constraints(slot=1)
    engine = cascade.Engine(system_resources={"slot": 1}, schedule=schedule)
    async with engine.start(flow) as run:
        await pass_time(0.5)
        await run.pause()
        await pass_time(9.5)
        assert engine.capacity()["slot"][0] == 0
        await run.resume()
        await run.result()
    assert times == [0, 10, 11]


async def test_items_of_maps_and_turns_of_loops_are_held(schedule: Any) -> None:
    count = 0

    @cascade.task
    async def turn(number: int) -> Any:
        nonlocal count
        count += 1
        await pass_time(1)
        return turn(number + 1) if number < 20 else number

    @cascade.task
    async def item(number: int) -> None:
        nonlocal count
        count += 1
        await pass_time(1)

    flow: Callable[[], Any]
    for flow in (lambda: turn(0), lambda: item.map(number=range(30)).with_concurrency(2)):
        count = 0
        async with cascade.start(flow(), schedule=schedule) as run:
            await pass_time(4.5)
            await run.pause()
            seen = count
            await pass_time(20)
            assert count == seen
            assert count > 3
            await run.resume()
            await run.result()


# -- limits ----------------------------------------------------------------------------------------------------


async def test_raising_a_limit_wakes_at_once_and_lowering_it_ends_nothing(schedule: Any) -> None:
    starts = Starts()
    async with cascade.start([starts.job(str(n), 10) for n in range(9)], schedule=schedule) as run:
        await run.limit("task:job", concurrency=2)
        await pass_time(1)
        assert starts.running == 2
        await run.limit("task:job", concurrency=5)
        await pass_time(1)
        assert starts.running == 5
        assert starts.times == pytest.approx([0, 0, 1, 1, 1])
        await run.limit("task:job", concurrency=1)
        await pass_time(5)
        assert starts.running == 5
        await run.result()
    assert starts.times == pytest.approx([0, 0, 1, 1, 1, 11, 21, 31, 41])


async def test_a_limit_counts_what_runs_already_also_in_lanes() -> None:
    starts = Starts()
    first = starts.job("first", 1)
    flow = [starts.job("long", 10), [starts.job(str(n), 1).after(first) for n in range(3)]]
    async with cascade.start(flow, schedule="eager") as run:
        await pass_time(0.5)
        await run.limit(concurrency=1)
        await run.result()
    assert sorted(starts.times) == pytest.approx([0, 0, 10, 11, 12])


async def test_lifting_a_limit_wakes_everybody() -> None:
    starts = Starts()
    async with cascade.start([starts.job(str(n), 10) for n in range(9)]) as run:
        await run.limit(concurrency=1)
        await pass_time(1)
        await run.limit(concurrency=None)
        await pass_time(1)
        assert starts.running == 9


# -- rates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "burst", "times"),
    [
        ("2/s", None, [0, 0.5, 1, 1.5]),
        ("30/m", None, [0, 2, 4, 6]),
        ("1/10s", None, [0, 10, 20, 30]),
        ("0.5/s", 2, [0, 0, 2, 4]),
        ("1/h", 3, [0, 0, 0, 3600]),
    ],
)
async def test_attempts_start_at_the_moments_of_the_tokens(
    rate: str, burst: int | None, times: list[float], schedule: Any
) -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.limit("task:job", rate=rate, burst=burst)
    await cascade.run([starts.job(str(n), 0.01) for n in range(4)], control=plane, schedule=schedule)
    assert starts.times == times


async def test_refused_admissions_leave_the_bucket_full() -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.limit("task:job", rate="1/h", burst=5)
    await plane.pause("task:job")
    async with cascade.start([starts.job(str(n)) for n in range(5)], control=plane):
        for _ in range(5):
            await pass_time(1)
            await plane.limit("run:nobody", concurrency=1)
            await plane.clear("run:nobody")
        assert starts == []
        await plane.resume("task:job")
    assert starts.times == [5] * 5


async def test_a_rate_that_is_said_again_fills_no_bucket() -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.limit(rate="1/10s")
    async with cascade.start([starts.job(str(n), 0.1) for n in range(3)], control=plane):
        await pass_time(1)
        await plane.limit(rate="1/10s")
        await plane.limit(rate="1/10s", burst=3)
        await pass_time(1)
        assert starts.times == [0]
    assert starts.times == pytest.approx([0, 10, 20])


async def test_a_rule_that_ends_before_one_said_earlier_ends_in_time() -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.pause("task:late", ttl=1000)
    async with cascade.start([starts.job("a"), starts.job("b", task="late")], control=plane):
        await plane.pause("task:job", ttl=20)
        await pass_time(1)
        await plane.pause("task:job", ttl=2)
    assert starts.times == [3, 1000]


async def test_explain_says_when_the_next_token_comes() -> None:
    starts = Starts()
    async with cascade.start([starts.job(str(n), 0.1) for n in range(3)]) as run:
        await run.limit(rate="1/10s", author="bob")
        await pass_time(4)
        assert "the next may start in 6.0 s" in run.explain()[0].blockers[0]
        assert "'bob'" in run.explain()[0].blockers[0]
        run.cancel()


# -- what is said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        {"scope": "nonsense", "concurrency": 1},
        {"scope": "task:", "concurrency": 1},
        {"scope": 3, "concurrency": 1},
        {"scope": "run:a\nb", "concurrency": 1},
        {"scope": "task:" + "x" * 1000, "concurrency": 1},
        {},
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": 1.5},
        {"rate": "many/fortnight"},
        {"rate": "0/s"},
        {"rate": "-1/s"},
        {"rate": "nan/s"},
        {"rate": "1/0s"},
        {"rate": 10},
        {"rate": "1/s", "burst": 0},
        {"burst": 2},
        {"concurrency": 1, "burst": 2},
        {"rate": None, "burst": 2},
        {"concurrency": 1, "ttl": 0},
        {"concurrency": 1, "ttl": float("nan")},
        {"concurrency": 1, "ttl": float("inf")},
        {"concurrency": 1, "ttl": 10**400},
        {"concurrency": 1, "author": ""},
    ],
)
async def test_what_means_nothing_is_a_value_error_and_changes_nothing(words: dict[str, Any]) -> None:
    plane = ControlPlane()
    await plane.limit("global", concurrency=7)
    with pytest.raises(ValueError, match=r"."):
        await plane.limit(**words)
    assert [str(rule) for rule in plane.rules()] == ["limit global to 7 at a time"]


async def test_rules_are_listed_with_author_age_and_expiry() -> None:
    plane = ControlPlane()
    await plane.pause("run:a", ttl=60, author="ada")
    await plane.limit("run:a", concurrency=2, rate="3/s", burst=4)
    await plane.limit("run:a", concurrency=3)
    pause, limit, rate = plane.rules()
    assert isinstance(pause, Pause)
    assert pause.author == "ada"
    assert pause.expires_at == pytest.approx(pause.set_at + 60, abs=1)
    assert 0 <= pause.age < 10
    assert isinstance(limit, Concurrency)
    assert limit.limit == 3
    assert isinstance(rate, Rate)
    assert (rate.rate, rate.burst, rate.expires_at) == ("3/s", 4, None)
    for rule in plane.rules():
        assert from_json(as_json(rule)) == rule


@pytest.mark.parametrize(
    "data",
    [
        None, [], "pause", {}, {"schema": 1}, {"schema": 1, "kind": []}, {"schema": 1, "kind": "pause"},
        {"schema": 2, "kind": "pause", "scope": "global"},
        {"schema": 1, "kind": "pause", "scope": "global", "more": 1},
        {"schema": 1, "kind": "pause", "scope": "global", "set_at": 10**400},
        {"schema": 1, "kind": "pause", "scope": "global", "expires_at": "soon"},
        {"schema": 1, "kind": "concurrency", "scope": "global", "limit": 10**400},
        {"schema": 1, "kind": "rate", "scope": "global", "rate": "9" * 100_000 + "/s"},
        {"schema": 1, "kind": "rate", "scope": "../../etc", "rate": "1/s"},
    ],
)  # fmt: skip
def test_json_that_says_no_rule_is_a_value_error(data: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(data)


async def test_a_plane_keeps_its_buckets_from_run_to_run() -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.limit(rate="1/h", burst=2)
    await cascade.run([starts.job("a", 0)], control=plane)
    await cascade.run([starts.job("b", 0)], control=plane)
    assert starts.times == [0, 0]
    async with cascade.start([starts.job("c", 0)], control=plane) as run:
        await pass_time(1)
        assert "the next may start in 59 min" in run.explain()[0].blockers[0]
        run.cancel()


def test_what_was_said_on_one_event_loop_ends_in_time_on_the_next_whose_clock_is_another(
    anyio_backend: Any,
) -> None:
    starts, plane = Starts(), ControlPlane()

    async def say() -> None:
        await pass_time(50_000)  # so the next clock is far behind this one
        await plane.pause("task:job", ttl=1000)
        await plane.limit("task:other", rate="1/1000s")
        await cascade.run(starts.job("a", 0, task="other"), control=plane)

    async def obey() -> None:
        await cascade.run([starts.job("b"), starts.job("c", 0, task="other")], control=plane)

    for part in (say, obey):
        backend, options = anyio_backend
        anyio.run(part, backend=backend, backend_options=options)
    assert sorted(name for name, _ in starts) == ["a", "b", "c"]
    # A thousand seconds, without those in which the loops were changed.
    assert all(500 < moment <= 1001 for moment in starts.times[1:])


async def test_a_plane_serves_one_event_loop_at_a_time() -> None:
    plane, starts = ControlPlane(), Starts()

    async with cascade.start(starts.job("here"), control=plane):
        with ThreadPoolExecutor(1) as pool:
            elsewhere = pool.submit(cascade.run_sync, starts.job("elsewhere"), control=plane)
        with pytest.raises(RuntimeError, match="serves another event loop at present; give each loop a plane of"):
            elsewhere.result()
    await cascade.run(starts.job("later"), control=plane)
    assert [name for name, _ in starts] == ["here", "later"]


def test_the_signature_of_limit_shows_no_internals() -> None:
    assert "rate: str | None = ..., burst" in str(inspect.signature(ControlPlane.limit)).replace("'", "")


async def test_a_run_lifts_its_own_rules_and_those_of_a_scope() -> None:
    starts, plane = Starts(), ControlPlane()
    await plane.pause("task:job")
    async with cascade.start(starts.job("a"), control=plane, run_id="nightly") as run:
        await run.pause()
        await run.limit(rate="1/h")
        await pass_time(5)
        await run.clear()
        assert [rule.scope for rule in plane.rules()] == ["task:job"]
        await pass_time(5)
        await run.clear("task:job")
    assert starts.times == [10]
    assert plane.rules() == ()


@pytest.mark.slow
async def test_many_waiters_behind_a_limit_of_one_are_cheap() -> None:
    starts = Starts()
    plane = ControlPlane()
    await plane.limit("task:tick", concurrency=1)

    @cascade.task
    async def tick(number: int) -> int:
        return number

    assert await cascade.run(tick.map(number=range(20_000)), control=plane) == list(range(20_000))
    assert starts == []


@pytest.mark.parametrize("ending", [1, 2, 3, 5])
async def test_runs_that_end_together_leave_the_keeping_of_time_to_one_that_goes_on(ending: int) -> None:
    go, more = anyio.Event(), anyio.Event()
    ended: list[str] = []

    @cascade.task
    async def waits(event: anyio.Event) -> None:
        await event.wait()

    engine = cascade.Engine()

    async def run(name: str, event: anyio.Event) -> None:
        await engine.run(waits(event))
        ended.append(name)

    async with engine, anyio.create_task_group() as group:
        await engine.control.limit("task:other", rate="1/s")
        for number in range(ending):
            group.start_soon(run, f"short {number}", go)
        for _ in range(20):
            await checkpoint()
        group.start_soon(run, "long", more)
        for _ in range(20):
            await checkpoint()
        go.set()
        with anyio.fail_after(60):
            while len(ended) < ending:
                await checkpoint()
        more.set()
    assert ended[-1] == "long"


async def test_a_claim_that_comes_back_and_fits_no_longer_is_an_error_and_given_back(schedule: Any) -> None:
    begun: list[str] = []

    @cascade.resource(scope="task")
    async def opened() -> Any:
        await pass_time(5)
        yield "open"

    @cascade.task
    async def use(value: Any) -> None:
        begun.append("use")

    flow = use(cascade.inject("opened")).with_constraints(gpu=2)
    engine = cascade.Engine(providers=[opened], system_resources={"gpu": 2}, schedule=schedule)
    async with engine, engine.start(flow) as run:
        await pass_time(1)
        await run.limit("task:other", concurrency=1)  # after admission, and before it starts
        engine.set_capacity({"gpu": 1})
        with pytest.raises(cascade.CapacityError, match="gpu"):
            await run.result()
        assert engine.capacity()["gpu"][0] == 0
    assert begun == []
