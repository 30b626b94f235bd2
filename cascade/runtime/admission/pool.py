"""Named amounts, and who holds how much of them. Plain bookkeeping; who may take is decided by admission."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from fractions import Fraction

import attrs

from cascade.model.policies import exact

Amount = int | Fraction


class Slot(Enum):
    """What the engine itself has a limited number of. Claimed together with named resources, in one step."""

    THREAD = "thread slot"
    PROCESS = "process slot"
    REMOTE = "remote slot"

    def __str__(self) -> str:
        return self.value


Name = str | Slot
Amounts = Mapping[Name, Amount]


@attrs.define(eq=False)
class Pool:
    """Totals and what is held of them. A name without total is unlimited, and counted all the same."""

    totals: dict[Name, Amount] = attrs.field(factory=dict)
    held: dict[Name, Amount] = attrs.field(factory=dict)

    def fits(self, amounts: Amounts) -> bool:
        """Whether all *amounts* are free at once."""
        for name, amount in amounts.items():
            total = self.totals.get(name)
            if total is not None and self.held.get(name, 0) + amount > total:
                return False
        return True

    def take(self, amounts: Amounts) -> None:
        """Hold *amounts*; they must fit."""
        for name, amount in amounts.items():
            self.held[name] = self.held.get(name, 0) + amount

    def give(self, amounts: Amounts) -> None:
        """Hold *amounts* no longer."""
        for name, amount in amounts.items():
            rest = self.held.get(name, 0) - amount  # a claim of nothing may outlive the entry
            if rest:
                self.held[name] = rest
            else:
                self.held.pop(name, None)

    def lacking(self, amounts: Amounts) -> list[Name]:
        """The names of which there is not enough free for *amounts*."""
        return [name for name, amount in amounts.items() if not self.fits({name: amount})]

    def excess(self, amounts: Amounts) -> tuple[Name, Amount, Amount] | None:
        """The first (name, amount, total) that is more than there is in total."""
        for name, amount in amounts.items():
            total = self.totals.get(name)
            if total is not None and amount > total:
                return name, amount, total
        return None


def checked_totals(resources: Mapping[str, object]) -> dict[Name, Amount]:
    """*resources* as exact totals.

    Raises:
        ValueError: If a total is negative, not finite, or no number.
    """
    return {name: exact(total, name) for name, total in resources.items()}


def shown(amount: Amount) -> str:
    """*amount* as a person would write it."""
    if isinstance(amount, int):
        return str(amount)
    as_float = float(amount)
    return repr(as_float) if Fraction(repr(as_float)) == amount else str(amount)
