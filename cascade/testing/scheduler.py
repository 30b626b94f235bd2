"""What replaces the order of tasks, threads and chance in a simulation; ``simulation.py`` says how."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Container, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, Final, cast

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import checkpoint

from cascade.model.inputs import Resource
from cascade.model.tasks import Task
from cascade.runtime.execution.attempt.attempt import Attempt, enter
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.step_in_context import call_in
from cascade.runtime.foundation.task_context import attempt_var
from cascade.testing.faults import Faults

_WORD: Final = (1 << 64) - 1


def mixed(number: int) -> int:
    """A hash of 64 bits: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & _WORD
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _WORD
    return number ^ (number >> 31)


@attrs.define(eq=False)
class Scheduler:
    """Lets one task at a time go on; a :class:`~cascade.runtime.foundation.simulation_seam.Pacer`.

    Attributes:
        seed: What decides.
        faults: What goes wrong.
        progress: Counts what can be seen of the run: tasks started and events.
        rng: Random numbers for the run.
        sleeps: What waits for nothing but time; see :class:`~cascade.testing.clocks.VirtualLoop`.
    """

    seed: int
    faults: Faults
    progress: int = 0
    rng: Random = attrs.field(init=False)
    sleeps: Container[object] = ()
    # Changes whenever the loop was idle: whoever goes on after that has really waited.
    _period: int = 0
    _serials: Iterator[int] = attrs.field(factory=itertools.count)
    _run_numbers: Iterator[int] = attrs.field(factory=partial(itertools.count, 2))
    _parked: dict[int, anyio.Event] = attrs.field(factory=dict)
    _salt: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rng = Random(self.seed)
        self._salt = mixed(self.seed & _WORD)

    def release(self) -> bool:
        """The loop is idle: let the next task go; returns whether there was one."""
        self._period += 1
        if not self._parked:
            return False
        mark = mixed(self._salt ^ self.progress)
        serial = min(self._parked, key=lambda number: (mixed(mark + number), number))
        self._parked.pop(serial).set()
        return True

    # -- what the engine asks of it ------------------------------------------------------------------------

    def paced(self, func: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """*func* as a task that waits to be chosen, at its beginning and after each wait."""
        serial = next(self._serials)
        self.progress += 1

        async def chosen(*args: Any) -> Any:
            await self._park(serial)
            return await self._steps(serial, func(*args))

        return chosen

    def new_run_id(self) -> str:
        """Numbered, in the order in which runs begin."""
        return f"simulation-{self.seed}.{next(self._run_numbers)}"

    def elapsed(self) -> float:
        """No time at all: a step of a simulation is never cut."""
        return 0.0

    def executor(self, limiter: CapacityLimiter) -> LocalExecutor:
        """Calls all functions in place."""
        inner = InPlaceExecutor(limiter, cast("Any", None))
        inner.faults = self.faults
        return inner

    def provider(self, resource: Resource) -> Resource:
        """*resource*, provided on the event loop."""
        if resource.is_async:
            return resource
        enter = contextmanager(cast("Any", resource.func))

        async def in_place(**injected: Any) -> Any:
            with enter(**injected) as value:
                yield value

        return attrs.evolve(resource, func=in_place, is_async=True)

    # -- tasks ---------------------------------------------------------------------------------------------

    async def _park(self, serial: int) -> None:
        event = self._parked[serial] = anyio.Event()
        with CancelScope(shield=True):
            await event.wait()

    @types.coroutine
    def _steps(self, serial: int, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await *coroutine*; after each of its waits that let the loop come to rest, park before it goes on."""
        step: Callable[[Any], Any] = coroutine.send
        given: Any = None
        while True:
            try:
                yielded = step(given)
            except StopIteration as stop:
                return stop.value
            finally:
                given = None  # an error would keep this frame, and this frame the error
            period, is_sleep = self._period, yielded in self.sleeps
            try:
                step, given = coroutine.send, (yield yielded)
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # what the wait has raised goes on into the task
                step, given = coroutine.throw, error
            if period != self._period:
                yield from self._park(serial)
                if is_sleep and is_cancelled() and step == coroutine.send:
                    step, given = coroutine.throw, (yield from _cancellation())


async def _cancellation() -> BaseException:
    """What a cancelled scope around this task raises in it."""
    try:
        while True:
            await checkpoint()
    except anyio.get_cancelled_exc_class() as error:
        return error


@attrs.define(eq=False)
class InPlaceExecutor(LocalExecutor):
    """Calls every function on the event loop, after what the fault plan says."""

    faults: Faults = attrs.field(init=False)

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the task's function; the attempt is the ambient one."""
        attempt = attempt_var.get()
        assert isinstance(attempt, Attempt)  # there are no lanes in a simulation
        context = attempt.surroundings.tasks.base.copy()
        context.run(attempt_var.set, attempt)
        attempt.mark.set()
        context.run(enter, attempt)
        await self.faults.strike(attempt.node_id, attempt.number)
        return await call_in(context, task.func, args, kwargs, is_async=task.is_async)
