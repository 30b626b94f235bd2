"""A cache of one's own, as a user may write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.cache import MISS, Hit


class Memory:
    """Knows what has been saved under the key that *key* makes of a node's id and its arguments."""

    def __init__(self, key: Callable[[str, Any], Any]) -> None:
        self.key = key
        self.saved: dict[Any, Any] = {}

    async def check(self, task_id: str, inputs: Any) -> Any:
        """A hit if it has been saved."""
        key = self.key(task_id, inputs)
        return Hit(self.saved[key]) if key in self.saved else MISS

    async def save(self, task_id: str, inputs: Any, result: Any) -> None:
        """Keep *result*."""
        self.saved[self.key(task_id, inputs)] = result
