"""What keeps an attempt from being admitted, in words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import attrs

from cascade.runtime.admission import Admission
from cascade.runtime.bus import EventStream
from cascade.runtime.capacity import Amounts, Name, shown
from cascade.runtime.claims import Applicant
from cascade.runtime.queue import Holder

# Of those that hold what a node waits for, how many are named.
SHOWN_HOLDERS: Final = 5


@attrs.define(eq=False)
class Blockers:
    """Words for what keeps attempts from being admitted: made once for each thing, however many it keeps."""

    admission: Admission
    _held_by: dict[Holder, str] = attrs.field(factory=dict)
    _holders_of: dict[Name, str] = attrs.field(factory=dict)

    def first(self, applicant: Applicant, amounts: Amounts) -> str:
        """What decides that *applicant*, which claims *amounts*, waits."""
        return next(self.all_of(applicant, amounts))

    def all_of(self, applicant: Applicant, amounts: Amounts) -> Iterator[str]:
        """All that keeps *applicant*, which claims *amounts*, from being admitted: what decides comes first."""
        holders = [self.words(holder, applicant) for holder in self.admission.holders(applicant)]
        yield from holders
        lacking = self.admission.pool.lacking(amounts)
        for name in lacking:
            yield f"needs {shown(amounts[name])} {name}, {self._in_use(name)}"
        if not holders and not lacking:
            yield "waits behind an earlier claim on the same resources"

    def words(self, holder: Holder, applicant: Applicant) -> str:
        """What *holder* is, for people."""
        words = self._held_by.get(holder)
        if words is None:
            words = unread(holder) if isinstance(holder, EventStream) else holder.why(applicant)
            self._held_by[holder] = words
        return words

    def _in_use(self, name: Name) -> str:
        words = self._holders_of.get(name)
        if words is None:
            pool, active = self.admission.pool, self.admission.active
            claims = (claim.applicant.node_id for claim in active if claim.amounts.get(name))
            named = list(islice(claims, SHOWN_HOLDERS + 1))  # no further: there may be very many
            more = ", ..." if len(named) > SHOWN_HOLDERS else ""
            words = (
                f"{shown(pool.held.get(name, 0))} of {shown(pool.totals[name])} in use"
                f" by {', '.join(named[:SHOWN_HOLDERS])}{more}"
            )
            self._holders_of[name] = words
        return words


def unread(stream: EventStream) -> str:
    """What is said of a subscriber that keeps attempts from starting."""
    return f"a subscriber has {stream.statistics().unread} unread events: {stream!r}"
