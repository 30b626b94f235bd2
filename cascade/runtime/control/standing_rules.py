"""Standing rules: rules in force, as admission asks them, with the counts and clocks that belong to each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import attrs
from anyio import current_time

from cascade.model.rules import Concurrency, ControlRule, Kind, Pause, Rate, matcher
from cascade.model.shown.text import duration
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Applicant

# The order in which rules are asked, and explained: to a paused node, rates do not matter.
ORDER: Final[tuple[Kind, ...]] = ("pause", "concurrency", "rate")


@attrs.define(eq=False)
class Standing:
    """A rule in force.

    Attributes:
        rule: The rule.
        deadline: When it expires, on the event loop's clock; infinity for never.
        poke: Called when :meth:`due` has become earlier.
    """

    rule: ControlRule
    deadline: float = math.inf
    poke: Callable[[], None] = attrs.field(kw_only=True)
    _covers: Callable[[str, str, str], bool] = attrs.field(init=False)

    @_covers.default
    def _compile(self) -> Callable[[str, str, str], bool]:
        return matcher(self.rule.scope)

    def covers(self, applicant: Applicant) -> bool:
        """Whether its scope includes *applicant*. Never a lane: a lane looks at rules before each of its nodes."""
        if applicant.is_lane:
            return False
        return self._covers(applicant.task_name, applicant.full_name, applicant.run_id)

    def holds(self, applicant: Applicant) -> bool:
        """Whether it keeps *applicant* from starting now."""
        raise NotImplementedError  # pragma: no cover  # each kind of rule has its own

    def why(self, applicant: Applicant) -> str:
        """Why it holds *applicant*, for people."""
        raise NotImplementedError  # pragma: no cover  # each kind of rule has its own

    def spend(self, applicant: Applicant) -> None:
        """*applicant* has been admitted."""

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        """The attempt has ended, or has given its claim back before it started (*has_run* is false)."""

    def due(self) -> float:
        """When an applicant that it holds may start, on the event loop's clock; infinity if time does not help."""
        return math.inf

    def begin(self, before: Standing | None, admissions: Iterable[Admission]) -> None:
        """Take over from the rule *before* it, if any, and count what runs already; the gate is closed."""

    def shift(self, seconds: float) -> None:
        """Move all times by *seconds*: the event loop is another one, and its clock is that far ahead."""
        self.deadline += seconds

    @property
    def said_by(self) -> str:
        """Author and scope, for people."""
        return f"by {self.rule.author!r} ({self.rule.scope})"


@attrs.define(eq=False)
class StandingPause(Standing):
    """Holds every applicant that it covers."""

    def holds(self, applicant: Applicant) -> bool:
        return self.covers(applicant)

    def why(self, applicant: Applicant) -> str:
        return f"paused {self.said_by}"


@attrs.define(eq=False)
class StandingLimit(Standing):
    """Counts the attempts that it covers, also those that began before it was set.

    Attributes:
        running: How many of them have been admitted and have not ended.
    """

    running: int = 0
    _admissions: list[Admission] = attrs.field(factory=list)

    @property
    def limit(self) -> int:
        """How many may run at a time."""
        assert isinstance(self.rule, Concurrency)  # see `stand`
        return self.rule.limit

    def holds(self, applicant: Applicant) -> bool:
        return self.running >= self.limit and self.covers(applicant)

    def why(self, applicant: Applicant) -> str:
        holders = [
            claim.applicant.node_id
            for admission in self._admissions
            for claim in admission.holdings.first(5, self.covers)
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
            self.running += sum(map(self.covers, (claim.applicant for claim in admission.holdings.active)))


@attrs.define(eq=False)
class StandingRate(Standing):
    """A token bucket, kept as the moment at which it will be full (GCRA).

    Attributes:
        full_at: When it is full, on the event loop's clock.
        is_wanted: Whether it has held an applicant since attempts were last woken for a token.
        spenders: Applicants that have a token of this bucket. Those admitted before it was set have none.
    """

    full_at: float = -math.inf
    is_wanted: bool = False
    spenders: set[Applicant] = attrs.field(factory=set)

    @property
    def said(self) -> Rate:
        """The rule."""
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
        """Keep the tokens of the bucket before it, as far as they fit: setting a rate again fills no bucket."""
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
    """*rule* in force until *deadline*, on the event loop's clock."""
    return _STANDING[type(rule)](rule, deadline, poke=poke)
