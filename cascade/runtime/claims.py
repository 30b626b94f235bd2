"""What is asked for and held: applicants, their claims, and the rules that may hold them."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

import attrs

from cascade.runtime.bus import EventBus
from cascade.runtime.capacity import Amounts


class Crosser(Protocol):
    """Somebody who passes the gate in a thread of its own."""

    @property
    def is_crossing(self) -> bool:
        """Whether it is between the gate and its start mark."""
        ...


class Keeper(Protocol):
    """The admission that a claim comes from.

    Attributes:
        epoch: Changes whenever an attempt that was admitted, but has not started, may have to go back.
        crossers: Who may be between the gate and a function, in other threads.
    """

    epoch: int
    crossers: set[Crosser]

    @property
    def wants_thread(self) -> bool:
        """Whether somebody could start if there were a thread slot. May be asked in any thread."""
        ...

    def released(self, claim: Claim, *, has_run: bool) -> None:
        """Take back what *claim* held."""
        ...

    def hand_in(self, claim: Claim) -> None:
        """Release *claim* soon. May be called in any thread."""
        ...


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
    """

    node_id: str
    task_name: str
    full_name: str
    run_id: str
    bus: EventBus
    ancestors: tuple[Claim, ...] = ()
    is_lane: bool = False
    rank: float = 0.0


@attrs.define(eq=False)
class Claim:
    """What an admitted attempt holds. Released once, synchronously."""

    admission: Keeper
    applicant: Applicant
    amounts: Amounts
    ticket: int
    epoch: int
    is_held: bool = True

    def release(self, *, has_run: bool = True) -> None:
        """Give everything back and wake whom it frees; a second call does nothing."""
        if self.is_held:
            self.is_held = False
            self.admission.released(self, has_run=has_run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Rule(Protocol):
    """Something that may hold attempts back, whatever the capacity.

    Of those that a rule may hold, it holds all or none at any moment.
    """

    def holds(self, applicant: Applicant) -> bool:
        """Whether *applicant* may not start now."""
        ...

    def why(self, applicant: Applicant) -> str:
        """Why it holds *applicant*, for people."""
        ...

    def spend(self, applicant: Applicant) -> None:
        """*applicant* has been admitted."""
        ...

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        """The attempt has ended, or (``has_run=False``) gone back without starting."""
        ...
