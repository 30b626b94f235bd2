"""Clean-up: what is waited for at the end of a run, for how long, and what is said of that. In virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import current_time
from life import cancelled_at, failure_of, finished, just, raising
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.adapters.state.memory import InMemoryStateBackend
from cascade.testing import Recorded, record_events

anyio_backend = virtual_loops


def closing_in(seconds: float, name: str = "slow", scope: Any = "run", log: list[str] | None = None) -> Any:
    """A resource that takes *seconds* to close."""

    async def provider() -> AsyncIterator[str]:
        try:
            yield name
        finally:
            await pass_time(seconds)
            if log is not None:
                log.append(f"{name} closed")

    return cascade.resource(name=name, scope=scope)(provider)


@cascade.task
async def failing(error: Exception, *_: Any) -> None:
    raise error


async def recorded_run(flow: Any, **settings: Any) -> tuple[Recorded, float, BaseException | None]:
    """The events of a run of *flow*, how long it took, and what it raised."""
    engine = cascade.Engine(**settings)
    began = current_time()
    error: BaseException | None = None
    with record_events(engine) as recorded:
        try:
            await engine.run(flow)
        except Exception as raised:
            error = raised
    return recorded, current_time() - began, error


# -- resources -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["run", "task"])
async def test_closing_a_resource_may_take_a_while(scope: Any) -> None:
    log: list[str] = []
    providers = [closing_in(9, scope=scope, log=log)]
    _, took, error = await recorded_run(just(cascade.inject("slow")), providers=providers)
    assert (took, error, log) == (9, None, ["slow closed"])


@pytest.mark.parametrize("scope", ["run", "task"])
async def test_a_resource_that_takes_too_long_to_close_is_cancelled_and_fails_the_run(scope: Any) -> None:
    log: list[str] = []
    providers = [closing_in(100, scope=scope, log=log)]
    recorded, took, error = await recorded_run(just(cascade.inject("slow")), providers=providers)
    assert (took, log) == (10, [])
    assert isinstance(error, TimeoutError)
    assert "'slow'" in str(error)
    assert finished(recorded).failures == (f"TimeoutError: {error}",)


async def test_a_resource_that_takes_too_long_joins_the_failures_of_a_run_that_failed() -> None:
    providers = [closing_in(100)]
    recorded, took, error = await recorded_run(
        failing(ValueError("bad"), cascade.inject("slow")), providers=providers, cleanup_timeout=3
    )
    assert (took, str(error)) == (3, "bad")
    assert [text.partition(":")[0] for text in finished(recorded).failures] == ["ValueError", "TimeoutError"]


async def test_each_resource_has_the_whole_time_to_close() -> None:
    log: list[str] = []
    providers = [closing_in(4, name, log=log) for name in ("a", "b", "c")]
    flow = just([cascade.inject(name) for name in ("a", "b", "c")])
    _, took, error = await recorded_run(flow, providers=providers, cleanup_timeout=5)
    assert (took, error, len(log)) == (12, None, 3)


async def test_what_took_too_long_does_not_keep_the_others_from_closing() -> None:
    log: list[str] = []
    providers = [closing_in(1, "a", log=log), closing_in(100, "b", log=log), closing_in(1, "c", log=log)]
    flow = just([cascade.inject(name) for name in ("a", "b", "c")])
    _, took, _ = await recorded_run(flow, providers=providers, cleanup_timeout=5)
    assert (took, sorted(log)) == (7, ["a closed", "c closed"])


async def test_cancelling_leaves_resources_the_time_to_close() -> None:
    log: list[str] = []
    began = current_time()
    with anyio.move_on_after(1):
        await cascade.run(
            just(cascade.inject("slow")).after(just(just(1))),
            providers=[closing_in(4, log=log)],
        )
    with anyio.move_on_after(1):
        await cascade.run(lingering(cascade.inject("slow")), providers=[closing_in(4, log=log)])
    assert log == ["slow closed"] * 2
    assert current_time() == began + 4 + 5


@cascade.task
async def lingering(*_: Any) -> None:
    await anyio.sleep_forever()


class TearDownError(Exception):
    """Of a resource."""


def breaking(name: str = "broken") -> Any:
    async def provider() -> AsyncIterator[str]:
        try:
            yield name
        finally:
            raise TearDownError(name)

    return cascade.resource(name=name)(provider)


async def test_an_error_in_tear_down_fails_a_successful_run() -> None:
    recorded, _, error = await recorded_run(just(cascade.inject("broken")), providers=[breaking()])
    assert isinstance(error, TearDownError)
    assert finished(recorded).status == "Failed"


async def test_an_error_in_tear_down_joins_the_failures_of_a_run_that_failed() -> None:
    flow = failing(ValueError("bad"), cascade.inject("broken"))
    recorded, _, error = await recorded_run(flow, providers=[breaking()])
    assert str(error) == "bad"
    assert finished(recorded).failures == ("ValueError: bad", "TearDownError: broken")
    assert "1 other" in error.__notes__[-1]  # type: ignore[union-attr]  # it is the user's error


async def test_an_error_in_tear_down_after_a_cancellation_is_not_lost() -> None:
    with pytest.raises(TearDownError), anyio.move_on_after(1):
        await cascade.run(lingering(cascade.inject("broken")), providers=[breaking()])


async def test_an_error_in_tear_down_does_not_keep_the_others_from_closing() -> None:
    log: list[str] = []
    providers = [closing_in(0, "a", log=log), breaking("b"), closing_in(0, "c", log=log)]
    await recorded_run(just([cascade.inject(name) for name in ("a", "b", "c")]), providers=providers)
    assert sorted(log) == ["a closed", "c closed"]


async def test_opening_is_cancelled_at_whatever_moment_the_run_is() -> None:
    @cascade.resource
    async def never_opens() -> AsyncIterator[None]:
        await anyio.sleep_forever()
        yield

    began = current_time()
    for turn in range(30):
        await cancelled_at(
            turn, partial(cascade.run, just(cascade.inject("never_opens")), providers=[never_opens])
        )
        assert current_time() == began, f"cancelled at {turn}"


# -- the state store -------------------------------------------------------------------------------------------


class StuckStore(InMemoryStateBackend):
    """Never takes anything, nor lets itself be closed; until a test that would hang lets go of it."""

    def __init__(self, run_id: str, *, writes: bool) -> None:
        super().__init__(run_id)
        self.writes = writes
        self.was_let_go = False

    async def stick(self) -> None:
        await pass_time(1_000)
        self.was_let_go = True

    async def put_results(self, results: Mapping[str, Any]) -> None:
        if not self.writes:
            await self.stick()

    async def aclose(self) -> None:
        if self.writes:
            await self.stick()


@pytest.mark.parametrize("durability", ["stage", "exit"])
async def test_a_cancelled_run_does_not_wait_for_good_for_a_store_that_takes_nothing(durability: Any) -> None:
    store = StuckStore("run", writes=False)
    began = current_time()
    with pytest.raises(TimeoutError), anyio.move_on_after(1):
        await cascade.run([just(1), lingering()], state=lambda run_id: store, durability=durability)
    assert current_time() == began + 11
    assert not store.was_let_go


@pytest.mark.parametrize("writes", [True, False], ids=["closing", "writing"])
async def test_a_store_that_takes_too_long_is_listed_in_the_failures(writes: bool) -> None:
    store = StuckStore("run", writes=writes)
    recorded, took, error = await recorded_run(just(1), state=lambda run_id: store, durability="exit")
    assert took == 10
    assert isinstance(error, TimeoutError)
    assert len(finished(recorded).failures) == 1
    assert "store" in finished(recorded).failures[0]


# -- observers and streams -------------------------------------------------------------------------------------


async def test_observers_have_the_time_to_deal_with_the_last_events() -> None:
    seen: list[str] = []

    async def slow(events: Any) -> None:
        async for event in events:
            await pass_time(1)
            seen.append(type(event).__name__)

    _, took, error = await recorded_run(just(1), observers=[slow])
    assert seen[-1] == "RunFinished"
    assert (took, error) == (len(seen), None)


async def test_an_observer_that_never_ends_is_cancelled_and_fails_nothing() -> None:
    ended: list[str] = []

    async def stuck(events: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("stuck")

    _, took, error = await recorded_run(just(1), observers=[stuck], cleanup_timeout=3)
    assert (took, error, ended) == (3, None, ["stuck"])


async def test_an_observer_that_never_ends_is_listed_in_the_failures() -> None:
    async def stuck(events: Any) -> None:
        await anyio.sleep_forever()

    async with cascade.start(just(1), observers=[stuck]) as run:
        await run.result()
    assert any("stuck" in failure for failure in run.status().failures)


async def test_nobody_waits_for_streams_that_users_hold() -> None:
    engine = cascade.Engine()
    began = current_time()
    async with engine.subscribe(), engine.subscribe(cascade.RunFinished, buffer=1, policy="drop"):
        assert await engine.run(just(1)) == 1
    assert current_time() == began


# -- nodes -----------------------------------------------------------------------------------------------------


@cascade.task
async def tidying_up_for(seconds: float) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await pass_time(seconds)


@cascade.task
async def failing_later(error: Exception) -> None:
    await pass_time(1)
    raise error


async def test_nodes_are_waited_for_however_long_they_take_to_clean_up() -> None:
    _, took, error = await recorded_run([tidying_up_for(1000), failing_later(ValueError("bad"))])
    assert (took, str(error)) == (1001, "bad")


async def test_what_is_overdue_is_reported_again_and_again() -> None:
    recorded, _, _ = await recorded_run([tidying_up_for(1000), failing_later(ValueError("bad"))])
    warnings = recorded.of(cascade.EngineWarning)
    assert len(warnings) >= 3
    assert all("'tidying_up_for'" in warning.message for warning in warnings)


async def test_what_cleans_up_in_time_is_not_reported() -> None:
    recorded, _, _ = await recorded_run([tidying_up_for(9), failing_later(ValueError("bad"))])
    assert recorded.of(cascade.EngineWarning) == []


async def test_resources_stay_open_while_nodes_clean_up() -> None:
    log: list[str] = []

    @cascade.task
    async def tidies(_: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await pass_time(50)
            log.append("node ended")

    flow = [tidies(cascade.inject("slow")), failing_later(ValueError())]
    await recorded_run(flow, providers=[closing_in(0, log=log)])
    assert log == ["node ended", "slow closed"]


async def test_a_run_may_have_no_time_to_clean_up_at_all() -> None:
    assert await cascade.run(just(1), cleanup_timeout=0) == 1
    assert isinstance(await failure_of(raising(ValueError()), cleanup_timeout=0), ValueError)


@pytest.mark.parametrize("malformed", [-1, float("nan"), True, "10", None])
def test_a_cleanup_timeout_without_meaning_is_refused(malformed: Any) -> None:
    make: Callable[[], object] = partial(cascade.Engine, cleanup_timeout=malformed)
    with pytest.raises(ValueError, match="cleanup_timeout"):
        make()
