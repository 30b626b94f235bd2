"""Doing what the command line says."""

from __future__ import annotations

from cascade import api
from cascade.cli.arguments import Invocation, parse
from cascade.cli.control import run_control
from cascade.cli.output import out_text
from cascade.cli.pages.command import run_page
from cascade.cli.records import arguments_to_resume, send_signal, show_run, show_runs
from cascade.cli.running import EXIT_BY_SIGNAL, run_flow
from cascade.cli.targets import UsageError
from cascade.cli.watch import run_watch
from cascade.model.errors import GraphError


def execute(invocation: Invocation) -> int:
    """Do it; returns the exit status."""
    options = invocation.options
    match invocation.command:
        case "graph":
            return _graph(invocation)
        case "runs":
            show_runs(options.state, options.format)
            return 0
        case "show":
            show_run(options.state, options.run_id, options.format)
            return 0
        case "resume":
            words = arguments_to_resume(options.state, options.run_id, invocation.params, options.control)
            more = ["--log", options.log, "--on-change", options.on_change]
            more += ["--traceback"] if options.traceback else []
            return run_flow(parse([*words, *more]), is_first=False)
        case "send":
            send_signal(options.state, options.run_id, options.name, options.value)
            return 0
        case "control":
            return run_control(options)
        case "watch":
            return run_watch(options)
        case "page":
            return EXIT_BY_SIGNAL[run_page(options)]
        case _:
            return run_flow(invocation)


def _graph(invocation: Invocation) -> int:
    try:
        picture = api.visualize(invocation.flow, invocation.options.format)
    except GraphError as error:
        raise UsageError(str(error)) from error
    out_text(picture)
    return 0
