"""The engine: what runs share."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Final, Self, Unpack, cast

import anyio
import attrs
from anyio import CapacityLimiter, get_cancelled_exc_class
from anyio.lowlevel import EventLoopToken, checkpoint, current_token

from cascade.model.errors import InputError, RunCancelled, raise_unchanged, shown_url
from cascade.model.events import Event
from cascade.model.inputs import Provider, Resource, as_resource
from cascade.model.tasks import Task, refuse_uncalled
from cascade.model.tracebacks import trimmed
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Claim
from cascade.runtime.admission.pool import Amount, Name, Pool, Slot, checked_totals
from cascade.runtime.context.durations import Durations
from cascade.runtime.context.run_context import Execution, Shared
from cascade.runtime.context.secrecy import SecretsOfRun
from cascade.runtime.context.settings import AsRun, Settings, settings_of, shows_settings
from cascade.runtime.control.plane import ControlPlane
from cascade.runtime.control.protocol import Connector
from cascade.runtime.durability.store_urls import check_state
from cascade.runtime.engine.handle import Run
from cascade.runtime.execution.executor import LocalExecutor
from cascade.runtime.foundation.cancellations import without_cancellations
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.foundation.simulation_seam import pacer_var
from cascade.runtime.foundation.task_context import ambient, loading_main
from cascade.runtime.observation.bus import EventBus, EventStream, Policy
from cascade.runtime.run.lifetime import Conductor
from cascade.runtime.run.preparation import prepare
from cascade.runtime.run.restore import recover

# Threads for the engine's own work, which user code must not be able to use up.
IO_THREADS: Final = 4


@attrs.define(eq=False)
class Processes:
    """A process executor that is made, and imported, when the first task comes for it."""

    _executor: Any = None

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call *task* in a worker process."""
        if self._executor is None:
            self._executor = adapter("executors.processes:ProcessExecutor")(CapacityLimiter(os.cpu_count() or 2))
        return await self._executor.execute(task, args, kwargs)

    async def aclose(self) -> None:
        """End the worker processes; see ``ProcessExecutor.aclose``."""
        if self._executor is not None:
            await self._executor.aclose()


def new_run_id() -> str:
    """An id that sorts by time and does not occur twice."""
    return f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"


@attrs.define(eq=False)
class Session:
    """An engine on one event loop: what can only be made there.

    Attributes:
        token: The loop.
        shared: What runs use.
        processes: Worker processes of its own.
        users: How many runs and ``async with`` blocks keep it open.
    """

    token: EventLoopToken
    shared: Shared
    processes: Processes
    users: int = 0


class Engine:
    """Capacity, control, threads and bus that runs share.

    Serves one event loop after another, of either backend; never two at once. Without ``async with`` it is open
    for as long as its runs are.

    Args:
        as_run: The settings of :func:`cascade.run`, apart from flow, params and run id.
    """

    @shows_settings
    def __init__(self, **as_run: Unpack[AsRun]) -> None:
        self.settings: Settings = settings_of(as_run)
        check_state(self.settings.state)
        self.bus: EventBus = self.settings.bus or EventBus()
        self._providers: dict[str, Resource] = {}
        self._overrides: list[Resource] = []
        self._session: Session | None = None
        totals = checked_totals(self.settings.system_resources or {})
        slots: dict[Name, Amount] = {Slot.THREAD: self.settings.max_threads, Slot.PROCESS: os.cpu_count() or 2}
        self.control: ControlPlane = open_control(self.settings.control)
        self._durations = Durations()
        self._admission = Admission(Pool({**slots, **totals}))
        for provider in self.settings.providers:
            resource = as_resource(provider)
            if resource.name in self._providers:
                raise ValueError(f"two of the providers are called {resource.name!r}; give one another name=")
            self._providers[resource.name] = resource

    # -- set-up --------------------------------------------------------------------------------------------

    def register(self, provider: Resource | Provider) -> None:
        """Provide a resource to the runs that start from now on; replaces a provider of the same name.

        Raises:
            TypeError: If it is neither a resource nor a generator function.
        """
        resource = as_resource(provider)
        self._providers[resource.name] = resource

    def set_capacity(self, totals: Mapping[str, Any]) -> None:
        """Change totals, also under live runs. Raising wakes waiters; lowering pre-empts nobody.

        A waiter that asks for more than the new total gets a ``CapacityError``.

        Raises:
            ValueError: If a total is negative, not finite, or no number; nothing is changed then.
        """
        self._admission.set_totals(checked_totals(totals))

    def capacity(self) -> dict[str, tuple[Any, Any]]:
        """Named resources: what is held, and the total."""
        pool = self._admission.pool
        names = [name for name in pool.totals if isinstance(name, str)]
        return {name: (pool.held.get(name, 0), pool.totals[name]) for name in names}

    def subscribe(self, *kinds: type[Event], buffer: int = 256, policy: Policy = "block") -> EventStream:
        """Listen to the events of all runs, from now until the engine closes; see ``EventBus.subscribe``."""
        return self.bus.subscribe(*kinds, buffer=buffer, policy=policy)

    @contextmanager
    def overriding(self, name: str, provider: Resource | Provider) -> Iterator[None]:
        """Provide *name* by *provider* to the runs that start inside the block."""
        known = self._providers.get(name)
        scope = known.scope if known is not None and not isinstance(provider, Resource) else None
        override = as_resource(provider, name, scope)
        self._overrides.append(override)
        try:
            yield
        finally:
            self._overrides.remove(override)

    # -- open and closed -----------------------------------------------------------------------------------

    def _enter(self) -> Session:
        if loading_main.get():
            raise RuntimeError("a flow is run while a worker process imports the script")
        token = current_token()
        if self._session is None:
            self.control.attach(self._admission)
            processes = Processes()
            self._session = Session(token, self._shared(processes), processes)
            self.bus.attach(self._admission)
            self._admission.holdings.token = token
            self._admission.holdings.collect()
        elif self._session.token.native_token is not token.native_token:
            raise RuntimeError(
                "this Engine serves another event loop at present; give each loop an Engine of its own"
            )
        self._session.users += 1
        return self._session

    async def _leave(self, session: Session) -> None:
        session.users -= 1
        if not session.users:
            self._session = None
            self.bus.detach(self._admission)
            self.control.detach(self._admission)
            await session.processes.aclose()

    def _shared(self, processes: Processes) -> Shared:
        executor, pacer = self.settings.executor, pacer_var.get()
        if executor is None and pacer is not None:
            executor = pacer.executor(CapacityLimiter(self.settings.max_threads))
        elif executor is None:
            executor = LocalExecutor(CapacityLimiter(self.settings.max_threads), processes)
        return Shared(
            self._admission,
            executor,
            self.bus,
            CapacityLimiter(IO_THREADS),
            CapacityLimiter(math.inf),
            self,
            self.control,
            self._durations,
            pacer,
        )

    async def __aenter__(self) -> Self:
        await checkpoint()
        self._opened = self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave(self._opened)

    # -- runs ----------------------------------------------------------------------------------------------

    async def run(
        self, flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> Any:
        """Run *flow* and return its value; see :func:`cascade.run`."""
        with trimmed:
            await checkpoint()
            session = self._enter()
            try:
                with SecretsOfRun(self.settings):
                    conductor = await self._conductor(session.shared, flow, params, run_id)
                    await conductor.run()
                    return conductor.result()
            finally:
                await self._leave(session)

    @asynccontextmanager
    async def start(
        self, flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> AsyncIterator[Run]:
        """Start *flow* beside the block; see :func:`cascade.start`."""
        with trimmed:
            async with self._started(flow, params, run_id) as run:
                yield run

    @asynccontextmanager
    async def _started(
        self, flow: Any, params: Mapping[str, Any] | None, run_id: str | None
    ) -> AsyncIterator[Run]:
        await checkpoint()
        errors: list[BaseException] = []
        session = self._enter()
        try:
            with SecretsOfRun(self.settings):
                conductor = await self._conductor(session.shared, flow, params, run_id)
            run = Run(conductor)
            try:
                async with anyio.create_task_group() as group:
                    conductor.execution.spawn(group, conductor.run)
                    try:
                        yield run
                    except BaseException as error:
                        errors.append(error)
                        run.cancel()
                    await _until_ended(conductor)
            except get_cancelled_exc_class() as cancellation:
                errors.append(cancellation)
        finally:
            await self._leave(session)
        unreported = run.unreported()
        if unreported is not None and not (errors and isinstance(unreported, RunCancelled)):
            errors.append(unreported)  # what has cancelled the run is among the errors already
        _raise(errors)

    async def _conductor(
        self, shared: Shared, flow: Any, params: Mapping[str, Any] | None, run_id: str | None
    ) -> Conductor:
        settings = self.settings
        refuse_uncalled(flow)
        given = _checked_params(params)
        is_new = run_id is None
        if run_id is None and shared.pacer is not None:
            run_id = shared.pacer.new_run_id()
        run_id = _checked_run_id(run_id)
        providers = {**self._providers, **{override.name: override for override in self._overrides}}
        prepared = await prepare(
            flow, given, settings, shared.admission.pool, providers, shared.durations.means, is_whole=True
        )
        await self.control.check()
        recovery = await recover(settings, run_id, prepared, is_new=is_new)
        if recovery is not None:
            run_id = recovery.run_id
        execution = Execution(run_id, settings, given, shared, providers, _ancestors(), EventBus(parent=self.bus))
        execution.recovery = recovery
        if recovery is None or recovery.past.result is None:
            return Conductor(execution, prepared, None if recovery is None else recovery.backend)
        await recovery.backend.aclose()
        return Conductor(execution, prepared, finished=recovery.past.result)


async def _until_ended(conductor: Conductor) -> None:
    await conductor.ended.wait()


def _raise(errors: Sequence[BaseException]) -> None:
    """Raise what block and run have raised: one error as it is, two in a group.

    A cancellation counts only if there is nothing else: its scope stays cancelled anyway, an error would be lost.
    """
    distinct = list({id(error): error for error in errors}.values())
    failures = [failure for error in distinct if (failure := without_cancellations(error)) is not None]
    if len(failures) > 1:
        raise BaseExceptionGroup("the run and the block around it both failed", failures)
    for error in failures or distinct[:1]:
        raise_unchanged(error)


def _ancestors() -> tuple[Claim, ...]:
    """Claims of the tasks around the present one, of whatever engine, outermost first."""
    attempt = ambient()
    if attempt is None or not isinstance(attempt.surroundings, Execution):
        return ()
    ancestors = attempt.surroundings.ancestors
    return ancestors if attempt.claim is None else (*ancestors, attempt.claim)


def _checked_params(params: object) -> dict[str, Any]:
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise InputError([f"params is a mapping from name to value, not of type {type(params).__name__}"])
    for name in params:
        if not isinstance(name, str):
            raise InputError([f"names in params are strings, not {name!r:.100}"])
    return dict(params)


def _checked_run_id(run_id: object) -> str:
    if run_id is None:
        return new_run_id()
    if not isinstance(run_id, str) or not run_id or len(run_id) > 200 or not run_id.isprintable():
        raise InputError([f"run_id is a printable string of 1 to 200 characters, not {run_id!r:.100}"])
    return run_id


def open_control(control: object) -> ControlPlane:
    """The plane that *control* stands for; a new one by default.

    Raises:
        TypeError: If it is nothing of the kind.
    """
    if control is None:
        return ControlPlane()
    if isinstance(control, ControlPlane):
        return control
    if isinstance(control, str):
        return ControlPlane(open_connector(control))
    if all(callable(getattr(control, name, None)) for name in ("connect", "publish", "subscribe", "disconnect")):
        return ControlPlane(cast("Connector", control))
    raise TypeError(
        f"control is a cascade.control.ControlPlane, a Connector or a URL, not of type {type(control).__name__}"
    )


_CONNECTORS: Final = {
    "local": "connectors.local:from_url",
    "mqtt": "connectors.mqtt:from_url",
    "mqtts": "connectors.mqtt:from_url",
}


def open_connector(url: str) -> Connector:
    """The connector that *url* stands for: ``local:``, ``local:PATH``, ``mqtt://...`` or ``mqtts://...``.

    Raises:
        InputError: If it means nothing.
        ImportError: If a library is missing.
    """
    scheme, separator, _ = url.partition(":")
    if not separator or scheme not in _CONNECTORS:
        raise InputError(
            [f"unknown control URL {shown_url(url)!r:.100}; known are: local:, mqtt://HOST, mqtts://HOST"]
        )
    try:
        connector: Connector = adapter(_CONNECTORS[scheme])(url)
    except ValueError as error:
        raise InputError([f"control URL: {error}"]) from error
    return connector
