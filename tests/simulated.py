"""Flows with everything in them that a simulation has to choose about, made at random from a seed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Any

import anyio
import attrs
from virtual_time import pass_time

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.testing import FaultPlan, Simulation, simulate

PAUSES = (0.0, 0.0, 0.1, 0.1, 0.2, 0.3, 1.0)


@cascade.resource
async def shared() -> AsyncIterator[str]:
    """Of the run."""
    await pass_time(0.2)
    yield "shared"
    await pass_time(0.1)


@cascade.resource(scope="task")
def own(base: str = cascade.inject("shared")) -> Iterator[str]:
    """Of a task, in a thread unless it is simulated."""
    yield f"own of {base}"


@cascade.task
async def wait(name: str, seconds: float, *_: Any) -> str:
    """Waits on virtual time."""
    await pass_time(seconds)
    return name


@cascade.task
def in_thread(name: str, *_: Any) -> str:
    """Sync, in a thread unless it is simulated."""
    return name


@cascade.task(mode="inline")
def at_once(name: str, *_: Any) -> str:
    """Sync, on the loop."""
    return name


OWN: Any = cascade.inject("own")


@cascade.task
async def with_resources(name: str, *_: Any, first: Any = OWN) -> str:
    """Injects resources."""
    await pass_time(0.1)
    return f"{name} with {first}"


@cascade.task
async def one_in_two(name: str, *_: Any) -> str:
    """Fails at its first attempt."""
    await pass_time(0.1)
    if cascade.current().attempt == 1:
        raise OSError(name)
    return name


@cascade.task
async def asks(name: str, seconds: float, *_: Any) -> Any:
    """Returns a flow, to be run in its place."""
    await pass_time(seconds)
    return [wait(f"{name}.1", 0.1), at_once(f"{name}.2", wait(f"{name}.3", 0.1))]


@cascade.task
async def nests(name: str, seconds: float, *_: Any) -> Any:
    """Runs a flow itself."""
    await pass_time(seconds)
    return await cascade.run([wait(f"{name}.1", 0.1), in_thread(f"{name}.2")])


@cascade.task
async def turns(left: int) -> Any:
    """A loop."""
    await pass_time(0.1)
    return turns(left - 1) if left else "turned"


@cascade.task
async def shields(name: str, *_: Any) -> str:
    """Takes its time to end."""
    try:
        await pass_time(0.2)
    finally:
        with anyio.CancelScope(shield=True):
            await pass_time(0.1)
    return name


def everything(rng: Random, size: int = 14) -> Any:
    """A flow of about *size* calls."""
    made: list[Any] = []
    cache = InputCache(MemoryCacheStore())
    for number in range(size):
        call = _call(rng, f"n{number}", rng.sample(made, min(len(made), rng.randint(0, 2))))
        if rng.random() < 0.3:
            call = call.with_constraints(gpu=rng.randint(1, 3))
        if rng.random() < 0.3:
            call = call.with_retry(3, delay=0.1, jitter=0.5)
        if rng.random() < 0.3:
            call = call.with_timeout(0.95)
        if rng.random() < 0.1:
            call = call.with_cache(cache)
        if made and rng.random() < 0.2:
            call = call.run_if(rng.choice(made))
        if made and rng.random() < 0.2:
            call = call.after(rng.choice(made))
        made.append(call)
    choice = cascade.Router(rng.choice([0, 1]), {0: made[-1], 1: made[-2], 2: made[-3]})
    return [at_once("end", choice), made[-rng.randint(2, size) :], turns(rng.randint(0, 3))]


def _call(rng: Random, name: str, sources: list[Any]) -> Any:
    pause = rng.choice(PAUSES)
    makers: list[Callable[[], Any]] = [
        lambda: wait(name, pause, *sources),
        lambda: wait(name, pause, *sources),
        lambda: in_thread(name, *sources),
        lambda: at_once(name, *sources),
        lambda: with_resources(name, *sources),
        lambda: one_in_two(name, *sources).with_retry(2, delay=pause),
        lambda: asks(name, pause, *sources),
        lambda: nests(name, pause, *sources),
        lambda: shields(name, *sources),
        lambda: wait.partial(name=name).map(seconds=[rng.choice(PAUSES) for _ in range(rng.randint(0, 4))]),
    ]
    return rng.choice(makers)()


@attrs.frozen
class Scene:
    """A flow with all that its simulation depends on."""

    seed: int

    def play(self, backend: Any, **more: Any) -> Simulation:
        """Simulate it."""
        rng = Random(f"scene {self.seed}")
        flow = everything(rng)
        faults = FaultPlan(
            fail=rng.choice([0, 0, 0.03]),
            hang=rng.choice([0, 0, 0.02]),
            slow=rng.choice([0, 0.2]),
            cancel=rng.choice([0, 0.3]),
            cancel_at=rng.choice([None, None, None, 0.2, 1.0]),
        )
        as_run: dict[str, Any] = {
            "faults": faults,
            "schedule": rng.choice(["stages", "eager"]),
            "on_error": rng.choice(["first", "continue", "group"]),
            "state": rng.choice([None, None, "memory:"]),
            "durability": rng.choice(["stage", "task"]),
            "system_resources": {"gpu": 3},
            "max_threads": rng.choice([1, 40]),
            "providers": [shared, own],
        }
        return simulate(flow, seed=self.seed, backend=backend, **{**as_run, **more})
