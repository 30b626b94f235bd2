"""A call of a task's function in another process, and what comes of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs

from cascade.adapters.serialization.context import Variables, context_of, explain_unset
from cascade.adapters.serialization.errors import FarError
from cascade.adapters.serialization.functions import Reference, resolve
from cascade.adapters.serialization.logs import undoing_configuration
from cascade.adapters.serialization.values import shortened
from cascade.model.errors import GraphError
from cascade.model.tasks import Task
from cascade.runtime.current import attempt_var


@attrs.define(eq=False)
class FarAttempt:
    """In the other process: the attempt that a call is, as far as code inside it can ask.

    Attributes:
        run_id: The run, which is in the process that made the call.
        node_id: The node.
        number: Counts attempts, from 1.
        turns: Numbers of the turns that the loops around its node are in, the run's own first.
        ends_by: The effective deadline on the clock of :func:`time.monotonic`, which the processes of a machine
            share; infinite if there is none.
    """

    run_id: str
    node_id: str
    number: int
    turns: Sequence[int]
    ends_by: float
    surroundings: object = None
    claim: object = None
    is_over: bool = False

    def remaining(self) -> float:
        """Seconds to the effective deadline."""
        return self.ends_by - time.monotonic()

    def check(self) -> None:
        """Nothing: whoever made the call ends the process if it is to stop."""


@attrs.frozen
class Returned:
    """What a function returned."""

    value: Any


@attrs.frozen
class Refusal:
    """Why a function could not be called.

    Attributes:
        what: What could not be found or unpickled.
        reason: Why, in one line.
    """

    what: Literal["function", "arguments"]
    reason: str


def perform(
    function: Reference,
    load_arguments: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
    variables: Variables,
    attempt: FarAttempt | None,
) -> Returned | FarError | Refusal:
    """In the other process: make a call; never raises.

    Args:
        function: As of ``refer``.
        load_arguments: Unpickles what ``dump_arguments`` gave.
        variables: As of ``variables_of``. What the function sets is gone when it returns.
        attempt: What ``cascade.current()`` tells the function of; ``None`` outside a run.
    """
    try:
        func = _imported(function)
    except (Exception, SystemExit) as error:  # whatever its module raises
        return Refusal("function", shortened(error))
    try:
        args, kwargs = load_arguments()
    except (Exception, SystemExit) as error:  # whatever the arguments' own code raises
        return Refusal("arguments", shortened(error))
    context = context_of(variables)
    if attempt is not None:
        context.run(attempt_var.set, attempt)
    try:
        return Returned(context.run(func, *args, **kwargs))
    except BaseException as error:  # SystemExit included: it is for the process that made the call
        explain_unset(error, variables)
        return FarError.of(error)
    finally:
        if attempt is not None:
            attempt.is_over = True


def do_nothing(*_: object) -> None:
    """For finding out which of some arguments can be read where they arrive."""


def _imported(function: Reference) -> Callable[..., Any]:
    if isinstance(function, tuple) and function[0] not in sys.modules:
        with undoing_configuration():
            return resolve(function)
    return resolve(function)


def refused_function(task: Task[..., Any], reason: str) -> GraphError:
    """What is raised for a function that cannot be found where it is to be called."""
    return GraphError(
        f"{task.name!r} cannot run in another process, which cannot get {task.full_name}: {reason}; define it at "
        "the top level of a module that can be imported there"
    )
