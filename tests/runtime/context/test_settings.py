"""Settings: what can be set, and that what means nothing is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from labels import label

import cascade

QUICK = cascade.inject("quick")


@cascade.task
async def step(ran: list[int]) -> None:
    ran.append(1)


BAD: list[tuple[str, Any]] = [
    ("schedule", "fast"),
    ("schedule", None),
    ("on_error", "ignore"),
    ("durability", "never"),
    ("on_change", "ask"),
    ("on_finished", "again"),
    ("max_threads", 0),
    ("max_threads", -1),
    ("max_threads", 2.5),
    ("max_threads", True),
    ("max_threads", None),
    ("max_threads", "4"),
    ("cleanup_timeout", -1),
    ("cleanup_timeout", float("nan")),
    ("cleanup_timeout", "10"),
    ("cleanup_timeout", None),
    ("system_resources", [("gpu", 1)]),
    ("system_resources", "gpu=1"),
    ("system_resources", {"gpu": -1}),
    ("system_resources", {"gpu": "many"}),
    ("system_resources", {1: 1}),
    ("providers", [5]),
    ("providers", 5),
    ("providers", {"db": 5}),
    ("observers", [5]),
    ("observers", 5),
    ("state", "unknown://somewhere"),
    ("state", "memory"),
    ("state", "memory:file"),
    ("state", 5),
    ("solver", 5),
    ("executor", 5),
    ("bus", 5),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda part: repr(part)[:30])
class TestASettingThatMeansNothing:
    def test_is_refused_by_the_constructor_which_names_it(self, name: str, value: Any) -> None:
        words = {"providers": "resource|generator|providers", "observers": "observer"}.get(
            name, name.split("_")[0]
        )
        with pytest.raises((ValueError, TypeError), match=f"{words}|'gpu'|iterable"):
            cascade.Engine(**{name: value})

    async def test_is_refused_before_anything_runs(self, name: str, value: Any) -> None:
        ran: list[int] = []
        with pytest.raises((ValueError, TypeError)):
            await cascade.run(step(ran), **{name: value})
        assert ran == []


async def test_a_setting_that_does_not_exist_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="sistem_resources"):
        await cascade.run(step([]), sistem_resources={})  # type: ignore[call-overload]


def test_an_engine_takes_no_run_id() -> None:
    with pytest.raises(TypeError, match="run_id"):
        cascade.Engine(run_id="one for all")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "settings",
    [
        {"cleanup_timeout": 0},
        {"cleanup_timeout": float("inf")},
        {"max_threads": 1},
        {"system_resources": {}},
        {"system_resources": None},
        {"system_resources": {"gpu": 0}},
        {"observers": ()},
        {"providers": iter(())},
        {"schedule": "eager", "on_error": "continue", "durability": "exit"},
        {"bus": cascade.EventBus()},
    ],
    ids=label,
)
async def test_what_means_something_is_taken(settings: dict[str, Any]) -> None:
    ran: list[int] = []
    await cascade.run(step(ran), **settings)
    assert ran == [1]


@pytest.mark.parametrize("run_id", ["", 5, "x" * 201, "two\nlines", b"bytes"])
async def test_a_run_id_is_a_short_printable_string(run_id: Any) -> None:
    ran: list[int] = []
    with pytest.raises(cascade.InputError, match="run_id"):
        await cascade.run(step(ran), run_id=run_id)
    assert ran == []


async def test_runs_without_an_id_get_different_ones() -> None:
    @cascade.task
    async def own_id() -> str:
        return cascade.current().run_id

    assert len({await cascade.run(own_id()) for _ in range(20)}) == 20


async def test_a_cleanup_timeout_of_nothing_lets_what_ends_at_once_end() -> None:
    @cascade.resource
    async def quick() -> Any:
        yield "quick"

    @cascade.task
    async def use(quick: Any = QUICK) -> Any:
        return quick

    # Again and again, as Trio throws dice for who goes first.
    for _ in range(10):
        assert await cascade.run(use(), providers=[quick], cleanup_timeout=0) == "quick"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("system_resource", "did you mean 'system_resources'"),
        ("x", r"there are .*schedule.*params=\{"),
        ("timeout", "with_timeout"),
        ("resources", "providers="),
        ("retries", "with_retry"),
    ],
)
def test_a_setting_that_there_is_not_is_named_with_what_there_is(name: str, remedy: str) -> None:
    words: Any = {name: {}}
    for attempt in (lambda: cascade.Engine(**words), lambda: cascade.run_sync(step([]), **words)):
        with pytest.raises(TypeError, match=f"no setting '{name}'.*{remedy}"):
            attempt()
