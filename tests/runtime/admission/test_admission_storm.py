"""Storms of claims, cancellations, rules and totals on an admission, held against a model in thirty lines."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, example, given, settings
from strategies_runtime import Ask, Move, Rush, SetTotal, moves

import cascade
import cascade.runtime.admission.admission as admission_module
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.holding import Holding
from cascade.runtime.admission.pool import Amount, Name, Pool, Slot
from cascade.runtime.observation.bus import EventBus

EXAMPLES = max(200, settings().max_examples)
TOTALS: dict[Name, Amount] = {"cpu": 4, "gpu": 2, "mem": 3, Slot.THREAD: 2, Slot.PROCESS: 1}


@attrs.define(eq=False)
class Member:
    """One who asks, in the storm."""

    number: int
    task: str
    amounts: dict[Any, Amount]
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    claim: Claim | None = None
    is_refused: bool = False
    has_let_go: anyio.Event = attrs.field(factory=anyio.Event)

    async def live(self, admission: Admission, bus: EventBus) -> None:
        applicant = Applicant(f"{self.number}", self.task, f"module.{self.task}", "run", bus)
        with self.scope:
            try:
                claim = await admit(admission, applicant, self.amounts, lambda reason: None)
            except cascade.CapacityError:
                self.is_refused = True
                return
            with claim:
                self.claim = claim
                await self.has_let_go.wait()


@attrs.define(eq=False)
class Closed:
    """The rule: holds tasks by name."""

    held: frozenset[str] = frozenset()

    def holds(self, applicant: Applicant) -> bool:
        return applicant.task_name in self.held

    def why(self, applicant: Applicant) -> str:
        return "held"

    def spend(self, applicant: Applicant) -> None: ...

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None: ...


@attrs.define(eq=False)
class Model:
    """What should be: who waits in which order, who holds, who was refused."""

    totals: dict[Name, Amount] = attrs.field(factory=lambda: dict(TOTALS))
    waiting: list[Member] = attrs.field(factory=list)
    holding: list[Member] = attrs.field(factory=list)
    refused: list[Member] = attrs.field(factory=list)
    held: frozenset[str] = frozenset()

    def usage(self, name: Name) -> Amount:
        return sum(member.amounts.get(name, 0) for member in self.holding)

    def refuse(self) -> None:
        for member in list(self.waiting):
            if any(amount > self.totals.get(name, amount) for name, amount in member.amounts.items()):
                self.waiting.remove(member)
                self.refused.append(member)

    def admit(self) -> None:
        """Admit in the order of coming; who has to wait for more than a slot keeps no slot from others."""
        taken: set[Name] = set()
        for member in list(self.waiting):
            if member.task in self.held:
                continue
            missing = [
                name for name, amount in member.amounts.items() if name in taken or self.lacks(name, amount)
            ]
            if not missing:
                self.waiting.remove(member)
                self.holding.append(member)
            elif all(isinstance(name, Slot) for name in missing):
                taken.update(member.amounts)
            else:
                taken.update(name for name in member.amounts if not isinstance(name, Slot))

    def lacks(self, name: Name, amount: Amount) -> bool:
        return name in self.totals and self.usage(name) + amount > self.totals[name]


@attrs.define(eq=False)
class Storm:
    """Does every move to the admission and to the model."""

    group: anyio.abc.TaskGroup
    rule: Closed = attrs.field(factory=Closed)
    model: Model = attrs.field(factory=Model)
    bus: EventBus = attrs.field(factory=EventBus)
    admission: Admission = attrs.field(init=False)
    members: list[Member] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.admission = Admission(Pool({**TOTALS}), Holding([self.rule]))

    async def make(self, move: Move) -> None:
        match move:
            case Ask(amounts, task):
                member = Member(len(self.members), task, amounts)
                self.members.append(member)
                self.model.waiting.append(member)
                self.group.start_soon(member.live, self.admission, self.bus)
            case Rush(held=held):
                # A rule closes after others have let go: that may have admitted somebody who has not begun. But it
                # opens before, and alone: whoever it does not hold may rightly be admitted while others have not
                # let go yet.
                opens = held is not None and held < self.rule.held
                if opens:
                    self.change(held)
                    await self.settle()
                self.rush(move)
                if not opens:
                    self.change(held)
            case SetTotal(name, amount):
                self.model.totals[name] = amount
                self.admission.set_totals({name: amount})
        await self.settle()

    async def settle(self) -> None:
        """Let the model and everybody else go on as far as they can, and compare them."""
        self.model.refuse()
        self.model.admit()
        for _ in range(15 + 3 * len(self.members)):
            await checkpoint()
        self.compare()

    def rush(self, move: Rush) -> None:
        holding, live = list(self.model.holding), [*self.model.waiting, *self.model.holding]
        cancelled = [live[number % len(live)] for number in move.cancels if live]
        let_go = [holding[number % len(holding)] for number in move.releases if holding]
        for member in cancelled if move.cancels_first else ():
            member.scope.cancel()
        for member in let_go:
            assert member.claim is not None
            member.claim.release()
            member.has_let_go.set()
        for member in cancelled:
            member.scope.cancel()
        for member in {*cancelled, *let_go}:
            (self.model.waiting if member in self.model.waiting else self.model.holding).remove(member)

    def change(self, held: frozenset[str] | None) -> None:
        """Hold these tasks from now on; ``None`` changes nothing."""
        if held is not None:
            self.rule.held = self.model.held = held
            self.admission.close_gate()
            self.admission.set_rules([self.rule])

    def compare(self) -> None:
        held = {name: amount for name, amount in self.admission.pool.held.items() if amount}
        usage = {name: self.model.usage(name) for member in self.model.holding for name in member.amounts}
        assert held == {name: amount for name, amount in usage.items() if amount}
        waiting = sorted(int(waiter.applicant.node_id) for waiter in self.admission.queue.waiters())
        assert waiting == [member.number for member in self.model.waiting]
        assert [member.number for member in self.members if member.claim and member.claim.is_held] == sorted(
            member.number for member in self.model.holding
        )
        assert {member for member in self.members if member.is_refused} == set(self.model.refused)


async def _storm(script: list[Move]) -> None:
    async with anyio.create_task_group() as group:
        storm = Storm(group)
        for move in script:
            await storm.make(move)
        group.cancel_scope.cancel()
    assert not any(storm.admission.pool.held.values())
    assert not list(storm.admission.queue.waiters())


@pytest.mark.slow
@pytest.mark.timeout(2 * EXAMPLES)  # with shrinking, if it fails
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
@pytest.mark.parametrize("most_at_once", [1, 100])
@given(script=moves)
@example(script=[Ask({"cpu": 1}, "a"), Ask({"cpu": 2}, "a"), Ask({"cpu": 1}, "a"), Rush((), (0,), False, None)])
@example(
    script=[
        *[Ask({"cpu": 3}, "fetch"), Ask({Slot.THREAD: 1}, "fetch"), Ask({Slot.THREAD: 1}, "fetch")],
        *[Ask({"cpu": 1, Slot.THREAD: 1}, "fetch"), Ask({Slot.THREAD: 1}, "parse"), SetTotal("cpu", 3)],
        Rush((1,), (), False, None),
    ]
)
@example(
    script=[
        Ask({"gpu": 1}, "parse"),
        Ask({"gpu": 2, Slot.PROCESS: 1}, "parse"),
        Rush((), (), False, frozenset({"fetch", "parse"})),
        Ask({"cpu": 1, Slot.PROCESS: 1}, "parse"),
        Rush((0,), (), False, frozenset({"fetch"})),
    ]
)
@example(script=[Ask({"gpu": 0}, "fetch"), Ask({"gpu": 0}, "fetch"), Rush((0, 0), (), False, None)])
@example(
    script=[
        *[Ask({"cpu": 1}, "fetch")] * 5,
        Ask({"cpu": 1}, "parse"),
        Rush((), (), False, frozenset({"fetch"})),
        Rush((0,), (), False, frozenset()),
    ]
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_storm_of_claims_ends_as_first_come_first_served_says(
    backend_name: str, most_at_once: int, script: list[Move]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission_module, "MOST_AT_ONCE", most_at_once)
        anyio.run(_storm, script, backend=backend_name)
