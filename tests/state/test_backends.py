"""What every state backend does, on every event loop."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import pytest

import cascade
from cascade.runtime.durability.records import Batch, Closing, Continuation, Entry, Opening
from cascade.state import StateBackend
from state.stores import StoreUnderTest


@cascade.task
async def count(n: int) -> Any:
    return n


def opening(flow_digest: bytes = b"flow") -> Opening:
    return Opening(False, ("target",), flow_digest, {"n": "1"})


# -- single operations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 0, "", [], {"a": (1, {2})}, b"\x00" * 3_000_000])
async def test_a_result_is_given_back_equal(any_store: StoreUnderTest, value: Any) -> None:
    backend = any_store.open("run")
    await backend.put_result("a", value)
    assert await backend.has_result("a")
    assert await backend.get_result("a") == value
    await backend.aclose()


async def test_what_was_not_put_is_not_there(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    await backend.put_result("a", 1)
    assert not await backend.has_result("b")
    assert await backend.get_result("b") is None
    assert await backend.get_skip_reason("a") is None
    await backend.aclose()


async def test_the_last_result_of_a_node_counts(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    for value in (1, 2, 3):
        await backend.put_result("a", value)
    assert await backend.get_result("a") == 3
    await backend.aclose()


@pytest.mark.parametrize("has_run", [True, False])
async def test_how_a_node_has_ended_last_counts(any_store: StoreUnderTest, has_run: bool) -> None:
    if any_store.name == "minimal" and not has_run:
        pytest.skip("it may keep both, of which the result counts")
    backend = any_store.open("run")
    await backend.begin(opening())
    result, skip = Entry("a", 1, digest=b"1"), Entry("a", None, "ConditionFalse", "skipped", digest=b"1")
    for entry in (skip, result) if has_run else (result, skip):
        await backend.write(Batch([entry]))
    ((name, record),) = (await backend.recall(["a"])).items()
    assert (name, record.reason) == ("a", None if has_run else "ConditionFalse")
    assert await backend.has_result("a") is has_run
    await backend.aclose()


async def test_a_value_made_of_a_failure_is_gone_once_there_is_a_success(
    any_store: StoreUnderTest, schedule: Any
) -> None:
    if any_store.name == "minimal":
        pytest.skip("it is not told of failures")
    broken: set[str] = set()

    @cascade.task(version="1")
    async def load(name: str) -> str:
        if name in broken:
            raise ZeroDivisionError
        return name

    @cascade.task(version="1")
    async def describe(end: Any) -> str:
        if "describe" in broken:
            raise ZeroDivisionError
        return "loaded" if isinstance(end, cascade.Done) else "failed"

    flow = [describe(cascade.settled(load("a"))), load("b")]
    settings: dict[str, Any] = {"state": any_store.state, "run_id": "run", "schedule": schedule}
    for names in ({"a", "b"}, {"describe"}):
        broken = names
        with pytest.raises(cascade.RunFailed):
            await cascade.run(flow, on_error="continue", **settings)
    broken = set()
    assert await cascade.run(flow, on_error="continue", **settings) == ["loaded", "b"]


@pytest.mark.parametrize("status", ["failed", "cancelled", "retrying"])
async def test_a_node_that_has_failed_since_has_no_outcome(any_store: StoreUnderTest, status: Any) -> None:
    if any_store.name == "minimal":
        pytest.skip("it is not told of failures")
    backend = any_store.open("run")
    await backend.begin(opening())
    await backend.write(Batch([Entry("a", 1, digest=b"1"), Entry("b", None, "ConditionFalse", "skipped")]))
    await backend.write(Batch(notes=[Entry(name, None, None, status, digest=b"1") for name in "ab"]))
    assert await backend.recall(["a", "b"]) == {}
    await backend.aclose()


async def test_a_node_that_was_skipped_and_has_run_since_does_not_run_again(
    any_store: StoreUnderTest, schedule: Any
) -> None:
    broken, called = {"first", "beside"}, list[str]()

    @cascade.task(version="1")
    async def step(name: str, *_: Any) -> str:
        if name in broken:
            raise ZeroDivisionError
        called.append(name)
        return name

    flow = [step("below", step("first")), step("beside")]
    for mended in ("first", "beside", ""):
        with suppress(cascade.RunFailed):
            await cascade.run(flow, state=any_store.state, run_id="run", on_error="continue", schedule=schedule)
        broken.discard(mended)
    assert called == ["first", "below", "beside"]


async def test_what_a_run_recalls_are_results_and_skips_without_values(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    await backend.begin(opening())
    await backend.write(Batch([Entry("a", 1), Entry("b", None, "ConditionFalse", "skipped")]))
    records = await backend.recall(["a", "b", "c"])
    assert {name: record.reason for name, record in records.items()} == {"a": None, "b": "ConditionFalse"}
    await backend.aclose()


async def test_what_a_run_says_of_itself_changes_no_record(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    await backend.begin(opening())
    await backend.put_result("a", 1)
    await backend.adopt(b"other")
    await backend.heartbeat()
    await backend.forget(["b"])
    await backend.finish(Closing("failed", "no luck"))
    assert await backend.get_results(["a", "b"]) == {"a": 1}
    await backend.aclose()


async def test_a_skip_is_remembered_with_its_reason(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    await backend.mark_skipped("größe", "ConditionFalse")
    assert await backend.get_skip_reason("größe") == "ConditionFalse"
    assert not await backend.has_result("größe")
    await backend.aclose()


async def test_clearing_forgets_results_and_skips_of_this_run_only(any_store: StoreUnderTest) -> None:
    backend, other = any_store.open("run"), any_store.open("other")
    for each in (backend, other):
        await each.put_result("a", 1)
        await each.mark_skipped("b", "Pruned")
    await backend.clear()
    assert not await backend.has_result("a")
    assert await backend.get_skip_reason("b") is None
    assert await other.get_result("a") == 1
    assert await other.get_skip_reason("b") == "Pruned"
    await backend.aclose()
    await other.aclose()


async def test_batches_do_what_single_operations_do(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    results = {f"node#{number}": number for number in range(1200)}
    await backend.put_results(results)
    await backend.mark_all_skipped({"c": "Pruned", "d": "ConditionFalse"})
    assert await backend.get_results([*results, "missing", "c"]) == results
    assert await backend.get_skip_reason("d") == "ConditionFalse"
    await backend.aclose()


async def test_writers_at_the_same_time_lose_nothing(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(backend.put_result, f"a#{number}", number)
    names = [f"a#{number}" for number in range(30)]
    assert await backend.get_results(names) == dict(zip(names, range(30), strict=True))
    await backend.aclose()


async def test_a_write_whose_caller_is_cancelled_is_done_or_was_never_accepted(any_store: StoreUnderTest) -> None:
    backend = any_store.open("run")
    await backend.put_result("first", 0)
    done: list[int] = []

    async def put(number: int) -> None:
        await backend.put_result(f"a#{number}", number)
        done.append(number)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(put, number)
        await backend.put_result("second", 0)
        group.cancel_scope.cancel()
    for number in done:
        assert await backend.get_result(f"a#{number}") == number
    assert await backend.has_result("first")
    await backend.aclose()


async def test_operations_run_under_a_limiter_of_the_backend_s_own(store: StoreUnderTest) -> None:
    backend: Any = store.open("run")
    if hasattr(backend, "limiter"):
        assert backend.limiter.total_tokens == 1
    await backend.aclose()


# -- the run ---------------------------------------------------------------------------------------------------


def entries() -> list[Entry]:
    return [
        Entry("a", {"x": 1}, digest=b"A", task_name="a", attempts=1, duration=0.5),
        Entry("b", None, digest=b"B"),
        Entry("c", None, "ConditionFalse", "skipped", b"C"),
    ]


async def begun(store: StoreUnderTest, run_id: str = "run") -> StateBackend:
    backend = store.open(run_id)
    await backend.begin(opening())
    return backend


async def test_a_run_that_was_never_begun_has_no_past(store: StoreUnderTest) -> None:
    backend = store.open("run")
    past = await backend.begin(opening())
    assert not past.is_known
    assert past.epoch == 1
    await backend.finish(Closing("succeeded", result=(1,)))
    await backend.aclose()


async def test_a_batch_is_recalled_with_digests_and_reasons_but_without_notes(store: StoreUnderTest) -> None:
    backend = await begun(store)
    await backend.write(Batch(entries(), [Entry("bad", status="failed", error="ValueError: no")]))
    await backend.aclose()
    backend = store.open("run")
    past = await backend.begin(opening())
    assert past.is_known
    assert past.status == "running"
    assert past.flow_digest == b"flow"
    assert sorted(past.nodes or ()) == ["a", "b", "c"]
    assert past.epoch == 2
    records = await backend.recall(["a", "b", "c", "bad", "none"])
    assert {name: (record.digest, record.reason) for name, record in records.items()} == {
        "a": (b"A", None), "b": (b"B", None), "c": (b"C", "ConditionFalse"),
    }  # fmt: skip
    assert await backend.get_results(["a", "b", "c", "bad"]) == {"a": {"x": 1}, "b": None}
    await backend.aclose()


async def test_what_succeeds_after_it_had_failed_is_recorded_as_that(store: StoreUnderTest) -> None:
    backend = await begun(store)
    await backend.write(Batch(notes=[Entry("a", status="failed", error="ValueError: no")]))
    assert await backend.recall(["a"]) == {}
    await backend.write(Batch(entries()))
    assert set(await backend.recall(["a"])) == {"a"}
    await backend.aclose()


async def test_forgotten_nodes_are_gone(store: StoreUnderTest) -> None:
    backend = await begun(store)
    await backend.write(Batch(entries()))
    await backend.forget(["a", "c"])
    assert set(await backend.recall(["a", "b", "c"])) == {"b"}
    await backend.aclose()


@pytest.mark.parametrize("result", [None, [1, 2]])
async def test_a_finished_run_has_its_result(store: StoreUnderTest, result: Any) -> None:
    backend = await begun(store)
    await backend.finish(Closing("succeeded", result=(result,)))
    await backend.aclose()
    backend = store.open("run")
    past = await backend.begin(opening())
    assert (past.status, past.result) == ("succeeded", (result,))
    await backend.aclose()
    backend = store.open("run")
    assert (await backend.begin(opening())).status == "succeeded"
    await backend.adopt(b"other")
    await backend.aclose()
    past = await store.open("run").begin(opening())
    assert (past.status, past.result, past.flow_digest) == ("running", None, b"other")


async def test_a_failed_run_has_no_result_and_goes_on(store: StoreUnderTest) -> None:
    backend = await begun(store)
    await backend.finish(Closing("failed", "ValueError: no"))
    await backend.aclose()
    past = await store.open("run").begin(opening())
    assert past.status in ("running", "failed")
    assert past.result is None


async def test_a_continuation_takes_the_place_of_all_records(store: StoreUnderTest) -> None:
    backend = await begun(store)
    await backend.write(Batch(entries()))
    await backend.write(Batch([Entry("d", 4)], continuation=Continuation(7, count(3))))
    await backend.aclose()
    backend = store.open("run")
    past = await backend.begin(opening())
    assert past.continuation is not None
    assert past.continuation.turn == 7
    assert past.continuation.value.task is count
    assert past.continuation.value.args == (3,)
    assert past.flow_digest == b"flow"
    assert list(past.nodes or ()) == ["d"]
    await backend.clear()
    await backend.aclose()
    assert (await store.open("run").begin(opening())).continuation is None


# -- stores that outlive the process ---------------------------------------------------------------------------


async def test_what_cannot_be_pickled_is_done_but_not_durable(durable: StoreUnderTest) -> None:
    backend = await begun(durable)
    missing = await backend.write(Batch([Entry("a", lambda: 1), Entry("b", 2)]))
    assert [name for name, _ in missing] == ["a"]
    records = await backend.recall(["a", "b"])
    assert not records["a"].is_durable
    assert records["b"].is_durable
    assert not await backend.has_result("a")
    assert await backend.get_results(["a", "b"]) == {"b": 2}
    with pytest.raises(cascade.StateError, match="'c' cannot be stored"):
        await backend.put_result("c", lambda: 1)
    await backend.aclose()


async def test_two_owners_at_once_are_one_too_many(durable: StoreUnderTest) -> None:
    first = await begun(durable)
    second = durable.open("run")
    with pytest.raises(cascade.RunInProgressError, match="being executed by process"):
        await second.begin(opening())
    await second.aclose()
    await first.put_result("a", 1)
    await first.aclose()
    third = await begun(durable)
    await third.aclose()


async def test_a_writer_that_has_been_overtaken_is_refused(durable: StoreUnderTest) -> None:
    stale: Any = await begun(durable)
    stale._lease.owner.release()  # as if its process had died
    fresh = await begun(durable)
    for operation in (stale.put_result("a", 1), stale.heartbeat(), stale.finish(Closing("succeeded"))):
        with pytest.raises(cascade.StateError, match="taken over by process"):
            await operation
    assert not await fresh.has_result("a")
    await fresh.put_result("a", 2)
    await stale.aclose()
    with pytest.raises(cascade.RunInProgressError):
        await durable.open("run").begin(opening())
    await fresh.aclose()


async def test_a_backend_can_be_closed_twice_and_unopened(durable: StoreUnderTest) -> None:
    backend = durable.open("run")
    await backend.aclose()
    await backend.put_result("a", 1)
    await backend.aclose()
    await backend.aclose()
    assert await durable.open("run").get_result("a") == 1
