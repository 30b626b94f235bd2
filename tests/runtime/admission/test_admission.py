"""Admission by itself: one step over rules and amounts, first come first served, nothing lost."""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

import cascade
import cascade.runtime.admission.admission as admission_module
from cascade.model.events import StateRecorded
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.holding import Holding
from cascade.runtime.admission.pool import Amount, Name, Pool, Slot
from cascade.runtime.observation.bus import EventBus


async def settle() -> None:
    """Let everything that can happen now happen."""
    for _ in range(15):
        await checkpoint()


@attrs.define(eq=False)
class Gate:
    """A rule that holds the tasks it is told to, and notes what admission tells it."""

    held: set[str] = attrs.field(factory=set)
    asked: int = 0
    spent: list[str] = attrs.field(factory=list)
    given_back: list[tuple[str, bool]] = attrs.field(factory=list)

    def holds(self, applicant: Applicant) -> bool:
        self.asked += 1
        return applicant.task_name in self.held

    def why(self, applicant: Applicant) -> str:
        return "held"

    def spend(self, applicant: Applicant) -> None:
        self.spent.append(applicant.node_id)

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        self.given_back.append((applicant.node_id, has_run))


@attrs.define(eq=False)
class Crowd:
    """Claimants on one admission: each asks, holds until told to let go, and is remembered by name."""

    admission: Admission
    group: anyio.abc.TaskGroup
    bus: EventBus = attrs.field(factory=EventBus)
    claims: dict[str, Claim] = attrs.field(factory=dict)
    errors: dict[str, Exception] = attrs.field(factory=dict)
    order: list[str] = attrs.field(factory=list)
    reasons: list[tuple[str, str | None]] = attrs.field(factory=list)
    scopes: dict[str, anyio.CancelScope] = attrs.field(factory=dict)

    async def ask(self, name: str, *, task: str = "task", again: Claim | None = None, **amounts: Amount) -> None:
        """Have *name* ask, and wait until it holds what it wants, is refused, or stands in line."""
        self.scopes[name] = anyio.CancelScope()
        self.group.start_soon(self._live, name, task, again, amounts)
        await settle()

    async def _live(self, name: str, task: str, again: Claim | None, amounts: Mapping[Any, Amount]) -> None:
        applicant = Applicant(name, task, f"module.{task}", "run", self.bus)
        with self.scopes[name]:
            try:
                claim = await admit(
                    self.admission, applicant, amounts, lambda reason: self.reasons.append((name, reason)), again
                )
            except cascade.CascadeError as error:
                self.errors[name] = error
                return
            self.order.append(name)
            self.claims[name] = claim
            with claim:
                await anyio.sleep_forever()

    def let_go(self, name: str) -> None:
        """Release what *name* holds, in this step."""
        self.claims.pop(name).release()

    @property
    def waiting(self) -> list[str]:
        return [waiter.applicant.node_id for waiter in self.admission.queue.waiters()]


@asynccontextmanager
async def crowd(*rules: Gate, **totals: Amount) -> AsyncIterator[Crowd]:
    async with anyio.create_task_group() as group:
        yield Crowd(Admission(Pool(cast("dict[Name, Amount]", totals)), Holding(list(rules))), group)
        group.cancel_scope.cancel()


# -- who comes first -------------------------------------------------------------------------------------------


async def test_a_claim_does_not_pass_an_earlier_one_of_the_same_resource() -> None:
    async with crowd(gpu=2) as people:
        await people.ask("holder", gpu=1)
        await people.ask("big", gpu=2)
        await people.ask("small", gpu=1)
        assert people.order == ["holder"]


async def test_a_claim_passes_an_earlier_one_of_other_resources() -> None:
    async with crowd(gpu=1, cpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("stuck", gpu=1)
        await people.ask("other", cpu=1)
        assert people.order == ["holder", "other"]


async def test_a_claim_of_nothing_waits_for_nobody() -> None:
    async with crowd(gpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("stuck", gpu=1)
        await people.ask("modest")
        assert people.order == ["holder", "modest"]


async def test_order_is_kept_through_a_resource_that_two_others_share() -> None:
    async with crowd(gpu=1, cpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("both", gpu=1, cpu=1)
        await people.ask("later", cpu=1)
        assert people.order == ["holder"]


async def test_what_a_waiting_claim_wants_in_part_is_not_held() -> None:
    async with crowd(gpu=1, cpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("both", gpu=1, cpu=1)
        assert people.admission.pool.held == {"gpu": 1}


async def test_all_who_fit_are_admitted_by_one_release() -> None:
    async with crowd(gpu=3) as people:
        await people.ask("holder", gpu=3)
        for name in "abcd":
            await people.ask(name, gpu=1)
        people.let_go("holder")
        await settle()
        assert set(people.order) == {"holder", "a", "b", "c"}


@pytest.mark.parametrize("is_last_cancelled", [False, True])
async def test_many_who_fit_are_admitted_in_steps_in_which_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch, is_last_cancelled: bool
) -> None:
    monkeypatch.setattr(admission_module, "MOST_AT_ONCE", 5)
    async with crowd(Gate({"task"}), gpu=100) as people:
        for number in range(33):
            people.group.start_soon(functools.partial(people.ask, f"{number}", gpu=1))
        await settle()
        if is_last_cancelled:  # and granted, before it knows
            people.scopes[people.waiting[4]].cancel()
        people.admission.set_rules([])
        granted = [len(people.admission.holdings.active)]
        people.admission.wake()  # asking again in the same step changes nothing
        while people.waiting:
            await checkpoint()
            granted.append(33 - len(people.waiting))
        assert granted[0] == 5
        assert max(after - before for before, after in itertools.pairwise(granted)) <= 10
        await settle()
        everybody = {f"{number}" for number in range(33)}
        cancelled = {name for name, scope in people.scopes.items() if scope.cancel_called}
        assert {claim.applicant.node_id for claim in people.admission.holdings.active} == everybody - cancelled
        assert everybody - cancelled <= set(people.order)
        tickets = [claim.ticket for claim in people.admission.holdings.active]
        assert tickets == sorted(tickets)
        assert len(cancelled) == is_last_cancelled


async def test_one_who_comes_back_with_a_ticket_has_its_old_place() -> None:
    async with crowd(gpu=1) as people:
        await people.ask("holder", gpu=1)
        held = people.claims["holder"]
        await people.ask("second", gpu=1)
        await people.ask("first", again=held, gpu=1)
        people.let_go("holder")
        await settle()
        assert people.order == ["holder", "first"]


async def test_one_who_comes_back_with_a_ticket_has_its_old_place_among_other_kinds_of_claims() -> None:
    async with crowd(gpu=2) as people:
        await people.ask("holder", gpu=2)
        held = people.claims["holder"]
        await people.ask("second", task="other", gpu=1)
        await people.ask("first", again=held, gpu=2)
        people.let_go("holder")
        await settle()
        assert people.order == ["holder", "first"]


# -- nothing is lost -------------------------------------------------------------------------------------------


async def test_a_cancelled_waiter_makes_way_at_once_for_those_behind_it() -> None:
    async with crowd(gpu=2) as people:
        await people.ask("holder", gpu=1)
        await people.ask("big", gpu=2)
        await people.ask("behind", gpu=1)
        people.scopes["big"].cancel()
        await settle()
        assert people.order == ["holder", "behind"]


async def test_a_cancelled_waiter_leaves_its_place_to_the_next_of_its_kind() -> None:
    async with crowd(gpu=1) as people:
        for name in ("holder", "first", "second", "third"):
            await people.ask(name, gpu=1)
        people.scopes["first"].cancel()
        people.scopes["second"].cancel()
        await settle()
        people.let_go("holder")
        await settle()
        assert people.order == ["holder", "third"]


@pytest.mark.parametrize("cancels_first", [True, False])
async def test_a_grant_in_the_step_of_a_cancellation_goes_to_the_next(cancels_first: bool) -> None:
    async with crowd(gpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("unlucky", gpu=1)
        await people.ask("lucky", gpu=1)
        if cancels_first:
            people.scopes["unlucky"].cancel()
        people.let_go("holder")
        people.scopes["unlucky"].cancel()
        await settle()
        assert people.admission.pool.held == {"gpu": 1}
        assert people.order[-1] == "lucky"


async def test_a_second_release_gives_nothing_back() -> None:
    async with crowd(gpu=2) as people:
        await people.ask("one", gpu=1)
        await people.ask("two", gpu=1)
        claim = people.claims["one"]
        claim.release()
        claim.release()
        assert people.admission.pool.held == {"gpu": 1}


async def test_a_claim_of_zero_and_one_of_more_can_be_given_back_in_any_order() -> None:
    async with crowd(gpu=1) as people:
        await people.ask("nothing", gpu=0)
        await people.ask("also nothing", gpu=0)
        await people.ask("one", gpu=1)
        people.let_go("one")
        people.let_go("nothing")
        people.let_go("also nothing")
        assert not any(people.admission.pool.held.values())


# -- totals ----------------------------------------------------------------------------------------------------


async def test_a_claim_above_the_total_is_refused_at_once_although_others_wait() -> None:
    async with crowd(gpu=2) as people:
        await people.ask("holder", gpu=2)
        await people.ask("waiter", gpu=2)
        await people.ask("greedy", gpu=3)
        assert isinstance(people.errors["greedy"], cascade.CapacityError)


async def test_raising_a_total_admits_those_who_fit_now() -> None:
    async with crowd(gpu=1) as people:
        for name in "abc":
            await people.ask(name, gpu=1)
        people.admission.set_totals({"gpu": 2})
        await settle()
        assert people.order == ["a", "b"]


async def test_lowering_a_total_pre_empts_nobody_and_admits_nobody_until_it_fits() -> None:
    async with crowd(gpu=2) as people:
        for name in "abc":
            await people.ask(name, gpu=1)
        people.admission.set_totals({"gpu": 1})
        people.let_go("a")
        await settle()
        assert people.order == ["a", "b"]
        people.let_go("b")
        await settle()
        assert people.order == ["a", "b", "c"]


async def test_lowering_a_total_below_a_waiting_claim_refuses_that_one_and_frees_those_behind() -> None:
    async with crowd(gpu=3) as people:
        await people.ask("holder", gpu=1)
        await people.ask("big", gpu=3)
        await people.ask("small", gpu=1)
        people.admission.set_totals({"gpu": 2})
        await settle()
        assert isinstance(people.errors["big"], cascade.CapacityError)
        assert people.order == ["holder", "small"]


async def test_a_total_given_later_counts_what_is_held_already() -> None:
    async with crowd() as people:
        await people.ask("early", gpu=2)
        people.admission.set_totals({"gpu": 2})
        await people.ask("late", gpu=1)
        assert people.order == ["early"]


# -- rules -----------------------------------------------------------------------------------------------------


async def test_who_is_held_by_a_rule_stands_aside_and_blocks_nobody() -> None:
    async with crowd(Gate(held={"held"}), gpu=1) as people:
        await people.ask("aside", task="held", gpu=1)
        await people.ask("free", gpu=1)
        assert people.order == ["free"]


async def test_who_was_held_keeps_its_place_for_when_the_rule_opens() -> None:
    gate = Gate(held={"held"})
    async with crowd(gate, gpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("early", task="held", gpu=1)
        await people.ask("late", gpu=1)
        gate.held.clear()
        people.admission.wake()
        people.let_go("holder")
        await settle()
        assert people.order == ["holder", "early"]


async def test_a_rule_spends_nothing_on_who_cannot_be_admitted() -> None:
    gate = Gate()
    async with crowd(gate, gpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("waiter", gpu=1)
        assert gate.spent == ["holder"]


async def test_a_rule_that_closes_between_grant_and_start_sends_the_claim_back() -> None:
    gate = Gate()
    async with crowd(gate, gpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("next", task="held", gpu=1)
        people.let_go("holder")
        gate.held.add("held")
        people.admission.close_gate()
        await settle()
        assert people.order == ["holder"]
        assert people.admission.pool.held == {}
        assert ("next", False) in gate.given_back


async def test_a_waiter_sent_back_by_a_rule_is_admitted_before_those_who_came_after_it() -> None:
    gate = Gate()
    async with crowd(gate, gpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("next", task="held", gpu=1)
        people.let_go("holder")
        gate.held.add("held")
        people.admission.close_gate()
        await people.ask("other", gpu=1)
        await people.ask("last", gpu=1)
        gate.held.clear()
        people.admission.wake()
        people.let_go("other")
        await settle()
        assert people.order == ["holder", "other", "next"]


async def test_a_wait_is_reported_once_however_often_a_rule_sends_it_back() -> None:
    gate = Gate()
    async with crowd(gate, gpu=1) as people:
        await people.ask("holder", gpu=1)
        await people.ask("next", task="held", gpu=1)
        people.let_go("holder")
        gate.held.add("held")
        people.admission.close_gate()
        await settle()
        assert people.reasons == [("next", "ResourceContention")]


@pytest.mark.parametrize(
    ("held", "reason"), [(set(), "ResourceContention"), ({"task"}, "ConstraintViolation")], ids=["amount", "rule"]
)
async def test_a_wait_says_whether_capacity_or_a_rule_is_the_reason(held: set[str], reason: str) -> None:
    async with crowd(Gate(held=held), gpu=1) as people:
        await people.ask("holder", task="other", gpu=1)
        await people.ask("waiter", gpu=1)
        assert people.reasons == [("waiter", reason)]


async def test_nobody_is_admitted_while_a_block_subscriber_is_full() -> None:
    async with crowd() as people:
        people.bus.attach(people.admission)
        async with people.bus.subscribe(buffer=1) as stream:
            people.bus.publish(StateRecorded(seq=1, timestamp=0.0, run_id="run", count=1, total=1))
            await people.ask("patient")
            assert people.order == []
            await stream.receive()
            await settle()
            assert people.order == ["patient"]


async def test_a_release_asks_about_one_of_many_who_are_alike() -> None:
    gate = Gate()
    async with crowd(gate, gpu=1) as people:
        await people.ask("holder", gpu=1)
        for number in range(200):
            people.scopes[f"{number}"] = anyio.CancelScope()
            people.group.start_soon(people._live, f"{number}", "task", None, {"gpu": 1})
        await settle()
        before = gate.asked
        people.let_go("holder")
        assert gate.asked - before <= 4


async def test_letting_go_asks_only_those_that_it_may_free_however_many_resources_there_are() -> None:
    gate = Gate()
    async with crowd(gate) as people:
        people.admission.set_totals({Slot.THREAD: 10, **{f"host{number}": 1 for number in range(50)}})
        for number in range(100):
            people.scopes[f"{number}"] = anyio.CancelScope()
            amounts = {Slot.THREAD: 1, f"host{number % 50}": 1} if number >= 50 else {f"host{number}": 1}
            people.group.start_soon(people._live, f"{number}", "task", None, amounts)
            if number in (49, 99):
                await settle()
        before = gate.asked
        people.let_go("25")
        await settle()
        assert people.order[50:] == ["75"]
        assert gate.asked - before <= 4


async def test_letting_go_asks_only_those_that_it_may_free_however_many_amounts_are_claimed() -> None:
    gate = Gate()
    async with crowd(gate, memory=200) as people:
        await people.ask("holder", memory=200)
        for amount in range(101, 151):
            await people.ask(f"waits for {amount}", memory=amount)
        before = gate.asked
        people.let_go("holder")
        await settle()
        assert people.order == ["holder", "waits for 101"]
        assert gate.asked - before <= 4


@attrs.define(eq=False)
class Limit:
    """A rule that lets so many run."""

    most: int
    running: int = 0

    def holds(self, applicant: Applicant) -> bool:
        return self.running >= self.most

    def why(self, applicant: Applicant) -> str:
        return "held"

    def spend(self, applicant: Applicant) -> None:
        self.running += 1

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        self.running -= 1


async def test_all_whom_a_rule_lets_go_on_are_admitted_whatever_their_tasks() -> None:
    async with crowd(Limit(2)) as people:  # type: ignore[arg-type]
        for name in ("a", "b", "c", "d", "e"):
            await people.ask(name, task=f"task of {name}")
        people.let_go("a")
        people.let_go("b")
        await settle()
        assert sorted(people.order) == ["a", "b", "c", "d"]


async def test_who_is_held_by_another_rule_now_does_not_keep_those_behind_from_starting() -> None:
    gate = Gate()
    async with crowd(gate, Limit(1)) as people:  # type: ignore[arg-type]
        for name in ("a", "b", "c"):
            await people.ask(name, task=f"task of {name}")
        gate.held.add("task of b")
        people.let_go("a")
        await settle()
        assert people.order == ["a", "c"]
