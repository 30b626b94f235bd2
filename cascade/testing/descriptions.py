"""Descriptions of flows: values that say what a flow does, for interpreting and for building.

Nothing here knows the engine or an event loop. A flow is described by :class:`Call`, :class:`Choice`,
:class:`Ended` and :class:`Fallback` objects, plain values, and lists, tuples and dicts of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cascade.model.outcomes import Done, Failed, Skipped


class BoomError(Exception):
    """What a failing call raises."""


@dataclass(frozen=True)
class Give:
    """Returns *value*, whatever the arguments."""

    value: object


@dataclass(frozen=True)
class Echo:
    """Returns its first argument; ``None`` without any."""


@dataclass(frozen=True)
class Pack:
    """Returns its name and all its arguments, so that nothing about them is lost."""


@dataclass(frozen=True)
class Fail:
    """Raises, always or only if the first argument is *on*."""

    on: object = ...


@dataclass(frozen=True, eq=False)
class Ask:
    """Returns another flow, to be run in its place."""

    flow: Any = field(repr=False)


@dataclass(frozen=True)
class Turns:
    """Returns a call of its own task *count* times over, and then packs its name and its arguments."""

    count: int


@dataclass(frozen=True)
class Tell:
    """Says how its first argument ended, an outcome or a list of values and failures, without what went wrong."""


Body = Give | Echo | Pack | Fail | Ask | Turns | Tell
Scope = Literal["run", "task"]
Mode = Literal["thread", "inline", "async"]
# What there is to claim from.
CAPACITY: Final[Mapping[str, int]] = {"gpu": 2, "memory": 3}
Argument = Any  # a Node, a plain value, or a list, tuple or dict (its values) of arguments


@dataclass(frozen=True, eq=False)
class Terms:
    """How a call is run, and how it is written down.

    Attributes:
        mode: Where its function is run; of no consequence.
        style: How the call is written down; of no consequence.
        pause: Seconds that it waits before it does anything; for async functions.
        timeout: Seconds that an attempt may take.
        attempts: How many there may be.
        flaky: How many of them fail, whatever the body says.
        claims: What it claims: names of :data:`CAPACITY` to a number, or to a call that gives it.
        injects: Scopes of the resources that it injects.
        is_cached: Whether its result is kept for later runs of the same flow.
        swallows: Whether it catches its cancellation, once; of no consequence.
        name: What it is called; of a map, items are called by their own values then. Of no consequence.
        priority: Whether it goes before others that wait for the same; of no consequence.
        is_undone: Whether there is a task that undoes it, which does nothing else.
    """

    mode: Mode = "inline"
    style: Literal["plain", "partial", "pipeline"] = "plain"
    pause: float = 0.0
    timeout: float | None = None
    attempts: int = 1
    flaky: int = 0
    claims: Mapping[str, Argument] = field(default_factory=dict)
    injects: tuple[Scope, ...] = ()
    is_cached: bool = False
    swallows: bool = False
    name: str | None = None
    priority: int = 0
    is_undone: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a task of its own.

    Attributes:
        name: Name of the task and id of the node; no two calls in a flow, or in flows that it asks for, share one.
        body: What its function does.
        args: What it is called with; for a map what all items are called with, after their own value.
        conditions: What must be true.
        on_skip: Whether it hands on its sole upstream value when it is skipped.
        after: Calls that must not have been skipped.
        column: For a map: the items, an argument that gives them, or :class:`Ended` of another map, which has an
            outcome for each of its items; ``None`` for a plain call.
        collects: For a map, whether its failures are values.
        terms: How it is run.
    """

    name: str
    body: Body
    args: tuple[Argument, ...] = ()
    conditions: tuple[Argument, ...] = ()
    on_skip: Literal["pass", "skip"] = "pass"
    after: tuple[Call, ...] = ()
    column: Argument | None = None
    collects: bool = False
    terms: Terms = field(default_factory=Terms)

    @property
    def data(self) -> tuple[Argument, ...]:
        """All that it is given."""
        return self.args if self.column is None else (*self.args, self.column)

    def __repr__(self) -> str:
        return self.name

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(self.name)  # Hypothesis would write out all that it is made of, again and again


NO_DEFAULT: Final = object()


@dataclass(frozen=True, eq=False)
class Choice:
    """One of several arguments, chosen by the value of another; named for those who read."""

    selector: Argument
    routes: Mapping[Any, Argument]
    default: Argument = NO_DEFAULT
    name: str = "choice"

    def all_routes(self) -> Iterator[Argument]:
        """The routes, the default included."""
        yield from self.routes.values()
        if self.default is not NO_DEFAULT:
            yield self.default

    def __repr__(self) -> str:
        return self.name

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(self.name)  # Hypothesis would write out all that it is made of, again and again


@dataclass(frozen=True, eq=False)
class Ended:
    """How a node ends, as a value; only for calls that tell."""

    of: Node
    name: str = "ended"

    def __repr__(self) -> str:
        return f"{self.name} of {self.of!r}"

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(repr(self))  # Hypothesis would write out all that it is made of, again and again


@dataclass(frozen=True, eq=False)
class Fallback:
    """A node, and one that stands in for it if it fails; named for those who read.

    Attributes:
        tried: What is tried.
        other: What stands in for it.
        covers: Whether it does so for the errors that there are.
    """

    tried: Node
    other: Node
    covers: bool = True
    name: str = "fallback"

    def __repr__(self) -> str:
        return self.name

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(self.name)  # Hypothesis would write out all that it is made of, again and again


Node = Call | Choice | Ended | Fallback


def perform(body: Body, name: str, args: tuple[Any, ...]) -> Any:
    """What the function of a call does: the user's code, for the interpreter and for real tasks alike."""
    match body:
        case Give(value=value):
            return value
        case Echo():
            return args[0] if args else None
        case Pack():
            return (name, *args)
        case Fail(on=on):
            if on is ... or (args and args[0] == on):
                raise BoomError(name)
            return (name, *args)
        case Turns():
            return (name, *args)
        case Ask(flow=flow):
            return flow
        case Tell():
            return _told(args[0])


def _told(ended: Any) -> Any:
    match ended:
        case list():
            return [_told(value) for value in ended]
        case Done(value=value):
            return "done", value
        case Skipped(reason=reason):
            return "skipped", str(reason)
        case Failed():
            return ("failed",)
        case _:
            return ended


def parts(argument: Argument) -> list[Node]:
    """The distinct nodes that *argument* is or contains, in order; not what stands in these."""
    found: dict[Node, None] = {}
    pending = [argument]
    while pending:
        match pending.pop(0):
            case Call() | Choice() | Ended() | Fallback() as node:
                found[node] = None
            case list() | tuple() as several:
                pending[:0] = several
            case dict() as named:
                pending[:0] = named.values()
    return list(found)


def named_by(node: Node) -> list[Node]:
    """All nodes that *node* mentions, chosen or not."""
    if isinstance(node, Ended):
        return [node.of]
    if isinstance(node, Fallback):
        return [node.tried, node.other]
    if isinstance(node, Choice):
        return [*parts(node.selector), *parts(list(node.all_routes()))]
    return [*parts(node.data), *parts(node.conditions), *node.after, *parts(list(node.terms.claims.values()))]


def all_calls(flow: Argument) -> list[Call]:
    """Every call in *flow*, but not those in flows that it asks for."""
    return [node for node in all_nodes(flow) if isinstance(node, Call)]


def all_nodes(flow: Argument) -> list[Node]:
    """Every node in *flow*, but not those in flows that it asks for."""
    seen: dict[Node, None] = {}
    pending = parts(flow)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen[node] = None
            pending.extend(named_by(node))
    return list(seen)


def said(call: Call) -> dict[str, Any]:
    """What is said about how *call* is run, apart from where."""
    plain, terms = vars(Terms()), vars(call.terms)
    return {name: value for name, value in terms.items() if name != "mode" and value != plain[name]}


def described(flow: Argument) -> str:
    """*flow* as text, a line for each call and choice, in which names stand for them."""
    lines = [f"target: {flow!r}"]
    for call in sorted(all_nodes(flow), key=lambda node: node.name):
        if isinstance(call, Ended):
            continue
        if isinstance(call, Fallback):
            kind = "or else" if call.covers else "or, after errors of another kind,"
            lines.append(f"{call.name} = {call.tried!r} {kind} {call.other!r}")
            continue
        if isinstance(call, Choice):
            default = "" if call.default is NO_DEFAULT else f", otherwise {call.default!r}"
            lines.append(f"{call.name} = by {call.selector!r} of {call.routes!r}{default}")
            continue
        words = [f"{call.name} = {call.terms.mode} {call.body!r} of {call.args!r}"]
        words += [f"for each of {call.column!r}"] if call.column is not None else []
        words += ["collecting failures"] if call.collects else []
        words += [f"if {call.conditions!r} else {call.on_skip}"] if call.conditions else []
        words += [f"after {call.after!r}"] if call.after else []
        words += [f"{name}={value!r}" for name, value in said(call).items()]
        lines.append(", ".join(words))
        if isinstance(call.body, Ask):
            lines += [f"    {line}" for line in described(call.body.flow).splitlines()]
    return "\n".join(lines)
