"""Signals: nodes wait for values from outside, hold nothing meanwhile, and share the first that is accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio import get_cancelled_exc_class, get_running_tasks, move_on_after, sleep_forever
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.state import InMemoryStateBackend
from cascade.testing import record_events

anyio_backend = virtual_loops


@cascade.task
async def pair(*values: Any) -> tuple[Any, ...]:
    return values


@cascade.task
async def slow(value: Any, seconds: float = 5) -> Any:
    await pass_time(seconds)
    return value


@cascade.task
async def ask(name: str) -> Any:
    return cascade.signal(name, int)


@cascade.task
async def again(n: int, go_on: bool) -> Any:
    return again(n + 1, cascade.signal(f"go{n}", bool)) if go_on else n


APPROVE: Any = cascade.signal("approve", bool)


@asynccontextmanager
async def waiting(flow: Any, schedule: Any, **settings: Any) -> AsyncIterator[cascade.Run[Any]]:
    """A run of *flow*, once it can only wait."""
    async with cascade.start(flow, schedule=schedule, **settings) as run:
        await pass_time(100)
        yield run


FLOWS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "argument": (pair(cascade.signal("n", int), slow(1)), {"n": 4}, (4, 1)),
    "target": (cascade.signal("n", int), {"n": 4}, 4),
    "container": ({"a": [cascade.signal("n", int)]}, {"n": 4}, {"a": [4]}),
    "inner": (pair([{"a": cascade.signal("n", int)}]), {"n": 4}, ([{"a": 4}],)),
    "condition": (pair(slow(1)).run_if(APPROVE), {"approve": True}, (1,)),
    "refusal": (pair(pair(slow(1)).run_if(APPROVE)), {"approve": False}, (1,)),
    "selector": (cascade.Router(APPROVE, {True: slow("yes"), False: slow("no")}), {"approve": True}, "yes"),
    "route": (cascade.Router(slow("a"), {"a": APPROVE, "b": cascade.signal("never")}), {"approve": True}, True),
    "shared": (pair(cascade.signal("n", int), slow(cascade.signal("n", int))), {"n": 4}, (4, 4)),
    "column": (slow.map(value=cascade.signal("ns", list[int])), {"ns": "[1, 2]"}, [1, 2]),
    "items": (slow.map(value=[1, cascade.signal("n", int)]), {"n": 4}, [1, 4]),
    "asked": (pair(ask("n"), 1), {"n": 4}, (4, 1)),
    "mapped": (ask.map(name=["n", "m"]), {"n": 4, "m": 5}, [4, 5]),
    "tail": (ask("n"), {"n": 4}, 4),
    "loop": (again(0, True), {"go0": True, "go1": "true", "go2": False}, 3),
    "after": (cascade.signal("n", int).after(slow(1)), {"n": 4}, 4),
    "amount": (pair(1).with_constraints(gpu=cascade.signal("n", int)), {"n": 1}, (1,)),
    "chain": (slow(slow(cascade.signal("n", int).run_if(slow(True)))), {"n": 4}, 4),
}


@pytest.mark.parametrize("name", FLOWS)
async def test_a_value_arrives_wherever_a_call_may_stand(name: str, schedule: Any) -> None:
    flow, sent, expected = FLOWS[name]
    async with waiting(flow, schedule, system_resources={"gpu": 2}) as run:
        for signal, value in sent.items():
            assert f"waits for signal {signal!r}" in run.status().waiting
            await run.send(signal, value)
            await pass_time(100)
        assert await run.result() == expected


async def test_a_value_may_come_before_it_is_wanted(schedule: Any) -> None:
    async with cascade.start(pair(slow(1), cascade.signal("n", int).after(slow(2))), schedule=schedule) as run:
        await run.send("n", 4)
        assert run.status().waiting == ()
        assert await run.result() == (1, 4)


async def test_waiting_holds_nothing(schedule: Any) -> None:
    flow = pair(*[slow(cascade.signal(f"s{n}", int)).with_constraints(gpu=1) for n in range(100)])
    engine = cascade.Engine(schedule=schedule, system_resources={"gpu": 1}, max_threads=1)
    async with engine.start(flow) as run:
        await pass_time(1)
        tasks = len(get_running_tasks())
        assert engine.capacity() == {"gpu": (0, 1)}
        assert not engine._admission.holdings.active
        assert run.status().running == ()
        run.cancel()
    async with engine.start(slow(1)) as run:
        await pass_time(1)
        assert tasks <= len(get_running_tasks()) + 1


async def test_what_does_not_need_it_runs_meanwhile(schedule: Any) -> None:
    async with waiting(pair(slow(cascade.signal("n", int)), slow(slow(slow(1)))), schedule) as run:
        assert run.status().counts["succeeded"] == 3
        words = [str(why) for why in run.explain()]
        assert words[0] == "n: waits for signal 'n'"
        assert "slow: waits for signal 'n'" in words
        await run.send("n", 4)
        assert await run.result() == (4, 1)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n", "four", "signal 'n' must be int"),
        ("n", 4.5, "signal 'n' must be int"),
        ("n", None, "signal 'n' must be int"),
        ("m", 4, "has no signal 'm'; it has: 'n'"),
        ("n", slow(1), "takes a value"),
    ],
)
async def test_a_bad_value_is_refused_to_the_sender_and_changes_nothing(
    name: str, value: Any, words: str, schedule: Any
) -> None:
    async with waiting(pair(cascade.signal("n", int)), schedule) as run:
        before = run.status()
        with pytest.raises(cascade.InputError, match=words) as refused:
            await run.send(name, value)
        assert "\n" not in str(refused.value)
        assert run.status() == before
        await run.send("n", "4")
        assert await run.result() == (4,)


async def test_the_first_value_stands_and_the_same_again_is_fine(schedule: Any) -> None:
    async with waiting(pair(cascade.signal("n", int), slow(1, 1000)), schedule) as run:
        await run.send("n", 4)
        await run.send("n", "4")
        with pytest.raises(cascade.InputError, match="is 4 already, and cannot be 5"):
            await run.send("n", 5)
        assert await run.result() == (4, 1)


async def test_a_run_that_has_ended_takes_none(schedule: Any) -> None:
    async with cascade.start(slow(cascade.signal("n", int)), schedule=schedule) as run:
        await run.send("n", 4)
        assert await run.result() == 4
    with pytest.raises(cascade.InputError, match="has ended and takes no signal 'n'"):
        await run.send("n", 4)


# -- in time -----------------------------------------------------------------------------------------------------


async def test_a_timeout_gives_the_default_which_stands(schedule: Any) -> None:
    flow = pair(cascade.signal("n", int, default=7, timeout=30), slow(1, 1000))
    async with cascade.start(flow, schedule=schedule) as run:
        await pass_time(29)
        assert str(run.explain()[0]) == "n: waits for signal 'n' (1.0 s left)"
        await pass_time(2)
        await run.send("n", 7)
        with pytest.raises(cascade.InputError, match="is 7 already"):
            await run.send("n", 8)
        assert await run.result() == (7, 1)


async def test_none_may_be_the_default(schedule: Any) -> None:
    assert await cascade.run(cascade.signal("n", int, default=None, timeout=30), schedule=schedule) is None


async def test_without_a_default_a_timeout_fails(schedule: Any) -> None:
    with pytest.raises(cascade.TaskTimeoutError, match="signal 'n' did not come within 30 s") as failed:
        await cascade.run(pair(cascade.signal("n", int, timeout=30)), schedule=schedule)
    assert failed.value.node_id == "n"
    assert failed.value.timeout == 30


async def test_a_timeout_counts_from_when_the_signal_is_wanted(schedule: Any) -> None:
    late = cascade.signal("late", int, default=7, timeout=30).after(slow(1, 20))
    routed = cascade.signal("routed", int, default=8, timeout=30)
    flow = pair(late, cascade.Router(slow("a", 20), {"a": routed}))
    async with cascade.start(flow, schedule=schedule) as run:
        await pass_time(49)
        assert len(run.status().waiting) == 2
        await pass_time(2)
        assert await run.result() == (7, 8)


async def test_a_value_in_time_beats_the_timeout(schedule: Any) -> None:
    async with cascade.start(pair(cascade.signal("n", int, default=7, timeout=30)), schedule=schedule) as run:
        await pass_time(29)
        await run.send("n", 4)
        assert await run.result() == (4,)


async def test_what_no_router_chooses_is_never_waited_for(schedule: Any) -> None:
    flow = cascade.Router(slow("a"), {"a": slow(1, 100), "b": cascade.signal("n", int, timeout=1)})
    with record_events(engine := cascade.Engine(schedule=schedule)) as recorded:
        assert await engine.run(flow) == 1
    assert not recorded.of(cascade.SignalAwaited)
    assert [event.reason for event in recorded.of(cascade.TaskSkipped)] == ["Pruned"]


# -- ends --------------------------------------------------------------------------------------------------------


async def test_cancelling_ends_the_wait(schedule: Any) -> None:
    async with waiting(pair(cascade.signal("n", int, timeout=1000)), schedule) as run:
        run.cancel()
        with pytest.raises(cascade.RunCancelled):
            await run.result()
    with move_on_after(10) as scope:
        await cascade.run(pair(cascade.signal("n", int)), schedule=schedule)
    assert scope.cancelled_caught


async def test_a_run_that_waits_can_be_drained(schedule: Any) -> None:
    for flow in (pair(cascade.signal("n", int)), pair(ask("n"), 1), ask.map(name=["n"])):
        async with waiting(flow, schedule) as run:
            run.drain()
            with pytest.raises(cascade.RunCancelled, match="was drained"):
                await run.result()
            assert run.status().state == "Drained"


async def test_a_failure_elsewhere_ends_the_wait(schedule: Any) -> None:
    @cascade.task
    async def fail() -> None:
        await pass_time(10)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await cascade.run(pair(cascade.signal("n", int), fail()), schedule=schedule)


@pytest.mark.parametrize("way", ["cancelled", "failed"])
async def test_nobody_is_said_to_wait_once_the_run_is_aborted(way: str, schedule: Any) -> None:
    said: list[Any] = []

    @cascade.task
    async def fail_or_clean_up() -> None:
        try:
            await pass_time(200)
            raise ZeroDivisionError
        except get_cancelled_exc_class():
            said.append((run.explain(), run.status().waiting))
            raise

    @cascade.task
    async def clean_up() -> None:
        try:
            await sleep_forever()
        finally:
            said.append((run.explain(), run.status().waiting))

    flow = [pair(cascade.signal("n", int, timeout=1000)), fail_or_clean_up(), clean_up()]
    async with waiting(flow, schedule) as run:
        if way == "cancelled":
            run.cancel()
        with pytest.raises((cascade.RunCancelled, ZeroDivisionError)):
            await run.result()
    said.append((run.explain(), run.status().waiting))
    assert len(said) == (3 if way == "cancelled" else 2)
    assert [each for each in said if each != ((), ())] == []


async def test_other_nodes_go_on_after_a_timeout(schedule: Any) -> None:
    flow = [pair(cascade.signal("n", int, timeout=10)), slow(1, 100)]
    with pytest.raises(cascade.RunFailed) as failed:
        await cascade.run(flow, schedule=schedule, on_error="continue")
    assert failed.value.results == {"slow": 1}


# -- what is told ------------------------------------------------------------------------------------------------


async def test_events_tell_of_the_wait_and_of_the_value(schedule: Any) -> None:
    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        async with engine.start(pair(cascade.signal("n", int, timeout=50, default=1))) as run:
            await pass_time(10)
            await run.send("n", "4")
    awaited, received = recorded.of(cascade.SignalAwaited), recorded.of(cascade.SignalReceived)
    assert [(event.task_id, event.signal, event.timeout) for event in awaited] == [("n", "n", 50)]
    assert [(event.signal, event.preview, event.is_default) for event in received] == [("n", "4", False)]
    finished = [event for event in recorded.of(cascade.TaskExecutionFinished) if event.task_id == "n"]
    assert [(event.status, event.result_preview) for event in finished] == [("Succeeded", "4")]
    assert [event.task_id for event in recorded.of(cascade.TaskExecutionStarted)] == ["pair"]


@pytest.mark.parametrize(
    ("format", "words"),
    [
        ("mermaid", 'n0(["n (signal)"])'),
        ("dot", 'n0 [label="n (signal)", style=rounded];'),
        ("text", "  pair <- n (signal)"),
        ("json", '"kind": "signal"'),
    ],
)
def test_pictures_tell_signals_from_calls(format: Any, words: str) -> None:
    assert words in cascade.visualize(pair(cascade.signal("n", int)), format)


# -- flows that make no sense ------------------------------------------------------------------------------------


async def test_signals_of_one_name_must_be_alike(schedule: Any) -> None:
    for other in (cascade.signal("n", str), cascade.signal("n", int, timeout=3), cascade.signal("n", int, 5)):
        with pytest.raises(cascade.GraphError, match="two signals are called 'n' and differ"):
            await cascade.run(pair(cascade.signal("n", int), other), schedule=schedule)


async def test_what_is_about_attempts_means_nothing_for_a_signal(schedule: Any) -> None:
    signal = cascade.signal("n", int)
    for odd in (signal.with_retry(3), signal.with_timeout(3), signal.with_constraints(gpu=1)):
        with pytest.raises(cascade.GraphError, match="signal 'n' is not run"):
            await cascade.run(pair(odd), schedule=schedule)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: cascade.signal(""), ValueError),
        (lambda: cascade.signal("n", int, timeout=0), ValueError),
        (lambda: cascade.signal("n", int, default="four", timeout=1), ValueError),
        (lambda: cascade.signal("n", "int"), TypeError),
    ],
)
def test_a_signal_that_makes_no_sense_is_refused_at_once(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


async def test_suspending_needs_a_state() -> None:
    with pytest.raises(ValueError, match='when_idle="suspend" needs a state'):
        await cascade.run(pair(APPROVE), when_idle="suspend")


async def test_a_store_that_keeps_no_signals_is_refused_before_anything_runs(schedule: Any) -> None:
    class Without(InMemoryStateBackend):
        def __init__(self, run_id: str) -> None:
            super().__init__(run_id)
            self.signals = None

    engine = cascade.Engine(schedule=schedule, state=Without)
    refused = pytest.raises(cascade.StateError, match="waits for signal 'approve', and Without keeps no signals")
    with record_events(engine) as recorded, refused:
        await engine.run(pair(slow(1), APPROVE))
    assert not recorded.of(cascade.TaskExecutionStarted)


async def test_who_waits_for_a_signal_has_the_name_that_it_was_given(schedule: Any) -> None:
    with record_events(engine := cascade.Engine(schedule=schedule)) as recorded:
        await engine.run([cascade.signal("n", int, default=3, timeout=0.01).with_name("how many")])
    assert [event.label for event in recorded.of(cascade.SignalAwaited)] == ["how many"]
