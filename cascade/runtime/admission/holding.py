"""What may hold attempts back, whatever the capacity: rules, and subscribers that do not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import attrs

from cascade.model.events import BlockReason
from cascade.runtime.admission.claims import Applicant
from cascade.runtime.admission.pool import Amounts, Slot
from cascade.runtime.observation.bus import EventStream


class Rule(Protocol):
    """Something that may hold attempts back, whatever the capacity.

    Of those that a rule may hold, it holds all or none at any moment.
    """

    def holds(self, applicant: Applicant) -> bool:
        """Whether *applicant* may not start now."""
        ...

    def why(self, applicant: Applicant) -> str:
        """Why it holds *applicant*, for people."""
        ...

    def spend(self, applicant: Applicant) -> None:
        """*applicant* has been admitted."""
        ...

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        """The attempt has ended, or (``has_run=False``) gone back without starting."""
        ...


Holder = Rule | EventStream


@attrs.define(eq=False)
class Holding:
    """The rules in force, as attempts are judged by them.

    Attributes:
        rules: In the order in which they are asked.
    """

    rules: list[Rule] = attrs.field(factory=list)

    def holder(self, applicant: Applicant) -> Holder | None:
        """What holds *applicant*: a full subscriber, or the first rule that does."""
        return next(self.holders(applicant), None)

    def holders(self, applicant: Applicant) -> Iterator[Holder]:
        """All that holds *applicant*."""
        stream = applicant.bus.full()
        if stream is not None:
            yield stream
        for rule in self.rules:
            if rule.holds(applicant):
                yield rule

    def reason(self, applicant: Applicant, amounts: Amounts) -> BlockReason | None:
        """Why *applicant* waits, as far as it is worth an event: a wait for a mere slot is not."""
        holder = self.holder(applicant)
        if holder is not None:
            return None if isinstance(holder, EventStream) else "ConstraintViolation"
        is_named = any(not isinstance(name, Slot) for name in amounts)
        return "ResourceContention" if is_named else None

    def spend(self, applicant: Applicant) -> None:
        """*applicant* has been admitted."""
        for rule in self.rules:
            rule.spend(applicant)

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        """Its attempt has ended, or gone back without starting."""
        for rule in self.rules:
            rule.give_back(applicant, has_run=has_run)
