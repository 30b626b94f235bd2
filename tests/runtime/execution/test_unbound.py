"""A node whose arguments cannot be put together fails before it begins, wherever it would have run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from observed import observe
from plain_tasks import add, give, in_thread, step

import cascade


@attrs.frozen
class Refusing:
    """Takes a call, but not its value."""

    value: Any

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.value, cascade.LazyResult):
            raise ValueError("refused")


@cascade.task(mode="task")
async def in_task(value: Any) -> Any:
    """In a task of its own, gives what it is given."""
    return value


refused = Refusing(give(1))

# A call, and the id of the node that cannot be called.
UNBOUND: dict[str, tuple[Callable[[], Any], str]] = {
    "in a thread lane": (lambda: in_thread(refused), "in_thread"),
    "in the lane of the loop": (lambda: step(refused), "step"),
    "inline": (lambda: give(refused), "give#2"),
    "in a set": (lambda: step({give([])}), "step"),  # lists have no hash
    "by name": (lambda: step(value=refused), "step"),
    "in a task of its own": (lambda: in_task(refused), "in_task"),
    "with retry": (lambda: step(refused).with_retry(3), "step"),
    "with a timeout": (lambda: in_thread(refused).with_timeout(60), "in_thread"),
    "with a claim": (lambda: in_thread(refused).with_constraints(gpu=1), "in_thread"),
    "what all items share": (lambda: add.partial(a=refused).map(b=[1, 2]), "add"),
    "no column": (lambda: step.map(value=give(1)), "step"),
}


@pytest.fixture(params=UNBOUND)
def unbound(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """A flow, and the id of its node whose arguments cannot be put together."""
    make, node_id = UNBOUND[request.param]
    return make(), node_id


@pytest.mark.parametrize("schedule", ["stages", "eager"])
async def test_what_cannot_be_bound_never_starts_and_makes_no_attempt(
    unbound: tuple[Any, str], schedule: str
) -> None:
    flow, node_id = unbound
    seen = await observe(flow, schedule=schedule)

    assert node_id not in seen.started
    (end,) = [event for event in seen.recorded.of(cascade.TaskExecutionFinished) if event.task_id == node_id]
    assert (end.status, end.attempt, end.duration) == ("Failed", 0, 0)
    assert not seen.recorded.of(cascade.TaskRetrying)
    assert "before it began" in "".join(seen.error.__notes__)  # type: ignore[union-attr]  # it failed


async def test_it_makes_no_attempt_if_nobody_listens_either(unbound: tuple[Any, str]) -> None:
    flow, node_id = unbound
    with pytest.raises((ValueError, TypeError)) as caught:
        await cascade.run(flow)

    assert f"node {node_id!r}, before it began" in "".join(caught.value.__notes__)


async def test_its_record_counts_no_attempt(unbound: tuple[Any, str], tmp_path: Any) -> None:
    flow, node_id = unbound
    state = f"sqlite:///{tmp_path}/runs.db"
    with pytest.raises((ValueError, TypeError)):
        await cascade.run(flow, state=state, run_id="unbound")

    record = await cascade.api.recorded_run(state, "unbound")
    assert record is not None
    assert {node.node_id: node.attempts for node in record.nodes}[node_id] == 0
