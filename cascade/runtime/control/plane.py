"""The control plane: sets and lifts the rules that every run of its engines obeys."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import attrs
from anyio import current_time
from anyio.lowlevel import checkpoint

from cascade.model.rules import Concurrency, ControlRule, Kind, Pause, Rate, checked_scope, checked_ttl
from cascade.runtime.admission.admission import Admission
from cascade.runtime.control.connector import Connector
from cascade.runtime.control.rules_in_force import RulesInForce
from cascade.runtime.control.runs import ControlledRuns
from cascade.runtime.control.standing_rules import ORDER

if TYPE_CHECKING:
    from cascade.runtime.control.remote_link import Link


class _Unset:
    """The default of a parameter for which ``None`` has a meaning."""

    def __repr__(self) -> str:
        return "..."


UNSET: Any = _Unset()


@attrs.define(eq=False)
class ControlPlane:
    """Control rules for attempts: pauses, limits and rates, each for a scope.

    A scope is ``"global"``, ``"task:<glob>"`` (matched with the task's name and with ``module.name``) or
    ``"run:<id>"``. For each scope and kind there is one rule: the last one set. An attempt starts only if every
    rule whose scope covers it allows that. Attempts that run are not interrupted.

    A plane may be made and filled before there is a run. It may be given to several engines (``control=``) on one
    event loop; then their runs count together.

    Args:
        connector: Brings rules from other processes while there are runs, and sends events there. ``None``
            (default): rules come from this process only.

    Attributes:
        runs: The runs that the rules are about; engines add theirs.
    """

    connector: Connector | None = None
    runs: ControlledRuns = attrs.field(init=False, repr=False)
    _rules: RulesInForce = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._rules = RulesInForce(lambda rule: self.runs.report(rule, "expired", rule.author))
        self.runs = ControlledRuns(self._rules.timer, self._link())

    def _link(self) -> Link | None:
        if self.connector is None:
            return None
        from cascade.runtime.control.remote_link import Link  # here, as few planes have a connector

        return Link(self.connector, self)

    async def check(self) -> None:
        """See that the connector can be used, if it can tell before it connects. May be cancelled; changes
        nothing.

        Raises:
            ConnectorRefused: If the connector must not be used, or cannot work on this system.
        """
        check = getattr(self.connector, "check", None)
        if check is not None and not self.runs:
            await check()

    # -- for people ----------------------------------------------------------------------------------------

    async def pause(self, scope: str = "global", *, ttl: float | None = None, author: str = "local") -> None:
        """Let nothing in a scope start. Attempts that run go on.

        When this has returned, nothing in the scope starts until :meth:`resume` or the end of *ttl*. If it is
        cancelled before it takes effect, nothing has changed.

        Args:
            scope: ``"global"`` (default), ``"task:<glob>"`` or ``"run:<id>"``.
            ttl: Seconds after which the pause ends by itself, more than 0. ``None`` (default): no end.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If an argument is malformed. Then nothing is changed.
        """
        await self.apply(Pause(scope=scope, author=author, expires_at=expiry(ttl)), ttl)

    async def resume(self, scope: str = "global", *, author: str = "local") -> None:
        """Lift the pause of a scope. Pauses of other scopes stay.

        If it is cancelled before it takes effect, nothing has changed.

        Args:
            scope: ``"global"`` (default), ``"task:<glob>"`` or ``"run:<id>"``.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If *scope* is malformed.
        """
        await self.lift(scope, "pause", author=author)

    async def limit(
        self,
        scope: str = "global",
        *,
        concurrency: int | None = UNSET,
        rate: str | None = UNSET,
        burst: int | None = None,
        ttl: float | None = None,
        author: str = "local",
    ) -> None:
        """Limit how many attempts in a scope run at a time, or how fast they start.

        What is not given stays as it is. A lower limit interrupts nothing; a higher one wakes what waits. If it is
        cancelled while it sets both, the first may be in force and the second not.

        Args:
            scope: ``"global"`` (default), ``"task:<glob>"`` or ``"run:<id>"``.
            concurrency: Attempts at a time, at least 1. ``None`` lifts this limit. By default it stays as it is.
            rate: Text such as ``"10/s"``, ``"30/m"`` or ``"1/10s"``. ``None`` lifts this limit. By default it
                stays as it is.
            burst: Attempts that may start at once after a quiet time, at least 1. ``None`` (default): 1.
            ttl: Seconds after which the limits end by themselves, more than 0. ``None`` (default): no end.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If an argument is malformed, or neither limit is given. Then nothing is changed.
        """
        rules, lifted = limits(scope, concurrency, rate, burst, ttl, author)
        for rule in rules:
            await self.apply(rule, ttl)
        for kind in lifted:
            await self.lift(scope, kind, author=author)

    async def clear(self, scope: str = "global", *, author: str = "local") -> None:
        """Lift all rules of a scope: pause, concurrency and rate.

        If it is cancelled, some may be lifted and others not.

        Args:
            scope: ``"global"`` (default), ``"task:<glob>"`` or ``"run:<id>"``.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If *scope* is malformed.
        """
        for kind in ORDER:
            await self.lift(scope, kind, author=author)

    def rules(self) -> tuple[ControlRule, ...]:
        """The rules in force."""
        return self._rules.current()

    # -- rules as values -----------------------------------------------------------------------------------

    async def apply(self, rule: ControlRule, ttl: float | None = None) -> None:
        """Set a rule, in the place of the one of its scope and kind.

        If it is cancelled before it takes effect, nothing has changed.

        Args:
            rule: The rule.
            ttl: Seconds until it ends on the event loop's clock, more than 0; more exact than ``rule.expires_at``.
                ``None`` (default): ``rule.expires_at`` counts.

        Raises:
            ValueError: If the rule's scope is malformed.
        """
        await checkpoint()
        self._rules.catch_up()
        before = self._rules.find(rule.scope, rule.kind)
        if before is not None and rule.says_the_same(before.rule):
            before.rule = rule  # so nobody has to ask again
            return
        deadline = _deadline(rule) if ttl is None else current_time() + ttl
        if deadline <= current_time():
            # It has expired on its way here; it ends the rule before it all the same.
            await self.lift(rule.scope, rule.kind, author=rule.author)
            return
        self._rules.put(rule, deadline)
        self.runs.report(rule, "set", rule.author)

    async def lift(self, scope: str, kind: Kind, *, author: str = "local") -> None:
        """Lift the rule of one scope and kind, if there is one.

        If it is cancelled before it takes effect, nothing has changed.

        Args:
            scope: ``"global"``, ``"task:<glob>"`` or ``"run:<id>"``.
            kind: ``"pause"``, ``"concurrency"`` or ``"rate"``.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If *scope* is malformed.
        """
        checked_scope(scope)
        await checkpoint()
        self._rules.catch_up()
        rule = self._rules.lift(scope, kind)
        if rule is not None:
            self.runs.report(rule, "lifted", author)

    # -- for engines ---------------------------------------------------------------------------------------

    def attach(self, admission: Admission) -> None:
        """Put an engine under these rules. Called when an engine opens on the running event loop.

        Args:
            admission: The engine's admission.

        Raises:
            RuntimeError: If the plane serves another event loop at present.
        """
        self._rules.attach(admission)

    def detach(self, admission: Admission) -> None:
        """Undo :meth:`attach`. Called when an engine closes.

        Args:
            admission: The engine's admission.
        """
        self._rules.detach(admission)


def _deadline(rule: ControlRule) -> float:
    """When *rule* expires, on the event loop's clock; infinity for never."""
    return math.inf if rule.expires_at is None else current_time() + rule.expires_at - time.time()


def expiry(ttl: object) -> float | None:
    """When a rule of *ttl* seconds expires, in seconds since the epoch; ``None`` for never.

    Raises:
        ValueError: If *ttl* is neither a number above 0 nor ``None``.
    """
    seconds = checked_ttl(ttl)
    return None if seconds is None else time.time() + seconds


def limits(
    scope: str, concurrency: object, rate: object, burst: object, ttl: object, author: str
) -> tuple[list[ControlRule], list[Kind]]:
    """The rules that ``limit`` sets, and the kinds that it lifts.

    Raises:
        ValueError: If an argument is invalid.
    """
    checked_scope(scope)
    expires_at = expiry(ttl)
    if concurrency is UNSET and rate is UNSET:
        raise ValueError('limit takes concurrency=, rate=, or both, such as concurrency=2 or rate="10/s"')
    if burst is not None and (rate is UNSET or rate is None):
        raise ValueError("burst belongs to a rate")
    rules: list[ControlRule] = []
    lifted: list[Kind] = []
    if concurrency is None:
        lifted.append("concurrency")
    elif concurrency is not UNSET:
        count: Any = concurrency  # checked by the rule
        rules.append(Concurrency(scope=scope, limit=count, author=author, expires_at=expires_at))
    if rate is None:
        lifted.append("rate")
    elif rate is not UNSET:
        text: Any = rate
        tokens: Any = 1 if burst is None else burst
        rules.append(Rate(scope=scope, rate=text, burst=tokens, author=author, expires_at=expires_at))
    return rules, lifted
