"""What can be said of recorded runs on the command line: ``runs``, ``show``, ``resume``, ``send``."""

from __future__ import annotations

import argparse
import datetime
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, get_args

from cascade.runtime.durability.history import RunState

# Adds options that several commands have.
Add = Callable[[argparse.ArgumentParser], None]

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def add_records(commands: Any, add_to_resume: Add) -> None:
    """Add the commands to *commands*; *add_to_resume* adds what ``resume`` shares with ``run``."""
    runs = commands.add_parser("runs", help="list recorded runs; prune, verify or export them")
    show = commands.add_parser("show", help="show a recorded run, its failures or one of its nodes")
    report = commands.add_parser("report", help="write a page about a recorded run")
    resume = commands.add_parser(
        "resume",
        help="go on with a run that failed or was cut short",
        description="Go on with a run that failed or was cut short. What has succeeded is kept and does not run "
        "again, even if a file that it read has changed since: for that, begin another run.",
    )
    send = commands.add_parser("send", help="send a signal to a recorded run, whether it is executed or not")
    for command in (show, report, resume, send):
        command.add_argument("run_id", metavar="RUN", help="id of the run")
    send.add_argument("name", metavar="NAME", help="name of the signal")
    send.add_argument("value", metavar="VALUE", help="its value")
    for command in (show, report, resume, send):
        command.add_argument("--state", metavar="URL", required=True, help="where it is recorded")
    report.add_argument("-o", "--output", metavar="FILE", required=True, help="the file, such as run.html")
    report.add_argument(
        "--flow", metavar="TARGET", help="the flow, which is imported, for a picture of it as it is now"
    )
    _add_to_show(show)
    _add_to_runs(runs)
    add_to_resume(resume)
    resume.add_argument(
        "--wait", action="store_true", help="wait while another process executes it, also on another machine"
    )


def _add_to_show(show: argparse.ArgumentParser) -> None:
    show.add_argument("node", nargs="?", metavar="NODE", help="id of a node, such as fetch#2, or fetch[3]")
    show.add_argument(
        "--failed", action="store_true", help="only the nodes that failed, with what is known of each"
    )
    show.add_argument("--log", action="store_true", help="what the node printed and logged, if that was captured")
    _add_format(show)


def _add_format(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("text", "json"), default="text", help="kind of text (%(default)s)")


def _add_to_runs(runs: argparse.ArgumentParser) -> None:
    runs.set_defaults(action="list")
    runs.add_argument("--state", metavar="URL", help="where they are recorded (required)")
    _add_status(runs)
    runs.add_argument(
        "--since", type=since, metavar="WHEN", help="begun or written since then: an age as 12h or 7d, or a date"
    )
    runs.add_argument("--limit", type=count, metavar="N", help="the latest ones only")
    _add_format(runs)
    actions = runs.add_subparsers(metavar="ACTION", title="actions")
    prune = actions.add_parser("prune", help="delete the records of runs that have ended")
    prune.add_argument("--older-than", type=age, metavar="AGE", help="written last so long ago: 30d, 12h, 2w")
    prune.add_argument("--keep", type=count, metavar="N", help="keep the N that were written last in any case")
    _add_status(prune, "; by default succeeded, failed and cancelled", default=argparse.SUPPRESS)
    prune.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")
    verify = actions.add_parser("verify", help="check that all that is recorded can be read")
    export = actions.add_parser("export", help="write all that is recorded of a run as JSON")
    export.add_argument("run_id", metavar="RUN", help="id of the run")
    export.add_argument("-o", "--output", metavar="FILE", help="where to; by default standard output")
    for name, action in (("prune", prune), ("verify", verify), ("export", export)):
        # What is said before the action counts as well.
        action.set_defaults(action=name)
        action.add_argument("--state", metavar="URL", default=argparse.SUPPRESS, help="where they are recorded")


def _add_status(command: argparse.ArgumentParser, more: str = "", **as_argument: Any) -> None:
    words = f"only such runs; may be given several times{more}"
    command.add_argument("--status", action="append", choices=get_args(RunState), help=words, **as_argument)


def age(text: str) -> float:
    """Seconds of an age such as ``30d``, ``12h``, ``90m``, ``45s`` or ``2w``."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"it takes an age such as 30d, 12h, 90m, 45s or 2w, not {text!r:.100}")
    return float(found[1]) * _SECONDS[found[2]]


def since(text: str) -> tuple[str, float]:
    """A moment: ``"age"`` with seconds before now, or ``"at"`` with seconds since the epoch."""
    if _AGE.fullmatch(text):
        return "age", age(text)
    with suppress(ValueError, OverflowError, OSError):
        return "at", datetime.datetime.fromisoformat(text).timestamp()
    raise argparse.ArgumentTypeError(
        f"it takes an age such as 12h or 7d, or a date such as 2026-01-31 or 2026-01-31T06:00, not {text!r:.100}"
    )


def count(text: str) -> int:
    """A whole number from 0."""
    with suppress(ValueError):
        number = int(text)
        if 0 <= number < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"it takes a whole number from 0, not {text!r:.100}")
