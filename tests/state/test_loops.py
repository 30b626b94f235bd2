"""Loops of tail calls that are recorded now and then, and go on from there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

import cascade
from cascade.runtime.durability.records import Batch, NotDurable, Opening
from cascade.state import SQLiteStateBackend
from cascade.testing import record_events
from state.cleared import cleared
from state.stores import StoreUnderTest

RAN: Counter[Any] = Counter()
STOP: dict[str, Any] = {}
KEYS: list[str] = []
nothing_has_run = cleared(RAN, STOP, KEYS)


@cascade.task
async def count(n: int, end: int) -> Any:
    RAN["turns"] += 1
    RAN["first"] = RAN["first"] or n
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return n if n >= end else count(n + 1, end)


@cascade.task
def count_in_a_thread(n: int, end: int) -> Any:
    RAN["turns"] += 1
    RAN["first"] = RAN["first"] or n
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return n if n >= end else count_in_a_thread(n + 1, end)


@cascade.task
async def double(n: int) -> int:
    return 2 * n


@cascade.task
async def grow(n: int, _: int, end: int) -> Any:
    RAN["turns"] += 1
    RAN["first"] = RAN["first"] or n
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return n if n >= end else grow(n + 1, double(n + 1), end)


@cascade.task
async def note_key(n: int) -> Any:
    KEYS.append(cascade.current().idempotency_key)
    await anyio.lowlevel.checkpoint()
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return n if n == 8 else note_key(n + 1)


@cascade.task
def note_key_in_a_thread(n: int) -> Any:
    KEYS.append(cascade.current().idempotency_key)
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return n if n == 8 else note_key_in_a_thread(n + 1)


@cascade.task(retry=cascade.Retry(max_attempts=1))
async def note_key_with_policies(n: int) -> Any:
    KEYS.append(cascade.current().idempotency_key)
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return n if n == 8 else note_key_with_policies(n + 1)


@cascade.task
async def slow(n: int) -> Any:
    await anyio.sleep(0.01)
    return n if n == 20 else slow(n + 1)


@cascade.task
async def first(n: int) -> int:
    RAN[f"first {n}"] += 1
    return n


@cascade.task
async def second(n: int, _: int) -> Any:
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return n if n == 4 else second(n + 1, first(n + 1))


@cascade.task
async def collect(n: int, seen: list[int]) -> Any:
    seen.append(n)
    await anyio.lowlevel.checkpoint()
    if n == STOP.get("at"):
        raise ValueError("stopped")
    return seen if n == 9 else collect(n + 1, seen)


FLOWS = [count(1, 5000), count_in_a_thread(1, 5000), grow(1, double(1), 1500)]


async def killed(flow: Any, store: StoreUnderTest, **settings: Any) -> None:
    with pytest.raises(ValueError, match="stopped"):
        await cascade.run(flow, state=store.state, run_id="night", **settings)
    RAN.clear()
    STOP.clear()


@pytest.mark.parametrize("flow", FLOWS, ids=["lane", "thread", "many nodes"])
async def test_a_loop_that_failed_goes_on_in_the_turn_that_failed(
    store: StoreUnderTest, flow: Any, schedule: Any
) -> None:
    end = flow.args[-1]
    STOP["at"] = end - 100
    await killed(flow, store, schedule=schedule)
    assert await cascade.run(flow, state=store.state, run_id="night", schedule=schedule) == end
    assert RAN["first"] == end - 100
    assert await cascade.run(flow, state=store.state, run_id="night") == end
    assert RAN["turns"] == 101


class Watched(SQLiteStateBackend):
    """Notes what is written."""

    def __init__(self, run_id: str, path: str, turns: list[int], entries: Counter[str]) -> None:
        super().__init__(run_id, path)
        self.turns = turns
        self.entries = entries

    async def write(self, batch: Batch) -> NotDurable:
        if batch.continuation is not None:
            self.turns.append(batch.continuation.turn)
        self.entries.update(entry.node_id for entry in batch.entries)
        return await super().write(batch)


@pytest.mark.parametrize("flow", [FLOWS[0], FLOWS[1], grow(1, double(1), 5000)], ids=["lane", "thread", "nodes"])
async def test_turns_are_recorded_after_so_many_and_others_touch_no_store(tmp_path: Any, flow: Any) -> None:
    turns: list[int] = []
    entries: Counter[str] = Counter()

    def state(run_id: str) -> Watched:
        return Watched(run_id, str(tmp_path / "runs.db"), turns, entries)

    await cascade.run(flow, state=state, loop_record=(1000, 1000.0))
    assert turns[-1] == 5000
    assert len(turns) <= 6
    assert all(turn > 1000 * number for number, turn in enumerate(turns[:-1], 1))
    assert max(entries.values()) <= len(turns) + 1  # nothing of the turns between


async def test_turns_are_recorded_after_so_much_time(tmp_path: Any) -> None:
    turns: list[int] = []

    def state(run_id: str) -> Watched:
        return Watched(run_id, str(tmp_path / "runs.db"), turns, Counter())

    began = anyio.current_time()
    await cascade.run(slow(1), state=state, loop_record=(1000, 0.05))
    taken = anyio.current_time() - began
    assert 1 < len(turns) <= taken / 0.05 + 1


@pytest.mark.slow
async def test_the_records_of_turns_before_are_gone(store: StoreUnderTest) -> None:
    flow = grow(1, double(1), 3000)
    STOP["at"] = 2500
    await killed(flow, store)
    backend = store.open("night")
    past = await backend.begin(Opening(False, ("grow",), b"", {}))
    assert past.continuation is not None
    assert past.continuation.turn == 2500
    assert list(past.nodes or ()) == ["double"]
    await backend.aclose()


async def test_what_settled_in_a_recorded_turn_does_not_run_again(store: StoreUnderTest) -> None:
    STOP["at"] = 3
    await killed(second(1, first(1)), store, loop_record=(1, 1000.0))
    assert await cascade.run(second(1, first(1)), state=store.state, run_id="night") == 4
    assert RAN == {"first 4": 1}


async def test_what_a_turn_begins_with_is_recorded_as_it_was_then(durable: StoreUnderTest) -> None:
    STOP["at"] = 7
    await killed(collect(0, []), durable, loop_record=(1, 1000.0))
    result = await cascade.run(collect(0, []), state=durable.state, run_id="night")
    assert result == list(range(10))


@pytest.mark.slow
async def test_a_loop_that_cannot_be_pickled_says_so_once_and_runs(durable: StoreUnderTest) -> None:
    @cascade.task(version="1")
    async def carry(n: int, thing: Any) -> Any:
        return n if n == 3000 else carry(n + 1, thing)

    engine = cascade.Engine(state=durable.state)
    with record_events(engine) as recorded:
        assert await engine.run(carry(1, lambda: 1), run_id="night") == 3000
    messages = [event.message for event in recorded.of(cascade.EngineWarning) if event.code == "not-durable"]
    assert len(messages) == 1
    assert "of the loop" in messages[0]


async def test_strict_state_fails_a_loop_that_cannot_be_pickled(durable: StoreUnderTest) -> None:
    @cascade.task(version="1")
    async def carry(n: int, thing: Any) -> Any:
        return n if n == 3000 else carry(n + 1, thing)

    with pytest.raises(cascade.StateError, match="cannot be recorded"):
        await cascade.run(carry(1, lambda: 1), state=durable.state, strict_state=True)
    assert await cascade.run(count(1, 3000), state=durable.state, strict_state=True) == 3000


async def test_a_loop_changed_since_it_was_recorded_is_a_changed_flow(store: StoreUnderTest) -> None:
    STOP["at"] = 3000
    await killed(count(1, 4000), store)
    with pytest.raises(cascade.FlowChangedError, match="'count'"):
        await cascade.run(count(1, 4001), state=store.state, run_id="night")
    assert await cascade.run(count(1, 4001), state=store.state, run_id="night", on_change="recompute") == 4001
    assert RAN["first"] == 1


async def test_a_changed_loop_that_forks_begins_anew_and_leaves_the_records_of_the_other(
    durable: StoreUnderTest,
) -> None:
    STOP["at"] = 3000
    await killed(count(1, 4000), durable)
    assert await cascade.run(count(1, 10), state=durable.state, run_id="night", on_change="fork") == 10
    assert RAN["first"] == 1
    RAN.clear()
    STOP.clear()
    assert await cascade.run(count(1, 4000), state=durable.state, run_id="night") == 4000
    assert RAN["first"] > 1


@pytest.mark.parametrize("task", [note_key, note_key_in_a_thread, note_key_with_policies])
async def test_every_turn_has_an_idempotency_key_of_its_own_and_keeps_it(
    durable: StoreUnderTest, task: Any
) -> None:
    STOP["at"] = 5
    await killed(task(1), durable)
    assert len(set(KEYS)) == 5
    before = KEYS.copy()
    KEYS.clear()
    assert await cascade.run(task(1), state=durable.state, run_id="night") == 8
    assert len(set(KEYS)) == 4
    assert KEYS[0] == before[-1]
    assert set(KEYS[1:]).isdisjoint(before)


@cascade.task
async def wrap(value: Any) -> Any:
    return value


@pytest.mark.parametrize("task", [note_key, note_key_in_a_thread, note_key_with_policies])
async def test_so_has_every_turn_of_a_loop_that_a_node_has_begun(durable: StoreUnderTest, task: Any) -> None:
    STOP["at"] = 7
    flow = wrap([task(1), task.map(n=[4, 5])])
    with pytest.raises(cascade.RunFailed):
        await cascade.run(flow, state=durable.state, run_id="night", on_error="continue")
    assert len(set(KEYS)) == len(KEYS) == 7 + 4 + 3
    before = set(KEYS)
    STOP.clear()
    KEYS.clear()
    assert await cascade.run(flow, state=durable.state, run_id="night") == [8, [8, 8]]
    assert len(set(KEYS)) == len(KEYS) == 8 + 5 + 4
    assert before < set(KEYS)


@pytest.mark.parametrize("value", [(0, 1.0), (10, -1.0), 5, (1.5, 1.0), (1, "x")])
def test_how_often_turns_are_recorded_must_mean_something(value: Any) -> None:
    with pytest.raises(ValueError, match="loop_record"):
        cascade.Engine(loop_record=value)


@cascade.task(version="1")
async def item(x: int) -> int:
    RAN[f"item {x}"] += 1
    if x == STOP.get("at"):
        raise ValueError("stopped")
    return x


@cascade.task(version="1")
async def sum_items(n: int, values: list[int]) -> Any:
    RAN["sums"] += 1
    return values if n == 3 else sum_items(n + 1, item.map(x=[10 * n, 10 * n + 1]))


@cascade.task(version="1")
async def spread(n: int) -> Any:
    return [item(n), item(n + 1)]


@cascade.task(version="1")
async def sum_parts(n: int, values: list[int]) -> Any:
    return values if n == 3 else sum_parts(n + 1, spread(10 * n))


@pytest.mark.parametrize("flow", [sum_items(1, item.map(x=[0, 1])), sum_parts(1, spread(0))], ids=["map", "flow"])
@pytest.mark.parametrize("is_inside", [False, True], ids=["top", "inside"])
async def test_turns_after_an_interrupted_one_take_nothing_that_it_has_recorded(
    store: StoreUnderTest, flow: Any, is_inside: bool, schedule: Any
) -> None:
    STOP["at"] = 11 if is_inside else 1  # the loop of a node begins with what the node returns
    target = wrap([flow]) if is_inside else flow
    settings: Any = {"durability": "task", "on_error": "continue", "schedule": schedule}
    with pytest.raises(cascade.RunFailed):
        await cascade.run(target, state=store.state, run_id="night", **settings)
    RAN.clear()
    STOP.clear()
    settings["loop_record"] = (1000, 1000.0)
    result = await cascade.run(target, state=store.state, run_id="night", **settings)
    assert result == ([[20, 21]] if is_inside else [20, 21])
    ran = {name: count for name, count in RAN.items() if name.startswith("item")}
    assert ran == dict.fromkeys(
        ["item 11", "item 20", "item 21", *([] if is_inside else ["item 1", "item 10"])], 1
    )
