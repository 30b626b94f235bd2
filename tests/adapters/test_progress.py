"""The observer that draws a bar: what it counts, and where it draws."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import sleep

import cascade
from cascade.observers import progress
from cascade.testing import record_events, virtual_backends

rich_console = pytest.importorskip("rich.console")


@pytest.fixture(params=virtual_backends(), ids=lambda value: value[0])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Virtual time: the bar is redrawn at most every tenth of a second."""
    return request.param


@cascade.task
async def one() -> int:
    return 1


@cascade.task
async def double(x: int) -> int:
    return 2 * x


@cascade.task
async def slow() -> None:
    await sleep(10)


@cascade.task
async def fails() -> None:
    raise ValueError("trouble")


@cascade.task
async def for_ever() -> None:
    await anyio.sleep_forever()


@cascade.task(constraints={"gpu": 1})
async def claims(gpus: int) -> None:
    raise AssertionError("never starts")


@cascade.task(mode="inline")
def countdown(n: int) -> object:
    return countdown(n - 1) if n else "off"


def paper() -> Any:
    """Where a bar is drawn once, at the end."""
    return rich_console.Console(file=io.StringIO(), width=150)


def terminal() -> Any:
    """Where every drawing is seen."""
    return rich_console.Console(file=io.StringIO(), width=150, force_terminal=True, color_system=None)


def drawn(console: Any) -> list[str]:
    """The drawings, without what moves the cursor."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


async def test_the_last_drawing_says_how_many_are_done_and_how_it_ended() -> None:
    console = paper()
    await cascade.run([double(one()), one()], observers=[progress(console)])

    assert "3 done, 0 running" in drawn(console)[-1]
    assert "succeeded" in drawn(console)[-1]


@pytest.mark.parametrize("schedule_name", ["stages", "eager"])
async def test_items_of_a_map_count(schedule_name: Any) -> None:
    console = paper()
    await cascade.run(double.map(x=range(5)), observers=[progress(console)], schedule=schedule_name)

    assert re.search(r"\b[56] done, 0 running", drawn(console)[-1])


async def test_a_failing_run_is_said_to_have_failed() -> None:
    console = paper()
    with pytest.raises(ValueError, match="trouble"):
        await cascade.run([fails(), one()], observers=[progress(console)])

    assert "failed" in drawn(console)[-1]
    assert " 0 running" in drawn(console)[-1]


async def test_a_cancelled_run_is_said_to_be_cancelled() -> None:
    console = paper()
    async with cascade.start(for_ever(), observers=[progress(console)]) as run:
        await anyio.wait_all_tasks_blocked()
        run.cancel()

    assert "cancelled" in drawn(console)[-1]
    assert " 0 running" in drawn(console)[-1]


async def test_skipped_tasks_count_as_done() -> None:
    console = paper()
    with pytest.raises(cascade.DependencyMissingError):
        await cascade.run([one(), one().run_if(False)], observers=[progress(console)])

    assert "2 done, 0 running" in drawn(console)[-1]


async def test_a_task_that_fails_before_it_starts_is_not_subtracted_from_what_runs() -> None:
    console = paper()
    too_much = claims(1).with_constraints(gpu=double(4))
    with pytest.raises(cascade.CapacityError):
        await cascade.run(too_much, system_resources={"gpu": 2}, observers=[progress(console)])

    assert "done, 0 running" in drawn(console)[-1]


async def test_what_runs_and_what_was_skipped_or_failed_is_drawn_meanwhile() -> None:
    console = terminal()
    flow = [slow(), slow(), one(), one().run_if(False), fails()]
    with pytest.raises(cascade.RunFailed):
        await cascade.run([flow, slow().after(slow())], on_error="continue", observers=[progress(console)])

    meanwhile = [line for line in drawn(console) if " 0 running" not in line]
    assert any("1 skipped" in line and "1 failed" in line for line in meanwhile)
    assert any(re.search(r"\b[1-3] running", line) for line in meanwhile)


async def test_turns_of_a_loop_are_drawn() -> None:
    console = terminal()
    when: dict[str, Any] = {"timestamp": 0.0, "run_id": "r1"}
    bus = cascade.EventBus()

    async def tell() -> None:
        for seq, turns in enumerate((5_000, 10_000), 1):
            await sleep(1)
            bus.publish(cascade.LoopProgress(seq=seq, **when, task_name="poll", turns=turns))
        events.end()

    async with bus.subscribe() as events, anyio.create_task_group() as group:
        group.start_soon(tell)
        await progress(console)(events)

    assert any("poll: 10000 turns" in line for line in drawn(console))


async def test_a_long_loop_does_not_fill_the_screen() -> None:
    console = terminal()
    await cascade.run(countdown(2_000), observers=[progress(console)])

    assert len(drawn(console)) < 50


async def test_it_draws_on_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    await cascade.run(one(), observers=[progress()])

    out, err = capsys.readouterr()
    assert out == ""
    assert "1 done, 0 running" in err


async def test_a_screen_that_breaks_does_not_fail_the_run() -> None:
    console = paper()
    console.file.close()
    engine = cascade.Engine(observers=[progress(console)])
    with record_events(engine) as recorded:
        assert await engine.run(one()) == 1

    assert [warning.code for warning in recorded.of(cascade.EngineWarning)] in (["observer-failed"], [])


def test_without_rich_it_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ImportError('not installed')", encoding="utf-8")
    text = """
from cascade.observers import human_log, progress
human_log()
try:
    progress()
except ImportError as error:
    print(error)
"""
    root = Path(cascade.__file__).parent.parent
    path = os.pathsep.join([str(tmp_path), str(root)])
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "cascade[cli]" in done.stdout
