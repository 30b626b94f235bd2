"""Random flows for Hypothesis, as descriptions and as real flows, and what the engine makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import anyio
from descriptions import Ask, Body, Call, Choice, Echo, Fail, Give, Pack, parts, perform
from hypothesis import strategies as st
from oracle import Meaning

import cascade

# -- random descriptions ---------------------------------------------------------------------------------------

MOST_NODES = 12
VALUES = (0, 1, 1, None, False, "a", "a")
KEYS = (0, 1, None, "a")


@st.composite
def flows(draw: st.DrawFn, prefix: str = "n", depth: int = 2, most: int = MOST_NODES) -> Any:
    """A flow: nodes, each of which may use those before it, and a target made of some of them."""
    pool: list[Call | Choice] = []
    for number in range(draw(st.integers(most // 2, most))):
        kind = draw(st.sampled_from(["call", "call", "choice", "call", "choice", "map"]))
        if kind == "choice" and pool:
            pool.append(draw(choices(pool)))
        else:
            pool.append(draw(calls(pool, f"{prefix}{number}", depth, is_map=kind == "map")))
    last = st.just(pool[-1])
    several = st.lists(st.sampled_from(pool[-6:]), min_size=2, max_size=4)
    return draw(st.one_of(last, several, several, st.builds(lambda part: {"t": (part, 5)}, several)))


def mostly() -> st.SearchStrategy[bool]:
    """True in nine cases of ten."""
    return st.sampled_from([True] * 9 + [False])


def arguments(pool: list[Call | Choice]) -> st.SearchStrategy[Any]:
    """Something that a call can be given."""
    if not pool:
        return st.sampled_from(VALUES)
    node = st.sampled_from([*pool[-4:], *pool, *pool[-4:]])
    nested = st.builds(lambda one, other: [one, {"k": (other,)}], node, node)
    return st.one_of(node, node, node, st.sampled_from([*VALUES, *pool]), nested)


@st.composite
def choices(draw: st.DrawFn, pool: list[Call | Choice]) -> Choice:
    """A choice between nodes that there are.

    Routes are calls and choices only: whether a skipped step hands on a container or a plain value that a router
    chose for it is a question of its own, which test_binding.py asks.
    """
    node = st.sampled_from(pool)
    routes = {key: draw(node) for key in draw(st.sampled_from([KEYS, KEYS, KEYS[:2]]))}
    plain = [node for node in pool if isinstance(node, Call) and isinstance(node.body, Give) and not node.column]
    likely: st.SearchStrategy[Any] = st.sampled_from(plain or pool)
    selector = draw(likely if draw(mostly()) else arguments(pool))
    if draw(mostly()):
        return Choice(selector, routes, default=draw(st.sampled_from(pool)))
    return Choice(selector, routes)


@st.composite
def calls(draw: st.DrawFn, pool: list[Call | Choice], name: str, depth: int, *, is_map: bool) -> Call:
    """A call, plain or mapped, of nodes that there are."""
    before: list[Call] = [node for node in pool if isinstance(node, Call)]
    rarely = st.sampled_from([False, False, False, True])
    is_conditional, is_late = draw(rarely), draw(rarely)
    return Call(
        name,
        draw(bodies(name, depth)),
        tuple(draw(st.lists(arguments(pool), min_size=1, max_size=3))),
        conditions=tuple(draw(st.lists(arguments(pool), min_size=1, max_size=2))) if is_conditional else (),
        on_skip=draw(st.sampled_from(["pass", "pass", "skip"])),
        after=(draw(st.sampled_from(before)),) if before and is_late else (),
        column=draw(st.lists(arguments(pool), max_size=3)) if is_map else None,
        mode=draw(st.sampled_from(["inline", "inline", "async", "thread"])),
    )


def bodies(name: str, depth: int) -> st.SearchStrategy[Body]:
    """What a function does; mostly it works."""
    works: list[Body] = [*[Give(value) for value in VALUES], Echo(), Pack(), Pack()]
    some: st.SearchStrategy[Body] = st.sampled_from([*works, Fail(on="a")] * 2 + [Fail()])
    if not depth:
        return some
    asking: st.SearchStrategy[Body] = flows(f"{name}_", depth - 1, most=4).map(Ask)
    return mostly().flatmap(lambda is_plain: some if is_plain else asking)


# -- the same as real flows ------------------------------------------------------------------------------------


# Told the id of each node whose function is called, for runs to which nobody listens.
called: ContextVar[Callable[[str], object] | None] = ContextVar("called", default=None)


class Builder:
    """Makes lazies of one description; a node that is reached twice is made once."""

    def __init__(self) -> None:
        self.made: dict[Call | Choice, Any] = {}

    def build(self, description: Any) -> Any:
        """The flow that *description* describes."""
        if isinstance(description, (Call, Choice)):
            if description not in self.made:
                if isinstance(description, Choice):
                    self.made[description] = self._router(description)
                else:
                    self.made[description] = self._call(description)
            return self.made[description]
        if isinstance(description, (list, tuple)):
            return type(description)(self.build(part) for part in description)
        if isinstance(description, dict):
            return {key: self.build(part) for key, part in description.items()}
        return description

    def _router(self, choice: Choice) -> Any:
        routes = {key: self.build(route) for key, route in choice.routes.items()}
        if len([*choice.all_routes()]) == len(routes):
            return cascade.Router(self.build(choice.selector), routes)
        return cascade.Router(self.build(choice.selector), routes, default=self.build(choice.default))

    def _call(self, call: Call) -> Any:
        task = task_of(call)
        args = [self.build(argument) for argument in call.args]
        lazy: Any
        if call.column is None:
            lazy = task(*args)
        else:
            fixed = {f"fixed_{place}": argument for place, argument in enumerate(args)}
            lazy = task.partial(**fixed).map(item=self.build(call.column))
        for condition in call.conditions:
            lazy = lazy.run_if(self.build(condition), on_skip=call.on_skip)
        if not call.conditions and call.after and call.on_skip == "skip":
            lazy = lazy.run_if(True, on_skip="skip")
        for predecessor in call.after:
            lazy = cascade.sequence([self.build(predecessor), lazy])
        return lazy


def task_of(call: Call) -> cascade.Task[..., Any]:
    """A task whose function does what *call* describes, where *call* says."""

    def work(values: Iterable[Any]) -> Any:
        if heard := called.get():
            heard(cascade.current().node_id)
        given = perform(call.body, call.name, tuple(values))
        return Builder().build(given) if parts(given) else given

    if call.column is not None:

        def for_item(item: Any, **fixed: Any) -> Any:
            return work((item, *fixed.values()))

        return cascade.task(name=call.name, mode="inline" if call.mode == "async" else call.mode)(for_item)
    if call.mode == "async":

        async def on_the_loop(*values: Any) -> Any:
            return work(values)

        return cascade.task(name=call.name)(on_the_loop)

    def sync(*values: Any) -> Any:
        return work(values)

    return cascade.task(name=call.name, mode=call.mode)(sync)


def run(description: Any, backend: str, **as_run: Any) -> Meaning:
    """What the engine makes of *description*, in the oracle's words."""
    meaning = Meaning()

    async def main() -> None:
        engine = cascade.Engine(**as_run)
        kinds = (cascade.TaskExecutionStarted, cascade.TaskSkipped)
        async with engine.subscribe(*kinds, buffer=10**6) as events:
            try:
                meaning.value = await engine.run(Builder().build(description))
            except cascade.RunFailed as failed:
                meaning.errors.extend(type(error).__name__ for error in failed.exceptions)
            except Exception as error:
                meaning.errors.append(type(error).__name__)
            async for event in events:
                note_event(meaning, event)

    anyio.run(main, backend=backend)
    return meaning


def note_event(meaning: Meaning, event: cascade.Event) -> None:
    """Note which function was called, or why not; names in a description are unique, so ids can be cut to them."""
    assert isinstance(event, cascade.NodeEvent)
    name = event.task_id.rpartition("/")[2]
    if isinstance(event, cascade.TaskSkipped):
        meaning.skipped[name] = event.reason
    else:
        meaning.ran.add(name)


def failures(meaning: Meaning) -> Counter[str]:
    """What went wrong. Beside other failures it does not matter how many targets are missing as well."""
    errors = Counter(meaning.errors)
    missing = errors.pop("DependencyMissingError", 0)
    return errors or Counter({"DependencyMissingError": min(missing, 1)})
