"""A cache that consists of the output files themselves."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import attrs

from cascade.model.policies import MISS, Hit, Miss
from cascade.runtime.foundation.threads import LoopLimiter, in_thread

_LIMITER = LoopLimiter(4)

FilePath = str | os.PathLike[str]


@attrs.frozen
class FileExistenceCache:
    """Skips a task whose output file exists. The value of a hit is the path.

    For tasks that write a file (or a folder) and return its path. How old the file is, and what made it, does not
    count: a file that exists before the first run is a hit.

    While a task makes its file, an empty file ``.NAME.unfinished`` stands beside it. It is removed when the task
    has succeeded, and stays if the task fails or its process is killed. A file with such a mark is no hit, so the
    task runs again. A missing folder is made for the mark.

    Args:
        path: The file. A string or a ``Path`` may name arguments of the task, as in ``"out/{name}.txt"``; they are
            filled in as by ``str.format``, and ``{{`` stands for a brace. A function gets the bound arguments by
            name and returns the path. Items of a map need a path each: a path that names no mapped argument is a
            ``GraphError``.
    """

    path: FilePath | Callable[[Mapping[str, Any]], FilePath]

    def path_of(self, inputs: Mapping[str, Any]) -> FilePath:
        """The file of a call.

        Args:
            inputs: The bound arguments by name.

        Raises:
            TypeError: If the function that makes the path does not return one.
            ValueError: If the path names an argument that the task does not have.
        """
        if not isinstance(self.path, (str, os.PathLike)):
            made = self.path(inputs)
            if not isinstance(made, (str, os.PathLike)):
                raise TypeError(f"the function of a FileExistenceCache must return a path, not {made!r:.100}")
            return made
        if not isinstance(self.path, (str, PurePath)):
            return self.path
        try:
            text = string.Formatter().vformat(str(self.path), (), inputs)
        except LookupError as error:
            known = ", ".join(inputs) or "none"
            raise ValueError(
                f"the path {str(self.path)!r} names {error}, which is no argument of the task (it has: {known}); "
                "write {{ and }} for braces"
            ) from None
        return text if isinstance(self.path, str) else type(self.path)(text)

    def why_no_items(self, columns: Collection[str]) -> str | None:
        """Why it cannot serve the items of a map; ``None`` if it can.

        Args:
            columns: Names of the mapped parameters.
        """
        if not isinstance(self.path, (str, os.PathLike)):
            return None
        named = string.Formatter().parse(os.fspath(self.path))
        fields = {field.partition(".")[0].partition("[")[0] for _, field, _, _ in named if field}
        if not fields.isdisjoint(columns):
            return None
        example = next(iter(columns))
        return (
            f"FileExistenceCache({os.fspath(self.path)!r}) names one file for all items; put a mapped argument "
            f"into the path, such as {{{example}}}, or give a function of the arguments"
        )

    async def check(self, task_id: str, inputs: Mapping[str, Any]) -> Hit[Any] | Miss:
        """A hit if the file exists and is finished. Otherwise ``MISS``, and the file is marked as unfinished.

        Runs in a worker thread, which is waited for if this is cancelled.

        Args:
            task_id: Not used.
            inputs: The bound arguments by name.

        Raises:
            TypeError: As in :meth:`path_of`.
            ValueError: As in :meth:`path_of`.
        """
        path = self.path_of(inputs)
        return Hit(path) if await in_thread(lambda: _is_finished(path), _LIMITER.get()) else MISS

    def place_of(self, task_id: str, inputs: Mapping[str, Any]) -> Hashable:
        """What calls that make the same file have in common. Only one of them runs at a time.

        Args:
            task_id: Not used.
            inputs: The bound arguments by name.

        Raises:
            TypeError: As in :meth:`path_of`.
            ValueError: As in :meth:`path_of`.
        """
        return "file", os.path.abspath(self.path_of(inputs))

    async def save(self, task_id: str, inputs: Mapping[str, Any], result: Any) -> None:
        """Mark the file as finished: the task has written it.

        Runs in a worker thread, which is waited for if this is cancelled.

        Args:
            task_id: Not used.
            inputs: The bound arguments by name.
            result: Not used.

        Raises:
            TypeError: As in :meth:`path_of`.
            ValueError: As in :meth:`path_of`.
        """
        path = self.path_of(inputs)
        await in_thread(lambda: _finish(path), _LIMITER.get())


def _mark(path: FilePath) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name}.unfinished")


def _is_finished(path: FilePath) -> bool:
    mark = _mark(path)
    if os.path.exists(path) and not os.path.exists(mark):
        return True
    with suppress(OSError):  # where the mark cannot be written, the task cannot write its file
        os.makedirs(os.path.dirname(mark), exist_ok=True)
        os.close(os.open(mark, os.O_CREAT | os.O_WRONLY, 0o600))
    return False


def _finish(path: FilePath) -> None:
    with suppress(FileNotFoundError):
        os.unlink(_mark(path))
