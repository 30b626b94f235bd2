"""The attempts of nodes that are too quick for one each: each is made when somebody asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs

from cascade.model.calls.callee import Callee
from cascade.runtime.admission.claims import Claim
from cascade.runtime.cancelling.scopes import NO_SCOPE, NodeScope
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.foundation.task_context import Token
from cascade.runtime.scheduling.lanes.lane_attempt import LaneAttempt


@attrs.define(eq=False)
class LaneAttempts:
    """The attempts of the nodes of one lane.

    What a node sees in its context variables is a token. That stands for an attempt as long as no other token is
    the current one; of a node that waits, until it has ended.

    Attributes:
        run_context: The run.
        identify: The id of the node that a token is about, and its task.
        clock: The event loop's clock, as it can be read where the nodes run.
        ends_by: When the scopes around them end, on that clock.
        claim: What they hold, if anything.
        scope: What cancels the task in which they run, if nodes can be cancelled one by one.
        current: The token of the node that runs.
        asked: What was made for that token.
        waiting: What was made for nodes that wait, while others run.
    """

    run_context: RunContext
    identify: Callable[[Token], tuple[str, Callee]]
    clock: Callable[[], float]
    ends_by: float = math.inf
    claim: Claim | None = None
    scope: NodeScope = NO_SCOPE
    current: Token | None = None
    asked: dict[Token, LaneAttempt] = attrs.field(factory=dict)
    waiting: dict[Token, LaneAttempt] = attrs.field(factory=dict)

    def attempt_of(self, token: Token) -> LaneAttempt:
        """The attempt that *token* stands for. Asked in any thread."""
        attempt = self.asked.get(token) or self.waiting.get(token)
        if attempt is None:
            attempt = LaneAttempt(self.run_context, *self.identify(token), self.ends_by, self.clock, self.claim)
            attempt.is_over = token is not self.current
            if token in self.waiting:  # it has begun to wait since, as another thread asks
                return self.waiting[token]
            if not attempt.is_over:
                attempt = self.asked.setdefault(token, attempt)
        return attempt

    def end(self) -> None:
        """The current node has ended."""
        self.current = None
        while self.asked:
            self.asked.popitem()[1].is_over = True

    def keep(self, token: Any) -> LaneAttempt:
        """The current node waits: it is itself until it is told to have ended, though others run meanwhile."""
        attempt = self.waiting[token] = self.attempt_of(token)
        self.asked.pop(token, None)
        self.current = None
        return attempt

    def forget(self, attempt: LaneAttempt) -> None:
        """A node that has waited has ended."""
        attempt.is_over = True
        for token in [token for token, kept in self.waiting.items() if kept is attempt]:
            del self.waiting[token]
