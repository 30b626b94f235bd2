"""On the worker: makes the calls of a batch, one after another."""

from __future__ import annotations

import functools
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, NamedTuple

import attrs

from cascade.adapters.remote.sizes import measured
from cascade.adapters.serialization.errors import FarError
from cascade.adapters.serialization.functions import Reference, resolve
from cascade.adapters.serialization.values import dumps, shortened
from cascade.graph.nested import LEAVES, Hold, finish, glance, has_placeholders
from cascade.model.errors import AttemptCancelled, TaskTimeoutError
from cascade.runtime.foundation.remote_executor import ARRIVING, AttemptInfo, Earlier
from cascade.runtime.foundation.task_context import attempt_var

# Seconds after which a batch makes no further call, so that rules and cancellations are not held up by it.
BUDGET: Final = 0.2
# Seconds between two looks whether the batch is cancelled, while it makes short calls.
_LOOK: Final = 0.01


class Site:
    """The place where a batch runs, as :func:`run_batch` sees it. Each executor has its own kind.

    Attributes:
        name: Name of the worker, as events and errors show it.
    """

    name: str = ""

    def started(self, position: int) -> None:
        """The function of the call at *position* is about to be called: tell the engine, if that is possible."""

    def is_cancelled(self) -> bool:
        """Whether the engine has cancelled the batch. Asked by ``cascade.checkpoint()``, so it must be quick."""
        return False

    def interrupts(self, error: BaseException) -> bool:
        """Whether *error*, which has come out of a function, is the cluster's way to cancel the batch."""
        del error
        return False

    def keep(self, value: Any) -> object:
        """Have *value* stay on the cluster; returns the handle by which the executor finds it."""
        raise NotImplementedError


class Line(NamedTuple):
    """One call on its way; travels as a plain tuple, as a batch may have a thousand.

    Attributes:
        function: The number of its function in the batch.
        args: Positional arguments.
        kwargs: Arguments by name.
        attempt: What an ``AttemptInfo`` has.
        timeout: Seconds it may take; ``None``: no limit.
        remaining: Seconds to the deadline of the scopes around it, when it was handed over.
        carrier: The tracing context.
        keeps: Whether its value may stay.
        ends_batch: Whether the later calls are not made if it raises.
    """

    function: int
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    attempt: tuple[str, str, int, tuple[int, ...], int]
    timeout: float | None
    remaining: float
    carrier: Mapping[str, str]
    keeps: bool
    ends_batch: bool


class Answer(NamedTuple):
    """What a batch gives; travels as a plain tuple.

    Attributes:
        worker: Where it ran.
        refusal: Why none of it could be run, if so.
        is_unfit: Whether no other worker of the kind could run it either.
        results: For each call a tuple, or ``None`` if it was not made.
    """

    worker: str
    refusal: str = ""
    is_unfit: bool = False
    results: Sequence[tuple[Any, ...] | None] = ()


# What the tuple of a result begins with; seconds follow, and then: the value; its bytes; handle and size of one
# that has stayed; a FarError; what was refused ("function" or "value"), and why.
VALUE: Final = 0
PICKLED: Final = 1
STAYED: Final = 2
ERROR: Final = 3
REFUSED: Final = 4


@attrs.define(eq=False)
class RemoteAttempt:
    """The present attempt, as ``cascade.current()`` and ``cascade.checkpoint()`` see it on a worker."""

    line: Line
    site: Site
    arrived: float
    started: float
    surroundings: object = None
    claim: object = None
    is_over: bool = False
    _info: AttemptInfo = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._info = AttemptInfo(*self.line.attempt)

    @property
    def run_id(self) -> str:
        """The run, which is in the process that made the call."""
        return self._info.run_id

    @property
    def node_id(self) -> str:
        """The node."""
        return self._info.node_id

    @property
    def number(self) -> int:
        """Number of the attempt, from 1."""
        return self._info.number

    @property
    def turns(self) -> Sequence[int]:
        """For each loop around the node: the number of its turn."""
        return self._info.turns

    @property
    def undone(self) -> int:
        """How often the node was undone in earlier executions of the run."""
        return self._info.undone

    def remaining(self) -> float:
        """Seconds to the effective deadline."""
        ends_by = self.arrived + self.line.remaining
        if self.line.timeout is not None:
            ends_by = min(ends_by, self.started + self.line.timeout)
        return ends_by - time.monotonic()

    def check(self) -> None:
        """Raise if it is cancelled or late."""
        timeout = self.line.timeout
        if timeout is not None and time.monotonic() - self.started > timeout:
            raise TaskTimeoutError(self.node_id, timeout)
        if self.site.is_cancelled():
            raise AttemptCancelled


@functools.cache
def version_here() -> tuple[str, str]:
    """The versions of Python and of cascade, as far as they have to be the same on both sides."""
    try:
        ours = version("cascade-anyio")
    except PackageNotFoundError:  # pragma: no cover  # a copy of the sources without metadata
        ours = "unknown"
    return f"{sys.version_info.major}.{sys.version_info.minor}", ours


def run_batch(header: tuple[str, str], payload: bytes, values: Sequence[Any], site: Site) -> bytes:
    """Make the calls of a batch; never raises, but for what the cluster stops it with.

    Args:
        header: ``Packed.header``.
        payload: ``Packed.payload``.
        values: The values that ``Packed.needs`` stand for, in that order.
        site: The place.

    Returns:
        Bytes for ``wire.unpack``.
    """
    mismatch = _mismatch(header, site)
    if mismatch:
        return pickle.dumps((site.name, mismatch, True, ()))
    try:
        functions, keep_above, lines = _load(payload, values)
    except Exception as error:  # unpickling runs the code of the arguments' classes
        return pickle.dumps((site.name, shortened(error), False, ()))
    return _dump(site, _Batch(functions, keep_above, lines, site).run())


def _mismatch(header: tuple[str, str], site: Site) -> str:
    here = version_here()
    for what, theirs, ours in zip(("Python", "cascade"), header, here, strict=True):
        if theirs != ours:
            return f"worker {site.name!r} has {what} {ours}, and this process has {theirs}; install the same there"
    return ""


def _load(payload: bytes, values: Sequence[Any]) -> tuple[Sequence[Reference], float, list[Line | None]]:
    keys, functions, keep_above, lines = pickle.loads(payload)
    ARRIVING.values = dict(zip(keys, values, strict=True))
    try:
        tuples = pickle.loads(lines)
    finally:
        ARRIVING.values = None
    return functions, keep_above, [None if line is None else Line(*line) for line in tuples]


@attrs.define(eq=False)
class _Batch:
    functions: Sequence[Reference]
    keep_above: float
    lines: Sequence[Line | None]
    site: Site
    _values: dict[int, Any] = attrs.field(factory=dict)
    _taken: set[int] = attrs.field(factory=set)
    _arrived: float = attrs.field(factory=time.monotonic)

    def run(self) -> list[tuple[Any, ...] | None]:
        """The results; ``None`` for calls that were not made."""
        results: list[tuple[Any, ...] | None] = [None] * len(self.lines)
        self._taken = self._wanted()
        looked = self._arrived
        for position, line in enumerate(self.lines):
            if line is None or not self._has_all(line):
                continue
            now = time.monotonic()
            if position and now - looked > _LOOK:
                looked = now
                if now - self._arrived > BUDGET or self.site.is_cancelled():
                    break
            result = results[position] = self._call(position, line)
            if result[0] >= ERROR and line.ends_batch:
                break
        return results

    def _wanted(self) -> set[int]:
        """The calls whose values other calls of the batch take."""
        lines = [line for line in self.lines if line is not None]
        return {arg.position for line in lines for arg in _all_arguments(line) if type(arg) is Earlier}

    def _has_all(self, line: Line) -> bool:
        return all(arg.position in self._values for arg in _all_arguments(line) if type(arg) is Earlier)

    def _filled(self, argument: Any) -> Any:
        return self._values[argument.position] if type(argument) is Earlier else argument

    def _call(self, position: int, line: Line) -> tuple[Any, ...]:
        try:
            function = function_of(self.functions[line.function])
        except (Exception, SystemExit) as error:  # importing runs the user's module, which may raise anything
            return REFUSED, 0.0, "function", shortened(error)
        args = tuple(map(self._filled, line.args))
        kwargs = {name: self._filled(value) for name, value in line.kwargs.items()}
        started = time.monotonic()
        attempt = RemoteAttempt(line, self.site, self._arrived, started)
        self.site.started(position)
        context = copy_context()
        context.run(attempt_var.set, attempt)
        try:
            value = context.run(_call_within, line.carrier, function, args, kwargs)
        except BaseException as error:  # SystemExit too: the process that made the call raises it
            if self.site.interrupts(error):
                raise
            return ERROR, time.monotonic() - started, FarError.of(error)
        finally:
            attempt.is_over = True
        seconds = time.monotonic() - started
        if position in self._taken and (type(value) in LEAVES or glance(value)):
            self._values[position] = value
        return self._result(value, line, seconds)

    def _result(self, value: Any, line: Line, seconds: float) -> tuple[Any, ...]:
        if not line.keeps:
            return VALUE, seconds, value
        try:
            size, pickled = measured(value)
            if size > self.keep_above and _is_plain(value):
                return STAYED, seconds, self.site.keep(value), size
        except Exception as error:  # pickling runs the value's __reduce__
            return REFUSED, seconds, "value", shortened(error)
        return (VALUE, seconds, value) if pickled is None else (PICKLED, seconds, pickled)


def _is_plain(value: Any) -> bool:
    """Whether there are no calls in *value* that are to be run in its place."""
    found = True if type(value) in LEAVES else glance(value)
    return not finish(has_placeholders(value, Hold())) if found is None else found


def _all_arguments(line: Line) -> Iterator[Any]:
    yield from line.args
    yield from line.kwargs.values()


def _call_within(
    carrier: Mapping[str, str], function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    if not carrier:
        return function(*args, **kwargs)
    with _traced(carrier):
        return function(*args, **kwargs)


@contextmanager
def _traced(carrier: Mapping[str, str]) -> Iterator[None]:
    """Have the spans that user code makes be children of that of the attempt, if OpenTelemetry is there."""
    try:
        from opentelemetry import context, propagate
    except ImportError:
        yield
        return
    token = context.attach(propagate.extract(carrier))
    try:
        yield
    finally:
        context.detach(token)


def function_of(reference: Reference) -> Callable[..., Any]:
    """The function of a reference; one that came with its code is made once.

    Raises:
        BaseException: Whatever importing or unpickling the function raises.
    """
    return _made(reference) if isinstance(reference, bytes) else resolve(reference)


@functools.lru_cache(maxsize=256)
def _made(reference: bytes) -> Callable[..., Any]:
    return resolve(reference)


def _dump(site: Site, results: list[tuple[Any, ...] | None]) -> bytes:
    try:
        return dumps((site.name, "", False, results), shares_main=False)
    except Exception:  # one of the values cannot be pickled: see which
        return dumps((site.name, "", False, [_alone(result) for result in results]), shares_main=False)


def _alone(result: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if result is None or result[0] != VALUE:
        return result
    _, seconds, value = result
    try:
        return PICKLED, seconds, dumps(value, shares_main=False)
    except Exception as error:  # pickling runs the value's __reduce__
        return REFUSED, seconds, "value", shortened(error)
