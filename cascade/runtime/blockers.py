"""What keeps an attempt from being admitted, in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from cascade.runtime.admission import Admission, Applicant
from cascade.runtime.bus import EventStream
from cascade.runtime.capacity import Amounts, shown

# Of those that hold what a node waits for, how many are named.
SHOWN_HOLDERS: Final = 5


def blockers(admission: Admission, applicant: Applicant, amounts: Amounts) -> Iterator[str]:
    """All that keeps *applicant*, which claims *amounts*, from being admitted: what decides comes first."""
    holders = list(admission.holders(applicant))
    for holder in holders:
        yield unread(holder) if isinstance(holder, EventStream) else holder
    pool = admission.pool
    lacking = pool.lacking(amounts)
    for name in lacking:
        claims = (claim.applicant.node_id for claim in admission.active if claim.amounts.get(name))
        named = list(itertools.islice(claims, SHOWN_HOLDERS + 1))  # no further: there may be very many
        more = ", ..." if len(named) > SHOWN_HOLDERS else ""
        yield (
            f"needs {shown(amounts[name])} {name}, {shown(pool.held.get(name, 0))} of {shown(pool.totals[name])} "
            f"in use by {', '.join(named[:SHOWN_HOLDERS])}{more}"
        )
    if not holders and not lacking:
        yield "waits behind an earlier claim on the same resources"


def unread(stream: EventStream) -> str:
    """What is said of a subscriber that keeps attempts from starting."""
    return f"a subscriber has {stream.statistics().unread} unread events: {stream!r}"
