"""What has gone wrong in a run, and whether the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from cascade.model.outcomes import Failed
from cascade.model.shown.raised import annotate, hide_secrets_of
from cascade.model.shown.secrets import Secrets
from cascade.runtime.frame.gaps import FailedItems


@attrs.frozen
class Failure:
    """One failure of a run.

    Attributes:
        error: The exception.
        origin: Where it comes from: a node id, or words such as ``"state store"``.
        is_of_node: Whether *origin* is a node id.
    """

    error: BaseException
    origin: str
    is_of_node: bool = False


@attrs.frozen(eq=False)
class Beside:
    """What there is beside a failure that is passed on.

    Attributes:
        failures: What was handled.
        maps: Maps that have failed.
    """

    failures: tuple[Failed, ...] = ()
    maps: tuple[FailedItems, ...] = ()


NOTHING_BESIDE: Final = Beside()


@attrs.define(eq=False)
class Failures:
    """The failures of a run, each error once.

    Attributes:
        secrets: What no error may show.
        goes_on: Whether the run goes on after the failure of a node.
        halt: Ends the run.
        recorded: The failures, in order of time.
        was_any_handled: Whether anything has failed that was handled at that moment.
    """

    secrets: Secrets
    goes_on: bool
    halt: Callable[[], None]
    recorded: list[Failure] = attrs.field(factory=list)
    was_any_handled: bool = False
    # By identity; the list above keeps the errors alive.
    _known: set[int] = attrs.field(factory=set)
    _passing: dict[int, Failed] = attrs.field(factory=dict)
    _beside: dict[int, Beside] = attrs.field(factory=dict)

    def fail(self, error: BaseException, origin: str) -> None:
        """Record a failure after which the run cannot go on, and halt."""
        self._record(Failure(error, origin))
        self.halt()

    def fail_beside(self, error: BaseException, origin: str) -> None:
        """Record a failure that is no node's own, such as that of a tear-down; halt unless the run goes on."""
        self._add(Failure(error, origin))

    def fail_node(self, failed: Failed, note: str, *, is_handled: bool = False) -> Failed:
        """Record the failure of a node, and halt unless it is handled or the run goes on after failures.

        Args:
            failed: The failure.
            note: What is noted on the error.
            is_handled: Whether whoever wants the node can do with that; then it is no failure of the run.

        Returns:
            The failure, of the node that has raised the error: one in a sub-flow, if it comes from there.
        """
        passed_on = self._passing.pop(id(failed.error), None)
        if passed_on is None:
            annotate(failed.error, note)
        failed = failed if passed_on is None else passed_on
        if is_handled:
            self.was_any_handled = True
            hide_secrets_of(failed.error, self.secrets)
        else:
            self.add_node(failed)
        return failed

    def add_node(self, failed: Failed) -> None:
        """Record the failure of a node that was told before, and halt unless the run goes on after failures."""
        self._add(Failure(failed.error, failed.task_id, is_of_node=True))

    def pass_on(self, failed: Failed, others: Iterable[Failed] = (), maps: Sequence[FailedItems] = ()) -> None:
        """The failure of a node ended a sub-flow or a map, and goes on to the node that this belongs to.

        Args:
            failed: The failure.
            others: What else has failed there. What was handled may come to be a failure of the run with it.
            maps: The maps that have failed there.
        """
        self._passing[id(failed.error)] = failed
        self.bring(failed.error, others, maps)

    def bring(self, error: BaseException, others: Iterable[Failed], maps: Sequence[FailedItems]) -> None:
        """The same for an *error* that the node has made itself."""
        unknown = tuple(other for other in others if not self.has(other.error))
        if unknown or maps:
            self._beside[id(error)] = Beside(unknown, tuple(maps))

    def take_beside(self, error: BaseException) -> Beside:
        """What there is beside *error*, which has come to the node that it was passed on to."""
        return self._beside.pop(id(error), NOTHING_BESIDE)

    def cause_of(self, error: BaseException) -> str | None:
        """The node whose failure *error* was before it was passed on; ``None`` if it was not."""
        passed_on = self._passing.get(id(error))
        return None if passed_on is None else passed_on.task_id

    def has(self, error: BaseException) -> bool:
        """Whether *error*, this very object, is among the failures."""
        return id(error) in self._known

    def _add(self, failure: Failure) -> None:
        self._record(failure)
        if not self.goes_on or not isinstance(failure.error, Exception):
            self.halt()

    def _record(self, failure: Failure) -> None:
        # One exception may pass through several nodes: through a sub-flow to the node that asked for it.
        if not self.has(failure.error):
            hide_secrets_of(failure.error, self.secrets)
            self._known.add(id(failure.error))
            self.recorded.append(failure)
