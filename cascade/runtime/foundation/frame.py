"""One turn's slots: where every node of a graph stands, and what it gave.

A frame changes only in synchronous steps. Settling a node wakes those that waited for it, releases what nobody
needs any more, lets routers choose, and prunes what they did not choose; what follows from it (events, launches)
is left for the caller in ``news``.

One counter for each node says how many consumers may still want it. It does three jobs: at zero the value is
dropped, a node that has not begun is pruned at zero, and being a target counts as a consumer. A node with very
many sources leaves a *backlog* when it settles: the scheduler lets go of them in parts, before anything else
starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from cascade.graph.nested import PAUSE_EVERY, Holds
from cascade.graph.nodes import Graph, Junction, Route, resolve, sources_of
from cascade.model.errors import RouteNotFoundError
from cascade.model.inputs import Inject
from cascade.model.outcomes import SkipReason, Status
from cascade.planning.layout import Layout
from cascade.runtime.foundation.replay import for_several


@attrs.define(eq=False)
class News:
    """What settling a node led to, for whoever runs the frame.

    Attributes:
        ready: Nodes whose inputs have settled.
        pruned: Nodes that no router wants any more.
        faults: Routers that could not choose, or not put together what they chose, with their errors.
    """

    ready: list[int] = attrs.field(factory=list)
    pruned: list[int] = attrs.field(factory=list)
    faults: list[tuple[int, Exception]] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.ready or self.pruned or self.faults)


@attrs.define(eq=False)
class Choice:
    """What a router is waiting for: first its selector, then the route it names."""

    waiting: set[int]
    route: Route | None = None


@attrs.frozen
class Recalled:
    """How a node ended when the run was executed before: its value, if anybody needs it, or why it was skipped."""

    value: Any
    reason: SkipReason | None = None


@attrs.define(eq=False)
class Frame:
    """The slots of one turn.

    Attributes:
        graph: What is run.
        values: By node, what it gave, or what passes through it when skipped.
        status: By node, where it is in its life.
        inputs: The resolved Params and Envs, by key.
        prefix: What stands before the node ids of this frame.
        reasons: Why the skipped nodes were skipped.
        errors: Why the failed nodes failed.
        gone: Nodes that have settled and give no value.
        has_gaps: Whether any node was skipped or failed, so that consumers have to look.
        turns: Number of turns that the loop has made with this one.
        unsettled: Number of calls that have not settled.
        news: What has happened and has not been dealt with.
        tells_ready: Whether news tell of nodes that have become ready; stages look for themselves.
        backlog: Of nodes that have settled and had very many sources, those that have not been let go yet.
        digests: By node, its content; ``None`` if nothing of the frame is to be compared with records.
        recorded: The nodes that need not be run, until they are ready.
        is_recorded: Whether what settles in it goes to the journal.
        is_map: Whether all its nodes are wanted, each as an item of a list.
        ranks: By node, how urgent it is where places are scarce; ``None`` if that does not matter.
        stage: The nodes of the stage that has begun; ``None`` if any node may begin that is ready.
        flow: The node whose value is a flow that goes on in its place, if it has come to that.
        holds: What large data in the values of nodes is remembered by.
    """

    graph: Graph
    layout: Layout
    inputs: Mapping[str, Any]
    prefix: str
    values: list[Any]
    status: bytearray
    pending: list[int]
    uses: list[int]
    unsettled: int
    reasons: dict[int, SkipReason] = attrs.field(factory=dict)
    errors: dict[int, BaseException] = attrs.field(factory=dict)
    gone: set[int] = attrs.field(factory=set)
    choices: dict[int, Choice] = attrs.field(factory=dict)
    wanted: set[int] = attrs.field(factory=set)
    has_gaps: bool = False
    turns: int = 1
    news: News = attrs.field(factory=News)
    tells_ready: bool = True
    backlog: list[Iterator[int]] = attrs.field(factory=list)
    digests: Sequence[bytes] | None = None
    recorded: dict[int, Recalled] = attrs.field(factory=dict)
    is_recorded: bool = True
    is_map: bool = False
    ranks: Sequence[float] | None = None
    stage: Sequence[int] | None = None
    flow: int | None = None
    holds: Holds = attrs.field(factory=Holds)
    # Routers that may be able to go on; worked off in a loop, so that routers of routers need no recursion.
    _agenda: deque[int] = attrs.field(factory=deque)

    @classmethod
    def begin(cls, graph: Graph, layout: Layout, inputs: Mapping[str, Any], prefix: str) -> Frame:
        """A frame of *graph* in which nothing has happened; its first ready nodes are in the news."""
        size = len(graph.rows)
        frame = cls(
            graph, layout, inputs, prefix, [None] * size, bytearray(size),
            layout.pending.copy(), layout.uses.copy(), layout.calls,
        )  # fmt: skip
        frame.news.ready.extend(layout.ready)
        if layout.selectors:
            frame._open_choices()
        return frame

    def injected(self, name: str) -> Any:
        """The placeholder: resources are not in the frame, each node adds those that it sees."""
        return Inject(name)

    def name(self, index: int) -> str:
        """The node's id."""
        return self.prefix + self.graph.name(index)

    def digest(self, index: int) -> bytes | None:
        """The node's content, if records are compared by it."""
        return None if self.digests is None else self.digests[index]

    def has_settled(self, index: int) -> bool:
        """Whether the node's outcome is known."""
        return self.status[index] > Status.RUNNING

    def chosen(self, index: int) -> int:
        """The call that a node stands for: itself, or what it chose if it is a router that chose a single call."""
        while isinstance(self.graph.rows[index], Junction):
            route = self.choices[index].route
            if route is None or not isinstance(route.operand, int):
                break
            index = route.operand
        return index

    def calls_in(self, index: int) -> set[int]:
        """The calls that a node stands for: itself, or all those in what it chose if it is a router."""
        found: set[int] = set()
        pending = [index]
        while pending:
            index = pending.pop()
            if not isinstance(self.graph.rows[index], Junction):
                found.add(index)
                continue
            route = self.choices[index].route
            pending.extend(() if route is None else route.sources)
        return found

    # -- settling ------------------------------------------------------------------------------------------

    def succeed(self, index: int, value: Any) -> None:
        """Record the value of a call."""
        self.status[index] = Status.SUCCEEDED
        self.values[index] = value if self.uses[index] < 2 else for_several(value)
        self._follow_up(index)

    def read_again(self, sources: Iterable[int]) -> None:
        """Have the values of *sources* be such that one consumer can read each several times."""
        for source in sources:
            self.values[source] = for_several(self.values[source])

    def skip(self, index: int, reason: SkipReason, passed: tuple[Any] | None) -> None:
        """Record that a call is skipped; its consumers get the value in *passed*, if any, in its place."""
        self.status[index] = Status.SKIPPED
        self.reasons[index] = reason
        self.has_gaps = True
        if passed is None:
            self.gone.add(index)
        else:
            self.values[index] = passed[0] if self.uses[index] < 2 else for_several(passed[0])
        self._follow_up(index)

    def fail(self, index: int, error: BaseException | None) -> None:
        """Record that a call failed, or (without an error) was cancelled."""
        self.status[index] = Status.CANCELLED if error is None else Status.FAILED
        if error is not None:
            self.errors[index] = error
        self.has_gaps = True
        self.gone.add(index)
        self._follow_up(index)

    def _follow_up(self, index: int) -> None:
        self.unsettled -= 1
        sources = self.graph.sources[index]
        if len(sources) > PAUSE_EVERY:
            self.backlog.append(iter(sources))
        else:
            self._let_go(sources)
        if self.choices:
            self._wake_consumers(index)
            self._work_off()
            return
        pending = self.pending
        for consumer in self.graph.consumers[index]:
            pending[consumer] -= 1
            if self.tells_ready and not pending[consumer]:
                self.news.ready.append(consumer)

    def _let_go(self, sources: Iterable[int]) -> None:
        """A consumer of each of *sources* has settled."""
        uses, values, holds = self.uses, self.values, self.holds
        for source in sources:  # maybe many, so nothing is called; they have settled, or it would not have
            uses[source] -= 1
            if not uses[source]:
                values[source] = None
                if holds:
                    holds.forget(source)

    def let_go_some(self) -> None:
        """Work off a part of the backlog."""
        part = tuple(islice(self.backlog[-1], PAUSE_EVERY))
        if part:
            self._let_go(part)
        else:
            self.backlog.pop()

    def _wake_consumers(self, index: int) -> None:
        for consumer in self.graph.consumers[index]:
            if consumer in self.choices:
                self.choices[consumer].waiting.discard(index)
                self._agenda.append(consumer)
            else:
                self._count_down(consumer)

    def _count_down(self, index: int) -> None:
        self.pending[index] -= 1
        if self.tells_ready and not self.pending[index] and self.status[index] == Status.PENDING:
            self.news.ready.append(index)

    def _unused(self, index: int) -> None:
        """Nobody needs the node any more: drop its value, or prune it if it has not begun."""
        if self.status[index] > Status.RUNNING:
            self.values[index] = None
            self.holds.forget(index)
        elif index in self.layout.gated and index not in self.wanted:
            self._prune(index)

    # -- routers -------------------------------------------------------------------------------------------

    def _open_choices(self) -> None:
        for router, selectors in self.layout.selectors.items():
            self.choices[router] = Choice(set(selectors))
            self._agenda.append(router)
        self._work_off()

    def _work_off(self) -> None:
        while self._agenda:
            self._advance(self._agenda.popleft())

    def _is_wanted(self, index: int) -> bool:
        return index not in self.layout.gated or index in self.wanted

    def _advance(self, router: int) -> None:
        """Go on with a router, if what it waits for has settled."""
        choice = self.choices[router]
        if choice.waiting or self.has_settled(router) or not self._is_wanted(router):
            return
        if choice.route is None:
            self._choose(router, choice)
        if choice.route is not None and not choice.waiting:
            self._take(router, choice.route)

    def _choose(self, router: int, choice: Choice) -> None:
        junction = self._junction(router)
        selectors = self.layout.selectors[router]
        verdict = self._verdict(selectors, SkipReason.UPSTREAM_DATA)
        if verdict is not None:
            self._settle_router(router, verdict)
            return
        try:
            route = self._route(junction)
        except Exception as error:  # the lookup runs __hash__ and __eq__ of a user's key
            self.news.faults.append((router, error))
            self._settle_router(router, None)
            return
        choice.route = route
        choice.waiting = {source for source in route.sources if not self.has_settled(source)}
        for source in junction.sources:
            if source not in route.sources and source not in selectors:
                self.uses[source] -= 1
                if not self.uses[source]:
                    self._unused(source)
        self._want(route.sources)

    def _route(self, junction: Junction) -> Route:
        key = resolve(junction.selector, self)
        try:
            route = junction.routes.get(key, junction.default)
        except TypeError:  # unhashable
            route = None
        if route is None:
            names = [self.name(source) for source in sources_of(junction.selector)] or [repr(key)]
            raise RouteNotFoundError(key, junction.routes, ", ".join(map(repr, names)))
        return route

    def _verdict(self, sources: Iterable[int], reason: SkipReason) -> SkipReason | None:
        """Why *sources* give no value, if they do not."""
        missing = [source for source in sources if source in self.gone]
        if any(self.is_failure(source) for source in missing):
            return SkipReason.UPSTREAM_FAILED
        return reason if missing else None

    def is_failure(self, index: int) -> bool:
        """Whether the node failed, or did not run because another one did."""
        return (
            self.status[index] in (Status.FAILED, Status.CANCELLED)
            or self.reasons.get(index) is SkipReason.UPSTREAM_FAILED
        )

    def _take(self, router: int, route: Route) -> None:
        """All of the chosen route has settled: it is the router's value, unless some of it was skipped."""
        verdict = self._verdict(route.sources, SkipReason.UPSTREAM_ROUTE)
        if verdict is None and any(self.status[source] == Status.SKIPPED for source in route.sources):
            verdict = SkipReason.UPSTREAM_ROUTE
        if verdict is not None:
            self._settle_router(router, verdict)
            return
        try:
            value = resolve(route.operand, self)
        except Exception as error:  # records in it are made anew by their own constructors
            self.news.faults.append((router, error))
            self._settle_router(router, None)
            return
        self.values[router] = value if self.uses[router] < 2 else for_several(value)
        self.status[router] = Status.SUCCEEDED
        self._leave_router(router)

    def _settle_router(self, router: int, verdict: SkipReason | None) -> None:
        self.has_gaps = True
        self.gone.add(router)
        if verdict is None:
            self.status[router] = Status.FAILED
            self.errors[router] = self.news.faults[-1][1]
        else:
            self.status[router] = Status.SKIPPED
            self.reasons[router] = verdict
        self._leave_router(router)

    def _leave_router(self, router: int) -> None:
        """The router has settled: its sources lose a consumer, its consumers may go on."""
        choice = self.choices[router]
        selectors = self.layout.selectors[router]
        junction = self._junction(router)
        left = junction.sources if choice.route is None else {*choice.route.sources, *selectors}
        for source in left:
            self.uses[source] -= 1
            if not self.uses[source]:
                self._unused(source)
        self._wake_consumers(router)

    def _want(self, sources: Iterable[int]) -> None:
        """A router has chosen: what it chose is needed, with all that this needs."""
        agenda = deque(sources)
        while agenda:
            index = agenda.popleft()
            if self._is_wanted(index) or self.has_settled(index):
                continue
            self.wanted.add(index)
            if index in self.choices:
                agenda.extend(self.layout.selectors[index])
                self._agenda.append(index)
            else:
                agenda.extend(self.graph.sources[index])
                self._count_down(index)

    def _prune(self, index: int) -> None:
        """A node lost its last consumer before it began; what only it needed goes with it."""
        agenda = deque([index])
        while agenda:
            index = agenda.popleft()
            self.has_gaps = True
            self.gone.add(index)
            self.status[index] = Status.SKIPPED
            self.reasons[index] = SkipReason.PRUNED
            if index not in self.choices:
                self.unsettled -= 1
                self.news.pruned.append(index)
            for source in self.graph.sources[index]:
                self.uses[source] -= 1
                if self.uses[source]:
                    continue
                if self.has_settled(source):
                    self.values[source] = None
                    self.holds.forget(source)
                elif source in self.layout.gated and source not in self.wanted:
                    agenda.append(source)

    def _junction(self, router: int) -> Junction:
        junction = self.graph.rows[router]
        assert isinstance(junction, Junction)
        return junction

    def take_news(self) -> News:
        """What has happened since the last time."""
        news = self.news
        self.news = News()
        return news
