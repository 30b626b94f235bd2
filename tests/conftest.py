"""Every async test runs on every event loop there is."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, settings

import cascade
from cascade.runtime.context.durations import OF_PROCESS

# Without its library there is no server of pages to test.
collect_ignore_glob = [] if importlib.util.find_spec("h11") else ["adapters/pages/server/test_*.py"]

BACKENDS: list[Any] = [pytest.param(("asyncio", {}), id="asyncio")]
if importlib.util.find_spec("uvloop"):
    BACKENDS.append(pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop", marks=pytest.mark.uvloop))
if importlib.util.find_spec("trio"):
    BACKENDS.append(pytest.param(("trio", {}), id="trio"))

# Chosen by HYPOTHESIS_PROFILE. A test must not fail because the machine is busy. The usual suite is the same each
# time; new examples are looked for at night, at leisure.
PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", **PATIENT, max_examples=60, derandomize=True)
settings.register_profile("nightly", **PATIENT, max_examples=10_000)
# What nox runs everywhere, before it runs the properties with the usual number.
settings.register_profile("brief", **PATIENT, max_examples=20, derandomize=True)
# For finding out whether a test fails, not why.
settings.register_profile(
    "mutants", **PATIENT, max_examples=25, phases=[Phase.explicit, Phase.generate], database=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# Who is started in the background of a shell, as by "nohup ... &", ignores interrupts, and so would the processes
# that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave thousands of tests and all modules out of garbage collection, which many tests ask for."""
    gc.collect()
    gc.freeze()


# Parameters that name something which needs a library, up to a colon; with it, what the library is imported as.
LIBRARIES = {"trio": "trio", "redis": "redis", "mqtt": "paho", "mqtts": "paho"}
# Others that marks name.
NEEDED = ("cloudpickle", "distributed", "h11", "ray", "numpy", "pandas", "polars", "pydantic", "rich")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what names a library among its parameters, or by the mark ``needs``, where that is not installed."""
    missing = {library for library in (*LIBRARIES.values(), *NEEDED) if not importlib.util.find_spec(library)}
    for item in items if missing else ():
        marks = [library for mark in item.iter_markers("needs") for library in mark.args]
        for library in missing.intersection([*marks, *_named(item)]):
            item.add_marker(pytest.mark.skip(reason=f"{library} is not installed"))


def _named(item: pytest.Item) -> list[str | None]:
    """The libraries that the parameters of a test name."""
    callspec = getattr(item, "callspec", None)
    values = callspec.params.values() if callspec else ()
    names = [name for value in values for name in (value if type(value) is tuple else (value,))]
    return [LIBRARIES.get(name.partition(":")[0]) for name in names if type(name) is str]


@pytest.fixture(autouse=True)
def _nothing_is_known_of_flows() -> None:
    """No test depends on how long the nodes of another took."""
    OF_PROCESS.forget()


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The event loop of a test: its name, and options for AnyIO."""
    return request.param


@pytest.fixture(params=["asyncio", "trio"])
def backend_name(request: pytest.FixtureRequest) -> str:
    """For sync tests that start an event loop themselves."""
    return str(request.param)


@pytest.fixture(params=["stages", "eager"])
def schedule(request: pytest.FixtureRequest) -> str:
    """Both schedules, for what holds in each."""
    return str(request.param)


@pytest.fixture(params=["first", "group", "continue"])
def on_error(request: pytest.FixtureRequest) -> str:
    """All that a run can do about failures, for what is the same whatever it does."""
    return str(request.param)


@pytest.fixture
def without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloudpickle is not installed, as far as this process can see."""
    monkeypatch.setitem(sys.modules, "cascade.adapters.serialization.by_value", None)


@pytest.fixture(scope="module", params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """``Engine.run`` for sync tests: the tests of a module share an engine, and so its worker processes.

    The engine is kept open, on an event loop in a thread of its own.
    """
    name, options = request.param
    with (
        start_blocking_portal(name, options) as portal,
        portal.wrap_async_context_manager(cascade.Engine()) as engine,
    ):
        yield lambda flow, **more: portal.call(partial(engine.run, flow, **more))
