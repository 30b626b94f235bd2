"""Races: the value of the call that succeeds first; what becomes of the others."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import anyio
import pytest
from life import Log, finished, forever, joined, just, raising, turns, unfinished, until
from plain_tasks import give, in_thread, step

import cascade
from cascade import Done, Failed, race, settled
from cascade.adapters.observers.story import Story
from cascade.testing import Recorded, record_events


@cascade.task
async def idle(value: Any = None) -> Any:
    await anyio.sleep_forever()


def ends(recorded: Recorded) -> dict[str, str]:
    """How each node ended: status and reason, or the reason why it was skipped."""
    found = {
        end.task_id: f"{end.status} {end.reason}" if end.reason else end.status + ", handled" * end.handled
        for end in recorded.of(cascade.TaskExecutionFinished)
    }
    assert not unfinished(recorded)
    return found | {skip.task_id: skip.reason for skip in recorded.of(cascade.TaskSkipped)}


async def raced(flow: Any, **as_run: Any) -> tuple[Any, Recorded]:
    """The value of *flow*, and the events of its run; nothing is held any more, and nothing is alive."""
    async with cascade.Engine(**as_run) as engine:
        with record_events(engine) as recorded:
            value = await engine.run(flow)
        assert not engine._admission.pool.held
    return value, recorded


# -- who wins ----------------------------------------------------------------------------------------------------


async def test_the_first_that_succeeds_wins_and_the_others_are_cancelled(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def quick() -> str:
        await until(log.has("a starts", "b starts"))
        return "quick"

    value, recorded = await raced(give(race(log.waits("a"), quick(), log.waits("b"))), schedule=schedule)
    assert value == "quick"
    assert sorted(log.lines) == ["a is cancelled", "a starts", "b is cancelled", "b starts"]
    assert ends(recorded) == {
        "waits": "Cancelled RaceLost",
        "waits#2": "Cancelled RaceLost",
        "quick": "Succeeded",
        "give": "Succeeded",
    }
    last = finished(recorded)
    assert (last.status, last.failures, last.counts["cancelled"]) == ("Succeeded", (), 2)


async def test_a_race_of_one_is_that_one(schedule: Any) -> None:
    assert await cascade.run(race(just(1)), schedule=schedule) == 1
    assert await cascade.run([race(just(None))], schedule=schedule) == [None]


async def test_a_contestant_that_fails_is_out_and_its_failure_is_handled(schedule: Any, on_error: Any) -> None:
    value, recorded = await raced(race(raising(ValueError()), just(1)), schedule=schedule, on_error=on_error)
    assert value == 1
    assert ends(recorded) == {"raising": "Failed, handled", "just": "Succeeded"} or ends(recorded) == {
        "raising": "Pruned",
        "just": "Succeeded",
    }
    assert finished(recorded).failures == ()


async def test_one_that_fails_long_before_the_others_end_ends_nothing(schedule: Any) -> None:
    failed = anyio.Event()

    @cascade.task
    async def fails() -> None:
        failed.set()
        raise ValueError

    @cascade.task
    async def waits() -> str:
        await failed.wait()
        await turns(20)
        return "later"

    value, recorded = await raced(race(step(fails()), waits()), schedule=schedule)
    assert value == "later"
    assert ends(recorded)["fails"] == "Failed, handled"
    assert ends(recorded)["step"] in ("UpstreamFailed", "Pruned")


async def test_if_all_fail_the_race_fails_with_all_of_them(schedule: Any) -> None:
    first, second = ValueError("1"), TypeError("2")
    with pytest.raises(cascade.RaceFailed, match="no contestant of 'race' has succeeded") as caught:
        await cascade.run(give(race(raising(first), step(raising(second)))), schedule=schedule)
    assert caught.value.exceptions == (first, second)
    assert caught.value.node_id == "race"
    assert "raised by 'race' in run" in caught.value.__notes__[0]
    assert "task 'raising'" in first.__notes__[0]


async def test_a_race_that_fails_is_one_failure_among_others(schedule: Any) -> None:
    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run([race(raising(ValueError())), just(2)], schedule=schedule, on_error="continue")
    assert [type(error) for error in caught.value.exceptions] == [cascade.RaceFailed]
    assert caught.value.results == {"just": 2}


async def test_what_ends_a_program_is_no_failure_of_a_contestant(schedule: Any) -> None:
    with pytest.raises(SystemExit):
        await cascade.run(race(raising(SystemExit(3)), forever()), schedule=schedule)


async def test_skipped_contestants_are_out(schedule: Any) -> None:
    value, recorded = await raced(race(step(1).run_if(False), give(just(2))), schedule=schedule)
    assert value == 2
    assert ends(recorded)["step"] == "ConditionFalse"


async def test_if_all_are_skipped_so_is_the_race(schedule: Any) -> None:
    skipped = race(step(1).run_if(False), give(2).run_if(0))
    value, recorded = await raced([settled(just(skipped)), just(3)], schedule=schedule)
    assert [type(value[0]), value[1]] == [cascade.Skipped, 3]
    assert ends(recorded)["just"] == "UpstreamSkipped_Data"
    with pytest.raises(cascade.DependencyMissingError, match="'race' was skipped"):
        await cascade.run(skipped, schedule=schedule)


async def test_one_skipped_and_one_failed_is_a_failure(schedule: Any) -> None:
    error = ValueError()
    with pytest.raises(cascade.RaceFailed) as caught:
        await cascade.run(race(step(1).run_if(False), raising(error)), schedule=schedule)
    assert caught.value.exceptions == (error,)


# -- what becomes of those who lose ------------------------------------------------------------------------------


async def test_what_only_a_loser_needs_is_cancelled_or_pruned_with_it(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def quick() -> str:
        await until(log.has("a starts"))
        return "quick"

    value, recorded = await raced(race(give(step(log.waits("a"))), quick()), schedule=schedule)
    assert value == "quick"
    assert ends(recorded) == {
        "waits": "Cancelled RaceLost", "step": "Pruned", "give": "Pruned", "quick": "Succeeded",
    }  # fmt: skip


async def test_of_calls_that_do_not_wait_only_the_winner_is_called() -> None:
    called: list[int] = []

    @cascade.task(mode="inline")
    def plain(number: int) -> int:
        called.append(number)
        return number

    flow = give(race(*(plain(number) for number in range(5))))
    assert await cascade.run(flow, schedule="eager") in range(5)  # unheard, so plain calls run in lanes
    assert len(called) == 1


async def test_what_somebody_else_wants_goes_on(schedule: Any) -> None:
    go_on = anyio.Event()

    @cascade.task
    async def shared() -> str:
        await go_on.wait()
        return "shared"

    @cascade.task
    async def quick() -> str:
        go_on.set()
        return "quick"

    once = shared()
    value, recorded = await raced([race(step(once), quick()), give(once)], schedule=schedule)
    assert value[1] == "shared"
    assert ends(recorded)["shared"] == "Succeeded"


async def test_a_contestant_that_is_a_target_too_goes_on(schedule: Any) -> None:
    go_on = anyio.Event()

    @cascade.task
    async def late() -> str:
        await go_on.wait()
        return "late"

    @cascade.task
    async def quick() -> str:
        go_on.set()
        return "quick"

    wanted = late()
    assert await cascade.run([race(wanted, quick()), wanted], schedule=schedule) == ["quick", "late"]


async def test_a_loser_that_waits_for_capacity_never_begins_and_no_permit_is_lost(schedule: Any) -> None:
    log = Log()
    calls = [log.waits(name).with_constraints(gpu=1) for name in "abc"]

    @cascade.task
    async def quick() -> str:
        await until(lambda: bool(log.lines))
        await turns(20)
        return "quick"

    flow = [give(race(*calls, quick())).with_constraints(gpu=1)]
    value, recorded = await raced(flow, schedule=schedule, system_resources={"gpu": 1})
    assert value == ["quick"]
    assert len(log.lines) == 2
    assert sorted(ends(recorded).values()) == ["Cancelled RaceLost", "Pruned", "Pruned", "Succeeded", "Succeeded"]


async def test_a_loser_in_a_thread_ends_at_its_next_checkpoint(schedule: Any) -> None:
    begun = threading.Event()

    @cascade.task
    def spins() -> None:
        begun.set()
        while True:
            cascade.checkpoint()

    @cascade.task
    async def quick() -> str:
        await until(begun.is_set)
        return "quick"

    value, recorded = await raced(race(spins(), quick()), schedule=schedule)
    assert value == "quick"
    assert ends(recorded)["spins"] == "Cancelled RaceLost"


async def test_a_run_waits_for_the_thread_of_a_loser_and_its_value_does_not_count(schedule: Any) -> None:
    begun, release, left = threading.Event(), threading.Event(), threading.Event()

    @cascade.task
    def deaf() -> str:
        begun.set()
        release.wait(10)
        left.set()
        return "late"

    @cascade.task
    async def quick() -> str:
        await until(begun.is_set)
        return "quick"

    async with cascade.start(race(deaf(), quick()), schedule=schedule) as run:
        await until(lambda: run.status().counts["succeeded"] == 1)
        await anyio.wait_all_tasks_blocked()
        assert run.status().state == "Running"
        release.set()
        assert await run.result() == "quick"
        assert left.is_set()
    assert run.status().counts["cancelled"] == 1


async def test_a_loser_that_fails_while_it_is_cancelled_fails_nothing(schedule: Any) -> None:
    begun = anyio.Event()

    @cascade.task
    async def dirty() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in its clean-up")

    @cascade.task
    async def quick() -> str:
        await begun.wait()
        return "quick"

    value, recorded = await raced(race(dirty(), quick()), schedule=schedule)
    assert value == "quick"
    assert ends(recorded)["dirty"] == "Failed, handled"


async def test_a_loser_is_not_attempted_again(schedule: Any) -> None:
    flow = race(raising(ValueError()).with_retry(max_attempts=9, delay=3600), step(just(1)))
    value, recorded = await raced(flow, schedule="eager")
    assert value == 1
    assert len(recorded.of(cascade.TaskRetrying)) <= 1


# -- races of everything -----------------------------------------------------------------------------------------


async def test_races_in_races(schedule: Any) -> None:
    assert await cascade.run(race(idle(), race(idle(1), race(just(7), idle(2)))), schedule=schedule) == 7
    assert await cascade.run(race(just(7), race(idle(1), race(idle(), idle(2)))), schedule=schedule) == 7


async def test_a_race_in_a_race_fails_with_a_group_in_a_group(schedule: Any) -> None:
    inner = race(raising(ValueError("a")), raising(ValueError("b")))
    with pytest.raises(cascade.RaceFailed) as caught:
        await cascade.run(race(inner, raising(ValueError("c"))), schedule=schedule)
    assert [type(error) for error in caught.value.exceptions] == [cascade.RaceFailed, ValueError]


async def test_a_map_loses_with_all_its_items(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def quick() -> str:
        await until(log.has("a starts", "b starts"))
        return "quick"

    value, recorded = await raced(race(log.waits.map(name=["a", "b"]), quick()), schedule=schedule)
    assert value == "quick"
    assert ends(recorded) == {
        "waits": "Cancelled RaceLost", "waits[0]": "Cancelled RaceLost", "waits[1]": "Cancelled RaceLost",
        "quick": "Succeeded",
    }  # fmt: skip


async def test_a_map_may_win(schedule: Any) -> None:
    assert await cascade.run(race(just.map(value=[1, 2]), idle()), schedule=schedule) == [1, 2]


async def test_a_flow_that_a_loser_returned_is_cancelled_with_it(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def outer() -> Any:
        return joined(log.waits("a"), log.waits("b"))

    @cascade.task
    async def quick() -> str:
        await until(log.has("a starts", "b starts"))
        return "quick"

    assert await cascade.run([race(outer(), quick())], schedule=schedule) == ["quick"]
    assert sorted(log.lines) == ["a is cancelled", "a starts", "b is cancelled", "b starts"]


async def test_a_flow_that_a_contestant_returned_may_win_with_a_race_of_its_own(schedule: Any) -> None:
    @cascade.task
    async def outer() -> Any:
        return step(race(idle(), just("inner")))

    assert await cascade.run(race(idle(1), outer()), schedule=schedule) == "inner"


async def test_races_in_a_loop(schedule: Any) -> None:
    @cascade.task
    async def turn(count: int, _: Any = None) -> Any:
        return turn(count - 1, race(idle(count), just(count))) if count else "end"

    assert await cascade.run(turn(200), schedule=schedule) == "end"


async def test_a_race_between_loops(schedule: Any) -> None:
    @cascade.task
    async def loop(count: int) -> Any:
        return loop(count - 1) if count else "end"

    @cascade.task
    async def endless(count: int) -> Any:
        await anyio.lowlevel.checkpoint()
        return endless(count + 1)

    assert await cascade.run(race(endless(0), loop(100)), schedule=schedule) == "end"


async def test_settled_or_else_and_after_take_a_race(schedule: Any) -> None:
    error = ValueError()
    assert await cascade.run(settled(race(just(1))), schedule=schedule) == Done(1)
    assert await cascade.run(race(raising(error)).or_else(just(2)), schedule=schedule) == 2
    outcome = await cascade.run(settled(race(raising(error))), schedule=schedule)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, cascade.RaceFailed)
    assert await cascade.run(just(3).after(race(just(1), idle())), schedule=schedule) == 3
    assert await cascade.run(race(just(1)).after(just(2)), schedule=schedule) == 1
    assert await cascade.run(cascade.sequence([just(1), race(just(2)), just(3)]), schedule=schedule) == 3


async def test_a_hedge_for_what_fails_or_is_slow(schedule: Any) -> None:
    flow = race(raising(ValueError()).or_else(idle()), settled(raising(TypeError())))
    outcome = await cascade.run(flow, schedule=schedule)
    assert isinstance(outcome, Failed)


async def test_a_race_behind_a_router_runs_only_if_it_is_chosen(schedule: Any) -> None:
    flow = cascade.Router(just("a"), {"a": give(race(just(1), idle())), "b": race(step(1), in_thread(2))})
    value, recorded = await raced(flow, schedule=schedule)
    assert value == 1
    assert {name: ends(recorded)[name] for name in ("step", "in_thread")} == {
        "step": "Pruned",
        "in_thread": "Pruned",
    }


async def test_a_contestant_may_be_a_router() -> None:
    router = cascade.Router(just("a"), {"a": just(1), "b": raising(ValueError())})
    assert await cascade.run(race(router, idle()), schedule="eager") == 1


async def test_in_stages_a_contestant_in_a_later_stage_begins_when_the_stage_before_has_ended() -> None:
    log = Log()

    @cascade.task
    async def first() -> str:
        await turns(20)
        log.lines.append("first ends")
        return "first"

    @cascade.task
    async def second(_: Any) -> str:
        log.lines.append("second begins")
        return "second"

    flow = race(second(just(1)), settled(first()))
    assert await cascade.run(flow, schedule="stages") == Done("first")
    assert log.lines == ["first ends"]
    assert await cascade.run(flow, schedule="eager") == "second"


async def test_one_call_in_two_races(schedule: Any) -> None:
    shared = just(1)
    assert await cascade.run([race(shared, idle()), race(shared, idle(2))], schedule=schedule) == [1, 1]
    assert await cascade.run(race(shared, shared), schedule=schedule) == 1


async def test_a_node_that_was_cancelled_on_request_is_out_of_the_race(schedule: Any) -> None:
    go_on = anyio.Event()

    @cascade.task
    async def late() -> str:
        await go_on.wait()
        return "late"

    async with cascade.start(race(idle(), late()), schedule=schedule) as run:
        await until(lambda: run.status().running == ("idle", "late"))
        run.cancel_node("idle")
        await until(lambda: run.status().counts["failed"] == 1)
        go_on.set()
        assert await run.result() == "late"


async def test_a_failure_elsewhere_ends_the_race(schedule: Any) -> None:
    with pytest.raises(ValueError, match="elsewhere"):
        await cascade.run([race(idle(), idle(2)), raising(ValueError("elsewhere"))], schedule=schedule)


# -- state, simulation -------------------------------------------------------------------------------------------


def stored() -> Any:
    """A state whose records outlive a run."""
    backends: dict[str, Any] = {}
    return lambda run_id: backends.setdefault(run_id, cascade.state.InMemoryStateBackend(run_id))


async def test_a_resumed_run_lets_those_lose_that_had_lost_before(schedule: Any) -> None:
    state, log, fails = stored(), Log(), [ValueError("once")]

    @cascade.task(version="1")
    async def slow() -> None:
        log.lines.append("slow begins")
        await anyio.sleep_forever()

    @cascade.task(version="1")
    async def quick() -> str:
        await until(log.has("slow begins"))
        return "quick"

    @cascade.task(version="1")
    async def use(value: str) -> str:
        log.lines.append(f"use {value}")
        return value

    @cascade.task(version="1")
    async def last(value: str) -> str:
        if fails:
            raise fails.pop()
        return value

    flow = last(use(race(slow(), quick())))
    with pytest.raises(ValueError, match="once"):
        await cascade.run(flow, state=state, run_id="r", schedule=schedule)
    assert log.lines == ["slow begins", "use quick"]
    assert await cascade.run(flow, state=state, run_id="r", schedule=schedule) == "quick"
    assert log.lines == ["slow begins", "use quick"]


async def test_a_race_that_was_open_is_run_again(schedule: Any) -> None:
    state, calls = stored(), list[str]()

    @cascade.task(version="1")
    async def slow(name: str) -> str:
        calls.append(name)
        if len(calls) <= 2:
            await anyio.sleep_forever()
        return name

    flow = race(slow("a"), slow("b"))
    async with cascade.start(flow, state=state, run_id="r", schedule=schedule) as run:
        await until(lambda: len(calls) == 2)
        run.cancel()
    assert await cascade.run(flow, state=state, run_id="r", schedule=schedule) in ("a", "b")
    assert len(calls) > 2


async def test_what_was_built_on_a_winner_is_built_again_if_it_is_not_known_who_won(schedule: Any) -> None:
    state, log, fails = stored(), Log(), [ValueError("once")]

    @cascade.task(version="1")
    async def use(value: str) -> str:
        log.lines.append(f"use {value}")
        return value

    @cascade.task(version="1")
    async def last(value: str, *_: Any) -> str:
        if fails:
            raise fails.pop()
        return value

    one, other = just("one"), just("other")
    flow = last(use(race(one, other)), one, other)  # both succeed, as both are wanted
    with pytest.raises(ValueError, match="once"):
        await cascade.run(flow, state=state, run_id="r", schedule=schedule)
    assert await cascade.run(flow, state=state, run_id="r", schedule=schedule) in ("one", "other")
    assert len(log.lines) == 2


def test_in_a_simulation_the_seed_decides_who_wins(schedule: Any) -> None:
    @cascade.task
    async def runs(name: str) -> str:
        await anyio.lowlevel.checkpoint()
        return name

    def winner(seed: int) -> Any:
        return cascade.testing.simulate(race(runs("a"), runs("b"), runs("c")), seed=seed, schedule=schedule).value

    assert {winner(seed) for seed in range(30)} == {"a", "b", "c"}
    assert winner(7) == winner(7)


# -- what is said of it ------------------------------------------------------------------------------------------


def test_what_is_no_call_cannot_race() -> None:
    for value in (1, [just(1)], cascade.inject("x"), cascade.Param("x"), just):
        with pytest.raises(TypeError, match="race takes calls, not"):
            race(value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        race()


def test_a_race_is_shown() -> None:
    flow = give(race(just(1), idle()))
    assert repr(race(just(1), idle())) == "race(just(...), idle(...))"
    assert repr(flow) == "<LazyResult give(race(...))>"
    assert "race <- just (races), idle (races)" in cascade.visualize(flow, format="text")
    assert '|"races"|' in cascade.visualize(flow, format="mermaid")
    assert "shape=diamond" in cascade.visualize(flow, format="dot")
    assert '"kind": "race"' in cascade.visualize(flow, format="json")


async def test_explain_names_who_races() -> None:
    async with cascade.start(give(race(idle(), idle(1))), schedule="eager") as run:
        await until(lambda: len(run.status().running) == 2)
        (why,) = run.explain()
        assert why.node_id == "give"
        assert why.blockers == ("no contestant of 'race' has succeeded yet; open are 'idle', 'idle#2'",)
        run.cancel()


async def test_the_log_for_people_says_who_has_lost() -> None:
    story = Story()
    _, recorded = await raced(race(idle(), step(just(1))), schedule="eager")
    told = [story.sentence(event) for event in recorded.events]
    assert any(
        line.startswith("  idle cancelled after") and line.endswith(": it has lost a race") for line in told
    )


def test_race_failed_survives_pickling_and_splitting() -> None:
    error = cascade.RaceFailed("race#2", [ValueError(1), TypeError(2)])
    error.add_note("a note")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (other.node_id, other.__notes__, str(other)) == ("race#2", ["a note"], str(error))
    part = error.subgroup(ValueError)
    assert isinstance(part, cascade.RaceFailed)
    assert part.node_id == "race#2"
