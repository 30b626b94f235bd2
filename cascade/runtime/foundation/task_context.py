"""What a task can ask about the attempt in which it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import attrs


class Here(Protocol):
    """An attempt, as code inside it sees it."""

    @property
    def surroundings(self) -> Any:
        """The run."""
        ...

    @property
    def run_id(self) -> str:
        """Its id."""
        ...

    @property
    def node_id(self) -> str:
        """The node."""
        ...

    @property
    def turns(self) -> Sequence[int]:
        """Numbers of the turns that the loops around its node are in, the run's own first."""
        ...

    @property
    def undone(self) -> int:
        """How often the node was undone in earlier executions of the run."""
        ...

    @property
    def number(self) -> int:
        """Counts attempts, from 1."""
        ...

    @property
    def claim(self) -> Any:
        """What it holds, if anything."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether it has ended; what still runs in its name then is not it."""
        ...

    def remaining(self) -> float:
        """Seconds to the effective deadline."""
        ...

    def check(self) -> None:
        """Raise if it is cancelled or late."""
        ...


class TokenMaker(Protocol):
    """Who makes the attempts of nodes that are too quick for one each, once somebody asks for one."""

    def attempt_of(self, token: Any, /) -> Here:
        """The attempt that *token* stands for."""
        ...


# In place of an attempt: who makes it, and what tells it from others.
Token = tuple[TokenMaker, Any, int, int]

attempt_var: ContextVar[Here | Token] = ContextVar("cascade_attempt")

# Set in a worker process while it loads the script that was started, which must not start its flow once more.
loading_main: ContextVar[bool] = ContextVar("cascade_loading_main", default=False)


def here() -> Here | None:
    """The attempt that this code runs in, or has been started in; it may be over."""
    found = attempt_var.get(None)
    return found[0].attempt_of(found) if isinstance(found, tuple) else found


def ambient() -> Here | None:
    """The attempt that this code runs in, if any."""
    attempt = here()
    return attempt if attempt is not None and not attempt.is_over else None


def key_of(node_id: str, turns: Sequence[int]) -> str:
    """What stands for a node in idempotency keys: its id, and the turns of the loops around it."""
    inner = list(turns)
    while inner and inner[-1] == 1:
        inner.pop()
    return node_id + (f"@{'.'.join(map(str, inner))}" if inner else "")


@attrs.frozen
class TaskContext:
    """The attempt in which a task runs.

    Attributes:
        run_id: The run.
        node_id: The node.
        attempt: Number of this attempt, from 1.
        idempotency_key: The same for every attempt of this node in this run, also after a resume. Different for
            all other nodes and runs, in each turn of a loop, and once the node has been undone. For systems that
            recognise repeated requests by a key.
        remaining: A function that gives the seconds until the nearest timeout or deadline; ``inf`` if there is
            none.
    """

    run_id: str
    node_id: str
    attempt: int
    idempotency_key: str
    remaining: Callable[[], float] = attrs.field(repr=False, eq=False)


def current() -> TaskContext:
    """The run, node and attempt in which the calling code runs.

    Raises:
        RuntimeError: If the calling code does not run in a task.
    """
    attempt = ambient()
    if attempt is None:
        raise RuntimeError("cascade.current() is for code that runs in a task of a flow")
    key = f"{attempt.run_id}/{key_of(attempt.node_id, attempt.turns)}"
    key += f"~{attempt.undone}" if attempt.undone else ""
    return TaskContext(attempt.run_id, attempt.node_id, attempt.number, key, attempt.remaining)


def checkpoint() -> None:
    """Let a sync task end early: raises if its attempt is cancelled or late, and does nothing otherwise.

    Cheap enough for inner loops. Clean up in ``finally`` and do not swallow what it raises. On a worker of a
    remote executor it raises as in a thread. In a worker process of this program (``mode="process"``) it does
    nothing, because there a cancelled task is killed.

    Raises:
        TaskTimeoutError: If the attempt has taken longer than its timeout.
        RuntimeError: If the calling code does not run in a task.
        BaseException: An internal exception if the attempt is cancelled. Let it pass.
    """
    attempt = here()
    if attempt is not None:
        attempt.check()  # also of a thread that was left behind: that is how it learns of it
    if attempt is None or attempt.is_over:
        raise RuntimeError("cascade.checkpoint() is for code that runs in a task of a flow")
