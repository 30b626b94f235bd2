"""A cache that is the output file itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from cascade.model.policies import MISS, Hit, Miss
from cascade.runtime.threads import LoopLimiter, in_thread

_LIMITER = LoopLimiter(4)


@attrs.frozen
class FileExistenceCache:
    """Skips a task whose output file exists; the hit yields the path.

    For tasks that write a file and return its path. Says nothing about how old the file is, or what made it.

    Args:
        path: The file; what is yielded is the path as given here.
    """

    path: str | os.PathLike[str]

    async def check(self, task_id: str, inputs: Mapping[str, Any]) -> Hit[Any] | Miss:
        """A hit if the file exists."""
        exists = await in_thread(lambda: os.path.exists(self.path), _LIMITER.get())
        return Hit(self.path) if exists else MISS

    async def save(self, task_id: str, inputs: Mapping[str, Any], result: Any) -> None:
        """Nothing to do: the task has written the file."""
        return
