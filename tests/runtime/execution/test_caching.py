"""Caches in runs: what is a hit, what is saved, and what becomes of a cache that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import attrs
import pytest
from memory_cache import memory_cache
from plain_tasks import step
from strategies_runtime import raised_by

import cascade
from cascade.cache import MISS, Hit, InputCache, MemoryCacheStore

DB = cascade.inject("db")


@attrs.define(eq=False)
class Counter:
    """How often tasks ran; not an argument, so that calls stay equal."""

    ran: list[Any] = attrs.field(factory=list)

    def task(self, **settings: Any) -> Any:
        @cascade.task(**settings)
        async def work(a: Any = None, b: Any = 2) -> Any:
            self.ran.append((a, b))
            return a

        return work


@pytest.fixture
def counter() -> Counter:
    return Counter()


cache = memory_cache


# -- hits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 0, "", [], {"a": 1}])
async def test_a_call_that_was_made_before_is_not_made_again(
    counter: Counter, cache: InputCache, value: Any, schedule: Any
) -> None:
    flow = step(counter.task()(value).with_cache(cache))
    assert await cascade.run(flow, schedule=schedule) == value
    assert await cascade.run(flow, schedule=schedule) == value
    assert len(counter.ran) == 1


async def test_a_hit_of_none_is_a_hit(counter: Counter) -> None:
    @attrs.define
    class Always:
        async def check(self, task_id: str, inputs: Mapping[str, object]) -> Hit[None]:
            return Hit(None)

        async def save(self, task_id: str, inputs: Mapping[str, object], result: object) -> None:
            raise AssertionError("a hit is not saved")

    assert await cascade.run(counter.task()("x").with_cache(Always())) is None
    assert counter.ran == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (((1,), {}), ((2,), {})),
        (((1,), {}), ((), {"a": 2})),
        (((1,), {}), ((1, 3), {})),
        (((1,), {}), ((1.0,), {})),
        ((([1],), {}), (((1,),), {})),
    ],
)
async def test_literal_arguments_count(counter: Counter, cache: InputCache, one: Any, other: Any) -> None:
    work = counter.task(cache=cache)
    for args, kwargs in (one, other):
        await cascade.run(work(*args, **kwargs))
    assert len(counter.ran) == 2


@pytest.mark.parametrize("args", [((1, 2), {}), ((1,), {"b": 2}), ((), {"b": 2, "a": 1}), ((1,), {})])
async def test_equal_arguments_count_as_equal_however_they_are_passed(
    counter: Counter, cache: InputCache, args: Any
) -> None:
    work = counter.task(cache=cache)
    await cascade.run(work(1))
    await cascade.run(work(*args[0], **args[1]))
    assert len(counter.ran) == 1


async def test_what_upstream_gave_counts_and_not_how(counter: Counter, cache: InputCache) -> None:
    work = counter.task(cache=cache)
    for argument in (5, step(5), step(step(5)), cascade.Param("n", default=5)):
        await cascade.run(work(argument))
    await cascade.run(work(step(6)))
    assert counter.ran == [(5, 2), (6, 2)]


async def test_two_tasks_of_one_name_share_nothing(cache: InputCache) -> None:
    def make(suffix: str) -> Any:
        if suffix == "a":

            @cascade.task(name="same", cache=cache)
            async def one() -> str:
                return "a"

            return one

        @cascade.task(name="same", cache=cache)
        async def two() -> str:
            return "b"

        return two

    assert [await cascade.run(make("a")()), await cascade.run(make("b")())] == ["a", "b"]


async def test_a_version_stands_for_the_code(cache: InputCache, counter: Counter) -> None:
    for version in ("1", "1", "2"):
        await cascade.run(counter.task(cache=cache, version=version)("x"))
    assert len(counter.ran) == 2


async def test_items_of_a_map_are_looked_up_one_by_one(counter: Counter, cache: InputCache) -> None:
    work = counter.task(cache=cache)
    await cascade.run(work(2))
    assert await cascade.run(work.map(a=[1, 2, 3, 1])) == [1, 2, 3, 1]
    assert [a for a, _ in counter.ran].count(2) == 1


async def test_an_entry_has_the_key_of_the_arguments_as_they_were_given(cache: InputCache) -> None:
    @cascade.task(cache=cache)
    async def append_and_count(values: list[int]) -> int:
        values.append(0)
        return len(values)

    assert await cascade.run(append_and_count([])) == 1
    assert await cascade.run(append_and_count([0])) == 2
    assert await cascade.run(append_and_count([])) == 1


async def test_policies_made_for_a_moment_have_keys_of_their_own() -> None:
    found: list[list[str]] = []
    store = MemoryCacheStore()

    def always(key: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda _: key

    class Several:
        async def check(self, task_id: str, inputs: Mapping[str, Any]) -> Any:
            keys = ["general", "own"] * 10
            # Each is gone before the next one is made, which may well be put in its place.
            found.append([InputCache(store, key=always(key)).key_of(task_id, inputs) for key in keys])
            return MISS

        async def save(self, task_id: str, inputs: Mapping[str, Any], result: Any) -> None: ...

    @cascade.task(cache=Several())
    async def work() -> None: ...

    await cascade.run(work())
    assert found == [["general", "own"] * 10]


async def test_a_policy_may_ask_a_cache_for_other_inputs(cache: InputCache) -> None:
    class InEnglish:
        async def check(self, task_id: str, inputs: dict[str, Any]) -> Any:
            found = await cache.check(task_id, inputs)
            if found is MISS:
                given, inputs["language"] = inputs["language"], "en"
                found = await cache.check(task_id, inputs)
                inputs["language"] = given
            return found

        async def save(self, task_id: str, inputs: Mapping[str, Any], result: Any) -> None:
            await cache.save(task_id, inputs, result)

    policy: Any = InEnglish()

    @cascade.task(cache=policy)
    async def text(language: str) -> str:
        return language

    assert [await cascade.run(text(language)) for language in ("fr", "en", "de", "fr")] == ["fr", "en", "en", "fr"]


async def test_what_a_function_remembers_is_not_its_code(counter: Counter, cache: InputCache) -> None:
    work = counter.task(cache=cache)
    for a in (1, 2, 1, 2):
        await cascade.run(work(a))
    assert counter.ran == [(1, 2), (2, 2)]


async def test_what_is_not_a_cached_call_runs_beside_a_hit(counter: Counter, cache: InputCache) -> None:
    cached = counter.task(cache=cache)("x")
    await cascade.run(cached)
    assert await cascade.run([cached, step(cached), step("y")]) == ["x", "x", "y"]


async def test_a_call_whose_condition_is_false_is_not_looked_up(counter: Counter, cache: InputCache) -> None:
    work = counter.task(cache=cache)
    await cascade.run(work("x"))
    error, _ = await raised_by(work("x").run_if(False))
    assert isinstance(error, cascade.DependencyMissingError)


async def test_a_hit_opens_no_resource(cache: InputCache) -> None:
    opened: list[int] = []

    @cascade.resource
    async def db() -> AsyncIterator[str]:
        opened.append(1)
        yield "db"

    @cascade.task(cache=cache)
    async def use(db: Any = DB) -> Any:
        return db

    assert [await cascade.run(use(), providers=[db]) for _ in range(2)] == ["db", "db"]
    assert opened == [1]


async def test_a_function_without_a_signature_is_looked_up_by_the_places_of_its_arguments(
    cache: InputCache,
) -> None:
    keys: list[Any] = []

    def key(inputs: Mapping[str, Any]) -> str:
        keys.append(dict(inputs))
        return "key"

    largest: Any = cascade.task(cache=InputCache(cache.store, key=key))(max)
    assert await cascade.run(largest(3, 5)) == 5
    assert await cascade.run(largest(step(3), 5)) == 5
    assert keys[0] == keys[-1] == {"0": 3, "1": 5}


async def test_an_injected_resource_inside_an_argument_counts_by_its_name(cache: InputCache) -> None:
    ran: list[int] = []

    async def connection() -> AsyncIterator[object]:
        yield object()

    @cascade.task(cache=cache)
    async def use(settings: Any) -> int:
        ran.append(1)
        return 5

    for name in ("a", "a", "b"):
        provider = cascade.resource(name=name)(connection)
        assert await cascade.run(use({"db": cascade.inject(name)}), providers=[provider]) == 5
    assert len(ran) == 2


# -- saving ----------------------------------------------------------------------------------------------------


async def test_a_failed_call_is_not_saved(cache: InputCache) -> None:
    ran: list[int] = []

    @cascade.task(cache=cache)
    async def fragile() -> str:
        ran.append(1)
        if len(ran) == 1:
            raise ValueError("no luck")
        return "fine"

    await raised_by(fragile())
    assert [await cascade.run(fragile()), await cascade.run(fragile())] == ["fine", "fine"]
    assert len(ran) == 2


async def test_a_retried_call_is_saved_once_it_succeeded(cache: InputCache) -> None:
    ran: list[int] = []

    @cascade.task(cache=cache, retry=cascade.Retry(3))
    async def fragile() -> str:
        ran.append(1)
        if len(ran) < 3:
            raise ValueError("no luck")
        return "fine"

    assert [await cascade.run(fragile()), await cascade.run(fragile())] == ["fine", "fine"]
    assert len(ran) == 3


@pytest.mark.parametrize("place", ["target", "inside"])
async def test_a_call_that_returns_a_lazy_is_saved_with_the_final_value(
    cache: InputCache, place: str, schedule: Any
) -> None:
    ran: list[int] = []

    @cascade.task(cache=cache)
    async def count(n: int) -> Any:
        ran.append(n)
        return count(n - 1) if n else "done"

    flow = count(2) if place == "target" else step(count(2))
    assert await cascade.run(flow, schedule=schedule) == "done"
    assert await cascade.run(flow, schedule=schedule) == "done"
    assert await cascade.run(count(1), schedule=schedule) == "done"
    assert ran == [2, 1, 0]


async def test_a_loop_that_fails_saves_nothing(cache: InputCache) -> None:
    ran: list[int] = []

    @cascade.task(cache=cache)
    async def count(n: int) -> Any:
        ran.append(n)
        if not n and len(ran) == 2:
            raise ValueError("no luck")
        return count(n - 1) if n else "done"

    await raised_by(count(1))
    assert await cascade.run(count(1)) == "done"
    assert ran == [1, 0, 1, 0]


async def test_a_lazy_inside_a_returned_container_is_saved_as_its_value(cache: InputCache) -> None:
    ran: list[int] = []

    @cascade.task(cache=cache)
    async def expand() -> Any:
        ran.append(1)
        return {"a": [step(1), 2]}

    assert [await cascade.run(expand()) for _ in range(2)] == [{"a": [1, 2]}] * 2
    assert ran == [1]


async def test_a_claim_is_free_while_a_result_is_saved() -> None:
    held: list[Any] = []

    @attrs.define
    class Looking:
        async def check(self, task_id: str, inputs: Mapping[str, object]) -> Any:
            held.append(engine.capacity()["gpu"][0])
            return MISS

        async def save(self, task_id: str, inputs: Mapping[str, object], result: object) -> None:
            held.append(engine.capacity()["gpu"][0])

    engine = cascade.Engine(system_resources={"gpu": 1})
    await engine.run(step().with_constraints(gpu=1).with_cache(Looking()))
    assert held == [0, 0]


async def test_a_policy_is_told_node_and_bound_arguments(counter: Counter) -> None:
    told: list[Any] = []

    @attrs.define
    class Told:
        async def check(self, task_id: str, inputs: Mapping[str, object]) -> Any:
            told.append(("check", task_id, dict(inputs)))
            return MISS

        async def save(self, task_id: str, inputs: Mapping[str, object], result: object) -> None:
            told.append(("save", task_id, dict(inputs), result))

    await cascade.run(counter.task()(step("x")).with_cache(Told()))
    assert told == [("check", "work", {"a": "x", "b": 2}), ("save", "work", {"a": "x", "b": 2}, "x")]


async def test_a_policy_is_not_told_of_resources_that_are_injected() -> None:
    told: list[Any] = []

    async def db() -> AsyncIterator[str]:
        yield "db"

    def key(inputs: Mapping[str, Any]) -> str:
        told.append(dict(inputs))
        return "key"

    @cascade.task(cache=InputCache(MemoryCacheStore(), key=key))
    async def use(value: Any, db: Any = DB) -> Any:
        return value

    await cascade.run(use("x"), providers=[db])
    assert told
    assert all(inputs == {"value": "x"} for inputs in told)
