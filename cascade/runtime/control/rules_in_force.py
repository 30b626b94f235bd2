"""The rules in force, and the admissions that obey them. All changes are synchronous steps."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator

import attrs
from anyio import current_time
from anyio.lowlevel import EventLoopToken, current_token

from cascade.model.rules import ControlRule, Kind
from cascade.runtime.admission.admission import Admission
from cascade.runtime.control.standing_rules import ORDER, Standing, StandingRate, stand
from cascade.runtime.control.timer import Timer


@attrs.define(eq=False)
class RulesInForce:
    """At most one rule for each scope and kind: the one set last.

    Attributes:
        timer: Makes the changes that are due by time alone.
    """

    # Called with each rule that has expired, when the admissions know of it.
    _on_expiry: Callable[[ControlRule], None]
    timer: Timer = attrs.field(init=False)
    _standing: dict[tuple[str, Kind], Standing] = attrs.field(factory=dict, init=False)
    _admissions: list[Admission] = attrs.field(factory=list, init=False)
    # The event loop of the admissions; None if there are none.
    _token: EventLoopToken | None = attrs.field(default=None, init=False)
    # The event loop on whose clock the deadlines are, and how far that is ahead of the clock of the process.
    _loop: weakref.ref[object] | None = attrs.field(default=None, init=False)
    _offset: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.timer = Timer(self)

    # -- looking -------------------------------------------------------------------------------------------

    def find(self, scope: str, kind: Kind) -> Standing | None:
        """The rule of *scope* and *kind*, if there is one."""
        return self._standing.get((scope, kind))

    def current(self) -> tuple[ControlRule, ...]:
        """The rules that have not expired."""
        if self._token is not None:
            self.end_overdue()
            return tuple(standing.rule for standing in self._ordered())
        # There may be no event loop to ask for the time.
        return tuple(standing.rule for standing in self._ordered() if not standing.rule.has_expired)

    def _ordered(self) -> Iterator[Standing]:
        for kind in ORDER:
            yield from (standing for key, standing in self._standing.items() if key[1] == kind)

    # -- changes -------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Take note of the running event loop, and end what has expired."""
        self._see_clock()
        self.end_overdue()

    def put(self, rule: ControlRule, deadline: float) -> None:
        """Put *rule* in force until *deadline*, instead of the rule that its scope and kind have had."""
        key = (rule.scope, rule.kind)
        after = stand(rule, deadline, self.timer.reset)
        for admission in self._admissions:
            admission.gate.close(admission.holdings)
        after.begin(self._standing.get(key), self._admissions)
        self._standing[key] = after
        self._pass_on()

    def lift(self, scope: str, kind: Kind) -> ControlRule | None:
        """End the rule of *scope* and *kind*; returns it, or ``None`` if there was none."""
        standing = self._standing.pop((scope, kind), None)
        if standing is None:
            return None
        self._pass_on()
        return standing.rule

    def end_overdue(self) -> None:
        """End the rules that have expired."""
        now = current_time()
        expired = [key for key, standing in self._standing.items() if standing.deadline <= now]
        rules = [self._standing.pop(key).rule for key in expired]
        if rules:
            self._pass_on()
        for rule in rules:
            self._on_expiry(rule)

    def _pass_on(self) -> None:
        rules = list(self._ordered())
        for admission in self._admissions:
            admission.set_rules(rules)
        self.timer.reset()
        self.timer.start()

    # -- time, for the timer -------------------------------------------------------------------------------

    @property
    def is_timed(self) -> bool:
        """Whether a rule may expire, or free attempts by a token."""
        return any(
            standing.deadline < math.inf or isinstance(standing, StandingRate)
            for standing in self._standing.values()
        )

    def next_due(self) -> float:
        """When a rule expires or a rate frees an attempt, on the event loop's clock; infinity for never."""
        return min((min(rule.deadline, rule.due()) for rule in self._standing.values()), default=math.inf)

    def make_due_changes(self) -> None:
        """End the rules that have expired, and admit attempts for which there is a token now."""
        self.end_overdue()
        now = current_time()
        due = [standing for standing in self._standing.values() if standing.due() <= now]
        for standing in due:
            assert isinstance(standing, StandingRate)  # nothing else is due by itself
            standing.is_wanted = False
        for admission in self._admissions if due else ():
            admission.wake()

    def _see_clock(self) -> None:
        """Move all times to the clock of the running event loop: each loop's clock begins anywhere."""
        loop = current_token().native_token
        if self._loop is not None and self._loop() is loop:
            return
        self._loop = weakref.ref(loop)
        before, self._offset = self._offset, current_time() - time.monotonic()
        for standing in self._standing.values():
            standing.shift(self._offset - before)

    # -- who obeys -----------------------------------------------------------------------------------------

    def attach(self, admission: Admission) -> None:
        """Have *admission*, of the running event loop, obey the rules.

        Raises:
            RuntimeError: If there are admissions of another event loop.
        """
        token = current_token()
        if self._token is not None and self._token.native_token is not token.native_token:
            raise RuntimeError(
                "this ControlPlane serves another event loop at present; give each loop a plane of its own"
            )
        self._token = token
        self._see_clock()
        self._admissions.append(admission)
        self.end_overdue()
        for standing in self._standing.values():
            standing.begin(None, self._admissions)
        admission.set_rules(self._ordered())

    def detach(self, admission: Admission) -> None:
        """Undo :meth:`attach`. Called when an engine closes.

        Args:
            admission: The engine's admission.
        """
        self._admissions.remove(admission)
        admission.set_rules(())
        if not self._admissions:
            self._token = None
