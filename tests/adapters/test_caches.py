"""Cache policies and stores by themselves."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from labels import label

import cascade
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


# -- FileExistenceCache ----------------------------------------------------------------------------------------


async def test_a_file_that_is_there_is_a_hit_that_yields_its_path(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("")
    assert await FileExistenceCache(path).check("task", {}) == Hit(path)


async def test_a_file_that_is_not_there_is_a_miss(tmp_path: pathlib.Path) -> None:
    assert await FileExistenceCache(tmp_path / "out.txt").check("task", {}) is MISS


async def test_saving_writes_no_file(tmp_path: pathlib.Path) -> None:
    await FileExistenceCache(tmp_path / "out.txt").save("task", {}, "result")
    assert await FileExistenceCache(tmp_path / "out.txt").check("task", {}) is MISS


async def test_the_file_system_is_asked_in_a_worker_thread() -> None:
    class Asked:
        threads: set[int] = set()

        def __fspath__(self) -> str:
            self.threads.add(threading.get_ident())
            return "/nowhere"

    path = Asked()
    await FileExistenceCache(path).check("task", {})
    assert path.threads
    assert threading.get_ident() not in path.threads


async def test_a_task_that_writes_a_file_runs_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    ran: list[int] = []

    @cascade.task
    def write() -> pathlib.Path:
        ran.append(1)
        path.write_text("written")
        return path

    flow = write().with_cache(FileExistenceCache(path))
    assert [await cascade.run(flow), await cascade.run(flow)] == [path, path]
    assert ran == [1]
