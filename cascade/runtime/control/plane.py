"""The control plane: rules that stand, said by anybody, obeyed by every run of an engine."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import attrs
from anyio import CancelScope, current_time
from anyio.lowlevel import EventLoopToken, checkpoint, current_token

from cascade.model.events import ControlChanged
from cascade.model.rules import Concurrency, ControlRule, Kind, Pause, Rate, checked_scope, checked_ttl
from cascade.runtime.admission.admission import Admission
from cascade.runtime.control.connector import Connector
from cascade.runtime.control.remote_link import Host, Link
from cascade.runtime.control.standing_rules import ORDER, Standing, StandingRate, stand


class _Unset:
    """In the place of what was not said, where ``None`` says something."""

    def __repr__(self) -> str:
        return "..."


UNSET: Any = _Unset()


@attrs.define(eq=False)
class ControlPlane:
    """Rules for attempts: pauses, limits and rates, each for a scope.

    A scope is ``"global"``, ``"task:<glob>"`` (matched with the task's name and with ``module.name``) or
    ``"run:<id>"``. For each scope and kind there is one rule, the one said last; every rule that covers an attempt
    must let it start. What runs already is left alone.

    A plane may be made and filled before there is a run, and given to several engines (``control=``) on one event
    loop: then their runs count together.

    Args:
        connector: Brings rules from other processes, as long as there are runs, and takes telemetry there.
    """

    connector: Connector | None = None
    _link: Link | None = attrs.field(init=False)

    _standing: dict[tuple[str, Kind], Standing] = attrs.field(factory=dict, init=False)
    _admissions: list[Admission] = attrs.field(factory=list, init=False)
    _hosts: list[Host] = attrs.field(factory=list, init=False)
    _token: EventLoopToken | None = attrs.field(default=None, init=False)
    # The loop that rules were said on last, and how far its clock was from that of the process.
    _loop: weakref.ref[object] | None = attrs.field(default=None, init=False)
    _offset: float = attrs.field(default=0.0, init=False)
    _keeper: Host | None = attrs.field(default=None, init=False)
    _keeping: CancelScope | None = attrs.field(default=None, init=False)
    _changed: anyio.Event | None = attrs.field(default=None, init=False)

    @_link.default
    def _make_link(self) -> Link | None:
        return None if self.connector is None else Link(self.connector, self)

    async def check(self) -> None:
        """See that the connector can be used, if it knows that beforehand.

        Raises:
            ConnectorRefused: If it must not be, or cannot be on this system.
        """
        check = getattr(self.connector, "check", None)
        if check is not None and not self._hosts:
            await check()

    # -- saying --------------------------------------------------------------------------------------------

    async def pause(self, scope: str = "global", *, ttl: float | None = None, author: str = "local") -> None:
        """Let nothing in *scope* start, until :meth:`resume` or the end of *ttl* seconds.

        When this has returned, nothing in the scope starts; what runs goes on. In force also if the caller is
        cancelled after the first step.

        Raises:
            ValueError: If an argument means nothing; nothing is changed then.
        """
        await self.apply(Pause(scope=scope, author=author, expires_at=_expiry(ttl)), ttl)

    async def resume(self, scope: str = "global", *, author: str = "local") -> None:
        """Lift the pause of *scope*. Pauses of other scopes stay.

        Raises:
            ValueError: If *scope* is none.
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

        Lowering a limit ends nothing that runs; raising it wakes who waits.

        Args:
            scope: What it is about.
            concurrency: Attempts at a time, from 1; ``None`` lifts this limit.
            rate: Text such as ``"10/s"``, ``"30/m"`` or ``"1/10s"``; ``None`` lifts this limit.
            burst: How many may start at once after a time in which none did; 1 by default.
            ttl: Seconds after which it ends by itself.
            author: Who says so; for people.

        Raises:
            ValueError: If an argument means nothing; nothing is changed then.
        """
        rules, lifted = limits(scope, concurrency, rate, burst, ttl, author)
        for rule in rules:
            await self.apply(rule, ttl)
        for kind in lifted:
            await self.lift(scope, kind, author=author)

    async def clear(self, scope: str = "global", *, author: str = "local") -> None:
        """Lift all rules of *scope*.

        Raises:
            ValueError: If *scope* is none.
        """
        for kind in ORDER:
            await self.lift(scope, kind, author=author)

    def rules(self) -> tuple[ControlRule, ...]:
        """The rules that stand, with author, age and expiry."""
        if self._token is not None:
            self._end_overdue()
        return tuple(
            standing.rule
            for standing in self._ordered()
            # Without a loop there is no other clock.
            if self._token is not None or not standing.rule.has_expired
        )

    async def apply(self, rule: ControlRule, ttl: float | None = None) -> None:
        """Have *rule* stand instead of what was said of its scope and kind before.

        Args:
            rule: The rule.
            ttl: Seconds until it ends, on the event loop's clock, if they are known better than by ``expires_at``.
        """
        await checkpoint()
        self._see_clock()
        self._end_overdue()
        key = (rule.scope, rule.kind)
        before = self._standing.get(key)
        if before is not None and rule.says_the_same(before.rule):
            before.rule = rule  # so nobody has to ask again
            return
        after = stand(rule, self._deadline(rule) if ttl is None else current_time() + ttl, self.poke)
        if not math.isinf(after.deadline) and after.deadline <= current_time():
            await self.lift(*key, author=rule.author)  # it has ended on its way, and what it took the place of too
            return
        for admission in self._admissions:
            admission.gate.close(admission.holdings)
        after.begin(before, self._admissions)
        self._standing[key] = after
        self._pass_on()
        self._report(rule, "set", rule.author)

    async def lift(self, scope: str, kind: Kind, *, author: str = "local") -> None:
        """Let the rule of *scope* and *kind* stand no longer, if there is one.

        Raises:
            ValueError: If *scope* is none.
        """
        checked_scope(scope)
        await checkpoint()
        self._see_clock()
        self._end_overdue()
        standing = self._standing.pop((scope, kind), None)
        if standing is not None:
            self._pass_on()
            self._report(standing.rule, "lifted", author)

    # -- rules that stand ----------------------------------------------------------------------------------

    def _ordered(self) -> Iterator[Standing]:
        for kind in ORDER:
            yield from (standing for key, standing in self._standing.items() if key[1] == kind)

    def _pass_on(self) -> None:
        """Tell those who obey."""
        rules = list(self._ordered())
        for admission in self._admissions:
            admission.set_rules(rules)
        self.poke()
        self._keep_if_needed()

    def _report(self, rule: ControlRule, action: str, author: str) -> None:
        kind, _, name = rule.scope.partition(":")
        for host in self._hosts:
            if kind != "run" or name == host.run_id:
                host.emit(
                    ControlChanged,
                    kind=rule.kind, scope=rule.scope, action=action, author=author, rule=str(rule),
                )  # fmt: skip

    @staticmethod
    def _deadline(rule: ControlRule) -> float:
        """When *rule* ends, on the event loop's clock."""
        return math.inf if rule.expires_at is None else current_time() + rule.expires_at - time.time()

    # -- time ----------------------------------------------------------------------------------------------

    def _end_overdue(self) -> None:
        """Lift what has ended by itself."""
        now = current_time()
        ended = [key for key, standing in self._standing.items() if standing.deadline <= now]
        gone = [self._standing.pop(key).rule for key in ended]
        if gone:
            self._pass_on()
        for rule in gone:
            self._report(rule, "expired", rule.author)

    def poke(self) -> None:
        """There may be something new to wait for."""
        if self._changed is not None:
            self._changed.set()

    def _keep_if_needed(self) -> None:
        """See that somebody keeps the time, if there is anything to keep it for."""
        is_timed = any(
            standing.deadline < math.inf or isinstance(standing, StandingRate)
            for standing in self._standing.values()
        )
        if self._keeper is None and self._hosts and is_timed:
            self._keeper = self._hosts[0]
            self._keeping = CancelScope()
            self._keeper.start_service(self._keep_time, self._keeping)

    async def _keep_time(self, scope: CancelScope) -> None:
        """Wake whom time frees, at the moment it does; a service of one of the runs."""
        with scope:
            while True:
                self._changed = anyio.Event()
                due = min((min(s.deadline, s.due()) for s in self._standing.values()), default=math.inf)
                with CancelScope(deadline=due):
                    await self._changed.wait()
                self._end_overdue()
                self._refill()

    def _refill(self) -> None:
        """Wake those for whom there is a token now."""
        now = current_time()
        has_token = False
        for standing in self._standing.values():
            if standing.due() <= now:
                assert isinstance(standing, StandingRate)  # nothing else is due by itself
                standing.is_wanted = False
                has_token = True
        if has_token:
            for admission in self._admissions:
                admission.wake()

    # -- those who obey ------------------------------------------------------------------------------------

    def attach(self, admission: Admission) -> None:
        """Have *admission*, of the running event loop, obey.

        Raises:
            RuntimeError: If the plane serves another event loop at present.
        """
        token = current_token()
        if self._token is not None and self._token.native_token is not token.native_token:
            raise RuntimeError(
                "this ControlPlane serves another event loop at present; give each loop a plane of its own"
            )
        self._token = token
        self._see_clock()
        self._admissions.append(admission)
        self._end_overdue()
        for standing in self._standing.values():
            standing.begin(None, self._admissions)
        admission.set_rules(self._ordered())

    def _see_clock(self) -> None:
        """Clocks of event loops begin anywhere: what was noted on another one is moved to that of this loop."""
        loop = current_token().native_token
        if self._loop is not None and self._loop() is loop:
            return
        self._loop = weakref.ref(loop)
        before, self._offset = self._offset, current_time() - time.monotonic()
        for standing in self._standing.values():
            standing.shift(self._offset - before)

    def detach(self, admission: Admission) -> None:
        """*admission* obeys no longer."""
        self._admissions.remove(admission)
        admission.set_rules(())
        if not self._admissions:
            self._token = None

    def join(self, host: Host) -> None:
        """A run begins."""
        self._hosts.append(host)
        self._keep_if_needed()
        if self._link is not None:
            self._link.join(host)

    async def until_known(self) -> None:
        """Wait until the rules of other processes have been heard of, or cannot be."""
        if self._link is not None:
            await self._link.until_settled()

    async def foresee_end(self, host: Host, patience: float) -> None:
        """A run is about to publish its last event."""
        if self._link is not None:
            await self._link.foresee_end(host, patience)

    async def unlink(self, host: Host, patience: float) -> None:
        """A run has published its last event; waits up to *patience* seconds until it has been sent."""
        if self._link is not None:
            await self._link.leave(host, patience)

    def forget(self, host: Host) -> None:
        """A run is over, however that came."""
        self.leave(host)
        if self._link is not None:
            self._link.forget(host)

    def leave(self, host: Host) -> None:
        """A run ends. A second call does nothing."""
        if host not in self._hosts:
            return
        self._hosts.remove(host)
        if self._keeper is host:
            self._keeper = None
            if self._keeping is not None:
                self._keeping.cancel()
            self._keep_if_needed()


def _expiry(ttl: object) -> float | None:
    seconds = checked_ttl(ttl)
    return None if seconds is None else time.time() + seconds


def limits(
    scope: str, concurrency: object, rate: object, burst: object, ttl: object, author: str
) -> tuple[list[ControlRule], list[Kind]]:
    """The rules that ``limit`` sets, and the kinds that it lifts.

    Raises:
        ValueError: If an argument means nothing.
    """
    checked_scope(scope)
    expires_at = _expiry(ttl)
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
