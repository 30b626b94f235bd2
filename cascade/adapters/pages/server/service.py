"""The page of one run: it opens before the run begins, and ends when that has ended."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

import anyio
import attrs
from anyio import CancelScope

from cascade.adapters.pages.document.chronicle import KINDS
from cascade.adapters.pages.server.access import Access
from cascade.adapters.pages.server.listening import Server, bind
from cascade.adapters.pages.server.site import Site
from cascade.adapters.pages.server.sources.beside import Beside
from cascade.adapters.pages.server.sources.live import LiveRun
from cascade.adapters.pages.server.sources.source import Source
from cascade.adapters.pages.server.sources.steering import Steering
from cascade.adapters.pages.server.sources.stored import StoredRuns
from cascade.model.events import EngineWarning
from cascade.model.pages import Page
from cascade.model.shown.raised import describe, leaves
from cascade.runtime.engine.handle import Run
from cascade.runtime.engine.urls import outlives_process
from cascade.runtime.observation.bus import EventStream
from cascade.runtime.run.lifetime import RunLifetime

# Seconds that browsers have for the last update.
_FAREWELL: Final = 1.0
# Events that may be unread before the run waits for the page to read them. The page never waits for browsers.
_BUFFER: Final = 4096


@attrs.define(eq=False)
class OpenPage:
    """A page whose address is open.

    Attributes:
        page: What was asked for.
        bound: The socket.
        access: Who may ask.
    """

    page: Page
    bound: socket.socket
    access: Access = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        port = self.bound.getsockname()[1]
        self.access = Access(self.page.host, port, is_remote=not self.page.is_loopback)

    @classmethod
    def of(cls, page: Page) -> OpenPage:
        """Open the address.

        Raises:
            InputError: If it cannot be used.
        """
        return cls(page, bind(page.host, page.port))

    def give_link(self) -> None:
        """Tell whoever asked for links of a new one."""
        if self.page.on_link is not None:
            self.page.on_link(self.access.new_link())

    async def serve(self, source: Source, failed: Callable[[Exception], object]) -> None:
        """Serve the runs of *source* until this is cancelled; *failed* is told of errors of the page."""
        site = Site(source, self.access, self.page.read_only, self.page.metrics, self.give_link, failed)
        self.give_link()
        await Server(self.bound, site.respond, failed).serve()


@attrs.define(eq=False)
class RunPage:
    """The page of a run, as a service of that run.

    Attributes:
        open_page: The page.
        lifetime: The run.
        source: What is shown of it.
    """

    open_page: OpenPage
    lifetime: RunLifetime
    source: LiveRun
    _scope: CancelScope = attrs.field(factory=lambda: CancelScope(shield=True))

    @classmethod
    def of(cls, page: Page, lifetime: RunLifetime) -> RunPage:
        """Open the page of a run that has not begun.

        Raises:
            InputError: If the address cannot be used.
        """
        steering = Steering(lifetime, None if page.read_only else Run(lifetime))
        return cls(OpenPage.of(page), lifetime, LiveRun(steering))

    def link(self) -> str:
        """A link that can be opened once."""
        return self.open_page.access.new_link()

    def begin(self) -> None:
        """The run begins: from now on its events count."""
        run_context = self.lifetime.run_context
        run_context.start_service(self._serve, run_context.bus.subscribe(*KINDS, buffer=_BUFFER))

    async def _serve(self, events: EventStream) -> None:
        try:
            with self._scope:
                async with events, anyio.create_task_group() as group:
                    group.start_soon(self.source.follow, events)
                    group.start_soon(self.source.beat.keep)
                    await self.open_page.serve(self._shown(), self._failed)
        except BaseException as error:  # its own: a cancellation of the scope around it does not leave that
            if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(error)):
                self.lifetime.observers.interrupt(error)  # which interrupts the run, wherever it strikes
            else:  # like an observer, it never fails the run
                self._failed(error)
        finally:
            self.close()

    def _shown(self) -> Source:
        """The run; among others, if it has a store that can be read."""
        state = self.lifetime.run_context.settings.state
        if not isinstance(state, str) or not outlives_process(state):
            return self.source
        return Beside(self.source, StoredRuns(state))

    def _failed(self, error: BaseException) -> None:
        message = f"the page has failed: {describe(error)}"
        self.lifetime.run_context.emit(EngineWarning, code="page-failed", message=message)

    async def end(self, patience: float) -> None:
        """The run has ended: let browsers have the last update, within *patience* seconds, and end the page."""
        with anyio.move_on_after(min(_FAREWELL, patience)):
            await self.source.until_left()
        self._scope.cancel()

    def close(self) -> None:
        """Close the address. A second call does nothing."""
        self.open_page.bound.close()
