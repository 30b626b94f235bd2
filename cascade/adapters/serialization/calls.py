"""Calls the function of a task in another process, and describes the outcome."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, Literal

import attrs

from cascade.adapters.serialization.context import Variables, context_of, explain_unset
from cascade.adapters.serialization.errors import FarError
from cascade.adapters.serialization.functions import Reference, resolve
from cascade.adapters.serialization.logs import undoing_configuration
from cascade.adapters.serialization.values import shortened
from cascade.model.errors import GraphError
from cascade.model.tasks import Task
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.foundation.task_context import attempt_var


@attrs.define(eq=False)
class FarAttempt:
    """In the other process: the present attempt, as ``cascade.current()`` shows it.

    Attributes:
        run_id: The run, which is in the process that made the call.
        node_id: The node.
        number: Number of the attempt, from 1.
        turns: For each loop around the node, the outermost first: the number of its turn.
        ends_by: The effective deadline by :func:`time.monotonic`, which all processes of a machine share; infinite
            if there is none.
        undone: How often the node was undone in earlier executions of the run.
        carrier: The context of the attempt's span; empty if nobody traces.
    """

    run_id: str
    node_id: str
    number: int
    turns: Sequence[int]
    ends_by: float
    undone: int = 0
    carrier: Mapping[str, str] = attrs.field(factory=dict)
    surroundings: object = None
    claim: object = None
    is_over: bool = False

    def remaining(self) -> float:
        """Seconds to the effective deadline."""
        return self.ends_by - time.monotonic()

    def check(self) -> None:
        """Does nothing: to stop the call, the process that made it kills this one."""


@attrs.frozen
class Returned:
    """What a function returned."""

    value: Any


@attrs.frozen
class Refusal:
    """Why a function could not be called.

    Attributes:
        what: Whether the function could not be found, or its arguments could not be unpickled.
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
        function: What ``refer`` returned.
        load_arguments: Unpickles what ``dump_arguments`` returned.
        variables: What ``variables_of`` returned. Changes that the function makes are lost when it returns.
        attempt: The attempt that ``cascade.current()`` shows; ``None`` outside a run.
    """
    try:
        func = _imported(function)
    except (Exception, SystemExit) as error:  # importing runs the user's module, which may raise anything
        return Refusal("function", shortened(error))
    try:
        args, kwargs = load_arguments()
    except (Exception, SystemExit) as error:  # unpickling runs the code of the arguments' classes
        return Refusal("arguments", shortened(error))
    context = context_of(variables)
    if attempt is not None:
        context.run(attempt_var.set, attempt)
        if attempt.carrier:
            _receive(context, attempt.carrier)
    try:
        return Returned(context.run(func, *args, **kwargs))
    except BaseException as error:  # SystemExit too: the process that made the call raises it
        explain_unset(error, variables)
        return FarError.of(error)
    finally:
        if attempt is not None:
            attempt.is_over = True


def _receive(context: Context, carrier: Mapping[str, str]) -> None:
    """Have spans that are made in *context* be below the one that *carrier* is about, if this process can."""
    with suppress(Exception):  # the library may be missing here, and its propagators may raise
        context.run(adapter("telemetry.carriers:receive"), carrier)


def do_nothing(*_: object) -> None:
    """Called with one argument at a time, to find the one that cannot be unpickled."""


def _imported(function: Reference) -> Callable[..., Any]:
    if isinstance(function, tuple) and function[0] not in sys.modules:
        with undoing_configuration():
            return resolve(function)
    return resolve(function)


def refused_function(task: Task[..., Any], reason: str) -> GraphError:
    """The error for a function that the other process cannot import or unpickle."""
    return GraphError(
        f"{task.name!r} cannot run in another process, which cannot get {task.full_name}: {reason}; define it at "
        "the top level of a module that can be imported there"
    )
