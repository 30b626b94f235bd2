"""Every async test runs on every event loop there is."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

BACKENDS: list[Any] = [pytest.param(("asyncio", {}), id="asyncio")]
if importlib.util.find_spec("uvloop"):
    BACKENDS.append(pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"))
if importlib.util.find_spec("trio"):
    BACKENDS.append(pytest.param(("trio", {}), id="trio"))


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The event loop of a test: its name, and options for AnyIO."""
    return request.param


@pytest.fixture(
    params=[
        "asyncio",
        pytest.param(
            "trio", marks=pytest.mark.skipif(not importlib.util.find_spec("trio"), reason="trio is not installed")
        ),
    ]
)
def backend_name(request: pytest.FixtureRequest) -> str:
    """For sync tests that start an event loop themselves."""
    return str(request.param)


@pytest.fixture(params=["stages", "eager"])
def schedule(request: pytest.FixtureRequest) -> str:
    """Both schedules, for what holds in each."""
    return str(request.param)
