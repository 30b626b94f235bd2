"""The engine: capacity, control rules, threads and event bus, shared by its runs."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack, overload

from anyio import CapacityLimiter
from anyio.lowlevel import checkpoint, current_token

from cascade.graph.nested import Hold
from cascade.model.events import Event
from cascade.model.flow import refuse_uncalled
from cascade.model.inputs import Provider, Resource, as_resource
from cascade.model.lazies import LazyResult
from cascade.model.shown.tracebacks import trimmed
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Claim
from cascade.runtime.admission.pool import Amount, Name, Pool, Slot, checked_totals
from cascade.runtime.context.durations import Durations, FlowDurations
from cascade.runtime.context.run_context import Beginning, RunContext, Shared
from cascade.runtime.context.run_events import RunEvents
from cascade.runtime.context.secrecy import SecretsOfRun
from cascade.runtime.context.settings import AsRun, Settings, settings_of, shows_settings
from cascade.runtime.control.plane import ControlPlane
from cascade.runtime.durability.resuming.resume import recover
from cascade.runtime.engine.arguments import checked_params, checked_run_id
from cascade.runtime.engine.beside_block import beside_block
from cascade.runtime.engine.handle import Run
from cascade.runtime.engine.pages import check_page, open_page
from cascade.runtime.engine.session import Processes, Session, processors
from cascade.runtime.engine.urls import check_state, open_backend, open_control, remote_executor
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.execution.attempt.remote_calls import RemoteCalls
from cascade.runtime.foundation.async_context import async_context
from cascade.runtime.foundation.executor import Executor
from cascade.runtime.foundation.remote_executor import RemoteExecutor
from cascade.runtime.foundation.simulation_seam import Pacer, pacer_var
from cascade.runtime.foundation.task_context import ambient, loading_main
from cascade.runtime.observation.bus import EventBus, EventStream, Policy
from cascade.runtime.observation.details import NodesRecalled
from cascade.runtime.run.lifetime import RunLifetime
from cascade.runtime.run.observer_tasks import are_told
from cascade.runtime.run.outcome import RunOutcome
from cascade.runtime.run.preparation import Preparation
from cascade.runtime.run.ranking import Ranking
from cascade.runtime.run.store_session import StoreSession
from cascade.runtime.signals.board import note_signals

T = TypeVar("T")

# Threads for the engine's own work, which user code must not be able to use up.
IO_THREADS: Final = 4


class Engine:
    """Capacity, control rules, worker threads and an event bus that several runs share.

    An engine serves one event loop after another, of either backend, but never two at once. In an ``async with``
    block it stays open, and so do its worker processes and its remote executor; otherwise it is open while it has
    runs. Leaving the block ends idle worker processes, closes the remote executor and, if no run is left, ends all
    event streams. If entering is cancelled, nothing has been opened; leaving is not cancelled before the worker
    processes have ended, which takes about a second at most, and the remote executor is closed.

    Args:
        as_run: The fields of :class:`~cascade.runtime.context.settings.Settings`, as keywords. They hold for all
            runs of the engine.

    Attributes:
        settings: The settings.
        bus: The bus with the events of all its runs.
        control: The control plane, whose rules hold for all its runs.

    Raises:
        ImportError: If the library of a state, control or executor URL is not installed.
        InputError: If a state, control or executor URL is malformed.
        TypeError: If a setting is unknown or has a wrong type.
        ValueError: If a setting is out of range, or two providers have the same name.
    """

    @shows_settings
    def __init__(self, **as_run: Unpack[AsRun]) -> None:
        self.settings: Settings = settings_of(as_run)
        check_state(self.settings.state)
        check_page(self.settings)
        self.bus: EventBus = self.settings.bus or EventBus()
        self._providers: dict[str, Resource] = {}
        self._overrides: list[Resource] = []
        self._session: Session | None = None
        totals = checked_totals(self.settings.system_resources or {})
        slots: dict[Name, Amount] = {Slot.THREAD: self.settings.max_threads, Slot.PROCESS: processors()}
        self.control: ControlPlane = open_control(self.settings.control)
        self._remote = remote_executor(self.settings.executor)
        self._durations = Durations()
        self._admission = Admission(Pool({**slots, **totals}))
        for provider in self.settings.providers:
            resource = as_resource(provider)
            if resource.name in self._providers:
                raise ValueError(f"two of the providers are called {resource.name!r}; give one another name=")
            self._providers[resource.name] = resource

    # -- set-up --------------------------------------------------------------------------------------------

    def register(self, provider: Resource | Provider) -> None:
        """Provide a resource to the runs that start from now on. Replaces a provider of the same name.

        Args:
            provider: A resource, or a bare generator function.

        Raises:
            TypeError: If it is neither.
        """
        resource = as_resource(provider)
        self._providers[resource.name] = resource

    def set_capacity(self, totals: Mapping[str, Any]) -> None:
        """Change totals of resources, also while runs are live.

        A higher total wakes waiting claims. A lower total interrupts nothing; a waiting claim that exceeds it gets
        a ``CapacityError``.

        Args:
            totals: Resource name to amount, a number from 0. Resources that are not named keep their totals.

        Raises:
            ValueError: If an amount is negative, not finite or no number. Then nothing is changed.
        """
        self._admission.set_totals(checked_totals(totals))

    def capacity(self) -> dict[str, tuple[Any, Any]]:
        """Resource name to a pair: the amount that is held, and the total."""
        pool = self._admission.pool
        names = [name for name in pool.totals if isinstance(name, str)]
        return {name: (pool.held.get(name, 0), pool.totals[name]) for name in names}

    def subscribe(self, *kinds: type[Event], buffer: int = 256, policy: Policy = "block") -> EventStream:
        """Listen to the events of all runs, from now until the engine closes.

        Args:
            kinds: Classes of events; subclasses are included. Without any: all events, except those of classes
                that have to be named, such as :class:`AttemptStarted`.
            buffer: Number of unread events, at least 1, at which *policy* takes effect; 256 by default.
            policy: ``"block"`` (default): no attempt starts until some events are read. ``"drop"``: what does not
                fit is dropped and counted.

        Raises:
            TypeError: If a kind is no class of events.
            ValueError: If *buffer* or *policy* is none of these.
        """
        return self.bus.subscribe(*kinds, buffer=buffer, policy=policy)

    @contextmanager
    def overriding(self, name: str, provider: Resource | Provider) -> Iterator[None]:
        """Replace a resource for the runs that start inside the block.

        Args:
            name: The name of the resource.
            provider: A resource, or a bare generator function. The latter gets the scope of what it replaces.

        Raises:
            TypeError: If *provider* is neither.
        """
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
            pacer, processes = pacer_var.get(), Processes()
            remote = None
            if self._remote is not None and pacer is None:
                remote = RemoteCalls(self._remote, self._admission)
            shared = Shared(
                self._admission,
                _executor(self.settings, pacer, processes, remote),
                self.bus,
                CapacityLimiter(IO_THREADS),
                CapacityLimiter(math.inf),
                self,
                self.control,
                self._durations if pacer is None else Durations(FlowDurations()),
                pacer,
                None if remote is None else remote.executor.goes,
            )
            self._session = Session(token, shared, processes, remote)
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
            await session.aclose()

    async def __aenter__(self) -> Self:
        await checkpoint()
        session = self._enter()
        try:
            await session.open()
        except BaseException:
            await self._leave(session)
            raise
        self._opened = session
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave(self._opened)

    # -- runs ----------------------------------------------------------------------------------------------

    @overload
    async def run(
        self, flow: LazyResult[T], /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> T: ...
    @overload
    async def run(
        self, flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> Any: ...
    async def run(
        self, flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> Any:
        """Run a flow and return its value, as :func:`cascade.run` does, with what this engine shares.

        If cancelled, the run ends in order before the cancellation goes on, as in :func:`cascade.run`. Other runs
        of the engine are not touched.

        Args:
            flow: A lazy result, a container of lazy results, or a plain value.
            params: Values of the flow's Params, by name. ``None`` (default): none.
            run_id: Id of the run, 1 to 200 printable characters. ``None`` (default): a new id.

        Raises:
            GraphError: If the flow makes no sense.
            InputError: If parameters, environment variables or the id are wrong.
            CapacityError: If a claim exceeds the total of its resource.
            StateError: If the state store fails, or the recorded run does not fit; see :func:`cascade.run`.
            ConnectionError: If the cluster of the remote executor cannot be reached.
            TypeError: If *flow* is a task that was not called.
            RuntimeError: If the engine serves another event loop at present, or a worker process imports the
                script.
            BaseException: The first failure itself, or ``RunFailed``; see ``on_error``.
        """
        with trimmed:
            await checkpoint()
            session = self._enter()
            try:
                with SecretsOfRun(self.settings):
                    await session.open()
                    lifetime = await self._lifetime(session.shared, flow, params, run_id)
                    await lifetime.run()
                    return lifetime.result()
            finally:
                await self._leave(session)

    @overload
    def start(
        self, flow: LazyResult[T], /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> AbstractAsyncContextManager[Run[T]]: ...
    @overload
    def start(
        self, flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> AbstractAsyncContextManager[Run[Any]]: ...
    @async_context
    async def start(
        self, flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> AsyncGenerator[Run, None]:
        """Start a flow beside a block of code, as :func:`cascade.start` does, with what this engine shares.

        Leaving the block waits for the end of the run. If the scope around the block is cancelled, so is the run,
        which then ends in order. ``Run.cancel()`` cancels the run only.

        Args:
            flow: As in :meth:`run`.
            params: As in :meth:`run`. ``None`` (default): none.
            run_id: As in :meth:`run`. ``None`` (default): a new id.

        Raises:
            RuntimeError: On entry, if the engine serves another event loop at present.
            InputError: On entry, if parameters, environment variables or the id are wrong.
            TypeError: On entry, if *flow* is a task that was not called.
            StateError: On entry, if the state store cannot be used, or the recorded run does not fit.
            ConnectionError: On entry, if the cluster of the remote executor cannot be reached.
            BaseExceptionGroup: On exit, if the block and the run failed with different errors.
            BaseException: On exit, the error of the block or of the run, as it is. An error that ``Run.result()``
                has raised already is not raised again.
        """
        with trimmed:
            async with self._started(flow, params, run_id) as run:
                yield run

    @async_context
    async def _started(
        self, flow: Any, params: Mapping[str, Any] | None, run_id: str | None
    ) -> AsyncGenerator[Run, None]:
        await checkpoint()
        session = self._enter()
        try:
            with SecretsOfRun(self.settings):
                await session.open()
                lifetime = await self._lifetime(session.shared, flow, params, run_id)
            async with beside_block(lifetime) as run:
                yield run
        finally:
            await self._leave(session)

    async def _lifetime(
        self, shared: Shared, flow: Any, params: Mapping[str, Any] | None, run_id: str | None
    ) -> RunLifetime:
        settings = self.settings
        refuse_uncalled(flow)
        given = checked_params(params)
        is_new = run_id is None
        if run_id is None and shared.pacer is not None:
            run_id = shared.pacer.new_run_id()
        run_id = checked_run_id(run_id)
        providers = {**self._providers, **{override.name: override for override in self._overrides}}
        hold = Hold()
        can_be_remote = self._remote is not None or shared.pacer is not None
        preparation = Preparation(
            settings,
            given,
            providers,
            shared.admission.pool,
            Ranking(shared.durations),
            shared.goes,
            can_be_remote,
        )
        prepared = await preparation.prepare(flow, hold, is_whole=True)
        await self.control.check()
        recovery = await recover(settings, run_id, prepared, partial(open_backend, settings.state), is_new=is_new)
        if recovery is not None:
            run_id = recovery.run_id
            prepared = await preparation.recall(prepared, recovery.durations)
        beginning = Beginning(run_id, settings, providers, _ancestors())
        run_context = RunContext(beginning, shared, RunEvents(run_id, EventBus(parent=self.bus)))
        run_context.store.recovery, run_context.memory.hold = recovery, hold
        run_context.lifecycle.nodes.may_come = self.control.connector is not None
        if prepared.layout.special.signals:
            note_signals(run_context.signals.declared, prepared.signals())
        lifetime = RunLifetime(run_context, preparation, RunOutcome(run_context, prepared))
        if recovery is not None and recovery.past.result is not None:
            is_shown = settings.page is not None or are_told(settings.observers, NodesRecalled)
            await recovery.let_go(prepared.graph if is_shown else None)
            lifetime.outcome.finished = recovery.past.result
        elif recovery is not None:
            lifetime.store = StoreSession(run_context, recovery.backend)
        # The last step: nothing is waited for until the run begins, which closes it.
        lifetime.page = None if settings.page is None else open_page(lifetime)
        return lifetime


def _executor(
    settings: Settings, pacer: Pacer | None, processes: Processes, remote: RemoteCalls | None
) -> Executor:
    """What calls the functions of tasks: the user's own, that of a simulation, or the one of this program."""
    given = settings.executor
    if given is not None and not isinstance(given, (str, RemoteExecutor)):
        return given
    limiter = CapacityLimiter(settings.max_threads)
    return LocalExecutor(limiter, processes, remote) if pacer is None else pacer.executor(limiter)


def _ancestors() -> tuple[Claim, ...]:
    """Claims of the tasks around the present one, of whatever engine, outermost first."""
    attempt = ambient()
    if attempt is None or not isinstance(attempt.surroundings, RunContext):
        return ()
    ancestors = attempt.surroundings.beginning.ancestors
    return ancestors if attempt.claim is None else (*ancestors, attempt.claim)
