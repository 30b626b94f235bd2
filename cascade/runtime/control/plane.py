"""The control plane: sets and lifts the rules that every run of its engines obeys."""

from __future__ import annotations

import math
import time
from typing import Any

import attrs
from anyio import current_time
from anyio.lowlevel import checkpoint

from cascade.model.rules import Concurrency, ControlRule, Kind, Pause, Rate, checked_scope, checked_ttl
from cascade.runtime.admission.admission import Admission
from cascade.runtime.control.connector import Connector
from cascade.runtime.control.remote_link import Link
from cascade.runtime.control.rules_in_force import RulesInForce
from cascade.runtime.control.runs import ControlledRuns
from cascade.runtime.control.standing_rules import ORDER


class _Unset:
    """The default of a parameter for which ``None`` has a meaning."""

    def __repr__(self) -> str:
        return "..."


UNSET: Any = _Unset()


@attrs.define(eq=False)
class ControlPlane:
    """Rules for attempts: pauses, limits and rates, each for a scope.

    A scope is ``"global"``, ``"task:<glob>"`` (matched with the task's name and with ``module.name``) or
    ``"run:<id>"``. For each scope and kind there is one rule, the one set last; every rule that covers an attempt
    must let it start. Attempts that run already go on.

    A plane may be made and filled before there is a run, and given to several engines (``control=``) on one event
    loop: then their runs count together.

    Args:
        connector: Brings rules from other processes, and takes telemetry there, as long as there are runs. By
            default ``None``: rules of this process only.
    """

    connector: Connector | None = None
    # Where the runs of the engines join.
    runs: ControlledRuns = attrs.field(init=False, repr=False)
    _rules: RulesInForce = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._rules = RulesInForce(lambda rule: self.runs.report(rule, "expired", rule.author))
        link = None if self.connector is None else Link(self.connector, self)
        self.runs = ControlledRuns(self._rules.timer, link)

    async def check(self) -> None:
        """See that the connector can be used, if it knows that beforehand.

        Raises:
            ConnectorRefused: If it must not be used, or this system does not have what it needs.
        """
        check = getattr(self.connector, "check", None)
        if check is not None and not self.runs:
            await check()

    # -- for people ----------------------------------------------------------------------------------------

    async def pause(self, scope: str = "global", *, ttl: float | None = None, author: str = "local") -> None:
        """Let no attempt in *scope* start, until :meth:`resume`.

        When this has returned, nothing in the scope starts; what runs goes on. In force also if the caller is
        cancelled after the first step.

        Args:
            scope: ``"global"`` by default, ``"task:<glob>"`` or ``"run:<id>"``.
            ttl: Seconds after which the pause ends by itself, above 0; ``None`` (the default) for never.
            author: Who pauses, for people.

        Raises:
            ValueError: If an argument is invalid; nothing is changed then.
        """
        await self.apply(Pause(scope=scope, author=author, expires_at=expiry(ttl)), ttl)

    async def resume(self, scope: str = "global", *, author: str = "local") -> None:
        """Lift the pause of *scope*. Pauses of other scopes stay.

        Raises:
            ValueError: If *scope* is invalid.
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
        """Let at most *concurrency* attempts in *scope* run at a time, or start them no faster than *rate*.

        A lower limit ends no attempt that runs; a higher one wakes attempts that wait.

        Args:
            scope: ``"global"`` by default, ``"task:<glob>"`` or ``"run:<id>"``.
            concurrency: Attempts at a time, from 1; ``None`` lifts this limit. Left as it is by default.
            rate: Text such as ``"10/s"``, ``"30/m"`` or ``"1/10s"``; ``None`` lifts this limit. Left as it is by
                default.
            burst: How many may start at once after a time in which none did; ``None`` (the default) means 1.
            ttl: Seconds after which the limits end by themselves, above 0; ``None`` (the default) for never.
            author: Who sets them, for people.

        Raises:
            ValueError: If an argument is invalid; nothing is changed then.
        """
        rules, lifted = limits(scope, concurrency, rate, burst, ttl, author)
        for rule in rules:
            await self.apply(rule, ttl)
        for kind in lifted:
            await self.lift(scope, kind, author=author)

    async def clear(self, scope: str = "global", *, author: str = "local") -> None:
        """Lift all rules of *scope*.

        Raises:
            ValueError: If *scope* is invalid.
        """
        for kind in ORDER:
            await self.lift(scope, kind, author=author)

    def rules(self) -> tuple[ControlRule, ...]:
        """The rules in force, with author, age and expiry."""
        return self._rules.current()

    # -- rules as values -----------------------------------------------------------------------------------

    async def apply(self, rule: ControlRule, ttl: float | None = None) -> None:
        """Put *rule* in force instead of the rule that its scope and kind have had.

        Args:
            rule: The rule.
            ttl: Seconds until it expires, on the event loop's clock; ``None`` (the default) to go by its
                ``expires_at``.
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
        """End the rule of *scope* and *kind*, if there is one.

        Raises:
            ValueError: If *scope* is invalid.
        """
        checked_scope(scope)
        await checkpoint()
        self._rules.catch_up()
        rule = self._rules.lift(scope, kind)
        if rule is not None:
            self.runs.report(rule, "lifted", author)

    # -- for engines ---------------------------------------------------------------------------------------

    def attach(self, admission: Admission) -> None:
        """Have *admission*, of the running event loop, obey the rules.

        Raises:
            RuntimeError: If the plane serves another event loop at present.
        """
        self._rules.attach(admission)

    def detach(self, admission: Admission) -> None:
        """*admission* obeys no longer."""
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
