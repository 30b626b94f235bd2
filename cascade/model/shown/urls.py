"""URLs as they may be shown to anybody, without secrets."""

from __future__ import annotations

import re
from typing import Final

from cascade.model.shown.secrets import MARK

# Options of a URL whose values are secret, by a part of their names.
_SECRET_OPTION: Final = (
    r"[^=&#;]*(?:pass|pwd|token|secret|credential|signature|api_?key|access_?key)[^=&#;]*|auth|key|sig"
)
_OPTION: Final = re.compile(rf"(?i)(?<=[?&;])((?:{_SECRET_OPTION})=)([^&#;]*)")
# Up to the last @ that no option stands before: a password may hold any letter. The scheme may be misspelt.
_LOGIN: Final = re.compile(r"(?s)^((?:[\w+.-]*(?::/*|//))?)((?:(?!\?\w+=).)*)@")


def shown_url(url: str) -> str:
    """*url* as it may be shown to anybody: without who logs in, and without passwords or tokens in its query."""
    return _OPTION.sub(rf"\1{MARK}", _LOGIN.sub(rf"\1{MARK}@", url))


def secrets_of_url(url: str) -> list[str]:
    """What :func:`shown_url` leaves out, but for the user's name, as it stands there and as it is meant."""
    from urllib.parse import unquote, unquote_plus  # here, as few runs have URLs with secrets

    login = _LOGIN.match(url)
    user, colon, password = login[2].partition(":") if login else ("", "", "")
    found = [password if colon else user]
    found += [option[2] for option in _OPTION.finditer(url)]
    return [text for part in found for text in dict.fromkeys((part, unquote_plus(part), unquote(part)))]
