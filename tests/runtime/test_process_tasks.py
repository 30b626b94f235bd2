"""Tasks that run in worker processes."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path
from typing import Any

import anyio
import process_tasks
import pytest
from life import joined, until

import cascade


async def test_process_tasks_run_in_another_process() -> None:
    assert await cascade.run(process_tasks.pid()) != os.getpid()


async def test_arguments_and_results_go_to_the_process_and_back(schedule: Any) -> None:
    flow = process_tasks.add(process_tasks.add(1, 2), 3)
    assert await cascade.run(flow, schedule=schedule) == 6


async def test_a_process_does_not_see_the_callers_context_variables() -> None:
    process_tasks.seen_by_caller.set("here")
    assert await cascade.run(process_tasks.variable()) == "unset"


async def test_what_a_process_task_raises_comes_with_its_message_and_its_place() -> None:
    with pytest.raises(ValueError, match=r"^far away") as caught:
        await cascade.run(process_tasks.fails("far away"))
    notes = "\n".join(caught.value.__notes__)
    assert "process_tasks.py" in notes
    assert "node 'fails'" in notes


async def test_a_process_task_that_exits_ends_the_run_and_not_this_process() -> None:
    with pytest.raises(SystemExit) as caught:
        await cascade.run(process_tasks.exits(3))
    assert caught.value.code == 3


async def test_a_process_that_dies_is_an_error_worth_another_attempt(tmp_path: Path) -> None:
    flow = process_tasks.dies_unless(str(tmp_path / "marker")).with_retry(2)
    assert await cascade.run(flow) == "survived"


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(process_tasks.takes(process_tasks.Unpicklable()), id="argument"),
        pytest.param(process_tasks.gives_unpicklable(), id="result"),
    ],
)
async def test_what_cannot_be_pickled_fails_the_task(flow: cascade.LazyResult[Any]) -> None:
    with pytest.raises(Exception, match="stays at home"):
        await cascade.run(flow)


async def test_a_process_task_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(process_tasks.never_ends(str(tmp_path / "pid")).with_timeout(0.05))


async def test_starting_a_process_counts_to_no_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(0.5)  # a slow interpreter\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert await cascade.run(process_tasks.add(1, 2).with_timeout(0.4)) == 3


async def test_cancelling_kills_the_process(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, process_tasks.never_ends(str(marker)))
        await until(marker.exists, patience=10**9)
        group.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)


def locally() -> Any:
    @cascade.task(mode="process")
    def hidden() -> None: ...

    return hidden


@pytest.mark.parametrize(
    "hidden", [locally(), cascade.task(mode="process")(lambda: None)], ids=["local function", "lambda"]
)
async def test_a_function_that_processes_cannot_import_is_refused_before_anything_runs(hidden: Any) -> None:
    started: list[None] = []

    @cascade.task
    async def starts() -> None:
        started.append(None)

    with pytest.raises(cascade.GraphError, match="process"):
        await cascade.run(joined(starts(), hidden()))
    assert started == []


async def test_a_checkpoint_in_a_process_lets_the_task_go_on() -> None:
    assert await cascade.run(process_tasks.asks_at_a_checkpoint()) == "went on"


async def test_a_process_task_can_ask_where_it_is() -> None:
    assert await cascade.run(process_tasks.asks_where_it_is()) == ("asks_where_it_is", 1)


async def test_a_process_task_can_ask_how_long_it_has() -> None:
    asks = process_tasks.asks_how_long_it_has
    unlimited, limited = await cascade.run([asks(), asks().with_timeout(500)])
    assert unlimited == math.inf
    assert 0 < limited < 500


@pytest.mark.needs("trio")
def test_the_same_engine_uses_processes_on_one_loop_after_another() -> None:
    engine = cascade.Engine()
    assert asyncio.run(engine.run(process_tasks.add(1, 2))) == 3
    assert anyio.run(engine.run, process_tasks.add(3, 4), backend="trio") == 7
