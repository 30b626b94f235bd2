"""``cascade completion SHELL``: a script for bash, zsh or fish, and the words that the script asks for."""

from __future__ import annotations

import argparse
from contextlib import suppress

from cascade.cli.completion.candidates import candidates
from cascade.cli.completion.lines import read_line
from cascade.cli.completion.scripts import SCRIPTS, answer
from cascade.cli.output import out_text

__all__ = ["SCRIPTS", "complete"]


def complete(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print the script for a shell or, for the script, how a line may go on; returns the exit status.

    Args:
        options: What was said.
        parser: Knows the commands and their options.
    """
    if options.line is None:
        out_text(SCRIPTS[options.shell])
        return 0
    with suppress(Exception):  # whoever types must not be shown what is wrong with files or stores
        line = read_line(options.line, options.shell)
        replaced = line.raw if options.word is None else options.word
        found = answer(options.shell, line, replaced, candidates(line, parser))
        out_text("".join(f"{word}\n" for word in found))
    return 0
