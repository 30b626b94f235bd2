"""Rules that stand: what admission asks, with the counts and clocks that belong to each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import attrs
from anyio import current_time

from cascade.model.rules import Concurrency, ControlRule, Kind, Pause, Rate, matcher
from cascade.model.text import duration
from cascade.runtime.admission import Admission
from cascade.runtime.claims import Applicant

# The plainest words first: whoever is paused need not hear of rates.
ORDER: Final[tuple[Kind, ...]] = ("pause", "concurrency", "rate")


@attrs.define(eq=False)
class Standing:
    """A rule that stands.

    Attributes:
        rule: What it says.
        deadline: When it ends, on the event loop's clock.
        poke: Called when it has something new to wait for.
    """

    rule: ControlRule
    deadline: float = math.inf
    poke: Callable[[], None] = attrs.field(kw_only=True)
    _covers: Callable[[str, str, str], bool] = attrs.field(init=False)

    @_covers.default
    def _compile(self) -> Callable[[str, str, str], bool]:
        return matcher(self.rule.scope)

    def covers(self, applicant: Applicant) -> bool:
        """Whether it is about *applicant*; a lane is nobody, it looks at rules before each of its nodes."""
        if applicant.is_lane:
            return False
        return self._covers(applicant.task_name, applicant.full_name, applicant.run_id)

    def holds(self, applicant: Applicant) -> bool:
        """Whether *applicant* may not start now."""
        raise NotImplementedError  # pragma: no cover  # each kind of rule says that

    def why(self, applicant: Applicant) -> str:
        """Why it holds *applicant*, for people."""
        raise NotImplementedError  # pragma: no cover  # each kind of rule says that

    def spend(self, applicant: Applicant) -> None:
        """*applicant* has been admitted."""

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        """The attempt has ended, or gone back."""

    def due(self) -> float:
        """When somebody whom it holds may start, on the event loop's clock, if nothing else happens."""
        return math.inf

    def begin(self, before: Standing | None, admissions: Iterable[Admission]) -> None:
        """Take over from the rule *before* it, and count what runs already; the gate is closed."""

    def shift(self, seconds: float) -> None:
        """The clock is another one, ahead of the old one by *seconds*."""
        self.deadline += seconds

    @property
    def said_by(self) -> str:
        """Who says so, about what."""
        return f"by {self.rule.author!r} ({self.rule.scope})"


@attrs.define(eq=False)
class StandingPause(Standing):
    """Holds everybody whom it covers."""

    def holds(self, applicant: Applicant) -> bool:
        return self.covers(applicant)

    def why(self, applicant: Applicant) -> str:
        return f"paused {self.said_by}"


@attrs.define(eq=False)
class StandingLimit(Standing):
    """Counts those whom it covers, also those who began before it did.

    Attributes:
        running: How many have been admitted and not ended.
    """

    running: int = 0
    _admissions: list[Admission] = attrs.field(factory=list)

    @property
    def limit(self) -> int:
        """How many may run."""
        assert isinstance(self.rule, Concurrency)  # see `stand`
        return self.rule.limit

    def holds(self, applicant: Applicant) -> bool:
        return self.running >= self.limit and self.covers(applicant)

    def why(self, applicant: Applicant) -> str:
        holders = [
            claim.applicant.node_id
            for admission in self._admissions
            for claim in admission.first_active(5, self.covers)
        ]
        rest = ", ..." if self.running > len(holders) else ""
        return f"limited to {self.limit} at a time {self.said_by}; running: {', '.join(holders)}{rest}"

    def spend(self, applicant: Applicant) -> None:
        self.running += self.covers(applicant)

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        self.running -= self.covers(applicant)

    def begin(self, before: Standing | None, admissions: Iterable[Admission]) -> None:
        self._admissions = list(admissions)
        self.running = 0
        for admission in self._admissions:
            self.running += sum(map(self.covers, (claim.applicant for claim in admission.active)))


@attrs.define(eq=False)
class StandingRate(Standing):
    """A bucket that refills with time, kept as the moment at which it will be full (GCRA).

    Attributes:
        full_at: When it is full, on the event loop's clock.
        is_wanted: Whether it has held somebody since it was last asked when it is due.
        spenders: Who has a token of this bucket. Those admitted before it was there have none to give back.
    """

    full_at: float = -math.inf
    is_wanted: bool = False
    spenders: set[Applicant] = attrs.field(factory=set)

    @property
    def said(self) -> Rate:
        """What the rule says."""
        assert isinstance(self.rule, Rate)  # see `stand`
        return self.rule

    @property
    def period(self) -> float:
        """Seconds between two tokens."""
        return float(1 / self.said.per_second)

    def ready_at(self) -> float:
        """When there is a token."""
        return self.full_at - self.period * (self.said.burst - 1)

    def holds(self, applicant: Applicant) -> bool:
        if not self.covers(applicant) or self.ready_at() <= current_time():
            return False
        if not self.is_wanted:
            self.is_wanted = True
            self.poke()
        return True

    def why(self, applicant: Applicant) -> str:
        missing = max(self.ready_at() - current_time(), 0)
        return f"limited to {self.said.rate} {self.said_by}; the next may start in {duration(missing)}"

    def spend(self, applicant: Applicant) -> None:
        if self.covers(applicant):
            self.full_at = max(self.full_at, current_time()) + self.period
            self.spenders.add(applicant)

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        if applicant in self.spenders:
            self.spenders.remove(applicant)
            if not has_run:
                self.full_at -= self.period

    def due(self) -> float:
        return self.ready_at() if self.is_wanted else math.inf

    def begin(self, before: Standing | None, admissions: Iterable[Admission]) -> None:
        """Keep the tokens there were, as far as they fit: saying a rate again fills no bucket."""
        if isinstance(before, StandingRate):
            now = current_time()
            missing = max(before.full_at - now, 0.0) / before.period
            tokens = min(before.said.burst - missing, self.said.burst)
            self.full_at = now + (self.said.burst - tokens) * self.period
            self.spenders = before.spenders

    def shift(self, seconds: float) -> None:
        super().shift(seconds)
        self.full_at += seconds


_STANDING: Final[dict[type[ControlRule], type[Standing]]] = {
    Pause: StandingPause,
    Concurrency: StandingLimit,
    Rate: StandingRate,
}


def stand(rule: ControlRule, deadline: float, poke: Callable[[], None]) -> Standing:
    """*rule*, standing until *deadline* on the event loop's clock."""
    return _STANDING[type(rule)](rule, deadline, poke=poke)
