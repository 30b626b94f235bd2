"""The state backend in memory, and what the base class does for any backend."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import anyio
import pytest
from anyio.lowlevel import RunVar
from anyio.to_thread import current_default_thread_limiter

from cascade.state import InMemoryStateBackend, StateBackend


class Minimal(StateBackend):
    """A backend of single operations only, which are noted."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.calls: list[tuple[str, Any]] = []
        self.results: dict[str, Any] = {}

    async def put_result(self, node_id: str, result: Any) -> None:
        self.calls.append((node_id, result))
        self.results[node_id] = result

    async def get_result(self, node_id: str) -> Any:
        return self.results.get(node_id)

    async def has_result(self, node_id: str) -> bool:
        return node_id in self.results

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        self.calls.append((node_id, reason))

    async def get_skip_reason(self, node_id: str) -> str | None:
        return dict(self.calls).get(node_id)

    async def clear(self) -> None:
        self.results.clear()


class Watched(Mapping[str, Any]):
    """Results that note on which thread they are read, and how many tokens of a limiter are borrowed then."""

    def __init__(self, backend: InMemoryStateBackend) -> None:
        self.limiter = backend.limiter
        self.threads: set[int] = set()
        self.borrowed: set[int] = set()

    def __getitem__(self, key: str) -> Any:
        self.threads.add(threading.get_ident())
        self.borrowed.add(self.limiter.borrowed_tokens)
        return "value"

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


@pytest.fixture
def backend() -> InMemoryStateBackend:
    return InMemoryStateBackend("run")


def test_a_backend_serves_the_run_it_was_made_for(backend: InMemoryStateBackend) -> None:
    assert isinstance(backend, StateBackend)
    assert backend.run_id == "run"


@pytest.mark.parametrize("value", [None, False, 0, "", [], {"a": 1}, object()])
async def test_a_result_is_given_back_as_it_was_put(backend: InMemoryStateBackend, value: Any) -> None:
    await backend.put_result("a", value)
    assert await backend.has_result("a")
    assert await backend.get_result("a") is value


async def test_clearing_forgets_results_and_skips(backend: InMemoryStateBackend) -> None:
    await backend.put_result("a", 1)
    await backend.mark_skipped("b", "Pruned")
    await backend.clear()
    assert not await backend.has_result("a")
    assert await backend.get_skip_reason("b") is None


async def test_a_batch_may_hold_none(backend: InMemoryStateBackend) -> None:
    await backend.put_results({"a": None, "b": 2})
    await backend.mark_all_skipped({"c": "Pruned", "d": "ConditionFalse"})
    assert await backend.get_results(["a", "b", "c", "missing"]) == {"a": None, "b": 2}
    assert [await backend.get_skip_reason(node) for node in "cd"] == ["Pruned", "ConditionFalse"]


async def test_two_backends_share_nothing() -> None:
    one, two = InMemoryStateBackend("same"), InMemoryStateBackend("same")
    await one.put_result("a", 1)
    assert not await two.has_result("a")
    assert one.limiter is not two.limiter


async def test_operations_run_in_worker_threads_under_a_limiter_of_the_backend_s_own(
    backend: InMemoryStateBackend,
) -> None:
    watched = Watched(backend)
    await backend.put_results(watched)
    assert watched.threads
    assert threading.get_ident() not in watched.threads
    assert watched.borrowed == {1}
    assert backend.limiter is not current_default_thread_limiter()


async def test_operations_work_when_all_default_threads_are_taken(backend: InMemoryStateBackend) -> None:
    limiter = current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    try:
        async with limiter:
            with anyio.fail_after(60):
                await backend.put_result("a", 1)
                assert await backend.get_results(["a"]) == {"a": 1}
    finally:
        limiter.total_tokens = before


async def test_what_is_written_at_once_by_many_is_all_there(backend: InMemoryStateBackend) -> None:
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(backend.put_result, f"{number}", number)
    assert await backend.get_results([f"{number}" for number in range(20)]) == {f"{n}": n for n in range(20)}


@pytest.mark.parametrize("operation", ["put_result", "put_results", "mark_skipped", "mark_all_skipped", "clear"])
async def test_a_write_is_not_lost_when_its_caller_is_cancelled(
    backend: InMemoryStateBackend, operation: str
) -> None:
    await backend.put_result("old", 1)
    arguments: dict[str, tuple[Any, ...]] = {
        "put_result": ("a", "Pruned"),
        "put_results": ({"a": "Pruned"},),
        "mark_skipped": ("a", "Pruned"),
        "mark_all_skipped": ({"a": "Pruned"},),
        "clear": (),
    }
    with anyio.CancelScope() as scope:
        scope.cancel()
        await getattr(backend, operation)(*arguments[operation])
    is_there = await backend.get_result("a") == "Pruned" or await backend.get_skip_reason("a") == "Pruned"
    assert is_there or not await backend.has_result("old")


async def test_a_backend_that_is_gone_leaves_nothing_behind_on_the_loop() -> None:
    def how_many() -> int:
        gc.collect()
        return sum(isinstance(thing, RunVar) for thing in gc.get_objects())

    await InMemoryStateBackend("run").put_result("a", 1)
    before = how_many()
    for _ in range(5):
        await InMemoryStateBackend("run").put_result("a", 1)
    assert how_many() <= before + 1


def test_a_backend_serves_one_loop_after_another(backend_name: str) -> None:
    backend = InMemoryStateBackend("run")
    anyio.run(backend.put_result, "a", 1, backend="asyncio")
    assert anyio.run(backend.get_result, "a", backend=backend_name) == 1


# -- the base class --------------------------------------------------------------------------------------------


def test_a_backend_without_the_single_operations_cannot_be_made() -> None:
    class Empty(StateBackend): ...

    with pytest.raises(TypeError, match="put_result"):
        Empty("run")  # type: ignore[abstract]  # this is what must not work


async def test_batches_call_single_operations_in_order_unless_a_backend_does_better() -> None:
    backend = Minimal("run")
    await backend.put_results({"b": 1, "a": None})
    await backend.mark_all_skipped({"d": "Pruned", "c": "ConditionFalse"})
    assert backend.calls == [("b", 1), ("a", None), ("d", "Pruned"), ("c", "ConditionFalse")]


async def test_reading_a_batch_leaves_out_what_is_not_there() -> None:
    backend = Minimal("run")
    await backend.put_results({"a": None, "b": 2})
    assert await backend.get_results(["b", "missing", "a"]) == {"a": None, "b": 2}


async def test_a_backend_that_holds_nothing_open_can_be_closed() -> None:
    await Minimal("run").aclose()
