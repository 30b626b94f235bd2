"""How this process gets its connection to Ray, and who ends it."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

import attrs

from cascade.adapters.remote.foreign import library_of
from cascade.adapters.serialization.values import shortened

# Seconds in which the head node has to accept a connection.
_PATIENCE: Final = 8


def library() -> ModuleType:
    """The module ``ray``.

    Raises:
        ImportError: If it is not installed; the message names the extra.
    """
    return library_of("ray", "ray")


@attrs.frozen
class Source:
    """Where the cluster is.

    Attributes:
        address: As ``ray.init`` takes it: ``"ray://host:10001"``, ``"auto"``, ``"host:6379"``; ``"local"`` starts
            workers on this machine; ``None``: that to which the process is connected already.
        workers: With ``"local"``, how many; ``None``: one for each processor.
    """

    address: str | None
    workers: int | None = None

    def connect(self) -> bool:
        """Connect this process, unless it is connected. To be called in a thread.

        Returns:
            Whether the connection is ours, and so to be ended after use.

        Raises:
            ConnectionError: If the cluster cannot be reached within eight seconds.
            ImportError: If Ray is not installed.
            RuntimeError: If the process has no connection and is to have one, or has another one.
        """
        ray = library()
        if ray.is_initialized():
            if self.address is None:
                return False
            raise RuntimeError(
                f"this process is connected to Ray already, and has only one connection; give RayExecutor() "
                f"instead of {self.address!r}, or call ray.shutdown() first"
            )
        if self.address is None:
            raise RuntimeError(
                "this process is not connected to Ray; call ray.init() or give RayExecutor an address"
            )
        self._see_whether_there()
        options: dict[str, Any] = {"logging_level": "error"}
        if self.address == "local":
            options |= {"num_cpus": self.workers, "include_dashboard": False}
        try:
            ray.init(self.address, **options)
        except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
            with suppress(Exception):  # half a connection
                ray.shutdown()
            raise ConnectionError(f"no connection to Ray at {self.address!r}: {shortened(error)}") from None
        return True

    def _see_whether_there(self) -> None:
        """Ask for a plain connection first, as Ray itself tries for minutes."""
        found = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", self.address or "")
        if found is None:
            return
        try:
            socket.create_connection((found[1], int(found[2])), _PATIENCE).close()
        except OSError as error:
            raise ConnectionError(
                f"the Ray cluster at {self.address!r} cannot be reached: {shortened(error)}; is it running there?"
            ) from None
