"""``cascade completion SHELL``: a script for bash, zsh or fish, and the words that the script asks for."""

from __future__ import annotations

import argparse
from contextlib import suppress

from cascade.cli.completion.candidates import candidates
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
        found = candidates(options.line, parser)
        out_text("".join(f"{word}\n" for word in answer(options.shell, options.line, found)))
    return 0
