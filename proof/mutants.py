"""Which mutations of the engine do the tests notice? ``python proof/mutants.py [--reached FILE] [--jobs N]``.

Each mutation of ``mutations.toml`` is applied to a copy of the project, and the tests are run there in steps, the
likeliest first, until one fails. What no test notices is a survivor: it needs a test, or a word in ``EXPLAINED``
on why it changes nothing.

With the data of a run with ``pytest --cov=cascade --cov-context=test``, the first step is those tests that reach
the very lines, and little else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL = 0.9
# Seconds for a step, many times what it takes: a test that hangs fails by itself after a minute, and only one that
# cannot be interrupted keeps a step from its end. That is noticed too, and said.
PATIENCE = 1500
RUN = [
    "-x",
    "-q",
    "--no-header",
    "--tb=no",
    "-p",
    "no:cacheprovider",
    "-o",
    "timeout_method=signal",
    "--timeout=60",
]

# Tests in the step of those that reach the lines: in all, and calls of one of them with other parameters.
MOST_REACHING = 160
MOST_ALIKE = 4
# The last steps, which take minutes.
SLOW_STEPS = 2

# By the first line of `new`: why no test can tell.
EXPLAINED: dict[str, str] = {
    "if self.stage is None and not self.pending[index]:": "the scheduler starts only what is pending",
    "if self.is_eager or True:": "only the eager schedule asks for news of what is ready",
    "if may_start and False:": "the scheduler's own task starts the same nodes, a turn of the loop later",
    "self.base.run(partial(group.start_soon, func, *args))": (
        "a task copies the context that it finds; only in a loop that begins it at once would one be entered twice"
    ),
}


@dataclass(frozen=True)
class Mutation:
    """A change of one place in one file."""

    file: str
    old: str
    new: str

    @property
    def title(self) -> str:
        """What it changes, in a line."""
        before, after = (text.strip().splitlines() or ["(nothing)"] for text in (self.old, self.new))
        return f"{self.file}: {before[0]} -> {after[0].strip()}"

    def lines(self) -> range:
        """The numbers of the lines that it changes."""
        before, _, _ = (ROOT / self.file).read_text(encoding="utf-8").partition(self.old)
        first = before.count("\n") + 1 + (len(self.old) - len(self.old.lstrip("\n")))
        return range(first, first + self.old.strip("\n").count("\n") + 1)

    def apply(self, root: Path) -> None:
        """Change the file under *root*.

        Raises:
            ValueError: If the place is not there, or not the only one of its kind.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.file} has {text.count(self.old)} places like {self.old!r}; update mutations.toml"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation: the step that noticed it, if any did."""

    mutation: Mutation
    killed_by: str | None
    seconds: float

    @property
    def explanation(self) -> str | None:
        """Why it may survive."""
        return EXPLAINED.get((self.mutation.new.strip().splitlines() or [""])[0])


def mutations() -> list[Mutation]:
    """Those that are listed."""
    listed = tomllib.loads((ROOT / "proof" / "mutations.toml").read_text(encoding="utf-8"))
    return [Mutation(**fields) for fields in listed["mutation"]]


class Reached:
    """Which tests reach which lines.

    Args:
        path: The data file of coverage, with a context for each test.
    """

    def __init__(self, path: str) -> None:
        from coverage import CoverageData  # not there where only the list is tested

        data = CoverageData(path)
        data.read()
        self._files = {Path(name).relative_to(ROOT).as_posix(): name for name in data.measured_files()}
        self._data = data
        # How many lines each test reaches: the fewer, the more it is about these, and the sooner it is done.
        self._breadth = Counter(
            test
            for name in self._files.values()
            for tests in data.contexts_by_lineno(name).values()
            for test in tests
        )

    def by(self, mutation: Mutation) -> list[str]:
        """Tests that reach its lines, those that reach little else first."""
        by_line = self._data.contexts_by_lineno(self._files[mutation.file])
        found = {test for line in mutation.lines() for test in by_line.get(line, ())}
        chosen: list[str] = []
        alike: Counter[str] = Counter()
        for context in sorted(found, key=lambda test: (self._breadth[test], test)):
            test = context.partition("|")[0]
            name = test.partition("[")[0]
            if test and "uvloop" not in test and test not in chosen and alike[name] < MOST_ALIKE:
                alike[name] += 1
                chosen.append(test)
        # Of very many, some of each breadth: what nearly all tests reach is seldom noticed by the narrowest.
        return chosen[:: -(-len(chosen) // MOST_REACHING)] if chosen else []


def mirror(file: str) -> Path:
    """The folder of the tests of *file*: that of its package, or of the nearest package around it that has one."""
    folder = Path("tests", *Path(file).parent.parts[1:])
    while not (ROOT / folder).is_dir():
        folder = folder.parent
    return folder


def steps_for(mutation: Mutation, reached: Reached | None) -> list[list[str]]:
    """Tests, step by step: those that reach it, those about the module, the properties, then everything near."""
    room, module = mirror(mutation.file), Path(mutation.file).stem
    near = sorted(str(path.relative_to(ROOT)) for path in (ROOT / room).rglob(f"test_*{module}*.py"))
    reaching = [] if reached is None else reached.by(mutation)
    steps = [
        reaching,
        near,
        ["tests/properties"],
        [str(room)],
        ["tests/runtime", "tests/planning", "tests/state", "tests/test_simulation.py"],
    ]
    return [step for step in steps if step]


def judge(mutation: Mutation, reached: Reached | None, *, is_quick: bool) -> Verdict:
    """Apply it to a copy, and run the tests there; if it is to be quick, without those steps that take minutes."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copied(copy)
        mutation.apply(copy)
        for step in steps_for(mutation, reached)[: -SLOW_STEPS if is_quick else None]:
            how = failure(copy, step)
            if how is not None:
                what = step[0] if len(step) == 1 else f"{step[0]} and {len(step) - 1} more"
                return Verdict(mutation, f"{what} ({how})", time.monotonic() - began)
    return Verdict(mutation, None, time.monotonic() - began)


def copied(copy: Path) -> None:
    """Copy what is tested, and the tests."""
    for name in ("cascade", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    shutil.copy(ROOT / "pyproject.toml", copy)


def failure(copy: Path, step: list[str]) -> str | None:
    """How the tests of *step* notice something, if they do.

    Raises:
        RuntimeError: If there were no tests to run.
    """
    env = {**os.environ, "PYTHONPATH": str(copy), "HYPOTHESIS_PROFILE": "mutants"}
    command = [sys.executable, "-m", "pytest", *RUN, "-k", "not uvloop", *step]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "did not end"
    if done.returncode not in (0, 1, 2):  # passed, failed, or failed to import
        raise RuntimeError(f"pytest {' '.join(step)} ended with status {done.returncode}: no tests were run")
    return None if done.returncode == 0 else f"status {done.returncode}"


def main() -> int:
    """Judge all, print a line for each and the score; the status is 1 if too many survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a word in the title of a mutation")
    parser.add_argument("--every", type=int, default=1, help="only each so many of them")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="without the steps that take minutes: a lower bound")
    parser.add_argument("--reached", help="what a run of the tests with --cov-context=test has left")
    given = parser.parse_args()
    reached = None if given.reached is None else Reached(given.reached)
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        if failure(Path(folder), ["tests/properties"]) is not None:
            print("the tests fail without any mutation; what they say of mutations means nothing")
            return 2
    chosen = [mutation for mutation in mutations() if given.only in mutation.title][:: given.every]
    killed = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for future in as_completed(
            [pool.submit(judge, mutation, reached, is_quick=given.quick) for mutation in chosen]
        ):
            verdict = future.result()
            killed += verdict.killed_by is not None or verdict.explanation is not None
            what = f"killed by {verdict.killed_by}" if verdict.killed_by else verdict.explanation or "SURVIVED"
            print(f"{verdict.seconds:6.1f} s  {verdict.mutation.title}: {what}", flush=True)
    score = killed / max(len(chosen), 1)
    print(f"{killed} of {len(chosen)} noticed: {score:.0%}, goal {GOAL:.0%}")
    return score < GOAL


if __name__ == "__main__":
    sys.exit(main())
