"""Caches that raise, hang or are given what they cannot work with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import attrs
import pytest
from memory_cache import memory_cache
from plain_tasks import step
from strategies_runtime import raised_by

import cascade
from cascade.cache import MISS, InputCache, MemoryCacheStore
from cascade.testing import record_events

cache = memory_cache


@attrs.define
class Broken:
    """A store that raises where it is told to."""

    on_get: Exception | None = None
    on_set: Exception | None = None

    async def get(self, key: str) -> Any:
        if self.on_get is not None:
            raise self.on_get
        return MISS

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        if self.on_set is not None:
            raise self.on_set


@pytest.mark.parametrize("where", ["on_get", "on_set"])
@pytest.mark.parametrize("place", ["target", "tail call", "item"])
async def test_a_store_that_raises_is_a_warning_and_no_failure(where: str, place: str) -> None:
    cache = InputCache(Broken(**{where: OSError("connection lost")}))

    @cascade.task
    async def hand_over(_: Any = None) -> Any:
        return step("fine")

    flow = {"target": step("fine"), "tail call": hand_over(), "item": hand_over.map(_=[1])}[place].with_cache(
        cache
    )
    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            assert await engine.run(flow) in ("fine", ["fine"])
    (warning,) = recorded.of(cascade.EngineWarning)
    assert warning.code == "cache-failed"
    assert "OSError: connection lost" in warning.message


async def test_a_key_function_that_raises_is_a_warning_and_no_failure() -> None:
    cache = InputCache(MemoryCacheStore(), key=lambda inputs: str(inputs["missing"]))
    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            assert await engine.run(step("fine").with_cache(cache)) == "fine"
    assert {warning.code for warning in recorded.of(cascade.EngineWarning)} == {"cache-failed"}


async def test_an_argument_without_canonical_hash_fails_the_node_and_is_named(cache: InputCache) -> None:
    class Plain: ...

    error, recorded = await raised_by(step({"deep": [0, Plain()]}).with_cache(cache))
    assert isinstance(error, TypeError)
    assert "value['deep'][1]" in str(error)
    assert recorded.of(cascade.TaskExecutionStarted) == []


async def test_a_cache_that_hangs_is_cancelled_with_the_run() -> None:
    @attrs.define
    class Hanging:
        async def check(self, task_id: str, inputs: Mapping[str, object]) -> Any:
            await anyio.sleep_forever()

        async def save(self, task_id: str, inputs: Mapping[str, object], result: object) -> None: ...

    async with cascade.start(step().with_cache(Hanging())) as run:
        await anyio.wait_all_tasks_blocked()
        run.cancel()


@pytest.mark.parametrize("policy", [5, "cache", InputCache, object()])
def test_what_is_no_cache_policy_is_refused(policy: Any) -> None:
    with pytest.raises(TypeError, match="cache policy"):
        step().with_cache(policy)


@pytest.mark.parametrize("policy", [5, "cache", InputCache, object()])
def test_what_is_no_cache_policy_cannot_be_a_task_s_default(policy: Any) -> None:
    with pytest.raises(TypeError, match="cache policy"):

        @cascade.task(cache=policy)
        def work() -> None: ...
