"""The static advice on tail calls whose shape may change from turn to turn: CS-W001."""

from __future__ import annotations

from typing import Any

import pytest
from observed import Observed, observe
from plain_tasks import give

import cascade


@cascade.task(mode="inline")
def other(value: Any) -> Any:
    return value


STEPS: list[Any] = [give, other]

# -- recursions whose next turn may have another shape -----------------------------------------------------------


@cascade.task(mode="inline")
def either(n: int, _: Any = None) -> Any:
    if not n:
        return "end"
    return either(n - 1, give(n) if n % 2 else n)


@cascade.task(mode="inline")
def truth(n: int, _: Any = None) -> Any:
    return truth(n - 1, _=(n % 2 and give(n))) if n else "end"


@cascade.task(mode="inline")
def in_comprehension(n: int, _: Any = None) -> Any:
    return in_comprehension(n - 1, [give(k) for k in range(n)]) if n else "end"


@cascade.task(mode="inline")
def spread(n: int, *_: Any) -> Any:
    return spread(n - 1, *(give(k) for k in range(n))) if n else "end"


@cascade.task(mode="inline")
def deep_inside(n: int, _: Any = None) -> Any:
    return deep_inside(n - 1, {"k": [give([give(n) if n % 2 else n])]}) if n else "end"


@cascade.task(mode="inline")
def under_if(n: int, _: Any = None) -> Any:
    extra: Any = n
    if n % 2:
        extra = give(n)
    return under_if(n - 1, extra) if n else "end"


@cascade.task(mode="inline")
def in_loop(n: int, _: Any = None) -> Any:
    extra: Any = None
    for _ in range(n):
        extra = give(extra)
    return in_loop(n - 1, extra) if n else "end"


@cascade.task(mode="inline")
def computed_callee(n: int, _: Any = None) -> Any:
    return computed_callee(n - 1, STEPS[n % 2](n)) if n else "end"


@cascade.task(mode="inline")
def chosen_callee(n: int, _: Any = None) -> Any:
    return chosen_callee(n - 1, (give if n % 2 else other)(n)) if n else "end"


@cascade.task
async def on_loop(n: int, _: Any = None) -> Any:
    return on_loop(n - 1, give(n) if n % 2 else n) if n else "end"


@cascade.task(mode="inline")
def there(n: int, _: Any = None) -> Any:
    return back(n - 1, give(n) if n % 2 else n) if n else "end"


@cascade.task(mode="inline")
def back(n: int, _: Any = None) -> Any:
    return there(n - 1) if n else "end"


DYNAMIC: list[cascade.Task[Any, Any]] = [
    either,
    truth,
    in_comprehension,
    spread,
    deep_inside,
    under_if,
    in_loop,
    computed_callee,
    chosen_callee,
    on_loop,
    there,
]

# -- and whose next turn has the same one ------------------------------------------------------------------------


@cascade.task(mode="inline")
def steady(n: int, _: Any = None) -> Any:
    return steady(n - 1, give([other(n)])) if n else "end"


@cascade.task(mode="inline")
def steady_in_parts(n: int, _: Any = None) -> Any:
    extra = give(n)
    extra = other(extra)
    return steady_in_parts(n - 1, extra) if n else "end"


@cascade.task(mode="inline")
def plain_choice(n: int, _: Any = None) -> Any:
    return plain_choice(n - 1, "odd" if n % 2 else [k for k in range(n)]) if n else "end"  # noqa: C416  # a comprehension


@cascade.task(mode="inline")
def no_recursion(n: int, _: Any = None) -> Any:
    return give([give(k) for k in range(n)])


STEADY = [steady, steady_in_parts, plain_choice, no_recursion]


def advice(seen: Observed) -> list[str]:
    """The names of the tasks advised against, in order."""
    assert seen.error is None
    warnings = seen.recorded.of(cascade.StaticAnalysisWarning)
    return [str(warning.task_name) for warning in warnings if warning.warning_code == "CS-W001"]


@pytest.mark.parametrize("task", DYNAMIC, ids=lambda task: str(task.name))
async def test_a_dynamic_recursion_is_advised_against_once_per_task_and_run(task: Any, schedule: Any) -> None:
    seen = await observe([task(6), task(5)], schedule=schedule)
    assert seen.value == ["end", "end"]
    assert advice(seen) == [task.name]


@pytest.mark.parametrize("task", STEADY, ids=lambda task: str(task.name))
async def test_a_recursion_of_one_shape_is_not_advised_against(task: Any, schedule: Any) -> None:
    assert advice(await observe(task(4), schedule=schedule)) == []


async def test_the_advice_says_what_it_is_about(schedule: Any) -> None:
    seen = await observe(either(3), schedule=schedule)
    (warning,) = seen.recorded.of(cascade.StaticAnalysisWarning)
    assert warning.message.startswith("Task 'either' uses a dynamic recursion pattern ")


async def test_the_advice_comes_again_in_another_run(schedule: Any) -> None:
    for _ in range(2):
        assert advice(await observe(either(4), schedule=schedule)) == ["either"]


async def test_every_task_with_a_dynamic_recursion_is_advised_against(schedule: Any) -> None:
    seen = await observe([task(4) for task in DYNAMIC], schedule=schedule)
    assert sorted(advice(seen)) == sorted(task.name for task in DYNAMIC)


async def test_a_recursion_that_comes_up_in_a_later_turn_is_advised_against_too(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def begin() -> Any:
        return either(4)

    for flow in (begin(), [begin()]):
        assert advice(await observe(flow, schedule=schedule)) == ["either"]


# -- the run never depends on it ---------------------------------------------------------------------------------


async def test_a_task_whose_source_cannot_be_read_runs_all_the_same(schedule: Any) -> None:
    space: dict[str, Any] = {"cascade": cascade, "give": give}
    exec(  # makes a function without source
        "@cascade.task(mode='inline')\n"
        "def turn(n, _=None):\n"
        "    return turn(n - 1, give(n) if n % 2 else n) if n else 'end'\n",
        space,
    )
    seen = await observe(space["turn"](4), schedule=schedule)
    assert (seen.value, seen.error) == ("end", None)


class Unbound:
    """Like the proxies of web frameworks: nothing can be asked of it outside of a request."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no request, so no {name}")


request: Any = Unbound()


async def test_a_task_that_names_something_that_cannot_be_looked_at_runs_all_the_same(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def handle(n: int) -> Any:
        return request.form() if n else "no request"

    seen = await observe(handle(0), schedule=schedule)
    assert (seen.value, seen.error) == ("no request", None)
