"""Simulated runs: the seed decides everything, nothing else does, and what can go wrong can be planned."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, cast
from xml.etree import ElementTree

import anyio
import anyio.lowlevel
import pytest
from simulated import Scene, at_once, in_thread, nests, wait
from virtual_time import pass_time

import cascade
from cascade.runtime.durability.records import Batch, Closing, Entry
from cascade.runtime.foundation.simulation_seam import pacer_var
from cascade.state import InMemoryStateBackend
from cascade.testing import (
    Crash,
    Fail,
    FaultPlan,
    Hang,
    InjectedError,
    LoseStore,
    SimulatedCrashError,
    Simulation,
    Slow,
    StalledError,
    StoreLostError,
    simulate,
)
from cascade.testing.faulty_store import FaultyStore

pytestmark = pytest.mark.needs("trio")


def started(simulation: Simulation) -> list[str]:
    """The nodes in the order in which they began."""
    events = simulation.trace.events()
    return [event.task_id for event in events if isinstance(event, cascade.TaskExecutionStarted)]


# -- the seed decides ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_seeds_give_the_same_traces_on_a_machine_of_any_speed(
    monkeypatch: pytest.MonkeyPatch, backend_name: str
) -> None:
    usual = [str(Scene(seed).play(backend_name).trace) for seed in range(60)]
    seconds = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))  # each look at it a second later
    assert [str(Scene(seed).play(backend_name).trace) for seed in range(60)] == usual


@pytest.mark.slow
@pytest.mark.parametrize("hundred", [0, 100])
def test_the_same_200_seeds_give_the_same_traces_byte_for_byte_on_both_backends(hundred: int) -> None:
    different = []
    for seed in range(hundred, hundred + 100):
        scene = Scene(seed)
        traces = [str(scene.play(backend).trace).encode() for backend in ("asyncio", "trio")]
        if traces[0] != traces[1]:
            different.append(seed)

    assert different == []


@pytest.mark.slow
def test_a_seed_gives_the_same_trace_again(backend_name: Any) -> None:
    for seed in range(10):
        assert len({str(Scene(seed).play(backend_name).trace) for _ in range(3)}) == 1


def test_seeds_find_every_order_in_which_ready_nodes_can_start(backend_name: Any) -> None:
    flow = [wait(name, 0) for name in "abc"]

    orders = {tuple(started(simulate(flow, seed=seed, backend=backend_name))) for seed in range(60)}

    assert len(orders) == 6


def test_seeds_find_every_order_in_which_nodes_of_one_moment_can_end() -> None:
    ended = set()
    for seed in range(60):
        events = simulate([wait(name, 1) for name in "abc"], seed=seed).trace.events()
        ended.add(tuple(event.task_id for event in events if isinstance(event, cascade.TaskExecutionFinished)))

    assert len(ended) == 6


def test_seeds_find_every_order_in_which_waiters_can_be_admitted() -> None:
    flow = [wait(name, 1).with_constraints(gpu=1) for name in "abc"]

    orders = {tuple(started(simulate(flow, seed=seed, system_resources={"gpu": 1}))) for seed in range(60)}

    assert len(orders) == 6


def test_a_race_that_one_order_in_six_loses_is_found() -> None:
    winners: list[str] = []

    @cascade.task
    async def buys(name: str) -> None:
        is_there = len(winners) < 2
        await pass_time(0.1)
        if is_there:
            winners.append(name)

    lost = set()
    for seed in range(30):
        winners.clear()
        simulate([buys("a"), buys("b"), buys("c").with_constraints(x=1)], seed=seed, system_resources={"x": 1})
        lost.add(len(winners))

    assert 3 in lost


# -- nothing real ----------------------------------------------------------------------------------------------


def test_nothing_is_slept_and_no_thread_is_used_for_tasks_or_resources(backend_name: Any) -> None:
    threads: set[int] = set()

    @cascade.resource
    def provided() -> Iterator[int]:
        threads.add(threading.get_ident())
        yield 1
        threads.add(threading.get_ident())

    @cascade.task
    def sync(_: Any, value: int = cascade.inject("provided")) -> int:
        threads.add(threading.get_ident())
        return value

    simulation = simulate(sync(wait("a", 1e6)), backend=backend_name, providers=[provided])

    assert simulation.result() == 1
    assert threads == {threading.get_ident()}
    assert simulation.trace.happenings[-1].time == 1e6


def test_a_simulation_leaves_no_trace_in_what_comes_after(backend_name: Any) -> None:
    simulate(at_once("a"), backend=backend_name)

    assert pacer_var.get() is None
    assert cascade.run_sync(at_once("a"), backend=backend_name) == "a"


def test_thread_slots_are_counted_though_there_are_no_threads() -> None:
    flow = [in_thread(name) for name in "abcd"]

    for seed in range(20):
        simulation = simulate(flow, seed=seed, max_threads=1, faults=FaultPlan(at={"*": Slow(1)}))
        times = [each.time for each in simulation.trace.happenings if "Started in_thread" in str(each)]
        assert times == [0, 1, 2, 3]


def test_nested_runs_are_simulated_and_numbered(backend_name: Any) -> None:
    simulation = simulate(nests("a", 1.0), backend=backend_name)

    assert simulation.result() == ["a.1", "a.2"]
    assert "[run 2] RunFinished status='Succeeded'" in str(simulation.trace)


def test_runs_that_a_task_follows_by_a_handle_are_simulated() -> None:
    @cascade.task
    async def follows() -> Any:
        async with cascade.start(wait("a", 5)) as run:
            await pass_time(1)
            return run.status().running, await run.result()

    assert simulate(follows()).result() == (("wait",), "a")


def test_what_a_tasks_own_children_do_is_waited_for(backend_name: Any) -> None:
    @cascade.task
    async def fans_out() -> list[Any]:
        found: list[Any] = []

        async def child(seconds: float) -> None:
            found.append(await cascade.run(wait(str(seconds), seconds)))

        async with anyio.create_task_group() as group:
            for seconds in (0.3, 0.2, 0.1):
                group.start_soon(child, seconds)
        return found

    assert simulate(fans_out(), backend=backend_name).result() == ["0.1", "0.2", "0.3"]


# -- how it went -----------------------------------------------------------------------------------------------


def test_a_failure_names_its_seed() -> None:
    simulation = simulate(wait("a", 1), seed=77, faults=FaultPlan(at={"wait": Fail(OSError("gone"))}))

    with pytest.raises(OSError, match="gone") as caught:
        simulation.result()
    assert "simulate(..., seed=77)" in "".join(caught.value.__notes__)
    assert str(simulation).startswith("seed 77 on asyncio: OSError: gone\n    0.000000  RunStarted")
    assert caught.value is simulation.error
    assert simulation.value is None


def test_a_flow_that_is_none_fails_as_run_says() -> None:
    with pytest.raises(cascade.InputError, match="missing parameter 'n'"):
        simulate(at_once(cascade.Param("n"))).result()
    assert simulate(at_once(cascade.Param("n")), {"n": "x"}).result() == "x"


def test_the_end_of_the_process_that_a_task_asks_for_is_a_result(backend_name: Any) -> None:
    @cascade.task
    def leaves() -> None:
        raise SystemExit(3)

    assert isinstance(simulate(leaves(), backend=backend_name).error, SystemExit)


def test_the_trace_shows_no_addresses() -> None:
    @cascade.task(mode="inline")
    def gives_an_object() -> Any:
        return object()

    assert "result_preview='<object object>'" in str(simulate(gives_an_object()).trace)


def test_a_trace_says_how_long_it_is() -> None:
    trace = simulate(at_once("a")).trace
    assert repr(trace) == f"<Trace of {len(str(trace).splitlines())} events>"


def test_the_timeline_has_a_row_for_each_node_and_a_bar_for_each_stay() -> None:
    flow = [wait("<a>", 1), at_once("b", wait("c", 3)), wait("d", 1).run_if(at_once(""))]

    picture = ElementTree.fromstring(simulate(flow).trace.to_svg())

    bars = [element for element in picture.iter() if element.tag.endswith("rect")]
    widths = sorted(float(bar.attrib["width"]) for bar in bars)
    assert len(bars) == 5
    assert widths[-1] == pytest.approx(3 * widths[-2], rel=0.01)


# -- what cannot end -------------------------------------------------------------------------------------------


def test_a_run_that_nothing_can_wake_is_ended_and_named(backend_name: Any) -> None:
    @cascade.task
    async def waits_for_nobody() -> None:
        await anyio.Event().wait()

    simulation = simulate([waits_for_nobody(), wait("a", 5), in_thread("b").with_timeout(1)], backend=backend_name)

    with pytest.raises(StalledError, match="could not go on; 'waits_for_nobody' had begun") as caught:
        simulation.result()
    assert caught.value.running == ["waits_for_nobody"]
    assert "RunFinished status='Cancelled'" in str(simulation.trace)


def test_two_tasks_that_wait_for_each_other_are_found() -> None:
    @cascade.task
    async def takes(first: anyio.Lock, second: anyio.Lock) -> None:
        async with first:
            await pass_time(0.1)
            async with second:
                await pass_time(1)

    kinds = set()
    for seed in range(30):
        locks = anyio.Lock(), anyio.Lock()
        flow = [takes(*locks), takes(*reversed(locks))]
        kinds.add(type(simulate(flow, seed=seed, faults=FaultPlan(slow=0.5)).error))

    assert kinds == {StalledError, type(None)}


@pytest.mark.slow
def test_a_run_that_moves_without_an_end_is_ended(backend_name: Any) -> None:
    @cascade.task
    async def polls() -> None:
        for _ in itertools.count():
            await pass_time(60)

    with pytest.raises(StalledError, match="made no end; 'polls'"):
        simulate(polls(), backend=backend_name).result()


# -- faults ----------------------------------------------------------------------------------------------------


def test_planned_faults_strike_the_attempts_they_are_planned_for(backend_name: Any) -> None:
    plan = FaultPlan(at={"wait": [Fail(), Hang(), None], "wait#2": Slow(7)})
    flow = [wait("a", 1).with_retry(3).with_timeout(5), wait("b", 1)]

    simulation = simulate(flow, faults=plan, backend=backend_name)

    assert simulation.result() == ["a", "b"]
    text = str(simulation.trace)
    for words in ("Fault Fail wait attempt=1", "Fault Hang wait attempt=2", "Fault Slow wait#2 attempt=1"):
        assert words in text
    assert "attempt=3" not in text.partition("Fault Slow")[0]
    assert simulation.trace.happenings[-1].time == 8


def test_drawn_faults_depend_on_the_seed_alone() -> None:
    flow = [wait(name, 1).with_retry(2) for name in "abcdef"]
    plan = FaultPlan(fail=0.3, slow=0.3)

    traces = [str(simulate(flow, seed=seed, faults=plan, on_error="continue").trace) for seed in (1, 2, 1)]

    assert traces[0] == traces[2] != traces[1]
    assert "Fault Fail" in traces[0] + traces[1]


@pytest.mark.parametrize("fault", [OSError("x"), [OSError("x")], Fail, "boom", [[Fail()]], None, 3])
def test_what_is_no_fault_is_refused(fault: Any) -> None:
    with pytest.raises(TypeError, match=r"FaultPlan.at\['wait'\] is Fail\(error\), Hang\(\), Slow\(seconds\) or"):
        FaultPlan(at={"wait": fault})


def test_what_is_no_plan_is_refused() -> None:
    no_plan: Any = {"wait": Fail()}
    with pytest.raises(TypeError, match="faults is a FaultPlan"):
        simulate(wait("a", 1), faults=no_plan)
    with pytest.raises(TypeError, match=r"FaultPlan\.at maps node ids"):
        FaultPlan(at=cast("Any", Fail()))
    with pytest.raises(TypeError, match="store"):
        FaultPlan(store=cast("Any", 3))


def test_a_plan_about_nodes_that_there_are_not_is_refused() -> None:
    flow = at_once("c", wait("a", 1), at_once("b", wait("b", 1)).run_if(False))
    with pytest.raises(ValueError, match="'wiat', like which no node is called; there were 'wait#2', 'wait'"):
        simulate(flow, faults=FaultPlan(at={"wiat": Fail()}))
    with pytest.raises(ValueError, match="names 'w#\\*'"):
        simulate(flow, faults=FaultPlan(at={"wait#2": Slow(), "w#*": Fail()}))
    assert simulate(flow, faults=FaultPlan(at={"at_once": Fail()})).error is None  # which is skipped
    assert simulate(flow, faults=FaultPlan(at={"wait": Fail(), "wiat": Fail()})).error is not None


def test_a_plan_about_a_store_needs_one() -> None:
    with pytest.raises(ValueError, match="befalls a state store, and there is none: give state='memory:'"):
        simulate(wait("a", 1), faults=FaultPlan(store=Crash(2)))


def test_a_probability_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="fail is a probability from 0 to 1, not 2"):
        FaultPlan(fail=2)


def test_the_run_can_be_cancelled_at_each_of_its_events_and_at_any_time(backend_name: Any) -> None:
    flow = [at_once("a", wait("b", 1)), nests("c", 1)]
    length = len(simulate(flow).trace)

    for number in range(1, length - 1):
        simulation = simulate(flow, faults=FaultPlan(cancel_at_event=number), backend=backend_name)
        assert isinstance(simulation.error, cascade.RunCancelled), number
        assert "RunFinished" in str(simulation.trace).splitlines()[-1], number
    assert simulate(flow, faults=FaultPlan(cancel_at_event=length + 9), backend=backend_name).error is None
    late = simulate(flow, faults=FaultPlan(cancel_at=0.5), backend=backend_name)
    assert late.trace.happenings[-1].time == 0.5


# -- the store -------------------------------------------------------------------------------------------------


def recorded_flow() -> Any:
    return at_once("a", at_once("b", [at_once("c"), at_once("d")]))


def test_a_lost_store_fails_the_run(backend_name: Any) -> None:
    simulation = simulate(
        recorded_flow(), state="memory:", faults=FaultPlan(store=LoseStore(at=2)), backend=backend_name
    )

    with pytest.raises(cascade.StateError, match="the state store was lost at write 2") as caught:
        simulation.result()
    assert isinstance(caught.value.__cause__, StoreLostError)
    assert not simulation.has_crashed


@pytest.mark.parametrize(("when", "there"), [("before", 0), ("during", 1), ("after", 2)])
def test_a_crash_leaves_in_the_store_what_was_there_then(when: Any, there: int, backend_name: Any) -> None:
    stores: list[InMemoryStateBackend] = []

    def open_store(run_id: str) -> InMemoryStateBackend:
        stores.append(InMemoryStateBackend(run_id))
        return stores[-1]

    simulation = simulate(
        recorded_flow(), state=open_store, faults=FaultPlan(store=Crash(1, when)), backend=backend_name
    )

    assert simulation.has_crashed
    assert isinstance(simulation.error, SimulatedCrashError)
    assert len(stores[0]._results) == there


async def test_a_store_in_a_simulation_reads_and_writes_several_nodes_at_once() -> None:
    asked: list[list[str]] = []

    class Watched(InMemoryStateBackend):
        async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
            asked.append([*node_ids])
            return await super().get_results(asked[-1])

    store = FaultyStore(Watched("run"), LoseStore(at=2), lambda _: None, lambda: None)
    await store.put_results({"a": 1, "b": 2})
    assert await store.get_results(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert asked == [["a", "b", "c"]]


async def test_a_lost_store_does_nothing_any_more() -> None:
    inner = InMemoryStateBackend("run")
    store = FaultyStore(inner, LoseStore(at=2), lambda _: None, lambda: None)
    await store.put_result("a", 1)
    with pytest.raises(StoreLostError):
        await store.write(Batch([Entry("b", 2)]))
    operations: list[Callable[[], Awaitable[object]]] = [
        lambda: store.write(Batch([])),
        lambda: store.recall(["a"]),
        lambda: store.forget(["a"]),
        lambda: store.adopt(b"flow"),
        store.heartbeat,
        lambda: store.finish(Closing("succeeded", result=(1,))),
        lambda: store.put_result("a", 2),
        lambda: store.put_results({"a": 2}),
        lambda: store.mark_skipped("a", "Pruned"),
        lambda: store.mark_all_skipped({"a": "Pruned"}),
        lambda: store.get_result("a"),
        lambda: store.get_results(["a"]),
        lambda: store.has_result("a"),
        lambda: store.get_skip_reason("a"),
        store.clear,
    ]
    for operation in operations:
        with pytest.raises(StoreLostError, match="lost at write 2"):
            await operation()
    assert await inner.get_results(["a", "b"]) == {"a": 1}
    assert await inner.get_skip_reason("a") is None


def test_what_befalls_the_store_can_be_drawn_by_the_seed() -> None:
    found = set()
    for seed in range(40):
        plan = FaultPlan(lose_store=0.5, crash=0.5)
        simulation = simulate(recorded_flow(), seed=seed, state="memory:", durability="task", faults=plan)
        found.add(type(simulation.error))

    assert {SimulatedCrashError, cascade.StateError, type(None)} <= found


def test_an_injected_error_says_where_it_was_injected() -> None:
    with pytest.raises(InjectedError, match=r"injected into 'wait\[1\]', attempt 1"):
        simulate(wait.partial(name="a").map(seconds=[0, 1, 2]), faults=FaultPlan(at={"wait[1]": Fail()})).result()
