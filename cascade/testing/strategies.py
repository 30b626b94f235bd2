"""A Hypothesis strategy for random flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, Literal, TypeVar

from hypothesis import strategies as st

from cascade.testing.building import RandomFlow
from cascade.testing.descriptions import (
    Ask,
    Body,
    Call,
    Choice,
    Echo,
    Ended,
    Fail,
    Fallback,
    Give,
    Mode,
    Node,
    Pack,
    Pause,
    Race,
    Signalled,
    Tell,
    Terms,
    Turns,
)

MOST_NODES: Final = 12
VALUES: Final = (0, 1, 1, None, False, "a", "a")
KEYS: Final = (0, 1, None, "a")
TIMEOUT: Final = 5.0
# How deep flows nest that tasks return.
DEPTH: Final = 2
_KINDS: Final = (
    "call", "call", "choice", "call", "choice", "map", "fallback", "outcome", "race", "race", "signal",
)  # fmt: skip
_MODES: Final[tuple[Mode, ...]] = ("inline", "inline", "async", "thread")
_ON_SKIP: Final[tuple[Literal["pass", "skip"], ...]] = ("pass", "pass", "skip")
_WORKS: Final[tuple[Body, ...]] = (*map(Give, VALUES), Echo(), Pack(), Pack())
# When signals are sent; most are.
_MOMENTS: Final = (0.0, 0.1, 1.0, None, 2 * TIMEOUT - 1)
_BODIES: Final[tuple[Body, ...]] = (*(*_WORKS, Fail(on="a")) * 2, Fail(), Turns(3))

T = TypeVar("T")


def flows(*, most: int = MOST_NODES, policies: bool = True) -> st.SearchStrategy[RandomFlow]:
    """A strategy for random flows, which use everything that a flow can have. ``build()`` makes the flow.

    They have sync, async and inline tasks, maps (also empty), conditions, routers, outcomes (``settled``),
    fallbacks (``or_else``), races, collected failures, sequences, pipelines, partials, flows that tasks return,
    loops, and tasks that fail. With *policies* they also have names, priorities, retries, timeouts, undos, given
    and computed claims, caches, resources of both scopes, tasks that wait, tasks that swallow their cancellation,
    and signals. Each task sets a context variable, and fails if it sees that of another one.

    A flow with a race may have several values, and may fail or not, as the race goes. What is to be sent for
    signals, and when, is in ``signals``; if nobody sends it, they time out. The waits are meant for virtual time
    (:func:`cascade.testing.virtual_backends`, :func:`cascade.testing.simulate`).

    Args:
        most: Largest number of nodes in a flow, at least 1; 12 by default. Nodes of flows that tasks return do not
            count.
        policies: Whether calls have policies; ``True`` by default.

    Raises:
        ValueError: If *most* is less than 1.
    """
    if most < 1:
        raise ValueError(f"a flow has at least one node: most={most!r} should be 1 or more")
    return descriptions(most=most, policies=policies).map(RandomFlow)


@st.composite
def descriptions(draw: st.DrawFn, *, most: int, policies: bool) -> Any:
    """A flow: nodes, each of which may use those before it, and a target made of some of them."""
    return Drawn(draw, policies=policies).flow("n", DEPTH, most)


@cache
def _below(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


class Chance:
    """Chooses by small numbers.

    To build a strategy and check it costs more than to draw from it, and most of what is chosen from here is new
    in each example. So there are no strategies but those of numbers, which are made once.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def number(self, least: int, most: int) -> int:
        """A number; the least is the simplest."""
        return least + self.draw(_below(most - least + 1))

    def one(self, choices: Sequence[T]) -> T:
        """One of *choices*; the first is the simplest."""
        return choices[self.draw(_below(len(choices)))]

    def mostly(self) -> bool:
        """True in nine cases of ten."""
        return self.draw(_below(10)) != 9

    def rarely(self) -> bool:
        """True in one case of five."""
        return self.draw(_below(5)) == 4


class Drawn(Chance):
    """Makes the parts of a description out of small numbers."""

    def __init__(self, draw: st.DrawFn, *, policies: bool) -> None:
        super().__init__(draw)
        self.said: Said | None = Said(draw) if policies else None

    def flow(self, prefix: str, depth: int, most: int) -> Any:
        """A description."""
        pool: list[Node] = []
        for number in range(self.number(max(1, most // 2), most)):
            pool.append(self.node(pool, f"{prefix}{number}", depth))
        kind = self.one(("last", "several", "several", "nested"))
        if kind == "last":
            return pool[-1]
        several = [self.one(pool[-6:]) for _ in range(self.number(2, 4))]
        return several if kind == "several" else {"t": (several, 5)}

    def node(self, pool: list[Node], name: str, depth: int) -> Node:
        """A node of any kind, of nodes that there are."""
        kind = self.one(_KINDS)
        if kind == "signal" and self.said:
            return self.said.signal(pool, name, depth)
        if kind == "choice" and pool:
            return self.choice(pool, name)
        if kind == "race" and pool:
            return self.race(pool, name, depth)
        if kind == "fallback" and pool:
            return Fallback(self.tried(pool, name, depth), self.one(pool), self.mostly(), name)
        if kind == "outcome" and pool:
            return self.outcome(pool, name, depth)
        return self.call(pool, name, depth, is_map=kind == "map")

    def argument(self, pool: list[Node]) -> Any:
        """Something that a call can be given."""
        if not pool:
            return self.one(VALUES)
        nodes = [*pool[-4:], *pool, *pool[-4:]]
        kind = self.one(("node", "node", "node", "anything", "nested"))
        if kind == "node":
            return self.one(nodes)
        if kind == "anything":
            return self.one([*VALUES, *pool])
        return [self.one(nodes), {"k": (self.one(nodes),)}]

    def arguments(self, pool: list[Node], least: int, most: int) -> list[Any]:
        """Some of them."""
        return [self.argument(pool) for _ in range(self.number(least, most))]

    def choice(self, pool: list[Node], name: str) -> Choice:
        """A choice between nodes that there are.

        Routes are calls and choices only: whether a skipped step hands on a container or a plain value that a
        router chose for it is a question of its own, which is left out.
        """
        routes = {key: self.one(pool) for key in self.one((KEYS, KEYS, KEYS[:2]))}
        plain = [call for call in _calls_in(pool) if isinstance(call.body, Give) and not call.column]
        selector = self.one(plain or pool) if self.mostly() else self.argument(pool)
        if self.mostly():
            return Choice(selector, routes, default=self.one(pool), name=name)
        return Choice(selector, routes, name=name)

    def tried(self, pool: list[Node], name: str, depth: int) -> Node:
        """A node that there is, or a call that fails and that nobody else knows."""
        kind = self.one(("node", "handler", "failing", "failing"))
        if kind != "failing":
            return self.one(_handlers_in(pool) if kind == "handler" else pool[-4:])
        return replace(self.call(pool, f"{name}f", depth, is_map=False), body=Fail())

    def race(self, pool: list[Node], name: str, depth: int) -> Race:
        """A race of up to three."""
        return Race(
            tuple(self.contestant(pool, f"{name}c{place}", depth) for place in range(self.number(1, 3))), name
        )

    def contestant(self, pool: list[Node], name: str, depth: int) -> Node:
        """A node that there is, or a call, a map or a signal that nobody else knows."""
        kind = self.one(("node", "node", "call", "slow", "slow", "handler", "failing", "map", "signal"))
        if kind == "signal" and self.said:
            return self.said.signal(pool, name, depth)
        if kind in ("call", "failing", "map"):
            call = self.call(pool, name, depth, is_map=kind == "map")
            return replace(call, body=Fail()) if kind == "failing" else call
        if kind == "slow":
            call = self.call(pool, name, depth, is_map=False)
            return self.said.slow(call) if self.said else call
        return self.one(_handlers_in(pool) if kind == "handler" else pool[-6:])

    def outcome(self, pool: list[Node], name: str, depth: int) -> Call:
        """A call that tells how a node ended, or the items of a map did; or a map that tells it of each item.

        What it tells of, it does not hand on if it is skipped itself.
        """
        maps = [node for node in pool if isinstance(node, Call) and node.column is not None]
        if maps and self.rarely():
            by_item = replace(self.call(pool, name, 0, is_map=True), column=Ended(self.one(maps)))
            return replace(by_item, body=Tell(), on_skip="skip")
        about: Any = Ended(self.tried(pool, name, depth))
        if self.rarely():
            about = replace(
                self.call(pool, f"{name}m", depth, is_map=True), collects=True, conditions=(), after=()
            )
            if self.one((False, True)):
                by_item = replace(self.call(pool, name, 0, is_map=True), column=about)
                return replace(by_item, body=Tell(), on_skip="skip")
        told = self.call(pool, name, 0, is_map=False)
        terms = replace(told.terms, style="plain", is_cached=False)
        return replace(told, body=Tell(), args=(about,), on_skip="skip", terms=terms)

    def call(self, pool: list[Node], name: str, depth: int, *, is_map: bool) -> Call:
        """A call, plain or mapped, of nodes that there are."""
        before = _calls_in(pool)
        is_conditional, is_late = self.rarely(), self.rarely()
        body = self.body(name, depth)
        mode = self.one(_MODES)
        return Call(
            name,
            Pack() if is_map and isinstance(body, Turns) else body,
            tuple(self.arguments(pool, 1, 3)),
            conditions=tuple(self.arguments(pool, 1, 2)) if is_conditional else (),
            on_skip=self.one(_ON_SKIP),
            after=(self.one(before),) if before and is_late else (),
            column=self.column(pool) if is_map else None,
            terms=Terms(mode=mode, **(self.said.how(before, mode, body, is_map=is_map) if self.said else {})),
        )

    def column(self, pool: list[Node]) -> Any:
        """What the items of a map are given: some arguments, or the items of another map."""
        maps = [call for call in _calls_in(pool) if call.column is not None]
        follows = bool(maps) and self.number(0, 1) == 0
        return self.one(maps) if follows else self.arguments(pool, 0, 3)

    def body(self, name: str, depth: int) -> Body:
        """What a function does; mostly it works."""
        if depth and not self.mostly():
            return Ask(self.flow(f"{name}_", depth - 1, 4))
        return self.one(_BODIES)


class Said(Chance):
    """Makes what is said about how calls are run, and signals."""

    def how(self, before: list[Call], mode: Mode, body: Body, *, is_map: bool) -> dict[str, Any]:
        """What is said about how a call is run, apart from where."""
        is_plain = not is_map and not isinstance(body, Turns)
        said: dict[str, Any] = {"claims": self.claims(before)} if not is_plain and self.rarely() else {}
        said |= self.names()
        if self.rarely():
            said["priority"] = self.one((1, 2, -1))
        if is_plain:
            said |= self.attempts(before, mode)
        # What returns a flow may be a turn of a loop, which has no value to undo it with.
        said["is_undone"] = not isinstance(body, (Ask, Turns)) and self.rarely()
        return said

    def slow(self, call: Call) -> Call:
        """*call* as one that takes its time, and most likely loses a race."""
        pause = Pause(self.one((1.0, 0.2)), swallows=self.rarely())
        return replace(call, body=Pack(), terms=replace(call.terms, mode="async", pause=pause))

    def names(self) -> dict[str, Any]:
        """What a call is called."""
        return {"name": self.one(("july", "{braces}", "two\nlines"))} if self.rarely() else {}

    def attempts(self, before: list[Call], mode: Mode) -> dict[str, Any]:
        """What is said of a call that is neither a map nor a loop."""
        said: dict[str, Any] = {"style": self.one(("plain", "plain", "partial", "pipeline"))}
        if self.rarely():
            said["claims"] = self.claims(before)
        if self.rarely():
            said["attempts"] = self.number(2, 3)
            said["flaky"] = self.number(0, 3)
        if self.rarely():
            said["timeout"] = TIMEOUT
        if mode == "async" and self.one((False, True)):
            seconds = self.one((0.1, 0.1, 0.2, 1.0, 2 * TIMEOUT))
            swallows = self.one((False, True))
            if self.rarely():
                said["timeout"], seconds = TIMEOUT, 2 * TIMEOUT
            said["pause"] = Pause(seconds, swallows)
        if self.rarely():
            said["injects"] = self.one((("run",), ("task",), ("run", "task")))
        said["is_cached"] = self.rarely()
        return said

    def signal(self, pool: list[Node], name: str, depth: int) -> Call:
        """A signal.

        In flows that tasks return, nothing is sent: a run takes no signals of theirs before they are returned, and
        nobody knows when that is.
        """
        before = _calls_in(pool)
        moment = self.one(_MOMENTS) if depth == DEPTH else None
        default = self.one((..., ..., *VALUES[-4:]))
        after = (self.one(before),) if before and self.rarely() else ()
        conditions = (self.one(pool),) if pool and self.rarely() else ()
        body = Signalled(self.one(VALUES), moment, 2 * TIMEOUT, default)
        return Call(name, body, conditions=conditions, after=after, terms=Terms(**self.names()))

    def claims(self, before: list[Call]) -> dict[str, Any]:
        """Of one capacity or two, given or computed."""
        names = self.one((("gpu",), ("memory",), ("gpu", "memory"), ("memory", "gpu")))
        return {name: self.amount(before) for name in names}

    def amount(self, before: list[Call]) -> Any:
        """A number, a call that gives one, or a call that may give anything."""
        numbers = [call for call in before if isinstance(call.body, Give) and type(call.body.value) is int]
        kind = self.one(("given", "computed", "anything")) if numbers else "given"
        if kind == "given":
            return self.number(0, 2)
        return self.one(numbers if kind == "computed" else before)


def _calls_in(pool: list[Node]) -> list[Call]:
    return [node for node in pool if isinstance(node, Call)]


def _handlers_in(pool: list[Node]) -> list[Node]:
    """The races and fallbacks among *pool*; if there are none, all."""
    return [node for node in pool if isinstance(node, (Race, Fallback))] or pool
