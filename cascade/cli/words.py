"""Reading a command line whose options are not all known yet: those of a flow are, once its target is found."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

_NAME: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
# What a target looks like: ``module:name``, or ``path/to/file.py:name``.
_TARGET: Final = re.compile(rf"(?s)(?:.+\.py|{_NAME}):{_NAME}")

# Options, with whether each takes a value.
Options = Mapping[str, bool]


def options_of(command: argparse.ArgumentParser) -> dict[str, bool]:
    """The options of *command*."""
    actions = command._actions  # noqa: SLF001  # there is no other way to ask
    return {name: action.nargs != 0 for action in actions for name in action.option_strings}


def place_of_target(words: Sequence[str], known: Options) -> int | None:
    """Where in *words*, the first of which is the command, the target stands.

    A word after an option that is not known may be its value: it is the target only if there is no better one.
    """
    candidates = list(_candidates(words, known))
    for wants_look, may_be_value in ((True, False), (True, True), (False, False), (False, True)):
        for place, is_value in candidates:
            if is_value <= may_be_value and (not wants_look or _TARGET.fullmatch(words[place])):
                return place
    return None


def _candidates(words: Sequence[str], known: Options) -> Iterator[tuple[int, bool]]:
    """Places of words that are no options, nor values of *known* ones; whether each may be a value of another."""
    before = ""
    for place, word in enumerate(words[1:], 1):
        takes_value = known.get(before)
        if takes_value:
            before = ""
        elif word.startswith("-"):
            before = word
        else:
            yield place, takes_value is None and before.startswith("--") and "=" not in before
            before = ""
