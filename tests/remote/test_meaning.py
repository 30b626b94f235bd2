"""One meaning wherever functions run: a random flow gives the same if all its sync tasks run on workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import assume, given, note, settings
from meaning import are_certain
from oracle import meanings
from remote_executors import kept_open
from ways import Found, observed

from cascade.executors import FuturesExecutor, RemoteExecutor
from cascade.testing import RandomFlow, flows

# Ten times as slow as in threads.
pytestmark = [pytest.mark.slow, pytest.mark.needs("cloudpickle")]


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteExecutor]:
    """Takes all sync tasks; every value that may stay does."""
    with kept_open(FuturesExecutor(lambda: ThreadPoolExecutor(2), tasks="sync", keep_above=0)) as executor:
        yield executor


def seen(flow: RandomFlow, backend: str, **as_run: Any) -> Found:
    """What can be seen of a run, but for the calls: those tell a context variable, which does not travel."""
    found = observed(flow.build, backend, is_heard=False, signals=flow.signals, **flow.settings, **as_run)
    found.called = Counter()
    return found


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=25)
@given(flow=flows())
def test_a_random_flow_means_the_same_on_workers(flow: RandomFlow, backend: str, remote: RemoteExecutor) -> None:
    note(repr(flow))
    assume(are_certain([*meanings(flow.description)]))  # else who wins may be another one each time
    for schedule in ("stages", "eager"):
        words: dict[str, Any] = {"schedule": schedule, "on_error": "continue"}
        assert seen(flow, backend, executor=remote, **words) == seen(flow, backend, **words)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=25)
@given(flow=flows())
def test_so_does_one_whose_values_stay_there(flow: RandomFlow, backend: str, remote: RemoteExecutor) -> None:
    note(repr(flow))
    assume(are_certain([*meanings(flow.description)]))  # else who wins may be another one each time
    for schedule in ("stages", "eager"):
        near = seen(flow, backend, schedule=schedule)
        assume(not near.errors)
        assert seen(flow, backend, executor=remote, schedule=schedule) == near
