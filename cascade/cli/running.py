"""``cascade run``: a run, the signals that end it, and the exit status that tells how it ended."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from fractions import Fraction
from signal import Signals
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs
from anyio.abc import TaskGroup

from cascade import api
from cascade.adapters.event_loops import check_backend
from cascade.adapters.observers.lines import human_log, json_lines
from cascade.adapters.observers.progress import progress
from cascade.cli.arguments import Invocation, pairs
from cascade.cli.failure import say_failure, without_python
from cascade.cli.output import EXIT_USAGE, OutputLost, out_text, say
from cascade.cli.pages.options import page_of_run
from cascade.cli.recorded.capturing import capturing
from cascade.cli.records import origin_of
from cascade.cli.targets import UsageError
from cascade.model.errors import CascadeError, RunCancelled, RunSuspended, waits_for
from cascade.model.shown.raised import describe
from cascade.model.shown.urls import shown_url
from cascade.runtime.context.failures import Failure
from cascade.runtime.context.settings import Observer
from cascade.runtime.durability.recovery import origin_var
from cascade.runtime.engine.handle import Run
from cascade.runtime.engine.urls import outlives_process
from cascade.runtime.observation.bus import EventStream

if TYPE_CHECKING:
    from cascade.cli.pages.report import RunReport

EXIT_FAILED: Final = 1
# EX_TEMPFAIL of sysexits.h: nothing went wrong, and the rest can be done later.
EXIT_DRAINED: Final = 75
# As shells say it: 128 and the number of the signal.
EXIT_BY_SIGNAL: Final = {signal.SIGINT: 130, signal.SIGTERM: 143}


@attrs.define(eq=False)
class _Running:
    """A run on the command line, and the signal that ended it, if one did."""

    invocation: Invocation
    settings: dict[str, Any]
    signal: signal.Signals | None = None
    value: Any = None
    error: BaseException | None = None
    failures: Sequence[Failure] = ()
    has_begun: bool = False
    run_id: str | None = None
    is_drained: bool = False

    @property
    def remedy(self) -> str:
        """How a run that was cut short goes on, if its outcomes are kept."""
        words = self.command("resume")
        return f"; it goes on with: {words}" if words else ""

    def command(self, name: str, *more: str) -> str:
        """A command line about the run; empty if its outcomes are not kept."""
        state = self.invocation.options.state
        if self.run_id is None or state is None or not outlives_process(state):
            return ""
        return shlex.join(["cascade", name, self.run_id, *more, "--state", shown_url(state)])

    async def run(self) -> None:
        """Run the flow; SIGINT drains it and, said twice or after a while, cancels it, as SIGTERM does at once."""
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                try:
                    await self._until_ended(signals, group)
                except anyio.get_cancelled_exc_class():
                    raise  # pragma: no cover  # nobody cancels the command itself
                except BaseException as error:  # whatever it is: it is told when the loop is closed
                    self.error = error
            group.cancel_scope.cancel()

    async def _until_ended(self, signals: AsyncIterator[Signals], group: TaskGroup) -> None:
        invocation = self.invocation
        run_id = invocation.options.run_id
        async with api.start(invocation.flow, invocation.params, run_id=run_id, **self.settings) as handle:
            self.has_begun, self.run_id = True, handle.id
            group.start_soon(self._obey, handle, signals, group)
            try:
                self.value = await handle.result()
            finally:
                self.is_drained = handle.status().state == "Drained"
                self.failures = handle.failures

    async def _obey(self, handle: Run, signals: AsyncIterator[Signals], group: TaskGroup) -> None:
        grace = self.invocation.options.grace
        async for received in signals:
            is_first = self.signal is None
            self.signal = received
            if is_first and received == signal.SIGINT and grace:
                handle.drain()
                say("cascade: draining: finishing what runs; once more to cancel")
                group.start_soon(self._cancel_after, handle, grace)
            else:
                handle.cancel()

    @staticmethod
    async def _cancel_after(handle: Run, seconds: float) -> None:
        await anyio.sleep(seconds)
        handle.cancel()


def run_flow(invocation: Invocation, *, is_first: bool = True) -> int:
    """Run a flow; returns the exit status.

    Args:
        invocation: What was said.
        is_first: Whether the command line is recorded, for ``cascade resume``.

    Raises:
        UsageError: If nothing ran, because something is wrong with the flow, its parameters or the settings.
        OutputLost: If standard output cannot be written.
    """
    options = invocation.options
    _see_backend(options.backend)
    if options.capture and options.state is None:
        raise UsageError("--capture keeps what tasks write with what is recorded of them; say where: --state URL")
    lost: list[OutputLost] = []
    reports = _reports(options.report)
    settings: dict[str, Any] = {
        "schedule": options.schedule,
        "on_error": options.on_error,
        "max_threads": options.max_threads,
        "state": options.state,
        "on_change": options.on_change,
        "when_idle": options.when_idle,
        "system_resources": _amounts(options.resources),
        "control": options.control,
        "executor": options.executor,
        "page": page_of_run(options),
        "observers": [*_observers(options.log, lost), *reports],
    }
    running = _Running(invocation, settings)
    assert invocation.kept is not None  # it is that of a run
    token = origin_var.set(origin_of(invocation.kept) if is_first else None)
    try:
        with capturing() if options.capture else nullcontext():
            anyio.run(running.run, backend=options.backend)
    finally:
        origin_var.reset(token)
    status = _ended(running)
    if not all(report.tell() for report in reports):
        status = status or EXIT_USAGE
    if lost:
        lost[0].status = status
        raise lost[0]
    return status


def _see_backend(backend: str) -> None:
    try:
        check_backend(backend)
    except ImportError as error:
        raise UsageError(str(error)) from error


def _ended(running: _Running) -> int:
    """Say how the run ended; returns the exit status."""
    error, options = running.error, running.invocation.options
    if running.is_drained:
        say(f"cascade: drained; what had begun has ended, the rest has not begun{running.remedy}")
        return EXIT_DRAINED
    if isinstance(error, RunSuspended):
        say(f"cascade: suspended; it {waits_for(error.signals)}{running.remedy}")
        return EXIT_DRAINED
    if running.signal is not None and isinstance(error, RunCancelled):
        say(f"cascade: ended by {running.signal.name}{running.remedy}")
        return EXIT_BY_SIGNAL[running.signal]
    if error is None:
        if running.value is not None and options.log != "json":
            _show(running.value)
        return 0
    if not running.has_begun and isinstance(error, Exception):
        words = str(error) if isinstance(error, CascadeError) else describe(error)
        raise UsageError(without_python(words)) from error
    say_failure(error, running.failures, shows_traceback=options.traceback)
    if running.command("show"):
        say(f"cascade: to look closer: {running.command('show', '--failed')}")
        say(f"cascade: to go on: {running.command('resume')}")
    return EXIT_FAILED


def _show(value: object) -> None:
    """Print the result of a run, as far as that can be shown."""
    try:
        text = str(value)
    except Exception as error:  # its __str__ is user code, and the run has succeeded all the same
        say(f"cascade: the result, of type {type(value).__qualname__}, cannot be shown: {describe(error)}")
    else:
        out_text(f"{text}\n")


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


def _observers(log: str, lost: list[OutputLost]) -> list[Observer]:
    """What reports the run; what keeps it from being written is put into *lost*."""
    match log:
        case "human":
            return [human_log()]
        case "json":
            return [_json_log(lost)]
        case "progress":
            try:
                return [progress()]
            except ImportError as error:
                raise UsageError(str(error)) from error
        case _:
            return []


def _reports(path: str | None) -> Sequence[RunReport]:
    """The observers that write reports of the run: one, or none."""
    if path is None:
        return ()
    from cascade.cli.pages.report import run_report  # here, as what makes pages takes its time to import

    return [run_report(path)]


def _json_log(lost: list[OutputLost]) -> Observer:
    stream = sys.stdout
    if stream is None:
        raise OutputLost

    async def write_json_log(events: EventStream) -> None:
        try:
            await json_lines(stream)(events)
        except (OSError, ValueError) as error:
            lost.append(OutputLost(error))

    return write_json_log
