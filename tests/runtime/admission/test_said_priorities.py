"""Priorities that users say: of what waits for the same, the highest goes first, and no run starves another."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import current_token
from hypothesis import example, given
from hypothesis import strategies as st
from life import give_way_never
from plain_tasks import one
from virtual_time import in_virtual_time, pass_time

import cascade
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Applicant
from cascade.runtime.admission.pool import Pool, Slot
from cascade.runtime.admission.waiting_line import Waiter
from cascade.runtime.observation.bus import EventBus
from cascade.testing import simulate

PRIORITIES = [0, 3, -2, 3, 0, 10, -2]
# As they are expected to start: by priority, and in their order among equals.
ORDER = [5, 1, 3, 0, 4, 2, 6]


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is ready asks before anything runs; a machine that is slow at that would serve who has asked."""
    give_way_never(monkeypatch)


def assert_in_order(started: list[int]) -> None:
    """See that calls of :func:`said` started by priority; and among equals as they asked, which Trio shuffles."""
    assert [PRIORITIES[place] for place in started] == sorted(PRIORITIES, reverse=True)
    if current_token().backend_class.__name__ != "TrioBackend":
        assert started == ORDER


def said(task: Any, *, priorities: list[int] = PRIORITIES) -> list[Any]:
    """A call of *task* for each priority, which it is given the number of."""
    return [task(place).with_priority(priority) for place, priority in enumerate(priorities)]


# -- saying -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", [1.5, "high", None, True, one(1)])
def test_a_priority_is_a_whole_number(priority: Any) -> None:
    with pytest.raises(TypeError, match="the priority of 'one' must be a whole number"):
        one(1).with_priority(priority)


def test_any_whole_number_will_do_and_the_last_one_wins() -> None:
    assert one(1).with_priority(5).with_priority(-(10**30)).own.priority == -(10**30)
    call = one(1)
    with pytest.raises(cascade.GraphError, match="priority is 1 in one and 2 in another"):
        cascade.plan([call.with_priority(1), call.with_priority(2)])


def test_priorities_change_neither_ids_nor_digests_and_show_in_pictures(tmp_path: Any) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    flow = [one(1), one(2)]
    assert cascade.run_sync(flow, state=state, run_id="r") == [1, 1]
    urgent = [one(1), one(2).with_priority(3).with_name("july")]
    assert cascade.run_sync(urgent, state=state, run_id="r") == [1, 1]
    assert "one#2 (july), priority 3" in cascade.visualize(urgent, "text")


def test_equal_pure_calls_of_different_priorities_are_two() -> None:
    pure = cascade.task(pure=True)(one.func)
    assert len(cascade.plan([pure(1), pure(1).with_priority(1)]).stages[0]) == 2
    assert len(cascade.plan([pure(1).with_priority(1), pure(1).with_priority(1)]).stages[0]) == 1


# -- what is scarce ---------------------------------------------------------------------------------------------


async def test_capacity_goes_to_the_highest_priority(schedule: Any) -> None:
    started: list[int] = []

    @cascade.task(constraints={"slot": 1})
    async def work(place: int) -> None:
        started.append(place)
        await anyio.lowlevel.checkpoint()

    await cascade.run(said(work), schedule=schedule, system_resources={"slot": 1})
    assert_in_order(started)


async def test_calls_that_claim_different_amounts_and_names_wait_for_the_same(schedule: Any) -> None:
    started: list[int] = []

    async def body(place: int) -> None:
        started.append(place)
        await anyio.lowlevel.checkpoint()

    tasks = [cascade.task(name=f"task {number}")(body) for number in range(3)]
    claims: list[dict[str, int]] = [{"gpu": 1}, {"gpu": 2}, {"gpu": 1, "memory": 3}, {"gpu": 2, "memory": 1}]
    flow = [
        tasks[place % 3](place).with_constraints(**claims[place % 4], lock=1).with_priority(priority)
        for place, priority in enumerate(PRIORITIES)
    ]
    await cascade.run(flow, schedule=schedule, system_resources={"gpu": 2, "memory": 3, "lock": 1})
    assert_in_order(started)


@pytest.mark.parametrize("retry", [None, 2], ids=["in lanes", "with a policy"])
async def test_threads_go_to_the_highest_priority(retry: Any, schedule: Any) -> None:
    started: list[int] = []
    begin = threading.Event()

    @cascade.task(retry=retry)
    def work(place: int) -> None:
        begin.wait(10)
        started.append(place)

    async def open_later() -> None:
        await anyio.wait_all_tasks_blocked()
        begin.set()

    async with anyio.create_task_group() as group:
        group.start_soon(open_later)
        await cascade.run(said(work), schedule=schedule, max_threads=1)
    assert_in_order(started)


@in_virtual_time
@pytest.mark.parametrize("rule", [{"rate": "1/s", "burst": 1}, {"concurrency": 1}], ids=["rate", "concurrency"])
@pytest.mark.parametrize("is_plain", [False, True])
async def test_what_a_rule_lets_through_is_the_highest_priority(
    rule: Any, is_plain: bool, anyio_backend: Any, schedule: Any
) -> None:
    started: list[int] = []

    @cascade.task(retry=None if is_plain else 2)
    async def work(place: int) -> None:
        started.append(place)
        await pass_time(0.5)

    plane = cascade.control.ControlPlane()
    await plane.limit("global", **rule)
    await cascade.run(said(work), schedule=schedule, control=plane)
    assert_in_order(started)


@in_virtual_time
async def test_a_crowd_behind_a_rule_does_not_keep_the_urgent_from_asking(
    anyio_backend: Any, schedule: Any
) -> None:
    started: list[int] = []

    @cascade.task
    async def work(place: int) -> None:
        started.append(place)
        await pass_time(1)

    plane = cascade.control.ControlPlane()
    await plane.limit("global", concurrency=1)
    flow = said(work, priorities=[*[0] * 250, 1])
    async with cascade.start(flow, schedule=schedule, control=plane) as run:
        await pass_time(2.5)
        run.cancel()
    assert started[0] == 250
    assert len(started) == 3


async def test_whoever_becomes_ready_later_passes_who_waits_and_interrupts_nobody() -> None:
    started: list[str] = []
    release = anyio.Event()

    @cascade.task(constraints={"slot": 1})
    async def work(name: str, *_: Any) -> None:
        started.append(name)
        await (release.wait() if name == "first" else anyio.lowlevel.checkpoint())

    @cascade.task
    async def prepare() -> None:
        await anyio.wait_all_tasks_blocked()

    @cascade.task
    async def end_first(_: Any) -> None:
        await anyio.wait_all_tasks_blocked()
        release.set()

    ready = prepare()
    late = [work("high", ready).with_priority(5), work("higher", ready).with_priority(6)]
    flow: list[Any] = [work("first").with_priority(1), work("low"), *late, end_first(ready)]
    await cascade.run(flow, schedule="eager", system_resources={"slot": 1})
    assert started == ["first", "higher", "high", "low"]


async def test_an_urgent_call_that_lacks_more_than_a_thread_keeps_no_thread_from_others(schedule: Any) -> None:
    started: list[str] = []
    release = threading.Event()

    @cascade.task(retry=2)
    def work(name: str) -> None:
        started.append(name)
        if name == "low":
            release.set()
        elif name == "holds the gpu":
            assert release.wait(30)

    flow = [
        work("holds the gpu").with_constraints(gpu=1).with_priority(9),
        work("high").with_constraints(gpu=1).with_priority(5),
        work("low"),
    ]
    await cascade.run(flow, schedule=schedule, system_resources={"gpu": 1}, max_threads=2)
    assert started[-1] == "high"


# -- where calls stand ------------------------------------------------------------------------------------------


async def order_of(make: Callable[[Any], Any], schedule: Any) -> list[Any]:
    """The arguments of the calls of a task in the order in which they start, for the one slot there is."""
    started: list[Any] = []

    @cascade.task(constraints={"slot": 1})
    async def work(place: Any) -> Any:
        started.append(place)
        await anyio.lowlevel.checkpoint()
        return place

    await cascade.run(make(work), schedule=schedule, system_resources={"slot": 1})
    return started


async def test_the_items_of_a_map_have_its_priority(schedule: Any) -> None:
    def make(work: Any) -> Any:
        low, high = work.map(place=["a", "b"]), work.map(place=["x", "y"]).with_priority(1)
        return [low, work("m"), high]

    started = await order_of(make, schedule)
    # The call asks while the maps begin; from then on their items wait together.
    items = [name for name in started if name != "m"]
    assert (sorted(items[:2]), sorted(items[2:])) == (["x", "y"], ["a", "b"])


async def test_calls_of_flows_that_tasks_return_are_compared_with_the_others(schedule: Any) -> None:
    def make(work: Any) -> Any:
        @cascade.task(name="ask")
        async def ask(name: str, priority: int) -> Any:
            return [work(f"{name} 1").with_priority(priority), work(f"{name} 2")]

        return [ask("a", 1), ask("b", 2)]

    assert (await order_of(make, schedule))[:2] in (["b 1", "a 1"], ["a 1", "b 1"])


async def test_each_turn_of_a_loop_has_the_priorities_that_it_says(schedule: Any) -> None:
    def make(work: Any) -> Any:
        @cascade.task(name="turn", mode="inline")
        def turn(left: int, *_: Any) -> Any:
            calls = [work((left, "first")), work((left, "second")).with_priority(2 * (left % 2) - 1)]
            return turn(left - 1, *calls) if left else None

        return turn(5)

    started = await order_of(make, schedule)
    assert [name for left, name in started if left % 2] == ["second", "first"] * 3
    assert [name for left, name in started if not left % 2] == ["first", "second"] * 2


def test_simulations_keep_to_priorities(backend_name: Any) -> None:
    @cascade.task(constraints={"slot": 1})
    async def work(place: int) -> int:
        await pass_time(1)
        return place

    for seed in range(5):
        record = simulate(said(work), seed=seed, backend=backend_name, system_resources={"slot": 1})
        # Chance decides who asks first; from then on there is a choice.
        assert sorted(record.value) == list(range(7))
        started = [e.task_id for e in record.trace.events() if isinstance(e, cascade.TaskExecutionStarted)]
        places = [0 if name == "work" else int(name.partition("#")[2]) - 1 for name in started]
        later = [PRIORITIES[place] for place in places[1:]]
        assert later == sorted(later, reverse=True)


# -- between runs -----------------------------------------------------------------------------------------------


async def test_a_run_with_high_priorities_does_not_starve_another() -> None:
    started: list[str] = []
    running, go_on = anyio.Event(), anyio.Event()

    @cascade.task(constraints={"slot": 1})
    async def work(name: str, *_: Any) -> None:
        started.append(name)
        running.set()
        await go_on.wait()

    engine = cascade.Engine(system_resources={"slot": 1}, schedule="eager")
    chain: Any = work("a 0").with_priority(100)
    for number in range(1, 10):
        chain = [work(f"a {number} {part}", *chain_of(chain)).with_priority(100 + number) for part in "xyz"]
    async with engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, chain)
        await running.wait()
        await anyio.wait_all_tasks_blocked()
        group.start_soon(engine.run, work("b"))
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert started.index("b") <= 2


def chain_of(calls: Any) -> list[Any]:
    return calls if isinstance(calls, list) else [calls]


# -- the order, against a model ---------------------------------------------------------------------------------

BUS = EventBus()


@attrs.define(eq=False)
class Model:
    """The order of waiting for one slot, in few words: each waiter brings a place; a run gives them out anew."""

    waiting: list[tuple[int, int, str]] = attrs.field(factory=list)  # ticket, priority, run
    places: list[tuple[int, str]] = attrs.field(factory=list)

    def come(self, ticket: int, priority: int, run: str) -> None:
        self.waiting.append((ticket, priority, run))
        self.places.append((ticket, run))

    def next(self) -> int:
        """The ticket of who is served."""
        place, run = min(self.places)
        self.places.remove((place, run))
        chosen = min((each for each in self.waiting if each[2] == run), key=lambda each: (-each[1], each[0]))
        self.waiting.remove(chosen)
        return chosen[0]


def applicant(number: int, run: str, priority: int | None) -> Applicant:
    return Applicant(str(number), f"task {number % 3}", f"m.{number % 3}", run, BUS, priority=priority)


ARRIVALS = st.tuples(st.sampled_from("AAB"), st.integers(-1, 2))


@given(st.lists(ARRIVALS | st.just("serve"), max_size=40))
@example([("A", 0), ("B", 0), ("A", 1), "serve", "serve"])
def test_places_of_a_run_go_to_its_highest_priorities(moves: list[Any]) -> None:
    admission, model = Admission(Pool({Slot.THREAD: 1})), Model()
    holder = admission.admit_at_once(applicant(-1, "C", None), {Slot.THREAD: 1})
    waiters: dict[int, Waiter] = {}
    expected, served = [], []
    numbers = itertools.count()
    for move in [*moves, *["serve"] * len(moves)]:
        if move != "serve":
            number = next(numbers)
            waiters[number] = Waiter(
                applicant(number, move[0], move[1] if move[0] == "A" else None), {Slot.THREAD: 1}
            )
            admission.come(waiters[number])
            admission.ask(waiters[number])
            model.come(waiters[number].came, move[1] if move[0] == "A" else 0, move[0])
        elif model.waiting:
            expected.append(model.next())
            assert holder is not None
            holder.release()
            [answered] = [waiter for waiter in waiters.values() if waiter.claim and waiter.claim.is_held]
            served.append(answered.came)
            holder = answered.claim
    assert served == expected


@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.integers(0, 2), st.integers(1, 4), st.integers(0, 3)), max_size=25
    )
)
@example([("A", 0, 4, 0), ("A", 0, 1, 0), ("A", 1, 1, 0), ("B", 0, 3, 1)])
def test_everybody_is_served_whatever_is_claimed_and_nobody_passes_an_equal(arrivals: list[Any]) -> None:
    admission = Admission(Pool({"cpu": 4, "gpu": 3, Slot.THREAD: 2}))
    held = admission.admit_at_once(applicant(-1, "C", None), {"cpu": 4, "gpu": 3, Slot.THREAD: 2})
    waiters = []
    for number, (run, priority, cpu, gpu) in enumerate(arrivals):
        amounts = {name: amount for name, amount in (("cpu", cpu), ("gpu", gpu)) if amount}
        claimed: Any = {**amounts, Slot.THREAD: 1} if number % 2 else amounts
        waiters.append(Waiter(applicant(number, run, priority if run == "A" else None), claimed))
        admission.come(waiters[-1])
        admission.ask(waiters[-1])
    rounds: list[list[Waiter]] = []

    def note() -> None:
        known = {waiter for served in rounds for waiter in served}
        rounds.append([waiter for waiter in waiters if waiter.claim is not None and waiter not in known])

    assert held is not None
    held.release()
    note()
    for served in rounds:  # which grows
        for waiter in served:
            assert waiter.claim is not None
            waiter.claim.release()
            note()
    assert not admission.queue
    when = {waiter: number for number, served in enumerate(rounds) for waiter in served}
    assert len(when) == len(arrivals)
    for first, second in itertools.combinations(waiters, 2):
        if first.applicant.run_id == second.applicant.run_id and urgency(first) >= urgency(second):
            assert when[first] <= when[second]
    for other in waiters:
        if other.applicant.run_id == "B":  # passed by no more than have come before it
            passed = [
                waiter for waiter in waiters if waiter.applicant.run_id == "A" and when[waiter] < when[other]
            ]
            before = [waiter for waiter in waiters if waiter.applicant.run_id == "A" and waiter.came < other.came]
            assert len(passed) <= len(before)


def urgency(waiter: Waiter) -> int:
    return waiter.applicant.priority or 0


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=20), st.integers(0, 19), st.integers(-1, 2))
def test_a_waiter_that_leaves_or_a_rule_that_comes_keeps_the_order(
    priorities: list[int], gone: int, late: int
) -> None:
    admission = Admission(Pool({"cpu": 1}))
    holder = admission.admit_at_once(applicant(-1, "A", 0), {"cpu": 1})
    waiters = [Waiter(applicant(number, "A", priority), {"cpu": 1}) for number, priority in enumerate(priorities)]
    for waiter in waiters:
        admission.come(waiter)
        admission.ask(waiter)
    admission.withdraw(waiters[gone % len(waiters)])
    admission.queue.sort_anew(lambda: None)
    waiters.append(Waiter(applicant(len(waiters), "A", late), {"cpu": 1}))
    admission.come(waiters[-1])
    admission.ask(waiters[-1])
    left = [waiter for waiter in waiters if not waiter.has_left]
    expected = sorted(left, key=urgency, reverse=True)
    served = []
    while left:
        assert holder is not None
        holder.release()
        [answered] = [waiter for waiter in left if waiter.claim is not None]
        left.remove(answered)
        served.append(answered)
        holder = answered.claim
    assert served == expected
