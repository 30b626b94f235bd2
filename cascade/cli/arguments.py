"""What can be said on the command line."""

from __future__ import annotations

import argparse
import getpass
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn, get_args

import attrs

from cascade.cli.output import out, out_text, say
from cascade.cli.pages.options import add_page, add_page_to_run
from cascade.cli.params import FlowOptions, Kept, kept
from cascade.cli.recorded.options import add_records
from cascade.cli.targets import UsageError, load_flow
from cascade.cli.words import options_of, place_of_target
from cascade.graph.build import build
from cascade.graph.pictures.render import Format
from cascade.model.errors import GraphError
from cascade.model.inputs import Param
from cascade.model.shown.secrets import MARK, keep_secret
from cascade.model.shown.urls import secrets_of_url
from cascade.runtime.context.settings import OnChange, OnError, Schedule, WhenIdle

# Commands that take no flow: they are about recorded runs, or about runs of other processes.
_WITHOUT_FLOW = ("runs", "show", "report", "resume", "send", "control", "watch", "page", "completion")
LOGS = ("human", "json", "progress", "none")


@attrs.frozen(eq=False)
class Invocation:
    """A command, understood.

    Attributes:
        command: ``"run"``, ``"graph"``, ``"runs"``, ``"show"``, ``"report"``, ``"resume"``, ``"send"``,
            ``"control"``, ``"watch"``, ``"page"`` or ``"completion"``.
        flow: What it is about, if that is a flow.
        params: Values of the flow's parameters, as text.
        options: Everything else.
        kept: What a record keeps of a run.
    """

    command: str
    flow: Any
    params: dict[str, str]
    options: argparse.Namespace
    kept: Kept | None = None


class _Parser(argparse.ArgumentParser):
    """Raises instead of ending the process, so that :func:`cascade.cli.main` has one way out."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, allow_abbrev=False)
        self.color = False  # from Python 3.14 on; what is written for a terminal is escaped

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stderr:
            for line in message.splitlines():
                say(line)
        else:
            out_text(message)


class _Version(argparse.Action):
    """Shows the version, which takes some looking for, only if it is asked for."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, nargs=0, default=argparse.SUPPRESS)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            found = version("cascade-anyio")
        except PackageNotFoundError:
            found = "(not installed)"
        out(f"cascade {found}")
        parser.exit()


def parse(arguments: Sequence[str]) -> Invocation:
    """Understand a command line.

    The target is imported in between, because its parameters are options too.

    Raises:
        UsageError: If it has no meaning.
    """
    parser, commands = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
        raise UsageError("say what to do: run, resume, runs, show, report, page, send, graph, control or watch")
    if arguments[0] in _WITHOUT_FLOW:
        options = _parsed(parser, arguments)
        if options.command == "runs" and options.state is None:
            raise UsageError("cascade runs: say where they are recorded: --state URL (see cascade runs --help)")
        return Invocation(options.command, None, pairs(getattr(options, "param", []), "-p"), options)
    command = commands.get(arguments[0])
    place = None if command is None else place_of_target(arguments, options_of(command))
    if command is None or place is None:
        options = parser.parse_args(arguments)  # shows the help, or says what is missing
        raise UsageError(f"{options.command}: the target is missing")
    flow = load_flow(arguments[place])
    params = _params_of(flow)
    # The target goes first, where it cannot be taken for the value of an option.
    words = [arguments[place], *arguments[1:place], *arguments[place + 1 :]]
    if arguments[0] != "run":
        return Invocation(arguments[0], flow, {}, _parsed(parser, [arguments[0], *words]))
    flow_options = FlowOptions.of(params, options_of(command))
    flow_options.add_help(command)
    has_secrets = any(param.secret for param in params)
    options = _parsed(parser, ["run", *flow_options.as_pairs(words)], shows_words=not has_secrets)
    given = pairs(options.param, "-p", shows_words=not has_secrets)
    keep_secret(*(given.get(param.name) for param in params if param.secret))
    return Invocation("run", flow, given, options, kept(command, options, given, params))


def _parsed(
    parser: argparse.ArgumentParser, arguments: Sequence[str], *, shows_words: bool = True
) -> argparse.Namespace:
    options, unknown = parser.parse_known_args(arguments)
    for url in (getattr(options, name, None) for name in ("state", "control", "via", "executor")):
        keep_secret(secrets_of_url(url or ""))
    if unknown:
        # By itself, argparse points to the help of all commands, which does not have the options of this one.
        command = f"cascade {options.command}"
        shown = [word if shows_words else _without_value(word) for word in unknown]
        raise UsageError(f"{command}: unrecognized arguments: {' '.join(shown)} (see {command} --help)")
    return options


def _without_value(word: str) -> str:
    """*word*, which may be, or hold, a secret: its option alone, if it is one."""
    return word.partition("=")[0] if word.startswith("-") else MARK


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(prog="cascade", description="Run and draw flows of lazy tasks.")
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a flow")
    graph = commands.add_parser("graph", help="draw a flow")
    for command in (run, graph):
        command.add_argument("target", metavar="TARGET", help="module:name or path/to/file.py:name")
    _add_to_run(run)
    text = "kind of picture (what the name of the file says, or mermaid)"
    graph.add_argument("--format", choices=get_args(Format), help=text)
    graph.add_argument("-o", "--output", metavar="FILE", help="write it to this file, such as flow.svg")
    add_records(commands, _add_to_resume)
    add_control(commands)
    add_watch(commands)
    add_page(commands)
    _add_completion(commands)
    return parser, {"run": run, "graph": graph}


def _add_to_run(run: argparse.ArgumentParser) -> None:
    _add_param(run, "a parameter of the flow")
    run.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="event loop (%(default)s)")
    run.add_argument(
        "--schedule",
        choices=get_args(Schedule),
        default="stages",
        help="start tasks stage by stage, or each as soon as its own inputs are there (%(default)s)",
    )
    run.add_argument(
        "--on-error",
        choices=get_args(OnError),
        default="first",
        help="a failure cancels the rest and is shown, with all others (group), or the rest goes on (%(default)s)",
    )
    run.add_argument(
        "--resources", action="append", default=[], metavar="NAME=AMOUNT", help="capacity that tasks claim from"
    )
    run.add_argument("--max-threads", type=whole, default=40, metavar="N", help="worker threads (%(default)s)")
    _add_executor(run)
    run.add_argument("--state", metavar="URL", help="where outcomes are recorded, such as sqlite:///runs.db")
    run.add_argument("--run-id", metavar="ID", help="id of the run; one that was cut short goes on")
    _add_on_change(run)
    _add_when_idle(run)
    run.add_argument("--control", metavar="URL", help="where rules come from, such as local: or mqtt://host")
    run.add_argument(
        "--grace",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long after the first SIGINT what runs may take to end (%(default)g)",
    )
    _add_to_be_seen(run)


def _add_to_be_seen(command: argparse.ArgumentParser) -> None:
    """What people see of a run."""
    command.add_argument("--log", choices=LOGS, default="human", help="how to report what happens (%(default)s)")
    command.add_argument("--traceback", action="store_true", help="show the traceback of a task that fails")
    command.add_argument(
        "--capture", action="store_true", help="record what tasks print and log, for cascade show RUN NODE --log"
    )
    command.add_argument("--report", metavar="FILE", help="write a page about the run to this file, as run.html")
    add_page_to_run(command)


def _add_param(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help=text)


def _add_on_change(command: argparse.ArgumentParser) -> None:
    text = "what to do if the run was recorded with another flow (%(default)s)"
    command.add_argument("--on-change", choices=get_args(OnChange), default="error", help=text)


def _add_when_idle(command: argparse.ArgumentParser) -> None:
    text = "what to do when only signals are left to wait for; to suspend needs a --state (%(default)s)"
    command.add_argument("--when-idle", choices=get_args(WhenIdle), default="wait", help=text)


def _add_executor(command: argparse.ArgumentParser) -> None:
    text = "where remote tasks run, such as dask:local or dask://host:8786"
    command.add_argument("--executor", metavar="URL", help=text)


def _add_to_resume(resume: argparse.ArgumentParser) -> None:
    _add_param(resume, "a parameter: one that is secret, and so not recorded, or another value")
    resume.add_argument("--control", metavar="URL", help="where rules come from, if that holds a password")
    _add_on_change(resume)
    _add_to_be_seen(resume)


def add_control(commands: Any) -> None:
    """What can be said to runs of other processes."""
    control = commands.add_parser("control", help="pause and limit runs of other processes, cancel nodes")
    actions = control.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (
        ("pause", "let nothing start"),
        ("resume", "lift a pause"),
        ("limit", "limit how many run at a time, or how fast they start"),
        ("send", "send a signal to a run"),
        ("cancel", "cancel a node of a run"),
        ("status", "show the rules in force, and the runs"),
    ):
        action = actions.add_parser(name, help=words)
        _add_via(action)
        if name == "status":
            continue
        action.add_argument(
            "--patience",
            type=seconds,
            default=5.0,
            metavar="SECONDS",
            help="how long to wait for the runs to acknowledge it (%(default)g)",
        )
        if name == "send":
            action.add_argument("scope", metavar="run:ID", help="the run")
            action.add_argument("name", metavar="NAME", help="name of the signal")
            action.add_argument("value", metavar="VALUE", help="its value")
            action.add_argument("--author", default=_user(), help="who says so (%(default)s)")
            continue
        if name == "cancel":
            action.add_argument("scope", help="the run, as run:ID", metavar="RUN")
            action.add_argument("node", help="id of the node, such as fetch#2, or fetch[3]", metavar="NODE")
            continue
        action.add_argument(
            "scope", nargs="?", default="global", help="global, task:GLOB or run:ID (%(default)s)", metavar="SCOPE"
        )
        action.add_argument("--author", default=_user(), help="who says so (%(default)s)")
        if name != "resume":
            action.add_argument("--ttl", type=seconds, metavar="SECONDS", help="when it ends by itself")
        if name == "limit":
            action.add_argument("--concurrency", metavar="N", help='attempts at a time; "none" lifts the limit')
            action.add_argument("--rate", metavar="RATE", help='such as 10/s or 30/m; "none" lifts the limit')
            action.add_argument("--burst", type=whole, metavar="N", help="starts at once after a time without any")


def add_watch(commands: Any) -> None:
    """Looking at runs of other processes."""
    watch = commands.add_parser("watch", help="show a run of another process, live")
    watch.add_argument("run", nargs="?", metavar="RUN", help="id of the run; by default the first to be heard of")
    _add_via(watch)


def _add_completion(commands: Any) -> None:
    completion = commands.add_parser("completion", help="print the script that completes commands in a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    completion.add_argument("--line", help=argparse.SUPPRESS)
    completion.add_argument("--word", help=argparse.SUPPRESS)  # the part of the last word that bash replaces


def parser_of_all() -> argparse.ArgumentParser:
    """What knows all commands and their options, but for those that parameters of a flow become."""
    return _parser()[0]


def _add_via(command: argparse.ArgumentParser) -> None:
    command.add_argument("--via", default="local:", metavar="URL", help="how to reach the runs (%(default)s)")


def seconds(text: str) -> float:
    """A finite number of seconds, not negative."""
    with suppress(ValueError):
        seconds = float(text)
        if 0 <= seconds < math.inf:
            return seconds
    raise argparse.ArgumentTypeError(f"it takes a number of seconds from 0, not {text!r:.100}")


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it takes a whole number, not {text!r:.100}") from None


def _user() -> str:
    """Name of the user, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # there is none; before Python 3.13 that was no OSError
        return "unknown"


def _params_of(flow: Any) -> list[Param[Any]]:
    try:
        return [given for given in build(flow).inputs.values() if isinstance(given, Param)]
    except GraphError as error:
        raise UsageError(str(error)) from error


def pairs(words: Sequence[str], option: str, *, shows_words: bool = True) -> dict[str, str]:
    """``NAME=VALUE`` words as a mapping.

    Args:
        words: The words.
        option: Where they stand.
        shows_words: Whether an error may quote one.

    Raises:
        UsageError: If a word is none.
    """
    found = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise UsageError(f"{option} takes NAME=VALUE, not {repr(word) if shows_words else MARK}")
        found[name] = value
    return found
