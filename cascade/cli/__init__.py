"""The command line: ``cascade run``, ``resume``, ``runs``, ``show``, ``report``, ``page``, ..."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from cascade.cli.arguments import parse
from cascade.cli.commands import execute
from cascade.cli.output import EXIT_USAGE, OutputLost, finish, given_up, prepare, say
from cascade.cli.running import EXIT_BY_SIGNAL
from cascade.cli.targets import UsageError
from cascade.model.shown.secrets import KeepingSecrets

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what *arguments* (the process's own by default) say.

    Returns:
        The exit status: 0 done, 1 the flow failed, 2 bad usage or input, or standard output could not be written,
        75 drained, 130 interrupted, 143 terminated.
    """
    with KeepingSecrets():
        return _main(sys.argv[1:] if arguments is None else arguments)


def _main(arguments: Sequence[str]) -> int:
    prepare()
    try:
        status = execute(parse(arguments))
    except UsageError as error:
        say("cascade: ", " ".join(str(error).split("\n")))
        status = EXIT_USAGE
    except SystemExit as end:  # argparse has shown the help, or the version
        status = end.code if isinstance(end.code, int) else EXIT_USAGE
    except KeyboardInterrupt:  # while the flow was made; a run hears signals itself
        status = EXIT_BY_SIGNAL[signal.SIGINT]
    except OutputLost as lost:
        return given_up(lost)
    return finish(status)
