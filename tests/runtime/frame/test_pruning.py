"""What routers leave behind: pruning upstream, shared lazies, nested and crossed routers, routers as targets."""

from __future__ import annotations

from typing import Any

import pytest
from observed import observe
from plain_tasks import gathered, key, off

import cascade

Router = cascade.Router


def step(name: str, *data: Any) -> Any:
    """A call of a task called *name*, whose value is the name."""

    @cascade.task(name=name, mode="inline")
    def call(*_: Any) -> str:
        return name

    return call(*data)


# -- upstream --------------------------------------------------------------------------------------------------


async def test_all_that_only_a_rejected_route_needs_is_pruned(schedule: Any) -> None:
    rejected = (
        step("rejected", step("data", step("deeper")))
        .run_if(step("condition"))
        .after(step("before"))
        .with_constraints(gpu=step("amount"))
    )
    seen = await observe(Router(key("k"), {"k": step("chosen"), 0: rejected}), schedule=schedule)
    assert seen.value == "chosen"
    assert seen.ran == ["chosen", "key"]
    names = ["rejected", "data", "deeper", "condition", "before", "amount"]
    assert seen.skipped == dict.fromkeys(names, "Pruned")
    assert seen.last.counts == {"pending": 0, "succeeded": 2, "skipped": 6, "failed": 0, "cancelled": 0}


@pytest.mark.parametrize("chosen", ["one", "other"])
async def test_what_both_routes_need_runs_whichever_is_chosen(chosen: str, schedule: Any) -> None:
    shared = step("shared", step("source"))
    routes = {"one": step("one", shared), "other": step("other", shared)}
    seen = await observe(Router(key(chosen), routes), schedule=schedule)
    assert seen.value == chosen
    assert seen.ran == sorted(["key", "source", "shared", chosen])


async def test_one_lazy_may_be_several_routes(schedule: Any) -> None:
    shared = step("shared")
    seen = await observe(Router(key(2), {1: shared, 2: shared, 3: [shared], 4: step("x")}), schedule=schedule)
    assert seen.value == "shared"
    assert seen.skipped == {"x": "Pruned"}


async def test_what_the_target_needs_otherwise_is_not_pruned(schedule: Any) -> None:
    shared = step("shared")
    flow = [Router(key("k"), {"k": 1, 0: step("rejected", shared)}), gathered(shared)]
    seen = await observe(flow, schedule=schedule)
    assert seen.value == [1, ("shared",)]
    assert seen.skipped == {"rejected": "Pruned"}


async def test_a_rejected_route_that_is_a_member_of_the_target_runs(schedule: Any) -> None:
    shared = step("shared")
    seen = await observe([Router(key("k"), {"k": 1, 0: shared}), shared], schedule=schedule)
    assert seen.value == [1, "shared"]
    assert seen.skipped == {}


async def test_a_selector_that_is_a_rejected_route_as_well_is_not_pruned(schedule: Any) -> None:
    selector = key("k")
    seen = await observe(Router(selector, {"k": step("chosen", selector), 0: selector}), schedule=schedule)
    assert seen.value == "chosen"
    assert seen.skipped == {}


async def test_a_selector_may_be_the_route_that_it_chooses(schedule: Any) -> None:
    selector = key("k")
    assert await cascade.run(Router(selector, {"k": selector, 0: 1}), schedule=schedule) == "k"


async def test_routers_that_reject_a_shared_call_one_after_the_other_prune_it_together(schedule: Any) -> None:
    shared = step("shared")
    first = Router(key("k"), {"k": 1, 0: step("x", shared)})
    second = Router(key("k", first), {"k": 2, 0: step("y", shared)})
    seen = await observe([first, second], schedule=schedule)
    assert seen.value == [1, 2]
    assert seen.skipped == dict.fromkeys(["x", "y", "shared"], "Pruned")


@pytest.mark.parametrize(("one", "other"), [(0, "k"), ("k", 0), (0, 0)])
async def test_a_call_that_any_of_several_routers_chooses_runs(one: Any, other: Any, schedule: Any) -> None:
    shared = step("shared")
    first = Router(key(one), {"k": 1, 0: shared})
    second = Router(key(other, first), {"k": 2, 0: gathered(shared)})
    seen = await observe([first, second], schedule=schedule)
    assert seen.value == ["shared" if one == 0 else 1, ("shared",) if other == 0 else 2]
    assert seen.started.count("shared") == 1


async def test_one_router_used_twice_chooses_once(schedule: Any) -> None:
    router = Router(key("k"), {"k": step("a"), 0: step("b")})
    seen = await observe([gathered(router), gathered(router, [router])], schedule=schedule)
    assert seen.value == [("a",), ("a", ["a"])]
    assert seen.skipped == {"b": "Pruned"}


async def test_two_routers_with_one_selector_choose_each_for_itself(schedule: Any) -> None:
    selector = key("k")
    a, b = step("a"), step("b")
    seen = await observe([Router(selector, {"k": a, 0: b}), Router(selector, {"k": b, 0: a})], schedule=schedule)
    assert seen.value == ["a", "b"]


async def test_a_skipped_consumer_does_not_prune_its_inputs(schedule: Any) -> None:
    chosen = off(step("chosen", step("input")))
    seen = await observe([Router(key("k"), {"k": [chosen]}), 1], schedule=schedule)
    assert "input" in seen.started
    assert seen.skipped == {"chosen": "ConditionFalse"}


async def test_a_rejected_step_that_would_be_skipped_anyway_is_pruned(schedule: Any) -> None:
    flow = Router(key("k"), {"k": 1, 0: step("x").run_if(False)})
    seen = await observe(flow, schedule=schedule)
    assert seen.skipped == {"x": "Pruned"}


async def test_what_the_skip_of_the_last_node_prunes_is_reported_too(schedule: Any) -> None:
    shared = step("shared")
    first = Router(key("k"), {"k": step("first"), 0: shared})
    second = Router(gathered(first).run_if(False), {"first": 1, 0: shared})
    seen = await observe(second, schedule=schedule)
    assert seen.value == 1
    assert seen.skipped == {"gathered": "ConditionFalse", "shared": "Pruned"}
    assert seen.last.counts == {"pending": 0, "succeeded": 2, "skipped": 2, "failed": 0, "cancelled": 0}


async def test_what_a_router_that_was_skipped_leaves_is_pruned(schedule: Any) -> None:
    flow = [Router(key(off(key(1))), {0: step("x", step("y"))}), 2]
    seen = await observe(flow, schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert seen.skipped == {
        "key": "ConditionFalse",
        "key#2": "UpstreamSkipped_Data",
        "x": "Pruned",
        "y": "Pruned",
    }


# -- nested and crossed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", ["inner", "a"])
@pytest.mark.parametrize("inner", ["b", "c"])
async def test_a_router_in_a_route_chooses_only_if_it_is_chosen(outer: str, inner: str, schedule: Any) -> None:
    nested = Router(step(inner), {"b": step("of b"), "c": step("of c")})
    seen = await observe(Router(key(outer), {"inner": nested, "a": step("a")}), schedule=schedule)
    if outer == "a":
        assert seen.value == "a"
        assert seen.ran == ["a", "key"]
        assert seen.skipped == dict.fromkeys([inner, "of b", "of c"], "Pruned")
    else:
        assert seen.value == f"of {inner}"
        assert seen.ran == sorted([inner, "key", f"of {inner}"])


@pytest.mark.parametrize("selector", ["c", "no such route"])
async def test_a_rejected_router_whose_selector_is_known_chooses_nothing(selector: str, schedule: Any) -> None:
    shared = step(selector)
    known = Router(selector, {"c": step("x")})
    known_later = Router(shared, {"c": step("y")})
    flow = [Router(key("k"), {"k": 1, 0: known, 2: [known_later]}), shared]
    seen = await observe(flow, schedule=schedule)
    assert seen.value == [1, selector]
    assert seen.skipped == {"x": "Pruned", "y": "Pruned"}


async def test_a_plan_has_routes_after_the_selectors_that_decide_on_them() -> None:
    selector = step("selector", step("first", step("before")))
    shared = step("shared")
    flow = [Router(selector, {0: step("a", step("input")), 1: step("b", shared)}), shared]
    assert [set(stage) for stage in cascade.plan(flow).stages] == [
        {"before", "shared"},
        {"first"},
        {"selector"},
        {"input", "b"},
        {"a"},
    ]


async def test_a_selector_of_a_selector_of_a_selector_decides_first(schedule: Any) -> None:
    router: Any = key(0)
    for depth in range(1, 6):
        router = Router(router, {depth - 1: key(depth), None: step(f"never {depth}")})
    seen = await observe(router, schedule=schedule)
    assert seen.value == 5
    assert seen.skipped == {f"never {depth}": "Pruned" for depth in range(1, 6)}


async def test_routers_nest_without_stack(schedule: Any) -> None:
    by_route: Any = key("end")
    by_selector: Any = key(0)
    for _ in range(150):
        by_route = Router(0, {0: by_route, 1: key("never")})
        by_selector = Router(by_selector, {0: key(0), 1: key("never")})
    assert await cascade.run([by_route, by_selector], schedule=schedule) == ["end", 0]


@pytest.mark.parametrize(
    ("outer", "expected", "ran"),
    [
        (1, "s2", {"key", "s1", "s2"}),
        (2, "b", {"key", "s2", "b"}),
    ],
)
async def test_two_routers_may_each_need_the_others_selector(
    outer: int, expected: str, ran: set[str], schedule: Any
) -> None:
    s1, s2 = step("s1"), step("s2")
    first = Router(s1, {"s1": s2, 0: step("a")})
    second = Router(s2, {"s2": step("b"), 0: s1})
    seen = await observe(Router(key(outer), {1: first, 2: second}), schedule=schedule)
    assert seen.value == expected
    assert set(seen.started) == ran


async def test_a_route_skipped_in_a_nested_router_skips_all_routers_around_it(schedule: Any) -> None:
    inner = Router("k", {"k": off(step("a"))})
    flow = gathered(Router("k", {"k": Router("k", {"k": inner})}))
    seen = await observe(flow, schedule=schedule)
    assert seen.skipped == {"a": "ConditionFalse", "gathered": "UpstreamSkipped_Route"}


async def test_many_routes_are_pruned_at_once(schedule: Any) -> None:
    routes = {number: step("route", step("input")) for number in range(200)}
    seen = await observe(Router(key(7), routes), schedule=schedule)
    assert seen.value == "route"
    assert sorted(seen.skipped.values()) == ["Pruned"] * 398
    assert len(seen.started) == 3


# -- as targets ------------------------------------------------------------------------------------------------


async def test_a_target_whose_chosen_route_is_skipped_is_missing_for_that_reason(schedule: Any) -> None:
    seen = await observe(Router(key("k"), {"k": off(step("a")), 0: step("b")}), schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert "ConditionFalse" in str(seen.error)
    assert "'a'" in str(seen.error)


async def test_a_target_whose_selector_is_skipped_is_missing(schedule: Any) -> None:
    seen = await observe(Router(off(key("k")), {"k": step("a")}), schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert "was skipped (Reason: UpstreamSkipped_Data)" in str(seen.error)
    assert seen.skipped == {"key": "ConditionFalse", "a": "Pruned"}


async def test_a_target_whose_chosen_route_is_skipped_by_its_place_in_a_sequence_is_none(schedule: Any) -> None:
    route = cascade.sequence([off(step("a")), step("b")])
    seen = await observe(Router(key("k"), {"k": route}), schedule=schedule)
    assert (seen.value, seen.error) == (None, None)


async def test_a_target_that_was_rejected_by_a_router_elsewhere_has_its_value(schedule: Any) -> None:
    a = step("a")
    assert await cascade.run({"x": gathered(Router(key(0), {0: 1, 1: a})), "y": a}, schedule=schedule) == {
        "x": (1,),
        "y": "a",
    }
