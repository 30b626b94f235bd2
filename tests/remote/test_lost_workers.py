"""Workers that die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_executors import Kind, params
from remote_tasks import add, kill_worker

import cascade
from cascade.executors import RemoteExecutor

# A pool that breaks is made anew, which takes seconds; so the event loops of each test are two.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=params(are_processes=True))
def remote(request: pytest.FixtureRequest) -> Iterator[RemoteExecutor]:
    """A remote executor whose workers may be killed."""
    kind: Kind = request.param
    with kind.opened() as executor:
        yield executor


async def test_a_call_whose_worker_dies_is_made_again_if_it_may(remote: RemoteExecutor, tmp_path: Path) -> None:
    call = kill_worker(str(tmp_path)).with_retry(2, on=(cascade.WorkerLost,))

    assert await cascade.run(call, executor=remote) == "survived"


async def test_a_call_whose_worker_dies_fails_if_it_may_not(remote: RemoteExecutor, tmp_path: Path) -> None:
    with pytest.raises(cascade.WorkerLost, match="was lost"):
        await cascade.run(kill_worker(str(tmp_path), 9).with_timeout(60), executor=remote)


async def test_other_calls_are_none_the_worse(remote: RemoteExecutor, tmp_path: Path) -> None:
    killer = kill_worker(str(tmp_path)).with_retry(2)
    others = [add(number).with_retry(5) for number in range(6)]

    assert await cascade.run([killer, *others], executor=remote) == ["survived", *range(1, 7)]
