"""Simulated runs: time is virtual, and which of several tasks goes on next is chosen by a seed.

All tasks of the engine run under a :class:`~cascade.testing.scheduler.Scheduler`. Whenever one of them has really
waited, it parks before it goes on, and once nothing in the loop can go on, one of the parked is let go: it runs
alone until it waits again. So whatever the event loop does to tasks that could run at the same moment, only the
seed decides.

Loops differ in how often they wake a task in vain (asyncio wakes the host of a cancelled group, Trio does not).
So the choice is not drawn anew each time: it is the order of a hash of the seed, the task, and what has happened
in the run so far, which a task woken in vain does not change. (The approach is that of FoundationDB: Zhou et al.,
*FoundationDB: A Distributed Unbundled Transactional Key Value Store*, SIGMOD 2021, section 4.)

A simulated run is the engine itself, with four things replaced: the clock, threads, chance, and the order in
which tasks go on. The engine starts all its tasks in one place (``RunTasks.spawn``), where they are wrapped.
Lanes are off, as a lane would choose who goes first; that lanes mean the same as the general path is tested by
``tests/properties``. Functions and sync resources run in place, and slots are counted as if there were threads. A
sleep that ends in the moment in which it is cancelled counts as cancelled: on Trio it does, on asyncio it would
not. Faults strike where user code begins, after the start mark, so timeouts count them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Unpack

import attrs

from cascade.model.events import Event, NodeEvent
from cascade.model.shown.raised import raise_unchanged
from cascade.model.typed.numbers import plain_number
from cascade.runtime.context.settings import AsRun
from cascade.testing.faults import FaultPlan
from cascade.testing.simulated_run import Backend, SimulatedRun
from cascade.testing.trace import Trace, numbered


@attrs.frozen
class Simulation:
    """The outcome of a simulated run. Made by :func:`simulate`.

    Attributes:
        seed: The seed. With the same flow, settings and faults it gives the same run again.
        backend: ``"asyncio"`` or ``"trio"``.
        value: The flow's value; ``None`` if it failed.
        error: What ``run`` raised, or why the simulation was ended; ``None`` if the run succeeded.
        trace: Everything that happened.
        has_crashed: Whether the fault plan crashed the process.
    """

    seed: int
    backend: Backend
    value: Any = None
    error: BaseException | None = None
    trace: Trace = attrs.field(factory=Trace)
    has_crashed: bool = False

    def result(self) -> Any:
        """The value.

        Raises:
            BaseException: The error, if there is one. A note on it names the seed.
        """
        if self.error is not None:
            raise_unchanged(self.error)
        return self.value

    def __str__(self) -> str:
        end = f"value {self.value!r}" if self.error is None else f"{type(self.error).__name__}: {self.error}"
        return f"seed {self.seed} on {self.backend}: {end}\n{self.trace}"


def simulate(
    flow: Any,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    faults: FaultPlan | None = None,
    signals: Mapping[str, tuple[float, Any]] | None = None,
    backend: Backend = "asyncio",
    run_id: str | None = None,
    **as_run: Unpack[AsRun],
) -> Simulation:
    """Run a flow in virtual time, with every scheduling decision of the engine made by a seed.

    A plain function with an event loop of its own. Nothing sleeps; sync tasks, process tasks and resources run in
    place, on the event loop. The same seed gives the same trace, byte for byte and on both backends, if the tasks
    wait only on virtual time or on the engine. Not decided by the seed: what tasks that a user's function starts
    itself do within one instant, and whether a wait or a timeout of the user's own wins if both end in the same
    instant.

    Args:
        flow: As in :func:`cascade.run`.
        params: As in :func:`cascade.run`. ``None`` (default): none.
        seed: Any whole number; 0 by default.
        faults: What goes wrong. ``None`` (default): nothing.
        signals: What is sent to the run: by name of the signal, the virtual second and the value. Whether it
            was accepted is a line of the trace. ``None`` (default): nothing.
        backend: ``"asyncio"`` (default) or ``"trio"``.
        run_id: Id of the run. ``None`` (default): a name made from the seed.
        as_run: The fields of :class:`~cascade.runtime.context.settings.Settings`, as keywords.

    Returns:
        The outcome. A run that fails raises nothing here; ``result()`` raises its error.

    Raises:
        ImportError: If *backend* is ``"trio"``, and Trio is not installed.
        TypeError: If *faults* is no FaultPlan.
        ValueError: If the plan names nodes that the flow does not have, or a fault of a store without a store.
        RuntimeError: If an event loop runs in this thread already; call it from a sync test.
        KeyboardInterrupt: If it was interrupted.
    """
    plan = FaultPlan() if faults is None else faults
    if not isinstance(plan, FaultPlan):
        raise TypeError(f"faults is a FaultPlan, such as FaultPlan(fail=0.1), not {plan!r:.100}")
    if plan.store is not None and as_run.get("state") is None:
        raise ValueError(f"{plan.store} befalls a state store, and there is none: give state='memory:' or another")
    seed = plain_number(seed)
    run = SimulatedRun(seed, plan, backend, dict(signals or {}))
    error = run.run(flow, params, run_id or f"simulation-{seed}", as_run)
    if error is None and as_run.get("state") is None:
        _see_that_all_matched(plan, run.chronicle.happened)
    if error is not None:
        error.add_note(f"simulated with seed={seed} on {backend}: simulate(..., seed={seed}) shows it again")
    crash = run.crash
    return Simulation(seed, backend, run.value, error, numbered(run.chronicle.happened), crash is not None)


def _see_that_all_matched(plan: FaultPlan, happened: Iterable[tuple[float, Event | str]]) -> None:
    """In a run that has come to its end, every node had an event: what matches none of them matches nothing.

    Raises:
        ValueError: If there is something in the plan that does not.
    """
    nodes = {event.task_id: None for _, event in happened if isinstance(event, NodeEvent)}
    for pattern in plan.at:
        if pattern not in nodes and not any(fnmatchcase(node, pattern) for node in nodes):
            shown = ", ".join(map(repr, list(nodes)[:10]))
            raise ValueError(f"the fault plan names {pattern!r}, like which no node is called; there were {shown}")
