"""Sessions for maintainers; ``nox -l`` lists them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SUPPORTED = [
    classifier.rpartition(" ")[2]
    for classifier in PROJECT["project"]["classifiers"]
    if classifier.startswith("Programming Language :: Python :: 3.")
]

nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True


def works(command: str | Path) -> bool:
    """Whether *command* starts a Python; shims of version managers may exist and not work."""
    try:
        return subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def interpreters() -> list[str]:
    """One working interpreter for each supported version that is found, on the path or under pyenv.

    That of the version that runs this comes first.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = []
    here = "{}.{}".format(*sys.version_info)
    for version in sorted(SUPPORTED, key=lambda version: version != here):
        on_path = shutil.which(f"python{version}")
        candidates = [on_path] if on_path else []
        candidates += [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
        found += [candidate for candidate in candidates if works(candidate)][:1]
    return found


PYTHONS = interpreters()


def install_group(session: nox.Session, *names: str) -> None:
    """Install dependency groups of pyproject.toml."""
    session.install(*nox.project.dependency_groups(PROJECT, *names))


def install_wheel(session: nox.Session, extras: str = "") -> None:
    """Build the wheel and install it, so that what is tested is what is shipped."""
    folder = Path(session.create_tmp())
    session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT), silent=True)
    wheel = max(folder.glob("cascade_anyio-*.whl"), key=lambda path: path.stat().st_mtime)
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install(f"{wheel}{extras}")


# The paths of sockets must be short: of those that Ray, browsers and worker processes make in the folder for
# temporary files. A session has one of its own, deep in .nox.
SHORT = {"TMPDIR": tempfile.gettempdir()}
# Two tests at a time on each core: many of them wait, for other processes, for threads, for a moment to pass.
AT_ONCE = ("-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal")
# What tests need where nothing optional is installed.
ALONE = ("pytest", "pytest-rerunfailures", "pytest-timeout", "pytest-xdist", "hypothesis")
# What `tests` runs, and the rest of it.
USUAL = "not ray and not slow and (loop or not uvloop)"
REST = "not ray and (slow or (uvloop and not loop))"


def run_tests(session: nox.Session, marks: str, *, profile: str = "brief") -> None:
    """Run those tests that have *marks*, with so many examples a property as *profile* says."""
    env = {"HYPOTHESIS_PROFILE": os.environ.get("HYPOTHESIS_PROFILE", profile), **SHORT}
    session.run("pytest", *AT_ONCE, *again(), "-q", "-m", marks, *session.posargs, env=env)


def again() -> list[str]:
    """Where the machine is shared, and so now and then stands still: try what fails once more, and list it."""
    return ["--reruns", "1", "--reruns-delay", "1", "-r", "aR"] if os.environ.get("CASCADE_TRY_AGAIN") else []


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, once: this Python, all extras, asyncio and Trio; uvloop where the loop matters."""
    install_wheel(session, "[all]")
    install_group(session, "test")
    run_tests(session, USUAL)


@nox.session(python=PYTHONS)
@nox.parametrize("extras", ["all", "minimal"])
def matrix(session: nox.Session, extras: str) -> None:
    """What `tests` leaves out: other Pythons, no extras, all of uvloop, slow and repeated cases.

    On the first Python the slow cases, uvloop, properties with more examples, and all without extras; on each
    other Python what `tests` runs, but for uvloop.
    """
    is_first = session.python == PYTHONS[0]
    if extras == "minimal":
        if not is_first:
            session.skip("the minimal installation is tested on one Python")
        install_wheel(session)
        session.install(*ALONE)
        run_tests(session, "not ray and not slow")
        return
    install_wheel(session, "[all]")
    install_group(session, "test")
    if is_first:
        run_tests(session, REST)
        run_tests(session, "hypothesis and not uvloop", profile="default")
    else:
        run_tests(session, "not ray and not slow and not uvloop")


@nox.session
def ray(session: nox.Session) -> None:
    """Remote tasks on Ray, which is slow to start: one process runs all its tests, and starts it once."""
    install_wheel(session, "[trio,process,ray]")
    session.install(*ALONE)
    session.run("pytest", "-q", *again(), "-m", "ray and not uvloop", *session.posargs, env=SHORT)


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, and the layers of the architecture."""
    install_group(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.install(".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy in strict mode on everything, pyright on what is public."""
    session.install(".[all]")
    install_group(session, "dev")  # what is checked imports from all of it
    session.run("mypy")
    session.run("pyright", "--verifytypes", "cascade", "--ignoreexternal")
    session.run("pyright", "tests/typing")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, warnings being errors."""
    session.install(".[all]")
    install_group(session, "docs")
    session.run("sphinx-build", "-W", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def demo(session: nox.Session) -> None:
    """Survey the standard library, say how far it is, and show the head of the report: half a minute."""
    session.install(".[trio]")
    session.run("python", "examples/stdlib_survey.py")


@nox.session
def nightly(session: nox.Session) -> None:
    """Every property on 10 000 examples: hours."""
    install_wheel(session, "[all]")
    install_group(session, "test")
    properties = session.posargs or ["-m", "hypothesis"]
    at_once = ["-n", "auto", "--dist", "worksteal"]  # some take a hundred times as long as others
    session.run("pytest", *at_once, "-q", "--timeout=0", *properties, env={"HYPOTHESIS_PROFILE": "nightly"})


@nox.session
def chance(session: nox.Session) -> None:
    """Which tests can fail by chance? Random order, threads that switch often, garbage collected after each."""
    install_wheel(session, "[all]")
    install_group(session, "test")
    seed = os.environ.get("CHANCE_SEED", str(random.randrange(10**6)))
    env = {"PYTHONPATH": str(ROOT / "proof"), "CHANCE_SEED": seed, "HYPOTHESIS_PROFILE": "brief"}
    at_once = ["-n", "auto", "--dist", "worksteal"]
    session.run("pytest", "-p", "chance", *at_once, "-q", "-m", USUAL, *session.posargs, env=env)


@nox.session
def mutants(session: nox.Session) -> None:
    """Which small changes of the engine do the tests notice? Fewer than 90 % fails."""
    session.install("-e", ".[all]")
    install_group(session, "test", "coverage")
    reached = str(Path(session.create_tmp()) / "reached")
    measured = ["--cov=cascade", "--cov-context=test", "--cov-report="]
    session.run("pytest", "-n", "auto", "-q", "-m", "not uvloop", *measured, env={"COVERAGE_FILE": reached})
    jobs = str(os.cpu_count() or 1)
    session.run("python", "proof/mutants.py", "--reached", reached, "--jobs", jobs, *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Random flows with faults, cancellations and changes of capacity: a minute, or ``-- --minutes 30``."""
    session.install(".[all]")
    session.run("python", "benchmarks/soak.py", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage over all event loops; less than 97 % fails."""
    install_wheel(session, "[all]")
    install_group(session, "test", "coverage")
    measured = ["--cov=cascade", "--cov-branch", "--cov-report=term-missing:skip-covered", "--cov-fail-under=97"]
    session.run("pytest", "-n", "auto", "-q", *measured, *session.posargs)


@nox.session
def crash(session: nox.Session) -> None:
    """Kill runs with SIGKILL at 50 instants, for each store and event loop; takes minutes."""
    install_wheel(session, "[all]")
    install_group(session, "test")
    session.run("pytest", "tests/state/test_crashes.py", env={"CASCADE_CRASHES": "50"})


@nox.session
def bench(session: nox.Session) -> None:
    """All benchmarks on both event loops, as one table with goals and verdicts."""
    session.install(".[all]", "matplotlib", "opentelemetry-sdk")  # for page.py, and for what tracing costs
    session.run("python", "benchmarks/report.py", *session.posargs)


# What other engines are called on PyPI.
PEERS = ["taskiq", "pipefunc", "pydantic-graph", "joblib", "dbos", "dask", "sf-hamilton", "prefect"]


@nox.session
def bench_peers(session: nox.Session) -> None:
    """The same work on other engines, beside ours. What cannot be installed is named as such in the table."""
    session.install(".[trio]")
    for peer in PEERS:
        session.run("python", "-m", "pip", "install", "--quiet", peer, success_codes=[0, 1])
    session.run("python", "benchmarks/engines/compare.py", *session.posargs)
