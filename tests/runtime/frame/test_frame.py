"""The frame of a turn: who may go on, whose value is still needed, and what no router wants any more."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from life import until

import cascade
from cascade.graph.build import build
from cascade.graph.nested import PAUSE_EVERY
from cascade.model.outcomes import Status
from cascade.model.skip_reasons import SkipReason
from cascade.planning.layout import lay_out
from cascade.runtime.frame.frame import Frame


@cascade.task(mode="inline")
def step(name: str, *data: Any) -> Any:
    return name, data


class Board:
    """A frame whose nodes are called by the name in their first argument."""

    def __init__(self, flow: Any) -> None:
        graph = build(flow)
        steps = lay_out(graph)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                self.frame = Frame.begin(graph, stop.value, {}, "")
                break
        self.index = {node.call.args[0]: node.index for node in graph.calls()}
        self.names = {index: name for name, index in self.index.items()}
        self.routers = [node.index for node in graph.nodes if node.index not in self.names]

    def ready(self) -> set[str]:
        """Who has become ready since the last time."""
        news = self.frame.readiness.take_news()
        self.frame.readiness.news.pruned.extend(news.pruned)
        self.frame.readiness.news.faults.extend(news.faults)
        assert len(set(news.ready)) == len(news.ready), "a node became ready twice"
        return {self.names[index] for index in news.ready}

    def pruned(self) -> set[str]:
        """Who has been pruned since the last time."""
        news = self.frame.readiness.take_news()
        self.frame.readiness.news.ready.extend(news.ready)
        return {self.names[index] for index in news.pruned}

    def succeed(self, name: str, value: Any = None) -> None:
        self.frame.succeed(self.index[name], value if value is not None else name)

    def skip(self, name: str, passed: tuple[Any] | None = None) -> None:
        self.frame.skip(self.index[name], SkipReason.CONDITION_FALSE, passed)

    def value(self, name: str) -> Any:
        return self.frame.values[self.index[name]]

    def status(self, name: str) -> int:
        return self.frame.status[self.index[name]]


# -- who may go on ---------------------------------------------------------------------------------------------


def test_nodes_without_inputs_are_ready_at_once() -> None:
    assert Board([step("a"), step("b", step("c"))]).ready() == {"a", "c"}


def test_a_node_is_ready_when_the_last_of_its_distinct_sources_has_settled() -> None:
    a, b, c = step("a"), step("b"), step("c")
    board = Board(step("d", a, [a, b]).run_if(b).after(a, c))
    board.ready()
    board.succeed("a")
    board.succeed("b")
    assert board.ready() == set()
    board.succeed("c")
    assert board.ready() == {"d"}


@pytest.mark.parametrize("end", ["skip", "fail", "cancel"])
def test_whatever_ends_lets_those_who_wait_for_it_go_on(end: str) -> None:
    board = Board(step("b", step("a")))
    board.ready()
    if end == "skip":
        board.skip("a")
    else:
        board.frame.fail(board.index["a"], ValueError() if end == "fail" else None)
    assert board.ready() == {"b"}
    assert board.frame.gaps.exist


def test_unsettled_counts_calls_that_have_not_ended() -> None:
    board = Board([step("a"), cascade.Router(step("k"), {"k": step("b"), 0: step("c")})])
    assert board.frame.readiness.unsettled == 4
    board.succeed("a")
    board.skip("k", ("k",))
    assert board.frame.readiness.unsettled == 1
    board.frame.fail(board.index["b"], None)
    assert board.frame.readiness.unsettled == 0


def test_a_prefix_stands_before_all_node_ids() -> None:
    graph = build([step("a"), step("b")])
    board = Board([step("a"), step("b")])
    frame = Frame.begin(graph, board.frame.layout, {}, "outer/")
    assert [frame.name(0), frame.name(1)] == ["outer/step", "outer/step#2"]


# -- whose value is needed -------------------------------------------------------------------------------------


def test_a_value_leaves_the_frame_after_its_last_consumer() -> None:
    a = step("a")
    board = Board([step("b", a, [a]), step("c", a)])
    board.succeed("a")
    board.succeed("b")
    assert board.value("a") == "a"
    board.succeed("c")
    assert board.value("a") is None


@pytest.mark.parametrize("end", ["skip", "fail", "cancel"])
def test_a_consumer_that_does_not_run_to_its_end_lets_go_of_its_inputs_too(end: str) -> None:
    board = Board(step("b", step("a")))
    board.succeed("a")
    if end == "skip":
        board.skip("b")
    else:
        board.frame.fail(board.index["b"], ValueError() if end == "fail" else None)
    assert board.value("a") is None


def test_the_value_of_a_target_stays() -> None:
    a = step("a")
    board = Board([a, step("b", a)])
    board.succeed("a")
    board.succeed("b")
    assert (board.value("a"), board.value("b")) == ("a", "b")


def test_a_value_that_passes_through_a_skipped_step_stays_for_that_steps_consumers() -> None:
    board = Board(step("c", step("b", step("a")).run_if(False)))
    board.succeed("a")
    board.skip("b", (board.value("a"),))
    assert (board.value("a"), board.value("b")) == (None, "a")
    board.succeed("c")
    assert board.value("b") is None


@pytest.mark.parametrize("kind", ["condition", "predecessor", "amount"])
def test_a_value_is_kept_no_longer_for_those_who_do_not_take_it_as_an_argument(kind: str) -> None:
    a = step("a")
    flow = {
        "condition": step("b").run_if(a),
        "predecessor": step("b").after(a),
        "amount": step("b").with_constraints(gpu=a),
    }[kind]
    board = Board(flow)
    board.succeed("a")
    board.succeed("b")
    assert board.value("a") is None


def test_a_router_hands_its_value_on_and_the_route_lets_go_of_its_own() -> None:
    board = Board(step("c", cascade.Router(step("k"), {"k": step("a"), 0: step("b")})))
    board.succeed("k", "k")
    assert board.value("k") == "k"  # the router has not settled
    board.succeed("a", "value")
    (router,) = board.routers
    assert (board.value("k"), board.value("a"), board.frame.values[router]) == (None, None, "value")
    board.succeed("c")
    assert board.frame.values[router] is None


def test_very_many_values_are_let_go_of_in_parts() -> None:
    count = 3 * PAUSE_EVERY
    names = [f"{number}" for number in range(count)]
    parts = [step(name) for name in names]
    board = Board([step("all", parts), step("other", parts[0]), parts[1]])
    for name in [*names, "other"]:
        board.succeed(name)
    board.succeed("all")
    kept = [sum(board.value(name) is not None for name in names)]
    while board.frame.demand.backlog:
        board.frame.demand.let_go_some()
        kept.append(sum(board.value(name) is not None for name in names))
    assert kept == [count, 2 * PAUSE_EVERY + 1, PAUSE_EVERY + 1, 1, 1]
    assert board.value("1") == "1"


def test_a_node_with_many_values_and_a_consumer_that_still_waits_keeps_what_that_needs() -> None:
    parts = [step(f"{number}") for number in range(2 * PAUSE_EVERY)]
    board = Board([step("all", parts), step("late", parts[5])])
    for number in range(2 * PAUSE_EVERY):
        board.succeed(f"{number}")
    board.succeed("all")
    while board.frame.demand.backlog:
        board.frame.demand.let_go_some()
    assert board.value("5") == "5"
    board.succeed("late")
    assert board.value("5") is None


# -- routers ---------------------------------------------------------------------------------------------------


def test_what_only_routes_need_waits_for_the_selector() -> None:
    board = Board(cascade.Router(step("k"), {"k": step("a", step("b")), 0: step("c")}))
    assert board.ready() == {"k"}
    board.succeed("k", "k")
    assert board.ready() == {"b"}
    assert board.pruned() == {"c"}


def test_what_something_else_needs_too_does_not_wait() -> None:
    shared = step("shared")
    board = Board([shared, cascade.Router(step("k"), {"k": shared, 0: step("a", shared)})])
    assert board.ready() == {"k", "shared"}
    board.succeed("k", "k")
    assert board.pruned() == {"a"}
    assert board.status("shared") == Status.PENDING


def test_pruning_goes_on_upstream_until_somebody_is_needed() -> None:
    shared, own = step("shared"), step("own")
    rejected = step("rejected", step("middle", own, shared)).run_if(step("condition")).after(step("before"))
    board = Board(cascade.Router(step("k"), {"k": step("chosen", shared), 0: rejected}))
    board.succeed("k", "k")
    assert board.pruned() == {"rejected", "middle", "own", "condition", "before"}
    assert board.ready() == {"k", "shared"}


def test_a_node_with_two_consumers_is_pruned_when_both_are() -> None:
    shared = step("shared")
    first = cascade.Router(step("k1"), {"k": 1, 0: step("a", shared)})
    second = cascade.Router(step("k2"), {"k": 2, 0: step("b", shared)})
    board = Board([first, second])
    board.succeed("k1", "k")
    assert board.pruned() == {"a"}
    board.succeed("k2", "k")
    assert board.pruned() == {"b", "shared"}


def test_a_selector_that_stands_in_a_route_as_well_is_never_pruned() -> None:
    k = step("k")
    board = Board(cascade.Router(k, {"k": 5, 0: step("a", k), 1: k}))
    board.succeed("k", "k")
    assert board.pruned() == {"a"}
    assert board.frame.values[board.routers[0]] == 5


def test_the_routes_of_a_router_that_nobody_has_chosen_wait_for_both_selectors() -> None:
    inner = cascade.Router(step("k2"), {"k": step("a"), 0: step("b")})
    board = Board(cascade.Router(step("k1"), {"k": inner, 0: step("c")}))
    assert board.ready() == {"k1"}
    board.succeed("k1", "k")
    assert (board.ready(), board.pruned()) == ({"k2"}, {"c"})
    board.succeed("k2", "k")
    assert (board.ready(), board.pruned()) == ({"a"}, {"b"})


def test_a_router_in_a_rejected_route_is_pruned_with_its_selector_and_all_its_routes() -> None:
    inner = cascade.Router(step("k2"), {"k": step("a"), 0: step("b")})
    board = Board(cascade.Router(step("k1"), {"k": inner, 0: step("c")}))
    board.succeed("k1", 0)
    assert board.pruned() == {"k2", "a", "b"}
    assert board.ready() == {"k1", "c"}


def test_a_router_that_cannot_choose_is_a_fault() -> None:
    board = Board(cascade.Router(step("k"), {"k": step("a"), 0: step("b")}))
    board.ready()
    board.succeed("k", "other")
    ((router, error),) = board.frame.readiness.news.faults
    assert router == board.routers[0]
    assert isinstance(error, cascade.RouteNotFoundError)
    assert board.frame.gaps.is_failure(router)


def test_a_route_that_has_begun_already_is_waited_for() -> None:
    shared = step("shared")
    board = Board([shared, cascade.Router(step("k"), {"k": shared, 0: 0})])
    board.frame.status[board.index["shared"]] = Status.RUNNING
    board.succeed("k", "k")
    (router,) = board.routers
    assert board.frame.status[router] == Status.PENDING
    board.succeed("shared", "value")
    assert (board.frame.status[router], board.frame.values[router]) == (Status.SUCCEEDED, "value")


def settle(board: Board, name: str, end: str) -> None:
    """Have a step end in this way; "waits" is none."""
    if end == "fails":
        board.frame.fail(board.index[name], ValueError())
    elif end in ("skipped", "passes"):
        board.skip(name, ("k",) if end == "passes" else None)
    elif end != "waits":
        board.succeed(name, [] if end == "unfit" else end)


@pytest.mark.parametrize(
    ("selector", "route", "status", "reason"),
    [
        ("waits", "waits", Status.PENDING, None),
        ("fails", "waits", Status.SKIPPED, SkipReason.UPSTREAM_FAILED),
        ("skipped", "waits", Status.SKIPPED, SkipReason.UPSTREAM_DATA),
        ("other", "waits", Status.FAILED, None),
        ("unfit", "waits", Status.FAILED, None),
        ("k", "waits", Status.PENDING, None),
        ("k", "fails", Status.SKIPPED, SkipReason.UPSTREAM_FAILED),
        ("k", "skipped", Status.SKIPPED, SkipReason.UPSTREAM_ROUTE),
        ("k", "passes", Status.SKIPPED, SkipReason.UPSTREAM_ROUTE),
        ("k", "unfit", Status.FAILED, None),
        ("k", "value", Status.SUCCEEDED, None),
        ("passes", "value", Status.SUCCEEDED, None),
    ],
)
def test_a_router_settles_as_the_table_of_routing_says(
    selector: str, route: str, status: Status, reason: SkipReason | None
) -> None:
    # Of a set, so that it may not be possible to put it together.
    board = Board(cascade.Router(step("k"), {"k": {step("a"), step("b")}}))
    (router,) = board.routers
    settle(board, "k", selector)
    settle(board, "a", "waits" if route == "waits" else "first")
    settle(board, "b", route)
    assert (board.frame.status[router], board.frame.gaps.reasons.get(router)) == (status, reason)
    assert board.frame.values[router] == ({"first", "value"} if status == Status.SUCCEEDED else None)
    assert [index for index, _ in board.frame.readiness.news.faults] == [router] * (status == Status.FAILED)
    assert set(board.frame.gaps.errors) - {board.index["k"], board.index["b"]} == (
        {router} if status == Status.FAILED else set()
    )
    assert board.frame.gaps.exist == (status in (Status.SKIPPED, Status.FAILED) or selector == "passes")


# -- in a run --------------------------------------------------------------------------------------------------


class Big:
    """Something that can be watched going away."""


class Watch:
    """Which of the watched objects are alive."""

    def __init__(self) -> None:
        self.references: dict[str, weakref.ref[Big]] = {}

    def new(self, name: str) -> Big:
        big = Big()
        self.references[name] = weakref.ref(big)
        return big

    def alive(self) -> set[str]:
        gc.collect()
        return {name for name, reference in self.references.items() if reference() is not None}


@pytest.mark.parametrize("mode", ["inline", "thread"])
async def test_a_run_keeps_no_value_after_its_last_consumer(mode: Any, schedule: Any) -> None:
    watch = Watch()

    @cascade.task(mode=mode)
    def make(name: str, _: Any = None) -> Big:
        return watch.new(name)

    @cascade.task
    async def alive(_: Any) -> set[str]:
        # A thread may hold what it gave a moment longer, until it has its turn.
        await until(lambda: mode == "inline" or watch.alive() <= {"first", "third"})
        return watch.alive()

    first = make("first")
    third = make("third", make("second", make("skipped", first).run_if(False)))
    found, value = await cascade.run([alive(third), first], schedule=schedule)
    assert found == {"first", "third"}
    assert value is watch.references["first"]()


async def test_very_many_values_are_gone_before_the_next_stage_starts() -> None:
    watch = Watch()
    count = 3 * PAUSE_EVERY

    @cascade.task(mode="inline")
    def make(number: int) -> Big:
        return watch.new(f"{number}")

    @cascade.task(mode="inline")
    def size(bigs: list[Big]) -> int:
        return len(bigs)

    @cascade.task(mode="inline")
    def alive(found: int) -> tuple[int, int]:
        return found, len(watch.alive())

    flow = alive(size([make(number) for number in range(count)]).with_retry(max_attempts=1))
    assert await cascade.run(flow, schedule="stages") == (count, 0)


async def test_a_value_that_passes_through_skipped_steps_is_let_go_after_its_last_consumer(schedule: Any) -> None:
    watch = Watch()

    @cascade.task(mode="inline")
    def make(name: str, _: Any = None) -> Big:
        return watch.new(name)

    @cascade.task(mode="inline")
    def alive(*_: Any) -> set[str]:
        return watch.alive()

    passed = make("skipped", make("skipped too", make("first")).run_if(False)).run_if(False)
    consumer = alive(passed)
    assert await cascade.run([consumer, alive(consumer)], schedule=schedule) == [{"first"}, set()]


async def test_nothing_of_a_run_outlives_it_but_its_value(schedule: Any) -> None:
    watch = Watch()

    @cascade.task
    def make(name: str, *_: Any) -> Big:
        return watch.new(name)

    value = await cascade.run(make("b", make("a"), make("c")), schedule=schedule)
    # A thread may hold what it gave a moment longer, until it has its turn.
    await until(lambda: watch.alive() == {"b"})
    del value
    await until(lambda: watch.alive() == set())
