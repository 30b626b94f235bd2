"""What can be said on the command line."""

from __future__ import annotations

import argparse
import getpass
import math
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, get_args

import attrs

from cascade.cli.params import FlowOptions, Kept, kept, options_of
from cascade.cli.targets import UsageError, load_flow
from cascade.graph.build import build
from cascade.graph.render import Format
from cascade.model.errors import GraphError, secrets_of_url
from cascade.model.inputs import Param
from cascade.model.secrets import MARK, keep_secret
from cascade.runtime.settings import OnChange, OnError, Schedule

# Commands that take no flow: they are about recorded runs, or about runs of other processes.
_WITHOUT_FLOW = ("runs", "show", "resume", "control", "watch")
LOGS = ("human", "json", "progress", "none")


@attrs.frozen(eq=False)
class Invocation:
    """A command, understood.

    Attributes:
        command: ``"run"``, ``"graph"``, ``"runs"``, ``"show"``, ``"resume"``, ``"control"`` or ``"watch"``.
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

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def parse(arguments: Sequence[str]) -> Invocation:
    """Understand a command line.

    The target is imported in between, because its parameters are options too.

    Raises:
        UsageError: If it has no meaning.
    """
    parser, commands = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
        raise UsageError("say what to do: run, resume, runs, show, graph, control or watch")
    if arguments[0] in _WITHOUT_FLOW:
        options = _parsed(parser, arguments)
        return Invocation(options.command, None, pairs(getattr(options, "param", []), "-p"), options)
    wants_help = any(word in ("-h", "--help") for word in arguments)
    target = _target(arguments)
    if target is None:
        options = parser.parse_args(arguments)  # shows the help, or says what is missing
        raise UsageError(f"{options.command}: the target is missing")
    if wants_help and arguments[0] not in commands:
        parser.parse_args(arguments)
    flow = load_flow(target)
    command = commands.get(arguments[0], parser)
    params = _params_of(flow)
    if arguments[0] != "run":
        return Invocation(arguments[0], flow, {}, _parsed(parser, arguments))
    place = arguments.index(target)
    # The target goes first, where it cannot be taken for the value of an option.
    words = [target, *arguments[1:place], *arguments[place + 1 :]]
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
    for url in (getattr(options, name, None) for name in ("state", "control", "via")):
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


def _target(arguments: Sequence[str]) -> str | None:
    """The first word after the command that is neither an option nor the value of one.

    Which options the flow has is not known yet, so a word that looks like a target comes before others.
    """
    takes_value = {"-p", "--param", "--backend", "--schedule", "--log", "--on-error", "--run-id", "--state"}
    takes_value |= {"--resources", "--max-threads", "--format", "--grace", "--on-change", "--control"}
    words = iter(arguments[1:])
    found = []
    for word in words:
        if word in takes_value:
            next(words, None)
        elif not word.startswith("-"):
            found.append(word)
    return next((word for word in found if ":" in word), found[0] if found else None)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(prog="cascade", description="Run and draw flows of lazy tasks.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a flow", allow_abbrev=False)
    graph = commands.add_parser("graph", help="draw a flow", allow_abbrev=False)
    for command in (run, graph):
        command.add_argument("target", metavar="TARGET", help="module:name or path/to/file.py:name")
    _add_param(run, "a parameter of the flow")
    run.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="event loop (%(default)s)")
    run.add_argument(
        "--schedule", choices=get_args(Schedule), default="stages", help="when tasks start (%(default)s)"
    )
    run.add_argument(
        "--on-error", choices=get_args(OnError), default="first", help="what a failure does (%(default)s)"
    )
    run.add_argument(
        "--resources", action="append", default=[], metavar="NAME=AMOUNT", help="capacity that tasks claim from"
    )
    run.add_argument("--max-threads", type=int, default=40, metavar="N", help="worker threads (%(default)s)")
    run.add_argument("--state", metavar="URL", help="where outcomes are recorded, such as sqlite:///runs.db")
    run.add_argument("--run-id", metavar="ID", help="id of the run; one that was cut short goes on")
    _add_on_change(run)
    run.add_argument("--control", metavar="URL", help="where rules come from, such as local: or mqtt://host")
    run.add_argument(
        "--grace",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long after the first SIGINT what runs may take to end (%(default)g)",
    )
    run.add_argument("--log", choices=LOGS, default="human", help="how to report what happens (%(default)s)")
    run.add_argument("--traceback", action="store_true", help="show the traceback of a task that fails")
    graph.add_argument("--format", choices=get_args(Format), default="mermaid", help="kind of text (%(default)s)")
    _add_records(commands)
    add_control(commands)
    add_watch(commands)
    return parser, {"run": run, "graph": graph}


def _add_param(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help=text)


def _add_on_change(command: argparse.ArgumentParser) -> None:
    text = "what to do if the run was recorded with another flow (%(default)s)"
    command.add_argument("--on-change", choices=get_args(OnChange), default="error", help=text)


def _add_records(commands: Any) -> None:
    runs = commands.add_parser("runs", help="list recorded runs", allow_abbrev=False)
    show = commands.add_parser("show", help="show a recorded run and its nodes", allow_abbrev=False)
    resume = commands.add_parser("resume", help="go on with a run that was cut short", allow_abbrev=False)
    for command in (show, resume):
        command.add_argument("run_id", metavar="RUN", help="id of the run")
    for command in (runs, show, resume):
        command.add_argument("--state", metavar="URL", required=True, help="where it is recorded")
    for command in (runs, show):
        command.add_argument(
            "--format", choices=("text", "json"), default="text", help="kind of text (%(default)s)"
        )
    _add_param(resume, "a parameter: one that is secret, and so not recorded, or another value")
    resume.add_argument("--control", metavar="URL", help="where rules come from, if that holds a password")
    _add_on_change(resume)
    resume.add_argument("--log", choices=LOGS, default="human", help="how to report what happens (%(default)s)")


def add_control(commands: Any) -> None:
    """What can be said to runs of other processes."""
    control = commands.add_parser("control", help="pause and limit runs of other processes", allow_abbrev=False)
    actions = control.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (
        ("pause", "let nothing start"),
        ("resume", "lift a pause"),
        ("limit", "limit how many run at a time, or how fast they start"),
        ("status", "show the rules in force, and the runs"),
    ):
        action = actions.add_parser(name, help=words, allow_abbrev=False)
        _add_via(action)
        if name == "status":
            continue
        action.add_argument(
            "scope", nargs="?", default="global", help="global, task:GLOB or run:ID (%(default)s)", metavar="SCOPE"
        )
        action.add_argument("--author", default=getpass.getuser(), help="who says so (%(default)s)")
        if name != "resume":
            action.add_argument("--ttl", type=seconds, metavar="SECONDS", help="when it ends by itself")
        if name == "limit":
            action.add_argument("--concurrency", metavar="N", help='attempts at a time; "none" lifts the limit')
            action.add_argument("--rate", metavar="RATE", help='such as 10/s or 30/m; "none" lifts the limit')
            action.add_argument("--burst", type=int, metavar="N", help="starts at once after a time without any")


def add_watch(commands: Any) -> None:
    """Looking at runs of other processes."""
    watch = commands.add_parser("watch", help="show a run of another process, live", allow_abbrev=False)
    watch.add_argument("run", nargs="?", metavar="RUN", help="id of the run; by default the first to be heard of")
    _add_via(watch)


def _add_via(command: argparse.ArgumentParser) -> None:
    command.add_argument("--via", default="local:", metavar="URL", help="how to reach the runs (%(default)s)")
    command.add_argument(
        "--patience",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long to wait for an answer (%(default)g)",
    )


def seconds(text: str) -> float:
    """A finite number of seconds, not negative."""
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError
    return seconds


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
