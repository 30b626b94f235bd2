"""What a flow means, said a second time: a sequential interpreter of descriptions, to hold the engine against.

Nothing here knows the engine, an event loop, or a schedule. :func:`interpret` says what running a described flow
gives when the run goes on after failures: then the outcome does not depend on the order in which nodes run.

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
  wrong only if the target wants it, or wants something that plainly needs it, and so on.
* as a column, how a map ends is how each of its items ends; a map that has none fails or skips who takes it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal

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
class Meaning:
    """What running a flow gives.

    Attributes:
        value: The value; ``None`` if there is an error.
        errors: Type names of all that went wrong, in no order that matters.
        ran: Names of the calls whose function was called; of a map also ``name[item]``.
        skipped: Names of the others, with their reasons.
        calls: How often the function of each was called.
        undone: Names of the calls that have succeeded and are undone, as something went wrong; of a map
            ``name[item]``.
    """

    value: Any = None
    errors: list[str] = field(default_factory=list)
    ran: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    undone: set[str] = field(default_factory=set)


class NoValueError(Exception):
    """The flow has no value.

    Attributes:
        errors: Type names of what went wrong.
    """

    def __init__(self, errors: list[str]) -> None:
        super().__init__(*errors)
        self.errors = errors


def interpret(flow: Argument) -> Meaning:
    """What running *flow* gives, if the run goes on after failures."""
    meaning = Meaning()
    try:
        meaning.value = _value_of(flow, meaning)
        meaning.undone.clear()
    except NoValueError as reason:
        meaning.errors = reason.errors
    return meaning


def _value_of(flow: Argument, meaning: Meaning) -> Any:
    """The value of *flow*, run for itself: as a run's target, or because a call asked for it."""
    turn = _Turn(meaning)
    members = parts(flow)
    for member in members:
        turn.settle(member)
    for call in all_calls(flow):
        if call not in turn.outcomes:
            meaning.skipped[call.name] = PRUNED
    if any(turn.outcomes[member].is_failure for member in members):
        raise NoValueError(turn.unhandled(members))
    for member in members:
        turn.judge_target(member)
    return turn.filled(flow)


class _Turn:
    """The outcomes of one flow."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self.outcomes: dict[Node, Outcome] = {}
        self.chosen: dict[Node, Argument] = {}
        # Of the nodes that failed by themselves, type names of what went wrong.
        self.errors: dict[Node, list[str]] = {}
        # Of the maps whose items have run, how each of these has ended.
        self.items: dict[Node, list[Done[Any] | Failed]] = {}

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
                case Call():
                    self.outcomes[node] = self._call(node)
        return self.outcomes[node]

    def unhandled(self, members: list[Node]) -> list[str]:
        """What went wrong in nodes that *members* plainly need."""
        plain: dict[Node, None] = {}
        pending = [*members]
        while pending:
            node = pending.pop()
            if node not in plain:
                plain[node] = None
                pending.extend(self._plainly_needed(node))
        return [error for node, errors in self.errors.items() if node in plain for error in errors]

    def _plainly_needed(self, node: Node) -> list[Node]:
        """What *node* has no value without, choices having been made."""
        match node:
            case Call(column=Ended(of=of)) if of not in self.items:
                return [*named_by(node), of]
            case Call():
                return named_by(node)
            case Ended():
                return []
            case Choice():
                return [*parts(node.selector), *parts(self.chosen.get(node))]
            case Fallback():
                return parts(self.chosen[node])

    def judge_target(self, member: Node) -> None:
        """Give a skipped member of the target its value, or say that it has none."""
        outcome = self.outcomes[member]
        if outcome.status == "done":
            return
        behind: Any = member
        while isinstance(self.chosen.get(behind), (Call, Choice, Fallback)):
            behind = self.chosen[behind]
        if self.outcomes[behind].reason != BY_SEQUENCE:
            raise NoValueError(["DependencyMissingError"])
        self.outcomes[member] = Outcome("done", value=(None,))

    def filled(self, argument: Argument) -> Any:
        """*argument* with values in the place of calls and choices."""
        if isinstance(argument, (Call, Choice, Ended, Fallback)):
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
        self.meaning.skipped[call.name] = reason
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
        refusal = self._refusal(call)
        if refusal and not (call.column is not None and refusal == "CapacityError"):
            return self._failed(call, [refusal])  # of a map too, which does not begin then
        if call.column is not None:
            self.meaning.ran.add(call.name)
        args = tuple(self.filled(argument) for argument in call.args)
        if call.column is None:
            try:
                return Outcome("done", value=(self._item(call, call.name, args),))
            except NoValueError as reason:
                return self._failed(call, reason.errors)
        column = self.items[call.column.of] if isinstance(call.column, Ended) else self.filled(call.column)
        if not isinstance(column, (list, tuple)):
            return self._failed(call, ["TypeError"])
        values: list[Any] = []
        errors: list[str] = []
        items = self.items[call] = list[Done[Any] | Failed]()
        for number, value in enumerate(column):
            try:
                if refusal:  # each item asks for itself
                    raise NoValueError([refusal])
                values.append(self._item(call, f"{call.name}[{number}]", (value, *args)))
                items.append(Done(values[-1]))
            except NoValueError as reason:
                values.append(Failed(Exception()))
                items.append(values[-1])
                errors += reason.errors
        return self._failed(call, errors) if errors and not call.collects else Outcome("done", value=(values,))

    def _failed(self, call: Call, errors: list[str]) -> Outcome:
        self.errors[call] = errors
        return Outcome("failed")

    def _refusal(self, call: Call) -> str | None:
        """What is wrong with what *call* claims."""
        amounts = {name: self.filled(amount) for name, amount in call.terms.claims.items()}
        if any(type(amount) is not int for amount in amounts.values()):
            return "ValueError"
        return "CapacityError" if any(amount > CAPACITY[name] for name, amount in amounts.items()) else None

    def _item(self, call: Call, name: str, args: tuple[Any, ...]) -> Any:
        """Call the function, and run the flow that it may return."""
        self.meaning.ran.add(name)
        for attempt in range(1, call.terms.attempts + 1):
            self.meaning.calls[name] += 1
            if call.terms.timeout is not None and call.terms.pause > call.terms.timeout:
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
            self.meaning.calls[name] += call.body.count
        value = perform(call.body, call.name, args)
        if parts(value):
            value = _value_of(value, self.meaning)
        if call.terms.is_undone:
            self.meaning.undone.add(name)
        return value
