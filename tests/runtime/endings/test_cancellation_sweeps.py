"""Cancelling and failing at every moment in turn: whenever it strikes, everything is cleaned up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from life import cancelled_at, give_way_always, turns, unfinished, until
from strategies_runtime import leaves

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.testing import Recorded, record_events

# More turns of the loop than a flow takes; but the loop turns any number of times while a thread is at work.
TURNS = 1_000
TURNS_WITH_THREADS = 60
WITH_THREADS = {"threads", "of_threads", "resources", "recorded", "kept_signals"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """One event loop per backend: what is swept here does not depend on more."""
    return request.param


@pytest.fixture(params=[pytest.param("fast", marks=pytest.mark.slow), "slow"], autouse=True)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One on which a flow takes no slice, and one on which each step does: then more moments can strike."""
    if request.param == "slow":
        give_way_always(monkeypatch)
    return request.param


class Sweep:
    """Numbers of turns of the loop, from none to the first that a flow does not take.

    Args:
        flow: Its name.
        step: From one number to the next.
    """

    def __init__(self, flow: str, step: int = 1) -> None:
        self.flow = flow
        self.step = step
        self.ended_before = False  # whether the flow had ended when that many turns had passed; to be said

    def __iter__(self) -> Iterator[int]:
        with_threads = self.flow in WITH_THREADS
        for turn in range(0, TURNS_WITH_THREADS if with_threads else TURNS, self.step):
            yield turn
            if self.ended_before:
                assert turn
                return
        assert with_threads, "the flow has no end"


class ToBeRetriedError(Exception):
    """Final only if the run is cancelled where there would be another attempt."""


class ThrownError(Exception):
    """What a checkpoint raises."""


class World:
    """Flows that leave traces of all that they begin and end."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.opened = 0
        self.closed = 0
        # Number of the checkpoint, of all in user code, that raises; and how many have been passed.
        self.fails_at = 0
        self.passed = 0

    async def pass_checkpoint(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.passed += 1
        if self.passed == self.fails_at:
            raise ThrownError

    async def pause(self, count: int = 2) -> None:
        self.begun += 1
        try:
            for _ in range(count):
                await self.pass_checkpoint()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            self.ended += 1

    def task(self, **settings: Any) -> Any:
        async def step(*values: Any) -> int:
            await self.pause()
            return len(values)

        return cascade.task(**settings)(step)

    def thread_task(self) -> Any:
        def step(*values: Any, x: int = 0) -> int:
            self.begun += 1
            self.ended += 1
            return len(values)

        return cascade.task(step)

    def providers(self) -> list[cascade.Resource]:
        async def on_loop() -> AsyncIterator[int]:
            self.opened += 1
            try:
                await self.pass_checkpoint()
                yield 1
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                self.closed += 1

        def in_thread() -> Iterator[int]:
            self.opened += 1
            try:
                yield 2
            finally:
                self.closed += 1

        async def of_task(base: int = cascade.inject("on_loop")) -> AsyncIterator[int]:
            self.opened += 1
            try:
                yield base + 2
            finally:
                self.closed += 1

        return [
            cascade.resource(on_loop),
            cascade.resource(in_thread),
            cascade.resource(scope="task")(of_task),
        ]

    # -- flows ---------------------------------------------------------------------------------------------

    def plain(self) -> Any:
        step = self.task()
        return step(step(step(), step()), step())

    def threads(self) -> Any:
        step = self.thread_task()
        return step(step(), step(step()))

    def contended(self) -> Any:
        step = self.task(constraints={"gpu": 1})
        return [step(), step(step()), step(), self.task()().with_constraints(gpu=2)]

    def mapped(self) -> Any:
        async def item(x: int) -> int:
            await self.pause()
            return x

        return self.task()(cascade.task(item).map(x=[1, 2, 3]).with_concurrency(2))

    def chained(self) -> Any:
        async def item(x: int) -> int:
            await self.pause()
            return x

        task = cascade.task(item)
        return self.task()(task.map(x=task.map(x=task.map(x=[1, 2, 3])).with_concurrency(2)))

    def in_place(self) -> Any:
        step = self.task()

        async def more() -> Any:
            await self.pause()
            return [step(step()), step()]

        return step(cascade.task(more)())

    def tail(self) -> Any:
        async def turn(left: int) -> Any:
            await self.pause()
            return turn_task(left - 1) if left else "done"

        turn_task = cascade.task(turn)
        return turn_task(4)

    def retried(self) -> Any:
        calls: list[None] = []

        async def flaky() -> str:
            await self.pause()
            calls.append(None)
            if len(calls) < 3:
                raise ToBeRetriedError
            return "done"

        return self.task()(cascade.task(flaky)().with_retry(3).with_timeout(1000))

    def nested(self) -> Any:
        step = self.task()

        async def outer() -> Any:
            return await cascade.run([step(step()), step()])

        return cascade.task(outer)()

    def resources(self) -> Any:
        step = self.task()
        names = ["on_loop", "in_thread", "of_task"]
        return step([cascade.inject(name) for name in names], step(cascade.inject("of_task")))

    def cached(self) -> Any:
        step = self.task(cache=InputCache(MemoryCacheStore()))
        return [step(1), step(1), step(step(2))]

    def of_threads(self) -> Any:
        """Threads that return flows, make turns, and run items."""
        step = self.thread_task()

        def more(left: int) -> Any:
            self.begun += 1
            self.ended += 1
            return [step(), more_task(left - 1)] if left else step()

        def turn(left: int) -> Any:
            self.begun += 1
            self.ended += 1
            return turn_task(left - 1) if left else "done"

        more_task, turn_task = cascade.task(more), cascade.task(turn)
        return [step(more_task(2)), step.map(x=[1, 2]), step(turn_task(3))]

    def raced(self) -> Any:
        """Contestants that hold something, are several, or return a flow."""
        step = self.task(constraints={"gpu": 1})
        return self.task()(cascade.race(step(step()), self.mapped(), self.in_place()), step())

    def undone(self) -> Any:
        """What is done here is undone, if the run does not succeed."""

        async def book(*_: Any, x: int = 0) -> int:
            await self.pause()
            return x

        async def undo(_: int) -> None:
            await anyio.lowlevel.checkpoint()

        def undo_in_thread(_: int) -> None: ...

        async def more() -> Any:
            return booking().with_undo(undo_task)

        booking, undo_task = cascade.task(book), cascade.task(undo)
        first = booking().with_undo(cascade.task(undo_in_thread))
        return booking(first, cascade.task(more)(), booking.map(x=[1, 2]).with_undo(undo_task))

    def failing(self) -> Any:
        async def fails(x: int = 0) -> int:
            await self.pause()
            if x == 0:
                raise ToBeRetriedError
            return x

        return cascade.task(fails)

    def handled(self) -> Any:
        step, fails = self.task(), self.failing()
        return step(cascade.settled(step(fails()).or_else(step())), cascade.settled(fails()))

    def cut(self) -> Any:
        """A map of which so many items fail that the others are cancelled."""
        step, fails = self.task(), self.failing()

        async def more(x: int) -> Any:
            return step(step()) if x else fails()

        mapped = [task.map(x=[1, 0, 2]).with_errors("collect", 3) for task in (fails, cascade.task(more))]
        return step([cascade.settled(each) for each in mapped])

    def signalled(self, state: str | None = None) -> Any:
        """A run whose nodes wait for signals: as argument, condition, in a returned flow and in a later turn."""
        step = self.task()

        async def more() -> Any:
            await self.pause()
            return step(cascade.signal("more", int))

        async def turn(left: int, _: Any = None) -> Any:
            await self.pause()
            return turn_task(left - 1, cascade.signal(f"turn{left}", int)) if left else "done"

        async def answer() -> Any:
            asks = step(cascade.signal("argument", int), step())
            flow = [
                asks,
                step(step()).run_if(cascade.signal("condition", int)),
                cascade.task(more)(),
                turn_task(2),
            ]
            async with cascade.start(flow, state=state) as run, run.subscribe(cascade.SignalAwaited) as events:
                async for event in events:
                    assert isinstance(event, cascade.SignalAwaited)
                    with suppress(cascade.InputError):  # the run may have failed meanwhile
                        await run.send(event.signal, 1)
                return await run.result()

        turn_task = cascade.task(turn)
        return step(cascade.task(answer)())

    def kept_signals(self) -> Any:
        """The same, of a run with a store."""
        return self.signalled("memory:")

    def recorded(self) -> Any:
        """Run with a state store, see :func:`engine_of`."""
        return self.plain()


FLOWS = [
    "plain",
    "threads",
    "contended",
    "mapped",
    "in_place",
    "tail",
    "retried",
    "nested",
    "resources",
    "cached",
    "of_threads",
    "chained",
    "raced",
    "undone",
    "handled",
    "cut",
    "signalled",
    "kept_signals",
    "recorded",
]
# What is thrown into these may be handled.
HANDLING = ("handled", "cut", "raced")
# And how nodes of these may be skipped though the run goes on.
SKIPPING = {"raced": ["Pruned"], "handled": ["UpstreamFailed"]}


def engine_of(world: World, flow: str, schedule: Any, **settings: Any) -> cascade.Engine:
    state = "memory:" if flow == "recorded" else None
    return cascade.Engine(
        providers=world.providers(), schedule=schedule, state=state, system_resources={"gpu": 2}, **settings
    )


def check(world: World, engine: cascade.Engine, recorded: Recorded, when: str) -> bool:
    """See that nothing is left of the runs that *recorded* tells of; whether the last of them has succeeded."""
    assert world.ended == world.begun, when
    assert world.closed == world.opened, when
    assert engine.capacity() == {"gpu": (0, 2)}, when
    assert unfinished(recorded) == set(), when
    started = [event.run_id for event in recorded.of(cascade.RunStarted)]
    finished = [event.run_id for event in recorded.of(cascade.RunFinished)]
    assert sorted(finished) == sorted(started), when
    if not recorded.events:
        return False
    last = recorded.events[-1]
    assert isinstance(last, cascade.RunFinished), when
    assert undone(recorded) == ([] if last.status == "Succeeded" else to_be_undone(recorded)), when
    return last.status == "Succeeded"


def to_be_undone(recorded: Recorded) -> list[str]:
    """What has succeeded and has an undo, the last first."""
    ends = recorded.of(cascade.TaskExecutionFinished)
    booked = [end.task_id for end in ends if end.task_name == "book" and end.status == "Succeeded"]
    return [node_id for node_id in reversed(booked) if node_id not in ("book#2", "book#3")]


def undone(recorded: Recorded) -> list[str]:
    return [end.task_id for end in recorded.of(cascade.UndoFinished) if end.status == "Succeeded"]


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_run_can_be_cancelled_at_any_moment(flow: str, schedule: Any) -> None:
    sweep = Sweep(flow)
    for turn in sweep:
        world = World()
        engine = engine_of(world, flow, schedule)
        with record_events(engine) as recorded, suppress(ToBeRetriedError):
            await cancelled_at(turn, partial(engine.run, getattr(world, flow)()))
        sweep.ended_before = check(world, engine, recorded, f"cancelled at {turn}")
        # Who is cancelled has not failed, and who would have come after it is not skipped.
        skips = {skip.reason for skip in recorded.of(cascade.TaskSkipped)}
        assert skips <= {"CacheHit", *SKIPPING.get(flow, ())}, f"cancelled at {turn}"
        failures = {text for end in recorded.of(cascade.RunFinished) for text in end.failures}
        assert failures <= {"ToBeRetriedError"}, f"cancelled at {turn}"


@pytest.mark.parametrize("on_error", ["first", "continue"])
@pytest.mark.parametrize("flow", FLOWS)
async def test_a_run_can_fail_at_any_moment(flow: str, on_error: str, schedule: Any) -> None:
    @cascade.task
    async def fails(turn: int, error: ValueError) -> None:
        await turns(turn)
        raise error

    for turn in range(0, 60, 4):
        world, error = World(), ValueError("bad")
        engine = engine_of(world, flow, schedule, on_error=on_error)
        with record_events(engine) as recorded, pytest.raises((ValueError, cascade.RunFailed)) as caught:
            await engine.run([getattr(world, flow)(), fails(turn, error)])
        assert error in (caught.value, *getattr(caught.value, "exceptions", ())), f"failed at {turn}"
        check(world, engine, recorded, f"failed at {turn}")


@pytest.mark.parametrize("on_error", ["first", "continue"])
@pytest.mark.parametrize(
    "flow", [flow for flow in FLOWS if flow not in ("threads", "retried", "of_threads", *HANDLING)]
)
async def test_each_checkpoint_of_user_code_can_raise(flow: str, on_error: str, schedule: Any) -> None:
    for number in range(1, 200):
        world = World()
        world.fails_at = number
        engine = engine_of(world, flow, schedule, on_error=on_error)
        raised: list[BaseException] = []
        with record_events(engine) as recorded:
            try:
                await engine.run(getattr(world, flow)())
            except (ThrownError, cascade.RunFailed) as error:
                raised = leaves(error)
        assert [type(leaf) for leaf in raised] in ([], [ThrownError]), f"raised at {number}"
        check(world, engine, recorded, f"raised at {number}")
        if not raised:
            assert world.passed < number
            return
    raise AssertionError("the flow has no end")


@pytest.mark.parametrize("flow", FLOWS)
async def test_any_node_that_runs_can_be_cancelled_at_any_moment(flow: str, schedule: Any) -> None:
    sweep = Sweep(flow, step=3)
    for turn in sweep:
        world, failed = World(), list[BaseException]()
        engine = engine_of(world, flow, schedule, on_error="continue")
        with record_events(engine) as recorded:
            async with engine.start(getattr(world, flow)()) as run:
                await turns(turn)
                running = run.status().running
                if running:
                    run.cancel_node(running[turn % len(running)])
                sweep.ended_before = run.status().state != "Running"
                with suppress(cascade.RunFailed):
                    await run.result()
            for error in run.failures:
                failed += leaves(error.error)
        check(world, engine, recorded, f"cancelled at {turn}")
        assert {type(error) for error in failed} <= {cascade.TaskCancelledError}, f"cancelled at {turn}"


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_handle_can_cancel_its_run_at_any_moment(flow: str) -> None:
    sweep = Sweep(flow, step=2)
    for turn in sweep:
        world = World()
        engine = engine_of(world, flow, "eager")
        with record_events(engine) as recorded, suppress(cascade.RunCancelled, ToBeRetriedError):
            async with engine.start(getattr(world, flow)()) as run:
                await turns(turn)
                run.cancel()
                await run.result()
        sweep.ended_before = check(world, engine, recorded, f"cancelled at {turn}")


@pytest.mark.parametrize("flow", FLOWS)
async def test_the_block_of_start_can_be_cancelled_at_any_moment(flow: str) -> None:
    async def follow(engine: cascade.Engine, target: Any) -> None:
        async with engine.start(target) as run:
            await run.result()

    sweep = Sweep(flow)
    for turn in sweep:
        world = World()
        engine = engine_of(world, flow, "stages")
        with record_events(engine) as recorded, suppress(ToBeRetriedError):
            await cancelled_at(turn, partial(follow, engine, getattr(world, flow)()))
        sweep.ended_before = check(world, engine, recorded, f"cancelled at {turn}")


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if flow != "retried"])
async def test_the_block_of_start_can_fail_at_any_moment(flow: str) -> None:
    sweep = Sweep(flow, step=2)
    for turn in sweep:
        world, error = World(), ValueError("the block's")
        engine = engine_of(world, flow, "stages")
        with record_events(engine) as recorded, pytest.raises(ValueError, match="the block's") as caught:
            async with engine.start(getattr(world, flow)()):
                await turns(turn)
                raise error
        assert caught.value is error, f"failed at {turn}"
        sweep.ended_before = check(world, engine, recorded, f"failed at {turn}")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("flow", FLOWS)
async def test_a_task_of_asyncio_can_be_cancelled_at_any_moment(flow: str, schedule: Any) -> None:
    sweep = Sweep(flow)
    for turn in sweep:
        world = World()
        engine = engine_of(world, flow, schedule)
        with record_events(engine) as recorded:
            task = asyncio.ensure_future(engine.run(getattr(world, flow)()))
            await turns(turn)
            task.cancel()
            await until(task.done)
        assert task.cancelled() or isinstance(task.exception(), ToBeRetriedError | None), f"cancelled at {turn}"
        sweep.ended_before = check(world, engine, recorded, f"cancelled at {turn}")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("gap", [1, 3, 8])
@pytest.mark.parametrize("flow", FLOWS)
async def test_a_task_of_asyncio_can_be_cancelled_twice_at_any_moment(flow: str, gap: int) -> None:
    sweep = Sweep(flow, step=2)
    for turn in sweep:
        world = World()
        engine = engine_of(world, flow, "stages")
        with record_events(engine) as recorded:
            task = asyncio.ensure_future(engine.run(getattr(world, flow)()))
            await turns(turn)
            task.cancel()
            await turns(gap)
            task.cancel()
            await until(task.done, patience=20_000)
        assert task.cancelled() or isinstance(task.exception(), ToBeRetriedError | None), f"cancelled at {turn}"
        sweep.ended_before = check(world, engine, recorded, f"cancelled at {turn} and {gap} later")
