"""Deadlocks between runs and the runs inside their tasks, on capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

from cascade.model.errors import CapacityError, CascadeError, DeadlockError
from cascade.runtime.admission.claims import Applicant, Claim, Holdings
from cascade.runtime.admission.pool import Amounts, Name, Pool, Slot, shown
from cascade.runtime.admission.waiting_line import Kind, Waiter


def hopeless(applicant: Applicant, amounts: Amounts, holdings: Holdings) -> CascadeError | None:
    """Why waiting for *amounts* could never help, if it could not.

    Returns:
        A ``CapacityError`` if an amount exceeds its total, a ``DeadlockError`` if it exceeds what the tasks around
        the run of *applicant* leave of it.
    """
    pool = holdings.pool
    excess = pool.excess(amounts)
    if excess is not None:
        name, amount, total = excess
        return CapacityError(applicant.node_id, str(name), shown(amount), shown(total))
    for name, amount in amounts.items() if applicant.ancestors else ():
        limit = pool.totals.get(name)
        holders = [claim for claim in applicant.ancestors if holdings.holds(claim, name)]
        taken = sum(claim.amounts[name] for claim in holders)
        if limit is not None and amount + taken > limit:
            cycle = [*(claim.applicant.node_id for claim in holders), applicant.node_id]
            return DeadlockError(applicant.node_id, str(name), shown(amount), shown(limit - taken), cycle)
    return None


def deadlock(kinds: Iterable[Kind], holdings: Holdings) -> tuple[Waiter, DeadlockError] | None:
    """The waiter that came last of those that wait for each other for good, with its error; ``None`` if none do.

    A task does not end before the runs inside it have, so it keeps what it holds for as long as any of theirs
    waits. All others will let go some day. Whoever can be admitted then is taken away, with what that frees, and
    so on; those who are left wait for each other (Holt, "Some deadlock properties of computer systems", 1972).

    Args:
        kinds: Those whom no rule holds.
        holdings: The claims that are held, and the totals.
    """
    waiting, active, pool = list(kinds), holdings.active, holdings.pool
    # If nobody would be stuck who claimed the most that is claimed of each name, nobody is: a quick answer.
    greedy = {Waiter(kind.head.applicant, kind.most): kind.place_with(kind.ticket) or 0 for kind in waiting}
    if not _stuck(greedy, active, pool):
        return None
    heads = {line.head: kind.place_with(line.place) or 0 for kind in waiting for line in kind.lines.values()}
    stuck = _stuck(heads, active, pool)
    if not stuck:
        return None
    last = next(waiter for waiter in reversed(stuck) if waiter.applicant.ancestors)
    return last, _error(last, stuck, _kept_by(stuck, active), pool)


def _stuck(places: Mapping[Waiter, int], active: Container[Claim], pool: Pool) -> list[Waiter]:
    """Those of the waiters, in the order of their places, that wait for each other for good."""
    stuck = sorted(places, key=places.__getitem__)
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
