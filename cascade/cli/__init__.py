"""The command line: ``cascade run``, ``resume``, ``runs``, ``show`` and ``graph``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from cascade.cli.arguments import parse
from cascade.cli.commands import EXIT_BY_SIGNAL, EXIT_FAILED, EXIT_USAGE, execute
from cascade.cli.targets import UsageError
from cascade.model.secrets import KeepingSecrets, redacted

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what *arguments* (the process's own by default) say.

    Returns:
        The exit status: 0 done, 1 the flow failed, 2 bad usage or input, 75 drained, 130 interrupted,
        143 terminated.
    """
    with KeepingSecrets():
        return _main(sys.argv[1:] if arguments is None else arguments)


def _main(arguments: Sequence[str]) -> int:
    try:
        status = execute(parse(arguments))
        sys.stdout.flush()
    except UsageError as error:
        print("cascade:", *redacted(str(error)).splitlines(), file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:  # while the flow was made; a run hears signals itself
        return EXIT_BY_SIGNAL[signal.SIGINT]
    except BrokenPipeError:
        # The reader has gone. Python flushes once more at exit, and would complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return status
