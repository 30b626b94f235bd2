"""``cascade run``: settings, and the mistakes that can be made with them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import (
    Command,
    Outcome,
    assert_is_a_mistake,
    cascade_process,
    command_with,
    environment,
    write,
)

FLOWS = """
import asyncio, threading
import anyio, cascade

@cascade.task
async def loop_name() -> str:
    try:
        asyncio.current_task()
    except RuntimeError:
        return "trio"
    return "asyncio"

@cascade.task
def one() -> int:
    return 1

@cascade.task(constraints={"gpu": 4})
def greedy() -> int:
    return 1

inside, most = [], []

@cascade.task(constraints={"share": 0.1})
async def sharing(n: int) -> int:
    inside.append(n)
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
    most.append(len(inside))
    inside.remove(n)

@cascade.task
def in_thread(n: int) -> int:
    inside.append(n)
    for _ in range(5):
        anyio.from_thread.run(anyio.lowlevel.checkpoint)
    most.append(len(inside))
    inside.remove(n)

barrier = threading.Barrier(3, timeout=60)

@cascade.task
def meets(n: int) -> None:
    barrier.wait()

@cascade.task
def largest(_: object) -> int:
    return max(most)

@cascade.task(mode="process")
def doubled(n: int) -> int:
    return 2 * n

loop = loop_name()
plain = one()
gpu = greedy()
shares = largest(sharing.map(n=[1, 2, 3]))
threads = largest(in_thread.map(n=[1, 2, 3]))
meeting = meets.map(n=[1, 2, 3])
process = doubled(21)
chain = one().after(one())
"""


command = command_with(FLOWS)


def events(outcome: Outcome) -> list[dict[str, Any]]:
    """What ``--log json`` has written."""
    return [json.loads(line) for line in outcome.out.splitlines()]


def names(outcome: Outcome) -> list[str]:
    """The types of the events that ``--log json`` has written."""
    return [event["type"] for event in events(outcome)]


# -- settings ---------------------------------------------------------------------------------------------------


def test_the_flow_runs_on_the_chosen_backend(command: Command, backend_name: str) -> None:
    outcome = command("run", "flows.py:loop", "--backend", backend_name, "--log", "none")

    assert outcome == Outcome(0, f"{backend_name}\n", "")


def test_the_flow_runs_on_asyncio_by_default(command: Command) -> None:
    assert command("run", "flows.py:loop", "--log", "none").out == "asyncio\n"


@pytest.mark.parametrize(
    ("words", "has_stages"), [([], True), (["--schedule", "stages"], True), (["--schedule=eager"], False)]
)
def test_the_flow_runs_in_the_chosen_schedule(command: Command, words: list[str], has_stages: bool) -> None:
    outcome = command("run", "flows.py:chain", "--log", "json", *words)

    assert ("StageStarted" in names(outcome)) is has_stages


@pytest.mark.parametrize(
    "words",
    [
        ["--resources", "gpu=4"],
        ["--resources", "gpu=4.5"],
        ["--resources=cpu=1,gpu=4"],
        ["--resources", "cpu=1", "--resources", "gpu=4"],
        [],
    ],
)
def test_a_flow_whose_claims_fit_runs(command: Command, words: list[str]) -> None:
    assert command("run", "flows.py:gpu", "--log", "none", *words) == Outcome(0, "1\n", "")


def test_a_claim_above_the_total_is_a_mistake(command: Command) -> None:
    outcome = command("run", "flows.py:gpu", "--log", "none", "--resources", "gpu=2")

    assert_is_a_mistake(outcome, "greedy", "exceeds total system capacity (2)", "gpu")


@pytest.mark.parametrize(("total", "at_once"), [("0.3", 3), ("0.2", 2), ("2/10", 2)])
def test_amounts_of_resources_are_exact(command: Command, total: str, at_once: int) -> None:
    outcome = command("run", "flows.py:shares", "--log", "none", "--resources", f"share={total}")

    assert outcome == Outcome(0, f"{at_once}\n", "")


def test_threads_are_limited(command: Command) -> None:
    outcome = command("run", "flows.py:threads", "--log", "none", "--max-threads", "1")

    assert outcome == Outcome(0, "1\n", "")


def test_as_many_threads_as_asked_for_run_at_once(command: Command) -> None:
    assert command("run", "flows.py:meeting", "--log", "none", "--max-threads", "3").status == 0


def test_the_run_has_the_chosen_id(command: Command) -> None:
    outcome = command("run", "flows.py:plain", "--log", "json", "--run-id", "nightly 1")

    assert {event["run_id"] for event in events(outcome)} == {"nightly 1"}


def test_outcomes_are_recorded_in_the_chosen_state(command: Command) -> None:
    outcome = command("run", "flows.py:plain", "--log", "json", "--state", "memory:")

    assert outcome.status == 0
    assert [event["total"] for event in events(outcome) if event["type"] == "StateRecorded"] == [1]


def test_a_task_may_run_in_a_process(command: Command, backend_name: str) -> None:
    outcome = cascade_process("run", "flows.py:process", "--log", "none", "--backend", backend_name)

    # Before 3.12 asyncio says so now and then of a process that ends while its transport is closed, whoever
    # started it: the thread that waits for the process comes second, and tells the loop, which may be gone.
    of_asyncio = re.compile(
        r"Unknown child process pid \d+, will report.*|Loop <.*> that handles pid \d+ is closed"
    )
    said = [line for line in outcome.err.splitlines() if not of_asyncio.fullmatch(line)]
    assert (outcome.status, outcome.out, said) == (0, "42\n", [])


# -- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], ["frobnicate", "run", "graph"]),
        (["frobnicate", "flows.py:plain"], ["frobnicate"]),
        (["run"], ["TARGET"]),
        (["run", "--log", "none"], ["TARGET"]),
        (["run", "--", "-not:target"], ["run: the target is missing"]),
        (["run", "flows.py:plain", "flows.py:loop"], ["flows.py:loop"]),
        (["run", "flows.py:plain", "--frobnicate"], ["--frobnicate"]),
        (["run", "flows.py:plain", "--back", "trio"], ["--back"]),
        (["run", "flows.py:plain", "--backend"], ["--backend"]),
        (["run", "flows.py:plain", "--backend", "curio"], ["curio", "asyncio", "trio"]),
        (["run", "flows.py:plain", "--schedule", "lazy"], ["lazy", "stages", "eager"]),
        (["run", "flows.py:plain", "--on-error", "ignore"], ["ignore", "first", "group", "continue"]),
        (["run", "flows.py:plain", "--log", "xml"], ["xml", "human", "json", "progress", "none"]),
        (["run", "flows.py:plain", "--max-threads", "many"], ["many"]),
        (["run", "flows.py:plain", "--max-threads", "0"], ["max", "threads", "0"]),
        (["run", "flows.py:plain", "--run-id", ""], ["run", "id"]),
        (["run", "flows.py:plain", "--run-id", "a\nb"], ["run", "id"]),
        (["run", "flows.py:plain", "--state", "nowhere"], ["nowhere", "memory:"]),
        (["run", "flows.py:plain", "--executor", "nowhere"], ["nowhere", "dask:local"]),
        (["run", "flows.py:plain", "--executor", "spark:local"], ["spark:local", "ray://HOST:PORT"]),
        (["run", "flows.py:plain", "--state", "memory:here"], ["here"]),
        (["run", "flows.py:plain", "--resources", "gpu"], ["gpu"]),
        (["run", "flows.py:plain", "--resources", "=1"], ["=1"]),
        (["run", "flows.py:plain", "--resources", ""], ["--resources"]),
        (["run", "flows.py:plain", "--resources", "gpu=lots"], ["lots"]),
        (["run", "flows.py:plain", "--resources", "gpu=nan"], ["nan"]),
        (["run", "flows.py:plain", "--resources", "gpu=inf"], ["inf"]),
        (["run", "flows.py:plain", "--resources", "gpu=1/0"], ["1/0"]),
        (["run", "flows.py:plain", "--resources", "gpu=-1"], ["gpu", "-1"]),
    ],
)
def test_a_mistake_is_one_clear_line(command: Command, arguments: list[str], words: list[str]) -> None:
    assert_is_a_mistake(command(*arguments), *words)


def test_without_arguments_the_help_says_what_there_is(command: Command) -> None:
    outcome = command()

    assert (outcome.status, outcome.out) == (2, "")
    assert "run" in outcome.err.splitlines()[-1]
    assert "graph" in outcome.err.splitlines()[-1]


@pytest.mark.parametrize("library", ["trio", "rich"])
def test_a_library_that_is_not_installed_is_one_clear_line(command: Command, tmp_path: Path, library: str) -> None:
    blocked = tmp_path / "blocked"
    write(f"blocked/{library}.py", f"raise ImportError('No module named {library}')")
    words = ["--backend", "trio"] if library == "trio" else ["--log", "progress"]

    outcome = cascade_process("run", "flows.py:plain", *words, env=environment(blocked))

    assert_is_a_mistake(outcome, library)


def test_without_trio_the_error_says_what_to_install(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    outcome = command("run", "flows.py:plain", "--backend", "trio")
    assert_is_a_mistake(outcome, "Trio, which is not installed", 'pip install "cascade-anyio[trio]"')
