"""What random flows mean: an interpreter of descriptions, written from the contract and not from the engine.

Nothing here knows the engine, an event loop, or a schedule. :func:`meanings` says what running a described flow
may give when the run goes on after failures: then the outcome depends on the order in which nodes run only by who
wins which race.

What it takes from the contract (semantics.md, sections 1, 3, 4, 5):

* everything that the target needs runs, but of a choice only the selector and the chosen route; what else stands
  in the flow is pruned;
* a call is judged once, when all that it names has settled, and the first reason that applies counts;
* a skipped call stands for its sole upstream call's value, if condition or order skipped it, but never where an
  amount to claim is wanted;
* a call is attempted as often as it may be, until an attempt neither fails nor takes too long;
* a description that a call returns is run in its place;
* if anything went wrong, what has succeeded and can be undone is.
* how a node ends can be a value, and another node can stand in for one that fails (section 11). A failure goes
  wrong only if the target wants it, or wants something that plainly needs it, and so on. Then it goes wrong also
  if somebody else could do with it, and whenever that came to be known.
* the error has the values of items that have succeeded, of each map by which it came to that.
* as a column, how a map ends is how each of its items ends; a map that has none fails or skips who takes it.
* a signal has the value that is sent, or its default, or it fails (section 14). It is no function: it is not
  called, and it does not run.

Races (section 13): **any contestant that succeeds may win.** Nothing is assumed of how long anything takes. So a
flow has several meanings, one for each way in which its races can be won, and a run is right if it agrees with one
of them. A race nobody can win has failed if a contestant has, and is skipped otherwise; either way it has ended as
all of its contestants have, and is as certain as they are.

Given the winners, the value, the errors, and all that the target or a winner needs are certain. What only losers
need is not: it may have run, wholly or in part or not at all, or it was pruned. That makes two bounds for what is
done on the way, :attr:`Meaning.certain` and :attr:`Meaning.possible`; nothing that only losers need can change
anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from meaning import Deeds, Meaning

from cascade.model.outcomes import Done, Failed, Skipped
from cascade.model.skip_reasons import SkipReason
from cascade.testing.descriptions import (
    CAPACITY,
    NO_DEFAULT,
    Argument,
    BoomError,
    Call,
    Choice,
    Ended,
    Fallback,
    Node,
    Race,
    Signalled,
    Turns,
    all_calls,
    named_by,
    parts,
    perform,
)

CONDITION_FALSE: Final = "ConditionFalse"
BY_CONDITION: Final = "UpstreamSkipped_Condition"
BY_SEQUENCE: Final = "UpstreamSkipped_Sequence"
BY_ROUTE: Final = "UpstreamSkipped_Route"
BY_DATA: Final = "UpstreamSkipped_Data"
BY_FAILURE: Final = "UpstreamFailed"
PRUNED: Final = "Pruned"


@dataclass(frozen=True)
class Outcome:
    """How a call or choice ended.

    Attributes:
        status: How.
        reason: Why it was skipped.
        value: What its consumers get, boxed; ``None`` if nothing.
    """

    status: Literal["done", "skipped", "failed"]
    reason: str = ""
    value: tuple[Any] | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it failed, or did not run because something else did."""
        return self.status == "failed" or self.reason == BY_FAILURE


@dataclass
class Kept:
    """Names of items that have succeeded, of maps that have failed.

    Attributes:
        certain: Those of maps by whose failure the flow fails.
        possible: Those of all others; a race that has failed has the error of one failure of each contestant.
    """

    certain: set[str] = field(default_factory=set)
    possible: set[str] = field(default_factory=set)

    def add(self, other: Kept) -> None:
        """Add *other*."""
        self.certain |= other.certain
        self.possible |= other.possible


class NoValueError(Exception):
    """The flow has no value.

    Attributes:
        errors: Type names of what went wrong.
        kept: The items whose values the error of the run has nevertheless.
    """

    def __init__(self, errors: list[str], kept: Kept | None = None) -> None:
        super().__init__(*errors)
        self.errors = errors
        self.kept = kept or Kept()


class _Late(str):
    """What goes wrong with a signal that is not sent: the same, however many items of a map wait for it."""

    __slots__ = ()


def _each_once(errors: list[str]) -> list[str]:
    told = {id(error) if isinstance(error, _Late) else object(): error for error in errors}
    return [*told.values()]


def meanings(flow: Argument) -> Iterator[Meaning]:
    """All that running *flow* may give, if the run goes on after failures: one for each way to win its races."""
    path: list[int] = []
    while True:
        winners = _Winners(path)
        yield _interpret(flow, winners)
        while path and path[-1] == winners.most[len(path) - 1]:
            path.pop()
        if not path:
            return
        path[-1] += 1


class _Winners:
    """Who wins each race, as they come up: the way that *path* goes, and then the first way."""

    def __init__(self, path: list[int]) -> None:
        self.path = path
        # At each fork, the number of the last way.
        self.most: list[int] = []
        self._late: dict[Call, _Late] = {}

    def one_of(self, nodes: list[Node]) -> Node:
        """The one that wins of those that may."""
        if len(self.most) == len(self.path):
            self.path.append(0)
        self.most.append(len(nodes) - 1)
        return nodes[self.path[len(self.most) - 1]]

    def late(self, signal: Call) -> str:
        """What goes wrong with *signal* in this way."""
        return self._late.setdefault(signal, _Late("TaskTimeoutError"))


@dataclass
class _Account:
    """What is done on the way: at least, and beyond that perhaps, as only losers need it."""

    certain: Deeds = field(default_factory=Deeds)
    possible: Deeds = field(default_factory=Deeds)


def _interpret(flow: Argument, winners: _Winners) -> Meaning:
    meaning, account = Meaning(), _Account()
    try:
        meaning.value = _value_of(flow, account, winners)
        account.certain.undone.clear()
        account.possible.undone.clear()
    except NoValueError as reason:
        meaning.errors = _each_once(reason.errors)
        account.certain.kept, account.possible.kept = reason.kept.certain, reason.kept.possible
    meaning.certain, meaning.possible = account.certain, account.possible
    return meaning


def _value_of(flow: Argument, account: _Account, winners: _Winners) -> Any:
    """The value of *flow*, run for itself: as a run's target, or because a call asked for it."""
    turn = _Turn(winners)
    members = parts(flow)
    for member in members:
        turn.settle(member)
    turn.enter_into(account, flow, turn.reached_from(members, turn.wanted_by))
    if any(turn.outcomes[member].is_failure for member in members):
        raise NoValueError(turn.unhandled(members), turn.kept_of(members))
    for member in members:
        turn.judge_target(member)
    return turn.filled(flow)


class _Turn:
    """The outcomes of one flow."""

    def __init__(self, winners: _Winners) -> None:
        self.winners = winners
        self.outcomes: dict[Node, Outcome] = {}
        # By choice, fallback and race what it has taken.
        self.chosen: dict[Node, Argument] = {}
        # Of the nodes that failed by themselves, type names of what went wrong.
        self.errors: dict[Node, list[str]] = {}
        # Of the same, what is kept of them.
        self.kept: dict[Node, Kept] = {}
        # Of the maps whose items have run, how each of these has ended.
        self.items: dict[Node, list[Done[Any] | Failed]] = {}
        self.accounts: dict[Call, _Account] = {}

    def enter_into(self, account: _Account, flow: Argument, wanted: dict[Node, None]) -> None:
        """Enter what calls have done into *account*: for certain, if they are *wanted*."""
        for call in all_calls(flow):
            if call not in self.accounts:
                account.certain.skipped.add((call.name, PRUNED))
                continue
            own = self.accounts[call]
            account.possible.add(own.possible)
            if call in wanted:
                account.certain.add(own.certain)
            else:
                account.possible.add(own.certain)
                account.possible.skipped.add((call.name, PRUNED))

    def settle(self, node: Node) -> Outcome:
        """How *node* ends; all that it needs is settled first."""
        if node not in self.outcomes:
            match node:
                case Choice():
                    self.outcomes[node] = self._choice(node)
                case Ended():
                    self.outcomes[node] = self._ended(node)
                case Fallback():
                    self.outcomes[node] = self._fallback(node)
                case Race():
                    self.outcomes[node] = self._race(node)
                case Call():
                    self.accounts[node] = _Account()
                    self.outcomes[node] = self._call(node)
        return self.outcomes[node]

    def unhandled(self, members: list[Node]) -> list[str]:
        """What went wrong in nodes that *members* plainly need."""
        plain = self.reached_from(members, self.plainly_needed_by)
        return [error for node, errors in self.errors.items() if node in plain for error in errors]

    def kept_of(self, members: list[Node]) -> Kept:
        """What is kept if *members* have no value."""
        plain = self.reached_from(members, self.plainly_needed_by)
        found = Kept()
        for node, kept in self.kept.items():
            found.add(kept if node in plain else Kept(possible=kept.certain | kept.possible))
        return found

    def reached_from(self, members: list[Node], step: Callable[[Node], list[Node]]) -> dict[Node, None]:
        """*members*, and all that *step* leads to from them."""
        reached: dict[Node, None] = {}
        pending = [*members]
        while pending:
            node = pending.pop()
            if node not in reached:
                reached[node] = None
                pending.extend(step(node))
        return reached

    def wanted_by(self, node: Node) -> list[Node]:
        """What *node* waits for, choices having been made and races won."""
        match node:
            case Call() | Ended():
                return named_by(node)
            case Choice():
                return [*parts(node.selector), *parts(self.chosen.get(node))]
            case Fallback():
                return [node.tried, *parts(self.chosen[node])]
            case Race():
                return parts(self.chosen.get(node, node.contestants))

    def plainly_needed_by(self, node: Node) -> list[Node]:
        """What *node* has no value without."""
        match node:
            case Call(column=Ended(of=of)) if of not in self.items:
                return [*named_by(node), of]
            case Call():
                return named_by(node)
            case Ended():
                return []
            case Choice():
                return [*parts(node.selector), *parts(self.chosen.get(node))]
            case Fallback() | Race():
                return parts(self.chosen.get(node))

    def judge_target(self, member: Node) -> None:
        """Give a skipped member of the target its value, or say that it has none."""
        outcome = self.outcomes[member]
        if outcome.status == "done":
            return
        behind: Any = member
        while isinstance(self.chosen.get(behind), (Call, Choice, Fallback, Race)):
            behind = self.chosen[behind]
        if self.outcomes[behind].reason != BY_SEQUENCE:
            raise NoValueError(["DependencyMissingError"])
        self.outcomes[member] = Outcome("done", BY_SEQUENCE, (None,))  # which others may have to know

    def filled(self, argument: Argument) -> Any:
        """*argument* with values in the place of calls and choices."""
        if isinstance(argument, (Call, Choice, Ended, Fallback, Race)):
            value = self.outcomes[argument].value
            assert value is not None
            return value[0]
        if isinstance(argument, (list, tuple)):
            return type(argument)(self.filled(part) for part in argument)
        if isinstance(argument, dict):
            return {key: self.filled(part) for key, part in argument.items()}
        return argument

    # -- choices -------------------------------------------------------------------------------------------

    def _choice(self, choice: Choice) -> Outcome:
        selectors = [self.settle(part) for part in parts(choice.selector)]
        if any(selector.is_failure for selector in selectors):
            return Outcome("skipped", BY_FAILURE)
        if any(selector.value is None for selector in selectors):
            return Outcome("skipped", BY_DATA)
        try:
            route = choice.routes.get(self.filled(choice.selector), choice.default)
        except TypeError:  # unhashable
            route = NO_DEFAULT
        if route is NO_DEFAULT:
            self.errors[choice] = ["RouteNotFoundError"]
            return Outcome("failed")
        self.chosen[choice] = route
        outcomes = [self.settle(part) for part in parts(route)]
        if any(outcome.is_failure for outcome in outcomes):
            return Outcome("skipped", BY_FAILURE)
        if any(outcome.status == "skipped" for outcome in outcomes):
            return Outcome("skipped", BY_ROUTE)
        return Outcome("done", value=(self.filled(route),))

    def _fallback(self, fallback: Fallback) -> Outcome:
        """What is taken, with its value, its skip or its failure."""
        fails = self.settle(fallback.tried).is_failure
        self.chosen[fallback] = taken = fallback.other if fails and fallback.covers else fallback.tried
        outcome = self.settle(taken)
        return Outcome("skipped", BY_FAILURE) if outcome.is_failure else outcome

    def _race(self, race: Race) -> Outcome:
        """The value of one that has succeeded, whoever it is."""
        outcomes = {node: self.settle(node) for node in race.contestants}
        able = [node for node, outcome in outcomes.items() if outcome.status == "done"]
        if able:
            self.chosen[race] = winner = self.winners.one_of(able)
            return outcomes[winner]
        if any(outcome.is_failure for outcome in outcomes.values()):
            self.errors[race] = ["RaceFailed"]
            return Outcome("failed")
        return Outcome("skipped", BY_DATA)

    def _ended(self, ended: Ended) -> Outcome:
        outcome = self.settle(ended.of)
        if outcome.is_failure:
            return Outcome("done", value=(Failed(Exception()),))
        if outcome.status == "skipped":
            return Outcome("done", value=(Skipped(SkipReason(outcome.reason)),))
        assert outcome.value is not None
        return Outcome("done", value=(Done(outcome.value[0]),))

    # -- calls ---------------------------------------------------------------------------------------------

    def _call(self, call: Call) -> Outcome:
        for source in named_by(call):
            self.settle(source)
        reason = self._reason(call)
        if reason is None:
            return self._run(call)
        self.accounts[call].certain.skipped.add((call.name, reason))
        may_pass = call.on_skip == "pass" and reason in (CONDITION_FALSE, BY_CONDITION, BY_SEQUENCE)
        return Outcome("skipped", reason, self._passed(call) if may_pass else None)

    def _reason(self, call: Call) -> str | None:
        """Why *call* does not run: the first that applies."""
        of = call.column.of if isinstance(call.column, Ended) else None
        if any(self.outcomes[source].is_failure for source in named_by(call)):
            return BY_FAILURE
        if of is not None and of not in self.items and self.outcomes[of].is_failure:
            return BY_FAILURE
        verdicts = [self._verdict(condition) for condition in call.conditions]
        for reason in (CONDITION_FALSE, BY_CONDITION):
            if reason in verdicts:
                return reason
        if any(self.outcomes[predecessor].status == "skipped" for predecessor in call.after):
            return BY_SEQUENCE
        data = parts(call.data)
        routers = [part for part in data if isinstance(part, (Choice, Fallback))]
        if any(self.outcomes[router].reason == BY_ROUTE for router in routers):
            return BY_ROUTE
        if any(self.outcomes[part].value is None for part in data) or (of is not None and of not in self.items):
            return BY_DATA
        if any(self.outcomes[part].status == "skipped" for part in parts(list(call.terms.claims.values()))):
            return BY_DATA
        return None

    def _verdict(self, condition: Argument) -> str | None:
        if any(self.outcomes[part].status == "skipped" for part in parts(condition)):
            return BY_CONDITION
        return None if self.filled(condition) else CONDITION_FALSE

    def _passed(self, call: Call) -> tuple[Any] | None:
        """The value of the one distinct call upstream, a choice counting as its chosen route."""
        pending = parts(call.data)
        upstream: dict[Node, None] = {}
        while pending:
            part = pending.pop()
            if isinstance(part, (Call, Ended)):
                upstream[part] = None
            elif part in self.chosen and self.outcomes[part].value is not None:
                pending.extend(parts(self.chosen[part]))
            else:
                return None
        if len(upstream) != 1:
            return None
        return self.outcomes[next(iter(upstream))].value

    def _run(self, call: Call) -> Outcome:
        if isinstance(call.body, Signalled):
            return self._signal(call, call.body)
        refusal = self._refusal(call)
        if refusal and not (call.column is not None and refusal == "CapacityError"):
            return self._failed(call, [refusal])  # of a map too, which does not begin then
        args = tuple(self.filled(argument) for argument in call.args)
        if call.column is None:
            try:
                return Outcome("done", value=(self._item(call, call.name, args),))
            except NoValueError as reason:
                return self._failed(call, reason.errors, reason.kept)
        column = self.items[call.column.of] if isinstance(call.column, Ended) else self.filled(call.column)
        if not isinstance(column, (list, tuple)):
            return self._failed(call, ["TypeError"])  # before it begins
        self.accounts[call].certain.ran.add(call.name)
        values: list[Any] = []
        errors: list[str] = []
        kept = Kept()
        items = self.items[call] = list[Done[Any] | Failed]()
        for number, value in enumerate(column):
            try:
                if refusal:  # each item asks for itself
                    raise NoValueError([refusal])
                values.append(self._item(call, f"{call.name}[{number}]", (value, *args)))
                items.append(Done(values[-1]))
                kept.certain.add(f"{call.name}[{number}]")
            except NoValueError as reason:
                values.append(Failed(Exception()))
                items.append(values[-1])
                errors += reason.errors
                kept.add(reason.kept)
        if errors and not call.collects:
            return self._failed(call, errors, kept)
        return Outcome("done", value=(values,))

    def _signal(self, call: Call, signal: Signalled) -> Outcome:
        if signal.moment is not None:
            return Outcome("done", value=(signal.value,))
        if signal.default is ...:
            return self._failed(call, [self.winners.late(call)])
        return Outcome("done", value=(signal.default,))

    def _failed(self, call: Call, errors: list[str], kept: Kept | None = None) -> Outcome:
        self.errors[call] = errors
        self.kept[call] = kept or Kept()
        return Outcome("failed")

    def _refusal(self, call: Call) -> str | None:
        """What is wrong with what *call* claims."""
        amounts = {name: self.filled(amount) for name, amount in call.terms.claims.items()}
        if any(type(amount) is not int for amount in amounts.values()):
            return "ValueError"
        return "CapacityError" if any(amount > CAPACITY[name] for name, amount in amounts.items()) else None

    def _item(self, call: Call, name: str, args: tuple[Any, ...]) -> Any:
        """Call the function, and run the flow that it may return."""
        deeds = self.accounts[call].certain
        deeds.ran.add(name)
        for attempt in range(1, call.terms.attempts + 1):
            deeds.calls[name] += 1
            if _is_late(call):
                error = "TaskTimeoutError"
            elif attempt <= call.terms.flaky or self._raises(call, args):
                error = "BoomError"
            else:
                return self._value(call, name, args)
        raise NoValueError([error])

    def _raises(self, call: Call, args: tuple[Any, ...]) -> bool:
        try:
            perform(call.body, call.name, args)
        except BoomError:
            return True
        return False

    def _value(self, call: Call, name: str, args: tuple[Any, ...]) -> Any:
        """What the last attempt gives."""
        if isinstance(call.body, Turns):
            self.accounts[call].certain.calls[name] += call.body.count
        value = perform(call.body, call.name, args)
        if parts(value):
            value = _value_of(value, self.accounts[call], self.winners)
        if call.terms.is_undone:
            self.accounts[call].certain.undone.add(name)
        return value


def _is_late(call: Call) -> bool:
    """Whether an attempt takes longer than it may."""
    pause, timeout = call.terms.pause, call.terms.timeout
    return pause is not None and timeout is not None and pause.seconds > timeout
