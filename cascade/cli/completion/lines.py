"""Reads a command line that is not finished, as a shell does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

# The characters before which a backslash counts, by the quote that is open; None: any.
_Escapes = Mapping[str, str | None]
_IN_SH: Final[_Escapes] = {"": None, '"': '$`"\\\n', "'": ""}
_IN_FISH: Final[_Escapes] = {"": None, '"': '$"\\\n', "'": "'\\"}


@attrs.frozen
class Line:
    """A command line up to the cursor.

    Attributes:
        words: The words before the one that is being typed, without quotes.
        word: The word that is being typed, without quotes; may be empty.
        raw: That word as it stands there.
        quote: The quote that is open at the end; empty if there is none.
    """

    words: list[str]
    word: str
    raw: str
    quote: str


def read_line(line: str, shell: str) -> Line:
    """What stands on *line*, by the rules for quotes in *shell*."""
    escapes = _IN_FISH if shell == "fish" else _IN_SH
    words, word, quote, start = list[str](), "", "", -1
    letters = iter(enumerate(line))
    for at, letter in letters:
        if not quote and letter.isspace():
            words += [word] if start >= 0 else []
            word, start = "", -1
            continue
        start = at if start < 0 else start
        match letter:
            case "\\" if _is_escape(escapes[quote], line[at + 1 : at + 2]):
                word += next(letters, (at, ""))[1]
            case "'" | '"' if quote in ("", letter):
                quote = "" if quote else letter
            case _:
                word += letter
    return Line(words, word, line[start:] if start >= 0 else "", quote)


def _is_escape(escaped: str | None, after: str) -> bool:
    """Whether a backslash counts before *after*, which may be nothing."""
    return escaped is None or (bool(after) and after in escaped)
