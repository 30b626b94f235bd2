"""State in this process: for tests, and for seeing what would be recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from anyio import CancelScope, CapacityLimiter

from cascade.runtime.state import StateBackend
from cascade.runtime.threads import LoopLimiter, in_thread

T = TypeVar("T")


class InMemoryStateBackend(StateBackend):
    """The outcomes of one run in dictionaries, reached as a real store is: in worker threads, in batches.

    Args:
        run_id: The run.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self._results: dict[str, Any] = {}
        self._skips: dict[str, str] = {}
        self._limiter = LoopLimiter(1)

    @property
    def limiter(self) -> CapacityLimiter:
        """What bounds this backend's threads: one at a time, so that operations keep their order."""
        return self._limiter.get()

    async def _in_thread(self, func: Callable[[], T]) -> T:
        return await in_thread(func, self.limiter)

    async def _write(self, func: Callable[[], None]) -> None:
        # Accepted means written: a cancelled caller must not leave a write half-way in line.
        with CancelScope(shield=True):
            await self._in_thread(func)

    async def put_result(self, node_id: str, result: Any) -> None:
        await self.put_results({node_id: result})

    async def put_results(self, results: Mapping[str, Any]) -> None:
        await self._write(lambda: self._results.update(results))

    async def get_result(self, node_id: str) -> Any:
        return await self._in_thread(lambda: self._results.get(node_id))

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        wanted = list(node_ids)
        return await self._in_thread(lambda: {key: self._results[key] for key in wanted if key in self._results})

    async def has_result(self, node_id: str) -> bool:
        return await self._in_thread(lambda: node_id in self._results)

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        await self.mark_all_skipped({node_id: reason})

    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
        await self._write(lambda: self._skips.update(reasons))

    async def get_skip_reason(self, node_id: str) -> str | None:
        return await self._in_thread(lambda: self._skips.get(node_id))

    async def clear(self) -> None:
        def forget() -> None:
            self._results.clear()
            self._skips.clear()

        await self._write(forget)
