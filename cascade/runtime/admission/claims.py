"""What is asked for and held: applicants, and their claims."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import attrs
from anyio.lowlevel import EventLoopToken

from cascade.runtime.admission.pool import Amounts, Name, Pool
from cascade.runtime.foundation.threads import wake_soon
from cascade.runtime.observation.bus import EventBus


@attrs.frozen(eq=False)
class Applicant:
    """Who asks to start an attempt: what rules look at.

    Attributes:
        node_id: The node, in its run.
        task_name: The task's name.
        full_name: ``module.name`` of the task.
        run_id: The run.
        bus: The run's bus; a full subscriber on it holds the run.
        ancestors: Claims of the tasks around the run, outermost first.
        is_lane: Whether it is a thread lane, which looks at rules before each of its nodes.
        rank: Who of a run goes first, of those that claim the same: the highest. 0 if that does not matter.
        priority: Who of a run goes first, of those that wait for the same, before ranks count: the highest.
            ``None`` if its flow says no priorities; it counts as 0.
    """

    node_id: str
    task_name: str
    full_name: str
    run_id: str
    bus: EventBus
    ancestors: tuple[Claim, ...] = ()
    is_lane: bool = False
    rank: float = 0.0
    priority: int | None = None


@attrs.define(eq=False)
class Claim:
    """What an admitted attempt holds. Released once, synchronously.

    Attributes:
        holdings: Where it is counted.
        applicant: Who holds it.
        amounts: How much of what.
        ticket: Its place in the order in which claims were asked for.
        epoch: The gate's, when it was granted.
        is_held: Whether it has not been released.
    """

    holdings: Holdings
    applicant: Applicant
    amounts: Amounts
    ticket: int
    epoch: int
    is_held: bool = True

    def release(self, *, has_run: bool = True) -> None:
        """Give everything back and wake whom it frees; a second call does nothing."""
        if self.is_held:
            self.is_held = False
            self.holdings.give_back(self, has_run=has_run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


@attrs.define(eq=False)
class Holdings:
    """The claims that are held at present, and the pool that they are taken from.

    Attributes:
        pool: The amounts.
        on_release: Called with a claim that has been released, and whether its attempt has run.
        active: The claims that are held, oldest first.
        token: The event loop that is served.
    """

    pool: Pool
    on_release: Callable[[Claim, bool], None]
    active: dict[Claim, None] = attrs.field(factory=dict)
    token: EventLoopToken | None = None
    _handed_in: deque[Claim] = attrs.field(factory=deque)

    def take(self, applicant: Applicant, amounts: Amounts, ticket: int, epoch: int) -> Claim:
        """A claim of *amounts*, which are free."""
        self.pool.take(amounts)
        claim = Claim(self, applicant, amounts, ticket, epoch)
        self.active[claim] = None
        return claim

    def adopted(self, applicant: Applicant, epoch: int) -> Claim:
        """A claim of nothing, for an attempt that runs without one."""
        return self.take(applicant, {}, -1, epoch)

    def give_back(self, claim: Claim, *, has_run: bool) -> None:
        """Take back what *claim* held."""
        del self.active[claim]
        self.pool.give(claim.amounts)
        self.on_release(claim, has_run)

    def hand_in(self, claim: Claim) -> None:
        """Release *claim* soon, from any thread: on the loop that is served, or on the next one that is."""
        self._handed_in.append(claim)
        if self.token is not None:
            wake_soon(self.token, self.collect)

    def collect(self) -> None:
        """Release what has been handed in."""
        while self._handed_in:
            self._handed_in.popleft().release()

    def first(self, count: int, covers: Callable[[Applicant], bool]) -> Iterator[Claim]:
        """The oldest *count* claims of attempts that *covers* says yes to."""
        found = (claim for claim in self.active if covers(claim.applicant))
        return itertools.islice(found, count)

    def holds(self, claim: Claim, name: Name) -> bool:
        """Whether *claim* keeps some of *name* from others here; it may be one of another engine."""
        return claim.is_held and claim.holdings is self and name in claim.amounts
