"""The page of a run, whose server is an adapter."""

from __future__ import annotations

from cascade.model.pages import as_page
from cascade.runtime.context.settings import Settings
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.run.lifetime import LivePage, RunLifetime


def check_page(settings: Settings) -> None:
    """See that what a page needs is there, if *settings* ask for one.

    Raises:
        ImportError: If its library is not installed.
    """
    if settings.page is not None:
        adapter("pages.server.service:RunPage")


def open_page(lifetime: RunLifetime) -> LivePage | None:
    """The page of a run that has not begun, if it has one; its address is open.

    A run inside a task has none of its own, and neither has a simulated one.

    Raises:
        InputError: If the address cannot be used.
    """
    run_context = lifetime.run_context
    page = as_page(run_context.settings.page)
    if page is None or run_context.is_nested or run_context.shared.pacer is not None:
        return None
    service: LivePage = adapter("pages.server.service:RunPage").of(page, lifetime)
    return service
