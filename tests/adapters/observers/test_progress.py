"""The observer that draws a bar: what it counts, and where it draws."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import sleep
from life import forever
from plain_tasks import double, fails, one
from virtual_time import virtual_loops

import cascade
from cascade.observers import progress
from cascade.testing import record_events

rich_console = pytest.importorskip("rich.console")


anyio_backend = virtual_loops


@cascade.task
async def slow(_: object = None) -> None:
    await sleep(10)


@cascade.task(constraints={"gpu": 1})
async def claims(gpus: int) -> None:
    raise AssertionError("never starts")


@cascade.task(mode="inline")
def countdown(n: int) -> object:
    return countdown(n - 1) if n else "off"


def paper() -> Any:
    """Where nothing can be drawn: a file, or a log."""
    return rich_console.Console(file=io.StringIO(), width=100)


def terminal(**settings: Any) -> Any:
    """Where every drawing is seen."""
    settings = {"width": 100, "height": 24, "color_system": None, **settings}
    return rich_console.Console(file=io.StringIO(), force_terminal=True, **settings)


def drawn(console: Any) -> list[str]:
    """The lines, without what moves the cursor, and without the time at which they were written."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines]


# -- on a terminal -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule_name", ["stages", "eager"])
async def test_the_last_drawing_says_how_many_are_done_and_how_it_ended(schedule_name: Any) -> None:
    console = terminal()
    flow = one(double.map(x=range(5)), one())
    await cascade.run(flow, observers=[progress(console)], schedule=schedule_name, run_id="r1")

    headline, *rows = drawn(console)[-3:]
    assert re.fullmatch(r"run r1  ━+  100 %  7/7  0:00  succeeded", headline)
    assert sorted(rows) == ["double  5/5", "one     2/2"]


async def test_what_runs_and_what_waits_is_drawn_meanwhile() -> None:
    console = terminal()
    flow = slow.map(_=range(5)).with_constraints(gpu=1)
    await cascade.run(flow, observers=[progress(console)], system_resources={"gpu": 2})

    lines = drawn(console)
    assert "slow  0/5  2 running  3 waiting" in lines
    assert "slow  2/5  2 running  1 waiting" in lines
    assert "slow  4/5  1 running" in lines
    assert any("  40 %  2/5  0:1" in line for line in lines)
    assert any(re.search(r"4/5  0:2\d  a few seconds left$", line) for line in lines)


@pytest.mark.parametrize(
    ("how", "words"),
    [("fails", ["failed", "fails  1/1  1 failed"]), ("cancelled", ["cancelled", "forever  0/1  1 cancelled"])],
)
async def test_a_run_that_does_not_succeed_says_so(how: str, words: list[str]) -> None:
    console = terminal()
    with suppress(ValueError):
        async with cascade.start(fails() if how == "fails" else forever(), observers=[progress(console)]) as run:
            await sleep(1)
            run.cancel()

    assert drawn(console)[-2].endswith(words[0])
    assert drawn(console)[-1] == words[1]


async def test_a_task_that_fails_before_it_starts_is_counted_once() -> None:
    console = terminal()
    too_much = claims(1).with_constraints(gpu=double(4))
    with pytest.raises(cascade.CapacityError):
        await cascade.run(too_much, system_resources={"gpu": 2}, observers=[progress(console)])

    assert "claims  1/1  1 failed" in drawn(console)


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
    await cascade.run(countdown(500), observers=[progress(console)])

    assert len(drawn(console)) < 50


async def test_a_picture_is_drawn_at_most_four_times_a_second() -> None:
    console = terminal()
    await cascade.run(slow(0), observers=[progress(console)])

    headlines = [line for line in drawn(console) if line.startswith("run ")]
    assert 30 <= len(headlines) <= 42  # in ten seconds


async def test_runs_at_the_same_time_share_the_screen() -> None:
    console = terminal()
    engine = cascade.Engine(observers=[progress(console)])
    with record_events(engine) as recorded:
        async with engine, anyio.create_task_group() as group:
            group.start_soon(partial(engine.run, slow(0), run_id="a"))
            group.start_soon(partial(engine.run, [slow(0), slow(1).after(slow(2))], run_id="b"))

    assert recorded.of(cascade.EngineWarning) == []
    lines = drawn(console)
    assert any(
        one.startswith("run a ") and two.startswith("run b ") for one, two in zip(lines, lines[2:], strict=False)
    )
    ends = [line for line in lines if line.endswith("succeeded")]
    assert ends[0].startswith("run a ")
    assert ends[-1].startswith("run b ")


async def test_what_a_task_prints_stays_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    @cascade.task
    async def prints() -> None:
        print("printed")
        await sleep(1)

    console = terminal()
    await cascade.run(prints(), observers=[progress(console)])

    assert "printed" in capsys.readouterr().out  # which is no terminal
    assert "printed" not in console.file.getvalue()


async def test_no_text_from_anywhere_steers_the_terminal() -> None:
    console = terminal()
    name = "[bold]evil\x1b]0;owned\x07\x1b[2J\n\u202e\udce9"
    task = cascade.task(name=name)(slow.func)
    await cascade.run(task(), observers=[progress(console)])

    shown = re.sub(r"\x1b\[(\?25[lh]|\d*[AK]|0?m)|[\r\n]", "", console.file.getvalue())
    assert shown.isprintable()
    assert r"[bold]evil\x1b]0;owned\x07\x1b[2J\n\u202e\udce9" in shown


# -- elsewhere ---------------------------------------------------------------------------------------------------


async def test_a_log_has_a_line_every_ten_seconds_and_one_at_the_end() -> None:
    @cascade.task
    async def nap(_: int) -> None:
        await sleep(8)

    console = paper()
    flow = one(nap.map(_=range(5)).with_concurrency(2))
    await cascade.run(flow, observers=[progress(console)], run_id="r1")

    assert drawn(console) == [
        "run r1: 2 of 6 done (33 %), 2 running; nap 2/5",
        "run r1: 4 of 6 done (66 %), 1 running; nap 4/5; a few seconds left",
        "run r1 succeeded after 24.0 s: 6 done",
    ]


async def test_a_log_of_a_short_run_is_one_line() -> None:
    console = paper()
    await cascade.run([one(), one().run_if(True)], observers=[progress(console)], run_id="r1")

    (line,) = drawn(console)
    assert re.fullmatch(r"run r1 succeeded after .* ms: 2 done", line)


async def test_it_writes_to_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    await cascade.run(one(), observers=[progress()])

    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d run .* succeeded after .*: 1 done\n", err)


async def test_nobody_is_told_where_standard_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    engine = cascade.Engine(observers=[progress()])
    with record_events(engine) as recorded:
        await engine.run(one())

    assert recorded.of(cascade.EngineWarning) == []


@pytest.mark.parametrize("make", [paper, terminal])
async def test_a_screen_that_breaks_does_not_fail_the_run(make: Any) -> None:
    console = make()
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

    assert "cascade-anyio[cli]" in done.stdout
