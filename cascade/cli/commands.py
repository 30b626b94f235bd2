"""Doing what the command line says."""

from __future__ import annotations

import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from fractions import Fraction
from signal import Signals
from typing import Any, Final

import anyio
import attrs
from anyio.abc import TaskGroup

from cascade import api
from cascade.adapters.observers.lines import human_log, json_lines
from cascade.adapters.observers.progress import progress
from cascade.cli.arguments import Invocation, pairs, parse
from cascade.cli.control import run_control
from cascade.cli.records import arguments_to_resume, origin_of, show_run, show_runs
from cascade.cli.targets import UsageError
from cascade.cli.watch import run_watch
from cascade.model.errors import (
    CapacityError,
    GraphError,
    InputError,
    ResourceNotFoundError,
    RunCancelled,
    describe,
)
from cascade.model.secrets import redacted
from cascade.runtime.run import Run
from cascade.runtime.settings import Observer
from cascade.runtime.state import origin_var

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
# EX_TEMPFAIL of sysexits.h: nothing went wrong, and the rest can be done later.
EXIT_DRAINED: Final = 75
# As shells say it: 128 and the number of the signal.
EXIT_BY_SIGNAL: Final = {signal.SIGINT: 130, signal.SIGTERM: 143}


def execute(invocation: Invocation) -> int:
    """Do it; returns the exit status."""
    match invocation.command:
        case "graph":
            return _graph(invocation)
        case "runs":
            show_runs(invocation.options.state, invocation.options.format)
            return 0
        case "show":
            show_run(invocation.options.state, invocation.options.run_id, invocation.options.format)
            return 0
        case "resume":
            options = invocation.options
            words = arguments_to_resume(options.state, options.run_id, invocation.params, options.control)
            more = ["--log", options.log, "--on-change", options.on_change]
            return _run(parse([*words, *more]), is_first=False)
        case "control":
            return run_control(invocation.options)
        case "watch":
            return run_watch(invocation.options)
        case _:
            return _run(invocation)


def _graph(invocation: Invocation) -> int:
    try:
        sys.stdout.write(api.visualize(invocation.flow, invocation.options.format))
    except GraphError as error:
        raise UsageError(str(error)) from error
    return 0


@attrs.define(eq=False)
class _Running:
    """A run on the command line, and the signal that ended it, if one did."""

    invocation: Invocation
    settings: dict[str, Any]
    signal: signal.Signals | None = None
    value: Any = None
    error: BaseException | None = None
    has_begun: bool = False
    is_drained: bool = False

    async def run(self) -> None:
        """Run the flow; SIGINT drains it and, said twice or after a while, cancels it, as SIGTERM does at once."""
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                try:
                    async with api.start(
                        self.invocation.flow,
                        self.invocation.params,
                        run_id=self.invocation.options.run_id,
                        **self.settings,
                    ) as handle:
                        self.has_begun = True
                        group.start_soon(self._obey, handle, signals, group)
                        try:
                            self.value = await handle.result()
                        finally:
                            self.is_drained = handle.status().state == "Drained"
                except Exception as error:
                    self.error = error
                except BaseException as error:
                    if isinstance(error, anyio.get_cancelled_exc_class()):
                        raise  # pragma: no cover  # nobody cancels the command itself
                    self.error = error
            group.cancel_scope.cancel()

    async def _obey(self, handle: Run, signals: AsyncIterator[Signals], group: TaskGroup) -> None:
        grace = self.invocation.options.grace
        async for received in signals:
            is_first = self.signal is None
            self.signal = received
            if is_first and received == signal.SIGINT and grace:
                handle.drain()
                print("cascade: draining: finishing what runs; once more to cancel", file=sys.stderr, flush=True)
                group.start_soon(self._cancel_after, handle, grace)
            else:
                handle.cancel()

    @staticmethod
    async def _cancel_after(handle: Run, seconds: float) -> None:
        await anyio.sleep(seconds)
        handle.cancel()


def _run(invocation: Invocation, *, is_first: bool = True) -> int:
    options = invocation.options
    settings: dict[str, Any] = {
        "schedule": options.schedule,
        "on_error": options.on_error,
        "max_threads": options.max_threads,
        "state": options.state,
        "on_change": options.on_change,
        "system_resources": _amounts(options.resources),
        "control": options.control,
        "observers": _observers(options.log),
    }
    running = _Running(invocation, settings)
    assert invocation.kept is not None  # it is that of a run
    token = origin_var.set(origin_of(invocation.kept) if is_first else None)
    try:
        anyio.run(running.run, backend=options.backend)
    except LookupError as error:
        raise UsageError(str(error)) from error
    finally:
        origin_var.reset(token)
    return _report(running, shows_traceback=options.traceback)


def _report(running: _Running, *, shows_traceback: bool) -> int:
    error = running.error
    if running.is_drained:
        print("cascade: drained; what had begun has ended, the rest has not begun", file=sys.stderr)
        return EXIT_DRAINED
    if running.signal is not None and isinstance(error, RunCancelled):
        print(f"cascade: ended by {running.signal.name}", file=sys.stderr)
        return EXIT_BY_SIGNAL[running.signal]
    if error is None:
        if running.value is not None and running.invocation.options.log != "json":
            return _print_value(running.value)
        return 0
    if not running.has_begun and isinstance(error, _MISTAKES):
        raise UsageError(_with_options(describe(error))) from error
    if shows_traceback:
        sys.stderr.write(redacted("".join(traceback.format_exception(error))))
    else:
        print(f"cascade: {_with_options(describe(error))}", file=sys.stderr)
        _print_details(error, "  ")
    return EXIT_FAILED


def _with_options(text: str) -> str:
    """*text* with options in the place of Python arguments, where the engine names these as a remedy."""
    for argument, option in _REMEDIES.items():
        text = re.sub(argument, option, text)
    return text


_REMEDIES: Final = {
    r"pass params={'(.*?)': ...}": r"give -p '\1=VALUE'",
    r"use another run_id, on_change=\"(\w+)\" or on_change=\"(\w+)\"": (
        r"use another --run-id, --on-change \1 or --on-change \2"
    ),
}


def _print_value(value: object) -> int:
    try:
        text = redacted(str(value))
        sys.stdout.write(f"{text}\n")
    except BrokenPipeError:
        raise
    except Exception as error:  # its __str__ raised, or the encoding of stdout has no such character
        print(f"cascade: the result cannot be printed: {describe(error)}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _print_details(error: BaseException, indent: str) -> None:
    """What *error* has in its notes and, if it is a group, in its parts."""
    for note in getattr(error, "__notes__", ()):
        print(redacted(f"{indent}{note}"), file=sys.stderr)
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        print(f"{indent}{describe(part)}", file=sys.stderr)
        _print_details(part, indent + "  ")


# What is wrong before anything has begun is a mistake in flow or command line, not a failure of a task.
_MISTAKES: Final = (InputError, GraphError, CapacityError, ResourceNotFoundError, ValueError, TypeError)


def _amounts(words: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        for name, text in pairs(word.split(","), "--resources").items():
            try:
                amount = Fraction(text)
                found[name] = int(amount) if amount.denominator == 1 else amount
            except (ValueError, ZeroDivisionError):
                raise UsageError(f"--resources takes NAME=AMOUNT with a number, not {word!r}") from None
    return found


def _observers(log: str) -> list[Observer]:
    match log:
        case "human":
            return [human_log()]
        case "json":
            return [json_lines(sys.stdout)]
        case "progress":
            try:
                return [progress()]
            except ImportError as error:
                raise UsageError(str(error)) from error
        case _:
            return []
