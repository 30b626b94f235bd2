"""Redis through redis-py, in threads; whatever needs it comes here first."""

from __future__ import annotations

import importlib
from typing import Any, Final

# Seconds to wait for a server to accept a connection, and for an answer.
CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 15.0


def redis_library(purpose: str) -> Any:
    """The module ``redis``; *purpose* is what needs it.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module("redis")
    except ImportError as error:
        raise ImportError(
            f"The 'redis' library is required for {purpose}; install it with: pip install 'cascade[redis]'"
        ) from error


def check_client(client: Any, purpose: str) -> None:
    """See that *client* is one that can be used here.

    Raises:
        TypeError: If it is not a client, or an asynchronous one.
        ValueError: If it decodes what it reads, which would spoil pickles.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None or not callable(getattr(client, "pipeline", None)) or "asyncio" in type(client).__module__:
        # A URL, or the repr of a client, may hold a password.
        kind = f"{type(client).__module__}.{type(client).__name__}"
        raise TypeError(f"{purpose} takes a redis.Redis client (the synchronous one), not one of type {kind}")
    if getattr(pool, "connection_kwargs", {}).get("decode_responses"):
        raise ValueError(f"{purpose} stores bytes: make the client with decode_responses=False")


def client_of(url: str, purpose: str) -> Any:
    """A client for ``redis://host:port/number``. Connects to nothing yet.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If the URL means nothing.
    """
    return redis_library(purpose).Redis.from_url(
        url, socket_timeout=ANSWER_TIMEOUT, socket_connect_timeout=CONNECT_TIMEOUT
    )
