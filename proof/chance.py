"""A plugin of pytest that shows which tests can fail by chance: ``nox -s chance``.

Tests run in a random order. Threads take turns five hundred times as often as usual, so that they meet where they
hardly ever do. After each test garbage is collected: a socket, file or coroutine that it left behind is a warning,
and so a failure, of that test and not of a later one.

``CHANCE_SEED`` is the seed of the order; the report names it.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Generator

import pytest

SEED = os.environ.get("CHANCE_SEED", "0")
SWITCH_INTERVAL = 1e-5  # seconds, instead of 5 ms


def pytest_configure() -> None:
    """Have threads take turns often."""
    sys.setswitchinterval(SWITCH_INTERVAL)


def pytest_report_header() -> str:
    """Name the seed."""
    return f"CHANCE_SEED={SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle the tests: in the same order in each process, as pytest-xdist wants it."""
    random.Random(SEED).shuffle(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Collect what a test has left behind, as part of it."""
    result = yield
    gc.collect()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Collect what its fixtures have left behind."""
    result = yield
    gc.collect()
    return result
