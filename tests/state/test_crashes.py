"""Processes that are killed at any instant, and run again until they are done."""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from real_time import look_until

from cascade import api
from cascade.model.errors import StateError
from cascade.runtime.durability.history import RunRecord
from state import crashing
from state.stores import StoreUnderTest

# How often each run is killed. The nox session `crash` sets it to 50.
KILLS = int(os.environ.get("CASCADE_CRASHES", "4"))
EXECUTIONS = 200
PATIENCE = 60


@contextmanager
def launched(log: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a flow of :mod:`crashing`, and is gone after the block."""
    with log.open("ab", buffering=0) as file:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
            "CRASH_LOG_FD": str(file.fileno()),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "state.crashing", *words],
            env=environment, pass_fds=[file.fileno()], stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def recorded(store: StoreUnderTest) -> RunRecord | None:
    try:
        return anyio.run(api.recorded_run, store.state, "night")
    except StateError:
        return None  # killed before it began


def kill_after(log: Path, count: int, words: tuple[str, ...]) -> bool:
    """Run until *count* more lines are written, then kill; whether it had not ended before."""
    enough = len(lines(log)) + count
    with launched(log, *words) as process:
        look_until(lambda: process.poll() is not None or len(lines(log)) >= enough, PATIENCE)
        if process.poll() is not None:
            return False
        process.kill()
        process.wait()
    return True


def is_sound(store: StoreUnderTest) -> bool:
    """What the store itself says of its integrity."""
    if store.name == "sqlite":
        with sqlite3.connect(str(store.state).removeprefix("sqlite:///")) as connection:
            [(said,)] = connection.execute("PRAGMA integrity_check").fetchall()
            rows = connection.execute("SELECT value FROM nodes WHERE status = 'succeeded'").fetchall()
        connection.close()
        return bool(said == "ok") and all(pickle.loads(value) is not ... for (value,) in rows)
    import redis

    with redis.Redis.from_url(store.state) as client:
        results = client.hgetall("cascade:run:night:results")
        nodes = client.hgetall("cascade:run:night:nodes")
        assert isinstance(results, dict)
        assert isinstance(nodes, dict)
        return set(results) <= set(nodes) and all(pickle.loads(value) is not ... for value in results.values())


@pytest.mark.slow
@pytest.mark.timeout(20 * KILLS + 60)
def test_a_run_that_is_killed_again_and_again_ends_right_and_repeats_nothing_recorded(
    durable: StoreUnderTest, backend_name: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    words = ("flow", str(durable.state), backend_name, "0")
    chance = random.Random(KILLS)
    kept: set[str] = set()
    for _ in range(KILLS):
        start = len(lines(log))
        is_killed = kill_after(log, chance.randint(1, 2 * EXECUTIONS // KILLS), words)
        assert kept.isdisjoint(lines(log)[start:])
        record = recorded(durable)
        if record is not None:
            kept = {node.node_id for node in record.nodes if node.status in ("succeeded", "skipped")}
        assert is_sound(durable)
        if not is_killed:
            break
    start = len(lines(log))
    with launched(log, *words) as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert out == f"{crashing.expected()}\n"
    assert kept.isdisjoint(lines(log)[start:])
    assert is_sound(durable)


def test_items_that_took_values_are_kept_when_a_run_is_killed_between_items(
    durable: StoreUnderTest, backend_name: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    words = ("outcomes", str(durable.state), backend_name, "0")
    # What failed runs again, and with it what has taken the failure.
    again = {f"{name}[{n}]" for name in ("weigh", "parse", "parse#2") for n in range(60) if crashing.fails(n)}
    kept: set[str] = set()
    for count in (20, 60, 60):
        start = len(lines(log))
        kill_after(log, count, words)
        assert kept.isdisjoint(lines(log)[start:])
        record = recorded(durable)
        if record is not None:
            kept = {node.node_id for node in record.nodes if node.status == "succeeded"} - again
    assert kept
    start = len(lines(log))
    with launched(log, *words) as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert out == f"{crashing.expected_of_outcomes()}\n"
    assert kept.isdisjoint(lines(log)[start:])


@pytest.mark.slow
def test_a_loop_that_is_killed_goes_on_from_its_last_record(
    durable: StoreUnderTest, backend_name: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    turn = 0
    until = time.monotonic() + PATIENCE
    with launched(log, "loop", str(durable.state), backend_name, "1000000000") as process:
        while turn < 5000 and time.monotonic() < until:
            run = recorded(durable)
            turn = 0 if run is None or run.turn is None else run.turn
        process.kill()
        process.wait()
    run = recorded(durable)
    assert run is not None
    assert run.turn is not None
    with launched(log, "loop", str(durable.state), backend_name, "1000000000") as process:
        look_until(lambda: len(lines(log)) >= 4, PATIENCE)
    assert lines(log) == ["begins", "first 1", "begins", f"first {run.turn}"]
