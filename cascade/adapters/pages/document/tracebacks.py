"""Tracebacks as text, without frames of ours and without secrets."""

from __future__ import annotations

from typing import Final

from cascade.model.shown.secrets import redacted
from cascade.model.shown.tracebacks import text_of

# Characters of a traceback that are shown, and how many of them are of its beginning if it is longer.
LONGEST: Final = 8192
_HEAD: Final = 2048


def traceback_of(error: BaseException) -> str:
    """The traceback of *error*, cut to 8192 characters in the middle. Never raises."""
    text = redacted(text_of(error))
    return text if len(text) <= LONGEST else f"{text[:_HEAD]}\n  ... (cut here) ...\n{text[_HEAD - LONGEST :]}"
