"""Doing what the command line says."""

from __future__ import annotations

import argparse

from cascade.cli.arguments import Invocation, parse, parser_of_all
from cascade.cli.completion import complete
from cascade.cli.control import run_control
from cascade.cli.pages.command import run_page
from cascade.cli.pages.graph import draw
from cascade.cli.pages.options import words_to_be_seen
from cascade.cli.recorded.upkeep import export, prune, verify
from cascade.cli.recorded.waiting import wait_for_lease
from cascade.cli.records import arguments_to_resume, send_signal, show, show_runs
from cascade.cli.running import EXIT_BY_SIGNAL, run_flow
from cascade.cli.targets import UsageError
from cascade.cli.watch import run_watch


def execute(invocation: Invocation) -> int:
    """Do it; returns the exit status."""
    options = invocation.options
    match invocation.command:
        case "graph":
            draw(invocation.flow, options.format, options.output)
            return 0
        case "runs":
            return _runs(options)
        case "show":
            show(options)
            return 0
        case "resume":
            if options.wait:
                wait_for_lease(options.state, options.run_id)
            more = ["--log", options.log, "--on-change", options.on_change, *words_to_be_seen(options)]
            words = arguments_to_resume(options.state, options.run_id, invocation.params, options.control)
            return run_flow(parse([*words, *more]), is_first=False)
        case "report":
            from cascade.cli.pages.report import report_run  # here, as what makes pages takes its time to import

            report_run(options.state, options.run_id, options.output, options.flow)
            return 0
        case "send":
            send_signal(options.state, options.run_id, options.name, options.value)
            return 0
        case "control":
            return run_control(options)
        case "completion":
            return complete(options, parser_of_all())
        case "watch":
            return run_watch(options)
        case "page":
            return EXIT_BY_SIGNAL[run_page(options)]
        case _:
            return run_flow(invocation)


def _runs(options: argparse.Namespace) -> int:
    action: str = options.action
    if action != "list" and (options.since is not None or options.limit is not None):
        raise UsageError(f"cascade runs {action}: --since and --limit are for the list (see cascade runs --help)")
    if action != "list":
        return {"prune": prune, "verify": verify, "export": export}[action](options)
    show_runs(options)
    return 0
