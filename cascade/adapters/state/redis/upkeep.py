"""Keeps the runs in Redis in order: deletes runs, and finds what cannot be read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cascade.adapters.redis_client import Session
from cascade.adapters.state.damage import damage_of_digest, damage_of_pickle, damaged_fields
from cascade.adapters.state.redis.lease import PARTS, PREFIX, Lease
from cascade.adapters.state.redis.ledger import named, now_at, opened, read_run, read_runs
from cascade.runtime.durability.history import Damage, RunRecord
from cascade.runtime.foundation.fairness import considerate

# Values that are asked for at once.
_AT_ONCE = 200


def delete_runs(url: str, runs: Sequence[RunRecord]) -> list[str]:
    """Delete *runs*, as they were read, with all that is recorded of them, each at once or not at all.

    Leaves out a run that was written since, or that a process executes.

    Returns:
        The ids of those that were deleted.
    """
    with opened(url) as session:
        names = named(session)
        return [
            run.run_id for run in runs if run.run_id in names and _delete(session, names[run.run_id], run.updated)
        ]


def _delete(session: Session, name: bytes, written: float) -> bool:
    """Delete the run called *name*, if it was written last at *written*; returns whether that is done."""
    keys = {part: PREFIX.encode() + name + f":{part}".encode() for part in PARTS}
    names = [*keys.values()]
    with session.pipeline(transaction=True) as pipe:
        pipe.watch(*names)
        try:
            lease = Lease.read(pipe.get(keys["lease"]))
            updated = float(pipe.hget(keys["meta"], "updated") or math.inf)  # it is gone
        except (ValueError, session.library.ResponseError):
            return False
        is_held = lease.owner is not None and lease.until > now_at(session) and not lease.owner.is_dead()
        if is_held or updated > written:
            return False
        pipe.multi()
        pipe.unlink(*names)
        try:
            pipe.execute()
        except session.library.WatchError:  # somebody has begun it just now
            return False
    return True


def size(url: str) -> int | None:
    """Not known: the server holds other things as well."""
    return None


def find_damage(url: str) -> list[Damage]:
    """What cannot be read of the runs at *url*. Reads all of it."""
    found: list[Damage] = []
    with opened(url) as session:
        names = named(session)
        for run in read_runs(url):
            whole = read_run(url, run.run_id)
            found += damaged_fields(run if whole is None else whole)
            found += _damaged_values(session, names.get(run.run_id, run.run_id.encode()), run.run_id)
    return found


def _damaged_values(session: Session, name: bytes, run_id: str) -> Iterator[Damage]:
    key = PREFIX.encode() + name + b":"
    try:
        digest, *pickles = session.ask("hmget", key + b"meta", ["flow_digest", "result", "continuation"])
        for what, wrong in zip(
            ("digest of the flow", "result", "loop"),
            (damage_of_digest(digest), *map(damage_of_pickle, pickles)),
            strict=True,
        ):
            if wrong is not None:
                yield Damage(run_id, None, f"its {what} cannot be read: {wrong}")
        for node_id, value in considerate(_scan(session, key + b"results")):
            wrong = damage_of_pickle(value)
            if wrong is not None:
                yield Damage(
                    run_id, node_id.decode("utf-8", "backslashreplace"), f"its value cannot be read: {wrong}"
                )
    except session.library.ResponseError as error:  # a key holds something else
        yield Damage(run_id, None, f"its keys cannot be read: {error}")


def _scan(session: Session, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    cursor = -1
    while cursor:
        cursor, some = session.ask("hscan", key, max(cursor, 0), count=_AT_ONCE)
        yield from some.items()
