"""Routers: only the chosen route runs, after its selector is known, and what only the others needed never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from labels import label
from observed import observe
from plain_tasks import crash, key, off

import cascade

Router = cascade.Router


@cascade.task
def a(*values: Any) -> Any:
    return ("a", *values)


@cascade.task(mode="inline")
def b(*values: Any) -> Any:
    return ("b", *values)


@cascade.task
async def c(*values: Any) -> Any:
    return ("c", *values)


@cascade.task(mode="inline")
def use(*values: Any) -> Any:
    return values


# -- choosing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["a", "b", "c"])
async def test_only_the_chosen_route_runs(chosen: str, schedule: Any) -> None:
    seen = await observe(Router(key(chosen), {"a": a(), "b": b(), "c": c()}), schedule=schedule)
    assert seen.value == (chosen,)
    assert seen.started == ["key", chosen]
    assert seen.skipped == dict.fromkeys({"a", "b", "c"} - {chosen}, "Pruned")


async def test_a_route_begins_only_after_its_selector_is_known(schedule: Any) -> None:
    known = anyio.Event()

    @cascade.task
    async def select() -> str:
        await anyio.wait_all_tasks_blocked()
        known.set()
        return "a"

    @cascade.task
    async def upstream() -> bool:
        return known.is_set()

    assert await cascade.run(
        Router(select(), {"a": [upstream(), use(upstream())], "b": b()}), schedule=schedule
    ) == [
        True,
        (True,),
    ]


@pytest.mark.parametrize(
    "selector",
    [
        lambda: "a",
        lambda: cascade.Param("p"),
        lambda: cascade.Param("q", default="a"),
        lambda: cascade.Env("CASCADE_TEST_UNSET", default="a"),
        lambda: Router(key(0), {0: key("a"), 1: key("b")}),
        lambda: Router(0, {0: "a"}),
    ],
    ids=["value", "Param", "default of a Param", "Env", "Router", "Router of values"],
)
async def test_a_selector_may_be_any_placeholder_or_value(selector: Callable[[], Any], schedule: Any) -> None:
    flow = [Router(selector(), {"a": a(), "b": b()}), cascade.Param("p")]
    seen = await observe(flow, {"p": "a"}, schedule=schedule)
    assert seen.value == [("a",), "a"]
    assert "b" not in seen.started


async def test_a_selector_may_be_a_container_of_lazies(schedule: Any) -> None:
    flow = Router((key(1), key("x")), {(1, "x"): a(), (1, "y"): b()})
    assert await cascade.run(flow, schedule=schedule) == ("a",)


@pytest.mark.parametrize("value", [None, False, 0, "", (), 1.5, frozenset([1])], ids=label)
async def test_any_hashable_value_is_a_key(value: Any, schedule: Any) -> None:
    assert await cascade.run(Router(key(value), {value: a(), "other": b()}), schedule=schedule) == ("a",)


@pytest.mark.parametrize("route", [None, False, 0, 5, "text", [1, {"k": 2}]], ids=label)
async def test_a_route_may_be_a_plain_value(route: Any, schedule: Any) -> None:
    flow = Router(key("k"), {"k": route, "other": b()})
    seen = await observe([flow, use(flow)], schedule=schedule)
    assert seen.value == [route, (route,)]
    assert seen.skipped == {"b": "Pruned"}


async def test_a_route_may_be_a_container_with_lazies_and_params(schedule: Any) -> None:
    route = [a(), {"n": (cascade.Param("n", type=int), 2)}]
    seen = await observe(use(Router(key("k"), {"k": route, "other": [b(), c()]})), {"n": 1}, schedule=schedule)
    assert seen.value == ([("a",), {"n": (1, 2)}],)
    assert seen.skipped == {"b": "Pruned", "c": "Pruned"}


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        (use, (("a",),)),
        (lambda router: use([{"k": router}]), ([{"k": ("a",)}],)),
        (lambda router: {"k": [router]}, {"k": [("a",)]}),
        (lambda router: use(1).run_if(router), (1,)),
        (lambda router: Router("k", {"k": router}), ("a",)),
        (lambda router: Router(router, {("a",): "known"}), "known"),
        (lambda router: b(cascade.gather(router)), ("b", (("a",),))),
        (lambda router: [router, use(router)], [("a",), (("a",),)]),
    ],
)
async def test_a_router_may_stand_wherever_a_lazy_may(
    around: Callable[[Any], Any], expected: Any, schedule: Any
) -> None:
    flow = around(Router(key("a"), {"a": a(), "c": c()}))
    seen = await observe(flow, schedule=schedule)
    assert seen.value == expected
    assert seen.skipped == {"c": "Pruned"}


async def test_a_router_may_give_the_amount_of_a_claim(schedule: Any) -> None:
    amount = Router(key("few"), {"few": key(1), "many": key(99)})
    flow = use(1).with_constraints(gpu=amount)
    assert await cascade.run(flow, schedule=schedule, system_resources={"gpu": 2}) == (1,)


async def test_a_router_may_give_a_column(schedule: Any) -> None:
    @cascade.task
    def double(n: int) -> int:
        return 2 * n

    flow = double.map(n=Router(key("few"), {"few": key([1]), "many": key([1, 2, 3])}))
    assert await cascade.run(flow, schedule=schedule) == [2]


async def test_the_value_of_a_router_is_the_very_object_of_its_route(schedule: Any) -> None:
    thing = object()
    route = key(thing)
    router = Router(key("k"), {"k": route})
    value = await cascade.run([router, use(router), route], schedule=schedule)
    assert value[0] is value[1][0] is value[2] is thing


# -- defaults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", [None, False, 0, "text"], ids=label)
async def test_a_key_without_route_takes_the_default_even_if_that_is_nothing(default: Any, schedule: Any) -> None:
    seen = await observe(Router(key("?"), {"a": a()}, default=default), schedule=schedule)
    assert (seen.value, seen.error) == (default, None)
    assert seen.skipped == {"a": "Pruned"}


async def test_a_default_may_be_a_lazy_and_is_pruned_when_not_taken(schedule: Any) -> None:
    for selected, expected, pruned in (("?", ("b",), "a"), ("a", ("a",), "b")):
        seen = await observe(Router(key(selected), {"a": a()}, default=b()), schedule=schedule)
        assert seen.value == expected
        assert seen.skipped == {pruned: "Pruned"}


async def test_a_router_with_nothing_but_a_default_takes_it(schedule: Any) -> None:
    assert await cascade.run(Router(key("?"), {}, default=b()), schedule=schedule) == ("b",)


# -- keys without route ----------------------------------------------------------------------------------------


class Sulky:
    """A key that does not let itself be looked up."""

    def __hash__(self) -> int:
        raise OSError("no hash today")


@pytest.mark.parametrize("selected", ["?", None, 2, [1], {"k": 1}], ids=label)
async def test_a_key_without_route_is_an_error_that_names_it_and_the_known_ones(
    selected: Any, schedule: Any
) -> None:
    seen = await observe(use(Router(key(selected), {"a": a(), 0: b()})), schedule=schedule)
    error = seen.error
    assert isinstance(error, cascade.RouteNotFoundError)
    assert isinstance(error, LookupError)
    assert isinstance(error, ValueError)
    assert error.key == selected
    assert error.known == ("a", 0)
    assert all(repr(word) in str(error) for word in (selected, "a", 0, "key"))


async def test_an_unhashable_key_has_no_route_even_with_a_default(schedule: Any) -> None:
    with pytest.raises(cascade.RouteNotFoundError):
        await cascade.run(Router(key([1]), {"a": a()}, default=b()), schedule=schedule)


async def test_a_key_without_route_is_found_before_anything_is_pruned(schedule: Any) -> None:
    seen = await observe(use(Router(key("?"), {"a": a(c()), "b": b()})), schedule=schedule)
    assert isinstance(seen.error, cascade.RouteNotFoundError)
    assert seen.started == ["key"]
    assert seen.skipped == {}


@pytest.mark.parametrize(
    "selector", [lambda: "?", lambda: cascade.Param("p", default="?")], ids=["value", "Param"]
)
async def test_a_key_that_is_known_from_the_start_and_has_no_route_is_an_error_too(
    selector: Callable[[], Any], schedule: Any
) -> None:
    for flow in (Router(selector(), {"a": a()}), use(Router(selector(), {"a": 1}))):
        with pytest.raises(cascade.RouteNotFoundError, match=r"'\?'"):
            await cascade.run(flow, schedule=schedule)


async def test_what_a_key_raises_when_it_is_looked_up_is_raised_by_the_run(schedule: Any) -> None:
    with pytest.raises(OSError, match="no hash today"):
        await cascade.run(Router(key(Sulky()), {"a": a()}), schedule=schedule)


async def test_a_key_that_came_through_a_skipped_selector_can_have_no_route_as_well(schedule: Any) -> None:
    selector = key("never", key("?")).run_if(False)
    with pytest.raises(cascade.RouteNotFoundError, match=r"'\?'"):
        await cascade.run(Router(selector, {"a": 1}), schedule=schedule)


async def test_a_failure_to_choose_says_where_it_happened(schedule: Any) -> None:
    for flow in (Router(key("?"), {"a": 1}), use(Router(key("?"), {"a": a()}))):
        seen = await observe(flow, schedule=schedule)
        assert seen.error is not None
        assert any("'router'" in note for note in seen.error.__notes__)


async def test_a_failure_to_choose_is_the_runs_failure_and_what_does_not_need_it_runs_on(schedule: Any) -> None:
    flow = {"x": use(Router(key("?"), {"a": a()})), "y": b(c())}
    seen = await observe(flow, schedule=schedule, on_error="continue")
    assert [type(error) for error in seen.failures()] == [cascade.RouteNotFoundError]
    assert isinstance(seen.error, cascade.RunFailed)
    assert seen.error.results == {"b": ("b", ("c",))}
    assert seen.skipped == {"a": "Pruned", "use": "UpstreamFailed"}


# -- selectors without value -----------------------------------------------------------------------------------


async def test_with_a_skipped_selector_no_route_runs(schedule: Any) -> None:
    seen = await observe(use(Router(off(key("a")), {"a": a(c()), "b": b()})), schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert seen.started == []
    assert seen.skipped == {
        "key": "ConditionFalse",
        "use": "UpstreamSkipped_Data",
        **dict.fromkeys("abc", "Pruned"),
    }


async def test_a_value_that_passes_through_a_skipped_selector_is_the_key(schedule: Any) -> None:
    selector = use(key("a")).run_if(False)
    assert await cascade.run(Router(selector, {"a": a(), "b": b()}), schedule=schedule) == ("a",)


async def test_with_a_failed_selector_no_route_runs(schedule: Any) -> None:
    seen = await observe(use(Router(crash(), {"a": a(c()), "b": b()})), schedule=schedule, on_error="continue")
    assert [type(error) for error in seen.failures()] == [ZeroDivisionError]
    assert seen.started == ["crash"]
    assert seen.skipped["use"] == "UpstreamFailed"


async def test_a_failing_route_that_is_not_taken_fails_nothing(schedule: Any) -> None:
    assert await cascade.run(Router(key("a"), {"a": a(), "b": crash(crash())}), schedule=schedule) == ("a",)


async def test_a_failing_route_that_is_taken_fails_the_run(schedule: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="crash"):
        await cascade.run(use(Router(key("b"), {"a": a(), "b": crash()})), schedule=schedule)
