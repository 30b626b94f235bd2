"""Secret inputs are shown as ``***`` in what is recorded, and in what is told of stores that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from leaks import notes_of, texts_in_sqlite, texts_of_events
from observed import observe
from plain_tasks import give

import cascade

SECRET = "hunter2-of-the-day"
token = cascade.Param("token", secret=True)


class Stubborn:
    """Cannot be stored, and says so in words of its own."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        raise TypeError(f"{self.value} stays here")


@cascade.task(mode="inline")
def keep(value: Any) -> Any:
    return Stubborn(value)


@pytest.mark.parametrize("strict_state", [False, True])
async def test_what_cannot_be_stored_is_noted_without_secrets(strict_state: bool, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    seen = await observe(keep(token), {"token": SECRET}, state=f"sqlite:///{path}", strict_state=strict_state)
    shown = texts_of_events(seen.recorded) + texts_in_sqlite(path) + notes_of(seen.error)
    assert "*** stays here" in shown
    assert SECRET not in shown
    assert SECRET not in str(seen.error)


async def test_a_store_that_fails_is_reported_without_secrets() -> None:
    class Leaky(cascade.state.InMemoryStateBackend):
        async def write(self, batch: Any) -> Any:
            raise OSError(f"cannot write {batch}")

    seen = await observe(give(token), {"token": SECRET}, state=Leaky)
    assert isinstance(seen.error, cascade.StateError)
    assert SECRET not in str(seen.error) + texts_of_events(seen.recorded)


async def test_a_recorded_run_shows_no_secret_and_is_resumed_with_it(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'runs.db'}"
    flow = give([token, cascade.Param("n", 1)])
    assert await cascade.run(flow, {"token": SECRET}, state=state, run_id="night") == [SECRET, 1]
    record = await cascade.api.recorded_run(state, "night")
    assert record.params == {"token": "***", "n": "1"}
    assert await cascade.run(flow, {"token": SECRET}, state=state, run_id="night") == [SECRET, 1]
    with pytest.raises(cascade.FlowChangedError):
        await cascade.run(flow, {"token": "another"}, state=state, run_id="night")


async def test_a_store_that_cannot_be_opened_is_reported_without_secrets(tmp_path: Path) -> None:
    with pytest.raises(cascade.StateError, match=r"\*\*\*") as caught:
        await cascade.run(give(token), {"token": SECRET}, state=f"sqlite:///{tmp_path}/{SECRET}/runs.db")
    assert SECRET not in str(caught.value)
