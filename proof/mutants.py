"""Which mutations of the engine do the tests notice? ``python proof/mutants.py [--only WORD] [--jobs N]``.

Each mutation of ``mutations.toml`` is applied to a copy of the project, and the tests are run there in steps, the
likeliest first, until one fails. What no test notices is a survivor: it needs a test, or a word in ``EXPLAINED``
on why it changes nothing.
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

# By the first line of `new`: why no test can tell.
EXPLAINED: dict[str, str] = {}


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


def steps_for(mutation: Mutation) -> list[list[str]]:
    """Test paths, step by step: those about the very module, the properties, and then everything near."""
    layer, module = Path(mutation.file).parent.name, Path(mutation.file).stem
    near = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / layer).glob(f"test_*{module}*.py"))
    others = [name for name in ("tests/runtime", "tests/planning") if name != f"tests/{layer}"]
    steps = [near, ["tests/properties"], [f"tests/{layer}"], [*others, "tests/state", "tests/test_simulation.py"]]
    return [step for step in steps if step]


def judge(mutation: Mutation) -> Verdict:
    """Apply it to a copy, and run the tests there."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copied(copy)
        mutation.apply(copy)
        for step in steps_for(mutation):
            how = failure(copy, step)
            if how is not None:
                return Verdict(mutation, f"{' '.join(step)} ({how})", time.monotonic() - began)
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
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        if failure(Path(folder), ["tests/properties"]) is not None:
            print("the tests fail without any mutation; what they say of mutations means nothing")
            return 2
    chosen = [mutation for mutation in mutations() if given.only in mutation.title][:: given.every]
    killed = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for future in as_completed([pool.submit(judge, mutation) for mutation in chosen]):
            verdict = future.result()
            killed += verdict.killed_by is not None or verdict.explanation is not None
            what = f"killed by {verdict.killed_by}" if verdict.killed_by else verdict.explanation or "SURVIVED"
            print(f"{verdict.seconds:6.1f} s  {verdict.mutation.title}: {what}", flush=True)
    score = killed / max(len(chosen), 1)
    print(f"{killed} of {len(chosen)} noticed: {score:.0%}, goal {GOAL:.0%}")
    return score < GOAL


if __name__ == "__main__":
    sys.exit(main())
