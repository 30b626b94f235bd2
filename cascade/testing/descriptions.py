"""Descriptions of flows: values that say what a flow does, for interpreting and for building.

Nothing here knows the engine or an event loop. A flow is described by :class:`Call`, :class:`Choice`,
:class:`Ended`, :class:`Fallback` and :class:`Race` objects, plain values, and lists, tuples and dicts of them.
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


@dataclass(frozen=True)
class Signalled:
    """Is no function, but a signal: its value is sent, or it stops waiting and has its default.

    Attributes:
        value: What is sent.
        moment: Seconds from the beginning of the run to when it is sent; ``None`` if it is not. It is less than
            *timeout*, so that the value comes in time whenever the signal comes to be wanted.
        timeout: Seconds that it is waited for.
        default: Its value after that; ``...`` if it fails.
    """

    value: object
    moment: float | None
    timeout: float
    default: object = ...


Body = Give | Echo | Pack | Fail | Ask | Turns | Tell | Signalled
Scope = Literal["run", "task"]
Mode = Literal["thread", "inline", "async"]
# What there is to claim from.
CAPACITY: Final[Mapping[str, int]] = {"gpu": 2, "memory": 3}
Argument = Any  # a Node, a plain value, or a list, tuple or dict (its values) of arguments


@dataclass(frozen=True)
class Pause:
    """A wait of an async function, before it does anything.

    Attributes:
        seconds: How long.
        swallows: Whether it catches its cancellation, once; of no consequence.
    """

    seconds: float
    swallows: bool = False


@dataclass(frozen=True, eq=False)
class Terms:
    """How a call is run, and how it is written down.

    Attributes:
        mode: Where its function is run; of no consequence.
        style: How the call is written down; of no consequence.
        pause: How it waits, if it does.
        timeout: Seconds that an attempt may take.
        attempts: How many there may be.
        flaky: How many of them fail, whatever the body says.
        claims: What it claims: names of :data:`CAPACITY` to a number, or to a call that gives it.
        injects: Scopes of the resources that it injects.
        is_cached: Whether its result is kept for later runs of the same flow.
        name: What it is called; of a map, items are called by their own values then. Of no consequence.
        priority: Whether it goes before others that wait for the same; of no consequence.
        is_undone: Whether there is a task that undoes it, which does nothing else.
    """

    mode: Mode = "inline"
    style: Literal["plain", "partial", "pipeline"] = "plain"
    pause: Pause | None = None
    timeout: float | None = None
    attempts: int = 1
    flaky: int = 0
    claims: Mapping[str, Argument] = field(default_factory=dict)
    injects: tuple[Scope, ...] = ()
    is_cached: bool = False
    name: str | None = None
    priority: int = 0
    is_undone: bool = False


class Named:
    """What is shown by its name: all that it is made of would be written out again and again."""

    name: str

    def __repr__(self) -> str:
        return self.name

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(repr(self))  # for Hypothesis


@dataclass(frozen=True, eq=False, repr=False)
class Call(Named):
    """A call of a task of its own, or a signal.

    Attributes:
        name: Name of the task or signal, and id of the node; no two calls in a flow, or in flows that it asks for,
            share one.
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


NO_DEFAULT: Final = object()


@dataclass(frozen=True, eq=False, repr=False)
class Choice(Named):
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


@dataclass(frozen=True, eq=False, repr=False)
class Ended(Named):
    """How a node ends, as a value; only for calls that tell."""

    of: Node
    name: str = "ended"

    def __repr__(self) -> str:
        return f"{self.name} of {self.of!r}"


@dataclass(frozen=True, eq=False, repr=False)
class Fallback(Named):
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


@dataclass(frozen=True, eq=False, repr=False)
class Race(Named):
    """Whichever of several nodes succeeds first; named for those who read."""

    contestants: tuple[Node, ...]
    name: str = "race"


Node = Call | Choice | Ended | Fallback | Race


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
        case Signalled():
            raise AssertionError("nothing is called for a signal")


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
            case Call() | Choice() | Ended() | Fallback() | Race() as node:
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
    if isinstance(node, Race):
        return parts(node.contestants)
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


def calls_within(flow: Argument) -> Iterator[Call]:
    """Every call in *flow*, and in flows that calls ask for."""
    for call in all_calls(flow):
        yield call
        if isinstance(call.body, Ask):
            yield from calls_within(call.body.flow)


def said(call: Call) -> dict[str, Any]:
    """What is said about how *call* is run, apart from where."""
    plain, terms = vars(Terms()), vars(call.terms)
    return {name: value for name, value in terms.items() if name != "mode" and value != plain[name]}


def described(flow: Argument) -> str:
    """*flow* as text, a line for each call and choice, in which names stand for them."""
    lines = [f"target: {flow!r}"]
    for node in sorted(all_nodes(flow), key=lambda node: node.name):
        if not isinstance(node, Ended):
            lines.append(f"{node.name} = {_words(node)}")
        if isinstance(node, Call) and isinstance(node.body, Ask):
            lines += [f"    {line}" for line in described(node.body.flow).splitlines()]
    return "\n".join(lines)


def _words(node: Node) -> str:
    """What *node* is, in words."""
    match node:
        case Call():
            return _words_of_call(node)
        case Ended():
            return repr(node)
        case Fallback():
            kind = "or else" if node.covers else "or, after errors of another kind,"
            return f"{node.tried!r} {kind} {node.other!r}"
        case Race():
            return f"the first of {node.contestants!r}"
        case Choice():
            default = "" if node.default is NO_DEFAULT else f", otherwise {node.default!r}"
            return f"by {node.selector!r} of {node.routes!r}{default}"


def _words_of_call(call: Call) -> str:
    words = [f"{call.terms.mode} {call.body!r} of {call.args!r}"]
    if isinstance(call.body, Signalled):
        words = [repr(call.body)]
    words += [f"for each of {call.column!r}"] if call.column is not None else []
    words += ["collecting failures"] if call.collects else []
    words += [f"if {call.conditions!r} else {call.on_skip}"] if call.conditions else []
    words += [f"after {call.after!r}"] if call.after else []
    words += [f"{name}={value!r}" for name, value in said(call).items()]
    return ", ".join(words)
