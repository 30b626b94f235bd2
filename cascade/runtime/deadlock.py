"""Deadlocks between runs and the runs inside their tasks, on capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence

from cascade.model.errors import DeadlockError
from cascade.runtime.capacity import Name, Pool, Slot, shown
from cascade.runtime.claims import Claim
from cascade.runtime.lines import Kind, Waiter


def deadlock(kinds: Iterable[Kind], active: Container[Claim], pool: Pool) -> tuple[Waiter, DeadlockError] | None:
    """The waiter that came last of those that wait for each other for good, with its error; ``None`` if none do.

    A task does not end before the runs inside it have, so it keeps what it holds for as long as any of theirs
    waits. All others will let go some day. Whoever can be admitted then is taken away, with what that frees, and
    so on; those who are left wait for each other (Holt, "Some deadlock properties of computer systems", 1972).

    Args:
        kinds: Those whom no rule holds.
        active: The claims that are held.
        pool: The totals.
    """
    waiting = list(kinds)
    # If nobody would be stuck who claimed the most that is claimed of each name, nobody is: a quick answer.
    greedy = [Waiter(kind.head.applicant, kind.most, kind.head.ticket) for kind in waiting]
    if not _stuck(greedy, active, pool):
        return None
    heads = [line.head for kind in waiting for line in kind.lines.values()]
    stuck = _stuck(heads, active, pool)
    if not stuck:
        return None
    last = next(waiter for waiter in reversed(stuck) if waiter.applicant.ancestors)
    return last, _error(last, stuck, _kept_by(stuck, active), pool)


def _stuck(waiters: Iterable[Waiter], active: Container[Claim], pool: Pool) -> list[Waiter]:
    """Those of *waiters*, in the order of their tickets, that wait for each other for good."""
    stuck = sorted(waiters, key=lambda waiter: waiter.ticket)
    while any(waiter.applicant.ancestors for waiter in stuck):
        left = _left_waiting(stuck, _kept_by(stuck, active), pool)
        if len(left) == len(stuck):
            return stuck
        stuck = left
    return []


def _kept_by(stuck: Iterable[Waiter], active: Container[Claim]) -> list[Claim]:
    around = dict.fromkeys(claim for waiter in stuck for claim in waiter.applicant.ancestors)
    return [claim for claim in around if claim in active]


def _lacking(waiter: Waiter, kept: Iterable[Claim], pool: Pool) -> list[tuple[Name, object]]:
    """Names of which there is never enough for *waiter*, with what there is."""
    held: Counter[Name] = Counter()
    for claim in kept:
        held.update(claim.amounts)
    found: list[tuple[Name, object]] = []
    for name, amount in waiter.amounts.items():
        total = pool.totals.get(name)
        if total is not None and held[name] + amount > total:
            found.append((name, shown(total - held[name])))
    return found


def _left_waiting(stuck: Iterable[Waiter], kept: Iterable[Claim], pool: Pool) -> list[Waiter]:
    left: list[Waiter] = []
    taken: set[Name] = set()
    for waiter in stuck:
        if _lacking(waiter, kept, pool) or not taken.isdisjoint(waiter.amounts):
            left.append(waiter)
            taken.update(name for name in waiter.amounts if not isinstance(name, Slot))
    return left


def _error(last: Waiter, stuck: Sequence[Waiter], kept: Sequence[Claim], pool: Pool) -> DeadlockError:
    """What to tell *last*, with a way from it back to itself."""
    way: list[str] = []
    seen: set[Waiter] = set()
    waiter: Waiter | None = last
    while waiter is not None and waiter not in seen:
        seen.add(waiter)
        way.append(waiter.applicant.node_id)
        names = {name for name, _ in _lacking(waiter, kept, pool)}
        own = waiter.applicant.ancestors
        holders = [claim for claim in kept if not names.isdisjoint(claim.amounts)]
        holder = next((claim for claim in holders if claim not in own), holders[0] if holders else None)
        if holder is None:  # there would be enough, but for somebody who came before
            waiter = next(other for other in stuck if not set(other.amounts).isdisjoint(waiter.amounts))
            continue
        way.append(holder.applicant.node_id)
        waiter = next(other for other in stuck if holder in other.applicant.ancestors)
    lacking = _lacking(last, kept, pool)
    name, left = lacking[0] if lacking else (next(iter(last.amounts)), 0)
    return DeadlockError(last.applicant.node_id, str(name), shown(last.amounts[name]), left, way[::-1])
