"""What is hidden around a run."""

from __future__ import annotations

from types import TracebackType

from cascade.model.shown.raised import hide_secrets_of
from cascade.model.shown.secrets import KeepingSecrets, Secrets, kept_secrets
from cascade.model.shown.urls import secrets_of_url
from cascade.runtime.context.settings import Settings


class SecretsOfRun(KeepingSecrets):
    """Hide the secrets of a run, and the passwords in the URLs of *settings*, in what is told of it.

    Errors of ours that leave the block hide them as well: those of a run that has not begun pass nowhere else.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def __enter__(self) -> Secrets:
        secrets = super().__enter__()
        for url in (self._settings.state, self._settings.control, self._settings.executor):
            if isinstance(url, str):
                secrets.add(secrets_of_url(url))
        return secrets

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            hide_secrets_of(error, kept_secrets())
        super().__exit__(kind, error, traceback)
