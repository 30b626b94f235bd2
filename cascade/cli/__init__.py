"""The command line: ``cascade run``, ``cascade graph``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cascade.cli.arguments import parse
from cascade.cli.commands import EXIT_USAGE, execute
from cascade.cli.targets import UsageError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what *arguments* (the process's own by default) say.

    Returns:
        The exit status: 0 done, 1 the flow failed, 2 bad usage or input, 130 interrupted, 143 terminated.
    """
    try:
        return execute(parse(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        print(f"cascade: {error}", file=sys.stderr)
        return EXIT_USAGE
