"""Cache policies and stores by themselves."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from labels import label

from cascade.cache import MISS, CachePolicy, FileExistenceCache, Hit, InputCache, MemoryCacheStore


@attrs.define(eq=False)
class Clock:
    """Seconds, as set."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Plain:
    """Without canonical hash."""


# -- MemoryCacheStore ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 0, "", [], "text"])
async def test_a_store_gives_back_what_was_set(value: Any) -> None:
    store = MemoryCacheStore()
    await store.set("key", value, None)
    assert await store.get("key") == Hit(value)


async def test_a_key_that_was_not_set_is_a_miss() -> None:
    store = MemoryCacheStore()
    await store.set("key", 1, None)
    assert await store.get("other") is MISS


async def test_a_key_set_again_has_the_new_value() -> None:
    store = MemoryCacheStore()
    await store.set("key", 1, None)
    await store.set("key", 2, None)
    assert await store.get("key") == Hit(2)


async def test_a_value_expires_when_its_time_is_over_and_not_before() -> None:
    clock = Clock()
    store = MemoryCacheStore(clock=clock)
    await store.set("key", 1, 10)
    clock.now = 9.999
    assert await store.get("key") == Hit(1)
    clock.now = 10
    assert await store.get("key") is MISS


async def test_a_value_set_again_lives_from_then_on() -> None:
    clock = Clock()
    store = MemoryCacheStore(clock=clock)
    await store.set("key", 1, 10)
    clock.now = 8
    await store.set("key", 2, 10)
    clock.now = 15
    assert await store.get("key") == Hit(2)


async def test_a_value_without_ttl_stays() -> None:
    clock = Clock()
    store = MemoryCacheStore(clock=clock)
    await store.set("key", 1, None)
    clock.now = 1e12
    assert await store.get("key") == Hit(1)


async def test_a_full_store_drops_what_was_used_longest_ago() -> None:
    store = MemoryCacheStore(most=2)
    await store.set("a", 1, None)
    await store.set("b", 2, None)
    await store.get("a")
    await store.set("c", 3, None)
    assert await store.get("b") is MISS
    assert [await store.get("a"), await store.get("c")] == [Hit(1), Hit(3)]


async def test_who_changes_a_value_changes_it_for_nobody_else() -> None:
    store = MemoryCacheStore()
    value = {"rows": [1]}
    await store.set("key", value, None)
    value["rows"].append(2)
    first = await store.get("key")
    assert first == Hit({"rows": [1]})
    assert isinstance(first, Hit)
    first.value["rows"].append(3)
    assert await store.get("key") == Hit({"rows": [1]})


@pytest.mark.parametrize("value", [threading.Lock(), (n for n in range(3)), [threading.Lock()]], ids=label)
async def test_a_value_that_cannot_be_copied_is_not_kept(value: Any) -> None:
    store = MemoryCacheStore()
    await store.set("key", "before", None)
    with pytest.raises(TypeError, match="cannot be copied, so it is not kept"):
        await store.set("key", value, None)
    assert await store.get("key") == Hit("before")


# -- InputCache ------------------------------------------------------------------------------------------------


async def test_an_input_cache_is_a_cache_policy() -> None:
    assert isinstance(InputCache(MemoryCacheStore()), CachePolicy)
    assert isinstance(FileExistenceCache("x"), CachePolicy)


async def test_what_was_saved_for_some_inputs_is_found_for_equal_ones() -> None:
    cache = InputCache(MemoryCacheStore())
    await cache.save("task", {"a": [1, {"b"}], "c": None}, "result")
    assert await cache.check("task", {"c": None, "a": [1, {"b"}]}) == Hit("result")


@pytest.mark.parametrize(
    "inputs",
    [{"a": 2}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"b": 1}, {}, {"a": 1, "b": 1}, {"a": [1]}, {"a": None}],
    ids=label,
)
async def test_nothing_is_found_for_other_inputs(inputs: Mapping[str, Any]) -> None:
    cache = InputCache(MemoryCacheStore())
    await cache.save("task", {"a": 1}, "result")
    assert await cache.check("task", inputs) is MISS


async def test_two_tasks_do_not_share_entries() -> None:
    cache = InputCache(MemoryCacheStore())
    await cache.save("one", {"a": 1}, "result")
    assert await cache.check("other", {"a": 1}) is MISS


async def test_an_argument_without_canonical_hash_is_named() -> None:
    cache = InputCache(MemoryCacheStore())
    with pytest.raises(TypeError, match=r"settings\['deep'\]\[1\].*Plain"):
        await cache.check("task", {"n": 1, "settings": {"deep": [0, Plain()]}})


async def test_a_key_of_one_s_own_decides_alone() -> None:
    cache = InputCache(MemoryCacheStore(), key=lambda inputs: inputs["url"])
    await cache.save("one", {"url": "x", "client": Plain()}, "result")
    assert await cache.check("other", {"url": "x", "client": Plain()}) == Hit("result")
    assert await cache.check("one", {"url": "y", "client": Plain()}) is MISS


async def test_a_key_that_is_no_string_is_a_type_error() -> None:
    cache = InputCache(MemoryCacheStore(), key=lambda inputs: inputs["url"])
    with pytest.raises(TypeError, match="must return a string, not 5"):
        await cache.check("task", {"url": 5})


async def test_a_ttl_is_handed_to_the_store() -> None:
    clock = Clock()
    cache = InputCache(MemoryCacheStore(clock=clock), ttl=60)
    await cache.save("task", {}, "result")
    clock.now = 59
    assert await cache.check("task", {}) == Hit("result")
    clock.now = 61
    assert await cache.check("task", {}) is MISS


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), True, "60"])
def test_a_ttl_is_a_positive_number(ttl: Any) -> None:
    with pytest.raises(ValueError, match="ttl"):
        InputCache(MemoryCacheStore(), ttl=ttl)


@attrs.define(eq=False)
class NeverAsked:
    """A store that must not be given anything."""

    async def get(self, key: str) -> Any:
        return MISS

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        raise AssertionError("it was given something")


async def _of_numbers() -> Any:
    yield 1


@pytest.mark.parametrize(
    "value",
    [iter([1]), (n for n in range(3)), zip(), map(str, [1]), io.StringIO("a"), enumerate("a"), _of_numbers()],
    ids=lambda value: type(value).__name__,
)
async def test_what_only_one_reader_can_have_is_never_kept(value: Any) -> None:
    with pytest.raises(TypeError, match="is used up by the first that reads it"):
        await InputCache(NeverAsked()).save("task", {}, value)
