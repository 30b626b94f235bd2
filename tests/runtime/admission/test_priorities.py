"""Who goes first where places are scarce: in the eager schedule, whoever has the longest way to the end."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from life import Log, give_way_never
from virtual_time import in_virtual_time, pass_time

import cascade
from cascade.runtime.admission.claims import Applicant
from cascade.runtime.admission.waiting_line import Line, Waiter
from cascade.runtime.context.durations import Durations
from cascade.runtime.observation.bus import EventBus
from cascade.runtime.scheduling.ready_queue import RankedQueue

BUS = EventBus()


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is ready asks before anything runs; a machine that is slow at that would serve who has asked."""
    give_way_never(monkeypatch)


def flow(work: Any) -> Any:
    """Three short ways, defined first, and a long one."""
    chain = work("chain 1")
    for number in range(2, 5):
        chain = work(f"chain {number}", chain)
    return [work("leaf 1"), work("leaf 2"), work("leaf 3"), chain]


def assert_longest_first(started: list[str]) -> None:
    """See that the chain was never kept waiting by more than the one leaf that had come when its turn was."""
    places = [started.index(f"chain {number}") for number in range(1, 5)]
    assert places[0] <= 1
    assert all(later - earlier <= 2 for earlier, later in itertools.pairwise(places[:3]))
    assert len(started) == 7


async def test_claims_of_a_run_are_served_longest_way_first() -> None:
    started: list[str] = []

    @cascade.task(constraints={"slot": 1})
    async def work(name: str, *_: Any) -> None:
        started.append(name)
        await anyio.lowlevel.checkpoint()

    await cascade.run(many_leaves(work), schedule="eager", system_resources={"slot": 1})
    assert len(started) == 27
    # Of every two that start while the chain goes on, one is of the chain.
    assert started.index("chain 3") <= 6


def many_leaves(work: Any) -> Any:
    """The flow, and so many more short ways that the chain would come last otherwise."""
    return [*[work(name) for name in EXTRA], flow(work)]


EXTRA = [f"extra {number}" for number in range(20)]


@pytest.mark.parametrize("said", [{}, {"retry": cascade.Retry(2)}], ids=["in lanes", "with a policy"])
async def test_threads_go_to_the_longest_way(said: dict[str, Any]) -> None:
    started: list[str] = []
    begin = threading.Event()

    @cascade.task(**said)
    def work(name: str, *_: Any) -> None:
        begin.wait(10)
        started.append(name)

    async def open_later() -> None:
        await anyio.wait_all_tasks_blocked()
        begin.set()

    async with anyio.create_task_group() as group:
        group.start_soon(open_later)
        await cascade.run(flow(work), schedule="eager", max_threads=1)
    assert_longest_first(started)


@in_virtual_time
async def test_what_tasks_took_is_learnt_and_used_by_the_next_run(anyio_backend: Any) -> None:
    started: list[str] = []

    @cascade.task(constraints={"slot": 1})
    async def slow(name: str, *_: Any) -> None:
        started.append(name)
        await pass_time(10)

    @cascade.task(constraints={"slot": 1})
    async def quick(name: str, *_: Any) -> None:
        started.append(name)
        await pass_time(0.1)

    engine = cascade.Engine(system_resources={"slot": 1}, schedule="eager")
    await engine.run([quick("warm"), slow("warm")])
    started.clear()
    # By number of nodes the quick ones would go first; they take a fiftieth of the slow one's time.
    await engine.run([quick("quick 2", quick("quick 1")), slow("slow 1"), slow("slow 2"), slow("slow 3")])
    # Whichever comes first finds the slot free; from then on there is a choice.
    assert all(name.startswith("slow") for name in started[1:3])


async def test_runs_take_turns_as_they_came_whatever_the_ranks() -> None:
    log = Log()
    running = anyio.Event()
    go_on = anyio.Event()

    @cascade.task(constraints={"slot": 1})
    async def work(name: str, *_: Any) -> None:
        log.lines.append(name)
        running.set()
        await go_on.wait()

    engine = cascade.Engine(system_resources={"slot": 1}, schedule="eager")
    async with engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, [work("one a"), work("one b"), work("one d", work("one c"))])
        await running.wait()
        await anyio.wait_all_tasks_blocked()
        group.start_soon(engine.run, work("two b", work("two a")))
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    # The first run came for three places before the second came for any; its last one comes later.
    assert log.lines.index("two a") == 3
    assert log.lines.index("one c") < 3
    assert log.lines[3:] in (["two a", "one d", "two b"], ["two a", "two b", "one d"])


async def test_a_rule_for_one_task_does_not_hold_others_of_the_same_rank_and_claim() -> None:
    log = Log()
    running = anyio.Event()
    go_on = anyio.Event()

    async def body(name: str, *_: Any) -> None:
        log.lines.append(name)
        running.set()
        await go_on.wait()

    held = cascade.task(name="held", constraints={"slot": 1})(body)
    free = cascade.task(name="free", constraints={"slot": 1})(body)
    engine = cascade.Engine(system_resources={"slot": 1}, schedule="eager")
    flow = [free("first"), held("held 2", held("held 1")), free("free 1"), free("free 2")]
    async with engine, engine.start(flow) as run:
        await running.wait()
        await anyio.wait_all_tasks_blocked()
        first = len(log.lines)
        await engine.control.pause("task:held")
        go_on.set()
        while "free 2" not in log.lines:
            await anyio.lowlevel.checkpoint()
        assert not any(line.startswith("held") for line in log.lines[first:])
        await engine.control.resume("task:held")
        await run.result()
    assert sorted(log.lines) == ["first", "free 1", "free 2", "held 1", "held 2"]


# -- the parts ---------------------------------------------------------------------------------------------------


def waiter(ticket: int, rank: float) -> Waiter:
    return Waiter(
        Applicant(f"{ticket}", "task", "module.task", "run", BUS, rank=rank),
        {"cpu": 1},
        ticket=ticket,
        came=ticket,
    )


MOVES = st.one_of(st.integers(0, 3), st.sampled_from(["take", "take and come back", "leave first", "leave last"]))


@given(st.lists(MOVES, max_size=40), st.booleans())
@example([0, "take and come back"], True)
@example([0, 1, "take"], True)
def test_a_line_is_a_sorted_list_of_places_and_one_of_waiters(moves: list[Any], is_ranked: bool) -> None:
    line = Line(is_ranked=is_ranked)
    tickets: list[int] = []
    waiting: list[tuple[float, int, int, Waiter]] = []

    def join(ticket: int, rank: float, number: int) -> None:
        member = waiter(ticket, rank)
        line.add(member)
        tickets.append(ticket)
        waiting.append((-rank if is_ranked else 0.0, ticket, number, member))

    for number, move in enumerate(moves):
        if isinstance(move, int):
            join(number, move, number)
        elif waiting:
            waiting.sort()
            member = waiting.pop(0 if move != "leave last" else -1)[3]
            if move.startswith("take"):
                assert line.head is member
                line.take_place(member)
                assert member.ticket == min(tickets)
            member.has_left = True
            tickets.remove(member.ticket)
            if move == "take and come back":  # somebody else with the same place: see Admission._line_up
                join(member.ticket, member.applicant.rank, number)
        assert line.place == min(tickets, default=None)
        assert [left.ticket for left in line] == sorted(tickets)
        assert sorted(left.came for left in line) == sorted(came for _, came, _, _ in waiting)


@given(st.lists(st.integers(0, 4), max_size=30))
def test_a_ranked_queue_gives_the_highest_rank_first_and_equal_ones_in_order(ranks: list[int]) -> None:
    queue = RankedQueue(ranks)
    for index in range(len(ranks)):
        queue.append(index)
    expected = sorted(range(len(ranks)), key=lambda index: (-ranks[index], index))
    assert list(queue) == expected
    if ranks:
        taken = queue.popleft()
        queue.appendleft(taken)
        assert queue[0] == taken == expected[0]
        assert queue.outranks(expected[-1]) == (ranks[expected[-1]] < max(ranks))
    assert [queue.popleft() for _ in range(len(queue))] == expected
    with pytest.raises(IndexError):
        queue.popleft()
    assert not queue.outranks(0)


def test_means_follow_what_attempts_take() -> None:
    durations = Durations()
    for seconds in (1.0, 3.0):
        durations.learn("task", seconds)
    assert durations.means == {"task": 2.0}
    for _ in range(200):
        durations.learn("task", 10.0)
    assert durations.means["task"] == pytest.approx(10.0)


def test_the_oldest_names_are_forgotten() -> None:
    durations = Durations()
    for number in range(5000):
        durations.learn(f"task {number}", 1.0)
    assert len(durations.means) == 4096
    assert "task 4999" in durations.means
    assert "task 0" not in durations.means
