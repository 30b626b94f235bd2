"""What running a flow may give, and what a run of it has given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Deeds:
    """What is done on the way to a value.

    Attributes:
        ran: Names of the calls whose function was called; of a map also ``name[item]``.
        skipped: Names of the others, each with its reason. The same call can have several in the flows that the
            items of a map have asked for.
        calls: How often the function of each was called.
        undone: Names of the calls that have succeeded and are undone, as something went wrong; of a map
            ``name[item]``.
        kept: Names of the items, as ``name[item]``, whose values the error hands over, as their map has failed.
    """

    ran: set[str] = field(default_factory=set)
    skipped: set[tuple[str, str]] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    undone: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)

    def add(self, others: Deeds) -> None:
        """Add what *others* have done."""
        self.ran |= others.ran
        self.skipped |= others.skipped
        self.calls += others.calls
        self.undone |= others.undone
        self.kept |= others.kept


@dataclass
class Found:
    """What a run has given.

    Attributes:
        value: The value; ``None`` if there is an error.
        errors: Type names of all that went wrong.
        deeds: What was done.
    """

    value: Any = None
    errors: list[str] = field(default_factory=list)
    deeds: Deeds = field(default_factory=Deeds)


@dataclass
class Meaning:
    """What running a flow gives, in one of the ways to win its races.

    Attributes:
        value: The value; ``None`` if there is an error.
        errors: Type names of all that went wrong, in no order that matters.
        certain: What is done.
        possible: What is done beyond that perhaps, as only losers of races need it.
    """

    value: Any = None
    errors: list[str] = field(default_factory=list)
    certain: Deeds = field(default_factory=Deeds)
    possible: Deeds = field(default_factory=Deeds)

    def differences(self, found: Found) -> list[str]:
        """Where a run differs that has gone on after failures."""
        differences = self.differences_if_silent(repr(found.value), found.errors, found.deeds.calls)
        for name in ("ran", "skipped", "undone", "kept"):
            certain, has = getattr(self.certain, name), getattr(found.deeds, name)
            differences += _outside(name, has, certain, certain | getattr(self.possible, name))
        return differences

    def differences_if_silent(self, value: str, errors: list[str], calls: Counter[str]) -> list[str]:
        """The same, for a run of which no events were seen.

        Args:
            value: Its value, as text.
            errors: Type names of what went wrong.
            calls: How often the function of each call was called.
        """
        differences = [] if Counter(errors) == Counter(self.errors) else [f"errors: {self.errors}"]
        differences += [] if value == repr(self.value) else [f"value: {self.value!r}"]
        certain = self.certain.calls
        return differences + _outside("calls", calls, certain, certain + self.possible.calls)

    def differences_at_first(self, found: Found, perhaps: AbstractSet[str] = frozenset()) -> list[str]:
        """Where a run differs that has ended with its first failure; what is in *perhaps* may have been done."""
        if not self.errors:
            return self.differences(found)
        differences = []
        if len(found.errors) != 1 or not set(found.errors) <= set(self.errors):
            differences.append(f"one error of {self.errors}")
        for name in ("ran", "undone"):
            most = getattr(self.certain, name) | getattr(self.possible, name) | perhaps
            differences += _outside(name, getattr(found.deeds, name), set(), most)
        return differences


def _outside(name: str, has: Any, least: Any, most: Any) -> list[str]:
    """What is wrong with *has*, sets or counters, which should be between two others."""
    lacking, beyond = least - has, has - most
    return [
        *([f"{name} lacking: {lacking}"] if lacking else []),
        *([f"{name} beyond: {beyond}"] if beyond else []),
    ]


def are_certain(meanings: list[Meaning]) -> bool:
    """Whether there is but one meaning, and it leaves nothing open."""
    return len(meanings) == 1 and meanings[0].possible == Deeds()
