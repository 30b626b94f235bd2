"""The benchmarks: goals and verdicts are right, the table fits a terminal, and each file runs on both loops."""

from __future__ import annotations

import asyncio
import json
import runpy
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from browser import CHROMIUM

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path += [str(FOLDER), str(FOLDER / "engines")]

import compare  # noqa: E402  (found in the folders just added)
import harness  # noqa: E402
import page  # noqa: E402
import report  # noqa: E402
from harness import Figure, Medians  # noqa: E402

# Those that start processes or wait for the clock.
SLOW = {
    "bench_control",
    "bench_data",
    "bench_growth",
    "bench_memory",
    "bench_page",
    "bench_remote",
    "bench_start",
    "bench_state",
}
FILES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
    for path in sorted(FOLDER.glob("bench_*.py"))
]


def ratio(value: float, goal: float) -> Figure:
    return Figure("b. case", "asyncio", "us", value, ratio=value, goal_ratio=goal)


def speed(value: float, goal: float) -> Figure:
    return Figure("d. case", "asyncio", "turns/s", value, goal, more_is_better=True)


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (ratio(1.5, 1.5), "met"),
        (ratio(1.501, 1.5), "missed by 1 %"),
        (ratio(1.8, 1.5), "missed by 20 %"),
        (ratio(3.0, 1.5), "missed by 2x"),
        (ratio(15.0, 1.5), "missed by 10x"),
        (speed(500_000, 500_000), "met"),
        (speed(400_000, 500_000), "missed by 25 %"),
        (speed(0, 500_000), "missed by infx"),
        (Figure("i. case", "trio", "KiB", 1.1, 1.0), "missed by 11 %"),
        (Figure("f. case", "trio", "x", 1.1), ""),
        (Figure("f. case", "trio", "x", 1.1, ratio=1.0), ""),
    ],
)
def test_a_verdict_says_by_how_much_the_goal_is_missed(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict


@pytest.mark.parametrize(
    ("value", "times", "verdict"),
    [(60_000, 3.0, "met"), (10_000, 2.0, "met"), (40_000, 3.0, "missed by 25 %"), (10_000, 2.2, "missed by 11 %")],
)
def test_of_two_goals_the_nearer_one_counts(value: float, times: float, verdict: str) -> None:
    figure = Figure("j. case", "asyncio", "nodes/s", value, 50_000, True, ratio=times, goal_ratio=2.0)

    assert figure.verdict == verdict
    assert figure.goal_text == "<= 2x or >= 50,000"


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    # The machine was three times slower in the second round: only ratios of the same round make sense.
    taken = Medians({"flow": [2.0, 6.0, 2.2], "native": [1.0, 3.0, 1.0]})

    assert taken["flow"] == 2.2
    assert taken.ratio("flow", "native") == 2.0


def test_works_are_measured_in_turns_and_the_first_round_does_not_count() -> None:
    ran: list[str] = []

    async def one() -> None:
        ran.append("one")

    async def two() -> None:
        ran.append("two")

    taken = asyncio.run(harness.medians(2, one=one, two=two))

    assert ran == ["one", "two"] * 3
    assert set(taken) == {"one", "two"}


def test_eager_tasks_are_measured_apart_and_only_where_there_are_any() -> None:
    factories: list[object] = []

    async def work() -> None:
        factories.append(asyncio.get_running_loop().get_task_factory())

    async def both() -> None:
        for eager in harness.eager_tasks("asyncio", work).values():
            await eager()
        await work()

    asyncio.run(both())

    factory = getattr(asyncio, "eager_task_factory", None)
    assert factories == ([factory, None] if factory else [None])
    assert harness.eager_tasks("trio", work) == {}


def test_the_table_has_all_columns_and_fits_a_terminal() -> None:
    figures = [
        Figure(
            "e. layers",
            "asyncio",
            "nodes/s",
            123_456.0,
            50_000,
            True,
            {"no state": 1_234_567.0, "memory:": 99_999.0},
            "a variant whose name is much longer than any " * 3,
            "no state",
            12.345,
            2.0,
        ),
        Figure("g. traces, eager, 8 slots", "trio", "x bound", 1.23, 1.1, baselines={"worst": 1.38}),
    ]

    lines = harness.table(figures).splitlines()

    assert lines[0].split() == list(harness.HEADINGS)
    assert max(map(len, lines)) <= harness.WIDTH
    assert "no state 1,234,567" in lines[2]
    assert lines[2].endswith("12.3x  <= 2x or >= 50,000  met")
    assert lines[3].split() == [
        *("g.", "traces", "eager,", "8", "slots", "trio", "1.23", "x", "bound"),
        *("<=", "1.1", "missed", "by", "12", "%"),
    ]


def test_baselines_without_a_column_are_said_once_below_the_table() -> None:
    sync, is_async = (
        Figure("b. fan-out", "asyncio", "us", 9.0, baselines=hand, variant=kind, against="native", ratio=1.5)
        for hand in [{"native": 6.0, "eager_task_factory": 2.0}]
        for kind in ("sync", "async")
    )
    traces = Figure("g. traces", "trio", "x bound", 1.2, baselines={"worst": 1.4}, variant="eager")

    assert harness.notes([sync, is_async, traces]).splitlines() == [
        "b. fan-out, asyncio: eager_task_factory 2",
        "g. traces, eager, trio: worst 1.4",
    ]


def test_figures_survive_a_file() -> None:
    figure = Figure("b. fan-out", "asyncio", "us", 9.0, 1.0, False, {"native": 6.0}, "sync", "native", 1.5, 2.0)

    assert Figure.from_json(json.loads(json.dumps(figure.to_json()))) == figure


def test_quick_sizes_are_small_but_not_nothing() -> None:
    assert harness.sized(Namespace(quick=False), 20_000) == 20_000
    assert harness.sized(Namespace(quick=True), 20_000) == 20
    assert harness.sized(Namespace(quick=True), 50) == 10


@pytest.mark.needs("trio")
@pytest.mark.parametrize("path", FILES)
def test_each_benchmark_runs_on_both_loops(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", [str(path), "--quick", "--json", str(found)])

    runpy.run_path(str(path), run_name="__main__")

    figures = [Figure.from_json(entry) for entry in json.loads(found.read_text("utf-8"))["figures"]]
    if path.stem == "bench_page" and CHROMIUM is None:
        assert not figures
    elif path.stem != "bench_traces":  # which needs a folder of traces
        assert {figure.backend for figure in figures} == {"asyncio", "trio"}
        assert all(figure.against in {"", *figure.baselines} for figure in figures)
        assert max(map(len, harness.table(figures).splitlines())) <= harness.WIDTH


@pytest.mark.needs("trio")
def test_a_benchmark_that_fails_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harness_line = f"import sys; sys.path.append({str(FOLDER)!r})\n"
    body = "from harness import Figure, main\nmain(lambda loop, *_: [Figure('x', loop, 'us', 1.0, 2.0)])\n"
    (tmp_path / "bench_good.py").write_text(harness_line + body, encoding="utf-8")
    (tmp_path / "bench_bad.py").write_text("raise RuntimeError('broken on purpose')\n", encoding="utf-8")
    monkeypatch.setattr(report, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["report.py", "--quick"])

    status = report.main()

    printed = capsys.readouterr().out
    assert status == 1
    assert "bench_bad.py failed" in printed
    assert "broken on purpose" in printed
    assert printed.count("<= 2  met") == 2


PAGE = "".join(
    f"# {name}\n<!-- begin {name}: written by benchmarks/page.py -->\nold\n<!-- end {name} -->\n"
    for name in ("summary", "missed", "engines", "eager", "all")
)


def figures_file(path: Path, python: str, *figures: Figure) -> Path:
    about = {"date": "2026-01-02", "Python": python, "anyio": "4", "trio": "1", "cores": "2 x86_64 (fast)"}
    content = {
        "environment": {**about, "load": "3.1", "rounds": "5"},
        "figures": [figure.to_json() for figure in figures],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def fan_out(backend: str, value: float, **hand: float) -> Figure:
    baselines = {"native": 5.0, **hand}
    return Figure(
        *("b. fan-out", backend, "us", value, None, False, baselines, "async, stages", "native", value / 5, 1.5)
    )


def test_the_page_gets_its_figures_and_keeps_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = figures_file(tmp_path / "1.json", "3.11.7", fan_out("asyncio", 10.0), fan_out("trio", 7.0))
    second = figures_file(tmp_path / "2.json", "3.14.0", fan_out("asyncio", 8.0, eager_task_factory=2.0))
    engines = [
        {"name": "cascade", "us": {"b": 10.0}, "ratio": {"b": 1.0}, "error": ""},
        {"name": "slow 1.0", "us": {"b": 90.0}, "ratio": {"b": 9.0}, "error": ""},
        {"name": "quick 2.0", "us": {"b": 20.0}, "ratio": {"b": 2.0}, "error": ""},
        {"name": "absent", "us": {}, "ratio": {}, "error": "absent is not installed"},
    ]
    peers = tmp_path / "peers.json"
    peers.write_text(json.dumps({**json.loads(first.read_text("utf-8")), "engines": engines}), encoding="utf-8")
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    words = ["page.py", str(first), str(second), "--peers", str(peers), "--page", str(path), "--no-pictures"]
    monkeypatch.setattr(sys, "argv", words)

    page.main()
    once = path.read_text("utf-8")
    page.main()

    assert path.read_text("utf-8") == once  # the blocks are found again
    assert "old" not in once
    assert [line for line in once.splitlines() if line.startswith("#")] == [
        *("# summary", "# missed", "# engines", "# eager", "# all")
    ]
    assert "| 10 / 7 us | 5 / 5 | 2x / 1.4x | <= 1.5x | quick 2x, slow 9x |" in once
    assert "1 of 2 goals are met" in once
    assert "| <= 1.5x | 2x, missed by 34 % | 1.4x, met |" in once
    assert "| absent | absent is not installed |" in once
    assert "with Python 3.14.0" in once
    assert "| 2 (4x) |" in once
    assert "on 2 cores of x86_64 (fast)" in once
    assert "more than it has cores, so the figures are rough" in once


def test_a_page_without_a_block_is_left_alone() -> None:
    with pytest.raises(ValueError, match="0 blocks 'summary'"):
        page.replaced("# nothing here\n", {"summary": "text"})


def test_the_documentation_has_all_blocks() -> None:
    text = (FOLDER.parent / "docs" / "performance.md").read_text("utf-8")

    assert page.replaced(text, dict.fromkeys(("summary", "missed", "engines", "eager", "all"), "text")) != text


def test_parts_of_a_measurement_say_how_far_their_rounds_and_loads_differ(tmp_path: Path) -> None:
    paths = [figures_file(tmp_path / f"{n}.json", "3.11.7", fan_out("asyncio", 10.0)) for n in range(2)]
    paths[1].write_text(paths[1].read_text("utf-8").replace('"5"', '"12"').replace('"3.1"', '"0.5"'), "utf-8")

    (whole,) = page.loaded(paths)

    assert len(whole.figures) == 2
    assert "medians of 5 to 12 rounds" in whole.about
    assert "the load of the machine was 0.5 to 3.1 at the end, more than it has cores" in whole.about


def test_an_engine_that_is_not_installed_or_fails_says_so_in_its_row() -> None:
    absent = compare.Script("absent", ("on_absent.py",), "no-such-distribution")
    broken = compare.Script("broken", ("no_such_script.py",))
    rounds = [
        {script: compare.measured(script, quick=True) for script in (absent, broken)}
        | {compare.OURS: {"us": {"a": us}, "failures": {}}}
        for us in (10.0, 30.0, 20.0)
    ]

    lines = compare.lines_of([compare.row_of(script, rounds) for script in (compare.OURS, absent, broken)])

    assert lines[1].split() == ["cascade", "20", "(1x)"]
    assert lines[2].split(maxsplit=1) == ["absent", "no-such-distribution is not installed"]
    assert lines[3].startswith("broken   failed: ")
    assert max(map(len, lines)) <= harness.WIDTH
