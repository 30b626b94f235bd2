"""The key ``cascade:durations`` in Redis, which all runs share. Called in worker threads.

A hash: digest of a flow to the time of the last write (a 64-bit float, seconds since the epoch), followed by the
seconds that each of its nodes takes (a 32-bit float a node, negative if not known). Only the order in which nodes
start depends on it, so it may be missing, or be deleted at any time; and where it is no hash, it is left alone.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from cascade.adapters.redis_client import Session
from cascade.adapters.state.kept_durations import surplus

KEY: Final = "cascade:durations"
_TIME: Final = struct.Struct("<d")


def _fields(session: Session) -> dict[bytes, bytes] | None:
    try:
        found: dict[bytes, bytes] = session.ask("hgetall", KEY)
    except session.library.ResponseError:  # it is no hash
        return None
    return {flow: text for flow, text in found.items() if len(text) > _TIME.size}


def read(session: Session) -> dict[bytes, bytes]:
    """All that there is."""
    return {flow: text[_TIME.size :] for flow, text in (_fields(session) or {}).items()}


class Writing:
    """A write of *durations*, with what it makes superfluous.

    Args:
        session: The visit to the server.
        durations: Digest of a flow to the seconds of its nodes.
        now: Seconds since the epoch.
    """

    def __init__(self, session: Session, durations: Mapping[bytes, bytes], now: float) -> None:
        self._new = {flow: _TIME.pack(now) + seconds for flow, seconds in durations.items()}
        self._gone: list[bytes] = []
        known = _fields(session) if durations else {}
        if known is None:
            self._new = {}
        elif self._new:
            old = sorted(
                ((flow, text) for flow, text in known.items() if flow not in self._new),
                key=lambda item: _TIME.unpack_from(item[1]),
                reverse=True,
            )
            sizes = [(flow, len(text)) for flow, text in (*self._new.items(), *old)]
            self._gone = list(surplus(sizes))

    def queue(self, pipe: Any, ttl: int) -> None:
        """Queue the commands in a MULTI; what is kept expires *ttl* seconds after the last write."""
        if self._new:
            pipe.hset(KEY, mapping=self._new)
            pipe.expire(KEY, ttl)
        if self._gone:
            pipe.hdel(KEY, *self._gone)
