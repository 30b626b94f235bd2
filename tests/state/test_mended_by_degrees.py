"""Runs that fail, each time at something else, and are resumed until nothing is broken any more."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import cascade
from cascade.state import InMemoryStateBackend
from state.stores import StoreUnderTest

KINDS = ["async", "sync", "map", "returns", "if", "else", "settled", "router", "after", "each settled"]
ITEMS = 3
# These take how a call ends as a value, and so may run again after a success.
TAKE_OUTCOMES = ("settled", "else", "each settled")
# How what is made of a call has a name, besides that of the call.
SUFFIXES = {
    "map": tuple(f"[{item}]" for item in range(ITEMS)),
    "each settled": tuple(f"[{item}]" for item in range(ITEMS)),
    "returns": ("", "/a", "/b"),
    "if": ("", "?"),
    "router": ("", "?", "!"),
    "else": ("", "!"),
}


@attrs.frozen
class Step:
    """A call of the flow: its kind, the earlier ones that it needs, and what it decides, if it does."""

    kind: str
    needs: tuple[int, ...]
    decides: bool


class Cut(BaseException):
    """Ends a run at once: nobody takes it as a value."""


@attrs.define
class World:
    """Tasks that fail as long as they are broken, what has been called, and which call ends the run."""

    broken: frozenset[str] = frozenset()
    called: list[str] = attrs.field(factory=list)
    last: int | None = None

    def call(self, name: str, *values: Any) -> tuple[Any, ...]:
        self.called.append(name)
        if len(self.called) == self.last:
            raise Cut
        if name in self.broken:
            raise ValueError(name)
        return (name, *values)


world = World()
# Each life is that of another run.
numbers = count()


@cascade.task(version="1")
async def step(name: str, *values: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return world.call(name, *values)


@cascade.task(version="1")
def sync_step(name: str, *values: Any) -> Any:
    return world.call(name, *values)


@cascade.task(version="1")
async def item(number: int, name: str) -> Any:
    return world.call(f"{name}[{number}]")


@cascade.task(version="1")
async def of_outcome(end: Any, number: int, name: str) -> Any:
    return world.call(f"{name}[{number}]", type(end).__name__)


@cascade.task(version="1")
async def returns(name: str, *values: Any) -> Any:
    world.call(name)
    return [step(f"{name}/a", *values), sync_step(f"{name}/b")]


@cascade.task(version="1")
async def decide(name: str, decides: bool) -> bool:
    world.call(name)
    return decides


def built(steps: tuple[Step, ...]) -> list[Any]:
    """The flow: all calls are targets, so none is left out."""
    made: list[Any] = []
    for number, one in enumerate(steps):
        made.append(_call(one, f"n{number}", [made[need] for need in one.needs], _map_among(steps, one, made)))
    return made


def _map_among(steps: tuple[Step, ...], one: Step, made: list[Any]) -> Any:
    return next((made[need] for need in one.needs if steps[need].kind in ("map", "each settled")), None)


def _call(one: Step, name: str, needed: list[Any], mapped: Any) -> Any:
    ends = [cascade.settled(each) for each in needed]
    first, *others = needed or [step(f"{name}!")]
    match one.kind:
        case "async":
            return step(name, *needed)
        case "sync":
            return sync_step(name, *needed)
        case "returns":
            return returns(name, *needed)
        case "if":
            return step(name, *needed).run_if(decide(f"{name}?", one.decides))
        case "else":
            return first.or_else(step(name, *others))
        case "settled":
            return step(name, *ends)
        case "router":
            routes = {True: first, False: step(f"{name}!", *others)}
            return step(name, cascade.Router(decide(f"{name}?", one.decides), routes))
        case "after":
            return step(name).after(*(ends if one.decides else needed))
        case "each settled" if mapped is not None:
            return of_outcome.partial(name=name).map(end=cascade.settled(mapped), number=range(ITEMS))
        case _:
            return item.partial(name=name).map(number=range(ITEMS)).after(*(ends if one.decides else needed))


@st.composite
def lives(
    draw: st.DrawFn, least: int = 1, kinds: list[str] = KINDS
) -> tuple[tuple[Step, ...], tuple[frozenset[str], ...]]:
    """A flow, and what is broken in each execution but the last, of which there are *least*."""
    steps = []
    for number in range(draw(st.integers(2, 7))):
        needs = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=2)) if number else []
        steps.append(Step(draw(st.sampled_from(kinds)), tuple(dict.fromkeys(needs)), draw(st.booleans())))
    names = [f"n{number}{suffix}" for number, one in enumerate(steps) for suffix in SUFFIXES.get(one.kind, ("",))]
    some = st.frozensets(st.sampled_from(names), min_size=1, max_size=3)
    return tuple(steps), tuple(draw(st.lists(some, min_size=least, max_size=3)))


async def lived(
    steps: tuple[Step, ...], broken: tuple[frozenset[str], ...], **settings: Any
) -> list[tuple[str, list[str]]]:
    """What each execution came to and called, until one succeeds."""
    found: list[tuple[str, list[str]]] = []
    for names in (*broken, frozenset[str]()):
        world.broken, world.called = names, []
        came_to, has_failed = "", True
        try:
            came_to = repr(await cascade.run(built(steps), on_error="continue", **settings))
            has_failed = False
        except cascade.RunFailed as failed:
            came_to = repr(sorted(map(repr, failed.exceptions)))
        except cascade.DependencyMissingError as missing:  # a target was skipped
            came_to = repr(missing)
        found.append((came_to, sorted(world.called)))
        if not has_failed:
            break
    return found


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(life=lives())
def test_in_the_end_a_run_gives_what_it_gives_where_nothing_is_broken(
    life: tuple[tuple[Step, ...], tuple[frozenset[str], ...]],
    durable: StoreUnderTest,
    schedule: Any,
    backend: str,
) -> None:
    steps, broken = life
    run_id = f"run{next(numbers)}"
    store = InMemoryStateBackend(run_id)

    async def live(broken: tuple[frozenset[str], ...], state: Any) -> list[tuple[str, list[str]]]:
        return await lived(steps, broken, state=state, run_id=run_id, schedule=schedule)

    async def main() -> tuple[list[tuple[str, list[str]]], ...]:
        in_memory = await live(broken, lambda _: store)
        return in_memory, await live(broken, durable.state), await live((), None)

    in_memory, kept, whole = anyio.run(main, backend=backend)
    note("\n".join(map(repr, in_memory)))
    assert kept == in_memory
    if len(kept) > len(broken):
        assert kept[-1][0] == whole[0][0]
    if not any(one.kind in TAKE_OUTCOMES or one.decides for one in steps):
        # Nothing that has succeeded has run again. Who returns a flow succeeds with that, and not before.
        returning = {f"n{number}" for number, one in enumerate(steps) if one.kind == "returns"}
        pairs = zip((*broken, frozenset[str]()), kept, strict=False)
        succeeded = Counter(
            name for names, (_, called) in pairs for name in called if name not in names | returning
        )
        assert max(succeeded.values(), default=0) <= 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    life=lives(least=2, kinds=[*TAKE_OUTCOMES, *KINDS]),
    cuts=st.lists(st.integers(1, 12), min_size=3, max_size=3),
    on_error=st.sampled_from(["first", "continue"]),
)
def test_a_run_that_is_cut_short_again_and_again_gives_the_same_in_the_end(
    life: tuple[tuple[Step, ...], tuple[frozenset[str], ...]],
    cuts: list[int],
    on_error: Any,
    store: StoreUnderTest,
    schedule: Any,
    backend: str,
) -> None:
    steps, broken = life
    as_run: Any = {"state": store.state, "run_id": f"run{next(numbers)}", "schedule": schedule}

    async def main() -> tuple[object, object]:
        for names, world.last in zip(broken, cuts, strict=False):
            world.broken, world.called = names, []
            try:
                await cascade.run(sinks(steps), on_error=on_error, **as_run)
            except (Exception, Cut) as error:
                note(f"{error!r} after {world.called}")
            else:
                return None, None  # some of it may be made of failures that were handled
        world.broken, world.called, world.last = frozenset(), [], None
        return await ended(steps, **as_run), await ended(steps)

    mended, whole = anyio.run(main, backend=backend)
    assert mended == whole


def sinks(steps: tuple[Step, ...]) -> list[Any]:
    """The flow, whose targets are the calls that no other needs."""
    needed = {need for one in steps for need in one.needs}
    return [call for number, call in enumerate(built(steps)) if number not in needed]


async def ended(steps: tuple[Step, ...], **settings: Any) -> str:
    """What a run comes to in which nothing is broken."""
    try:
        return repr(await cascade.run(sinks(steps), **settings))
    except cascade.DependencyMissingError as missing:  # a target was skipped
        return repr(missing)
