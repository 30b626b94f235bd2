"""Exceptions of anybody: their text, their notes, their parts, and how one is raised again as it is."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn

from cascade.model.errors import CascadeError
from cascade.model.shown.secrets import Secrets, redacted
from cascade.model.shown.text import encodable


def describe(error: BaseException) -> str:
    """``"Type: message"``, also for exceptions whose ``__str__`` raises.

    Secrets are hidden, and any store can take the text.
    """
    try:
        text = str(error)
    except Exception:  # a broken __str__ must not turn one failure into another
        text = "<no message: its __str__ raised>"
    name = type(error).__name__
    return encodable(redacted(f"{name}: {text}") if text else name)


def hide_secrets_of(error: BaseException, secrets: Secrets) -> None:
    """Leave *secrets* out of the message of *error*, if it is one of ours; a user's error stays as it is."""
    if secrets and isinstance(error, CascadeError) and not isinstance(error, BaseExceptionGroup):
        shown = tuple(secrets.redact(part) if type(part) is str else part for part in error.args)
        BaseException.__dict__["args"].__set__(error, shown)  # a frozen class refuses to have it assigned


def leaves(error: BaseException) -> Iterator[BaseException]:
    """*error* itself, or if it is a group, the exceptions in it that are none, in their order."""
    pending = [error]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(reversed(error.exceptions))
        else:
            yield error


def annotate(error: BaseException, note: str) -> None:
    """Add *note*, without secrets, to *error*, unless the exception refuses or has that note already."""
    note = redacted(note)
    try:
        notes: Any = getattr(error, "__notes__", None)
        if not notes or note not in notes:
            error.add_note(note)
    except Exception:  # notes are best effort: frozen exceptions exist, and odd values of __notes__
        return


def set_past_refusal(error: BaseException, traceback: TracebackType | None, context: BaseException | None) -> None:
    """Set these as the interpreter does: past ``__setattr__``, in which frozen exceptions refuse."""
    BaseException.__dict__["__traceback__"].__set__(error, traceback)
    BaseException.__dict__["__context__"].__set__(error, context)


def raise_unchanged(error: BaseException) -> NoReturn:
    """Raise *error* with the context that it has, whatever is being handled around here."""
    context = error.__context__
    try:
        raise error
    finally:
        set_past_refusal(error, error.__traceback__, context)
        del error  # or the traceback would keep this frame, and this frame the traceback
