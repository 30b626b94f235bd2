"""Real flows built from descriptions: the functions do what the description says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import attrs

from cascade.adapters.cache.inputs import InputCache, MemoryCacheStore
from cascade.model.calls.decorator import task
from cascade.model.calls.signals import signal
from cascade.model.fallbacks import race, settled
from cascade.model.flow import Router, pipeline, sequence
from cascade.model.inputs import Resource, inject, resource
from cascade.model.policies import UNSET
from cascade.model.tasks import Task
from cascade.model.typed.declared import REQUIRED
from cascade.runtime.foundation.task_context import current
from cascade.testing.descriptions import (
    CAPACITY,
    NO_DEFAULT,
    BoomError,
    Call,
    Choice,
    Ended,
    Fallback,
    Node,
    Pause,
    Race,
    Signalled,
    Turns,
    calls_within,
    described,
    parts,
    perform,
)

# Told the id of each node whose function is called, for runs to which nobody listens.
called: ContextVar[Callable[[str], object] | None] = ContextVar("cascade_called", default=None)
# Set by each function, and to be seen by none of the others.
_passed_by: ContextVar[str | None] = ContextVar("cascade_passed_by", default=None)


@attrs.define(eq=False)
class Held:
    """What the resources of random flows give."""

    scope: str
    is_open: bool = True

    def __repr__(self) -> str:
        return f"<held by the {self.scope}>"


@resource(scope="run")
def held_by_run() -> Iterator[Held]:
    """One for the whole run, from a sync provider."""
    held = Held("run")
    yield held
    held.is_open = False


@resource(scope="task")
async def held_by_task(base: Held = inject("held_by_run")) -> AsyncIterator[Held]:  # noqa: B008
    """One for each node, which needs the one of the run."""
    held = Held("task")
    yield held
    assert base.is_open
    held.is_open = False


PROVIDERS: tuple[Resource, ...] = (held_by_run, held_by_task)


@attrs.frozen(eq=False)
class RandomFlow:
    """A random flow that Hypothesis has generated. Its ``repr`` describes it.

    Attributes:
        description: The flow as a value, from which it is built.
    """

    description: Any

    def build(self) -> Any:
        """The flow, built anew, with empty caches."""
        return Builder().build(self.description)

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword settings that a run of it needs: ``providers`` and ``system_resources``."""
        return {"providers": PROVIDERS, "system_resources": dict(CAPACITY)}

    @property
    def signals(self) -> dict[str, tuple[float, Any]]:
        """What is to be sent to a run of it: by name of the signal, the second and the value.

        As :func:`cascade.testing.simulate` takes it.
        """
        bodies = {call.name: call.body for call in calls_within(self.description)}
        return {
            name: (body.moment, body.value)
            for name, body in bodies.items()
            if isinstance(body, Signalled) and body.moment is not None
        }

    def __repr__(self) -> str:
        return f"RandomFlow:\n{described(self.description)}"


class Builder:
    """Makes lazies of one description; a node that is reached twice is made once."""

    def __init__(self) -> None:
        self.made: dict[Node, Any] = {}

    def build(self, description: Any) -> Any:
        """The flow that *description* describes."""
        if isinstance(description, (Call, Choice, Ended, Fallback, Race)):
            if description not in self.made:
                self.made[description] = self._node(description)
            return self.made[description]
        if isinstance(description, (list, tuple)):
            return type(description)(self.build(part) for part in description)
        if isinstance(description, dict):
            return {key: self.build(part) for key, part in description.items()}
        return description

    def _node(self, node: Node) -> Any:
        match node:
            case Choice():
                return self._router(node)
            case Ended():
                return settled(self.build(node.of))
            case Fallback():
                on = Exception if node.covers else ZeroDivisionError
                return self.build(node.tried).or_else(self.build(node.other), on=on)
            case Race():
                return race(*(self.build(contestant) for contestant in node.contestants))
            case Call():
                return self._call(node)

    def _router(self, choice: Choice) -> Any:
        routes = {key: self.build(route) for key, route in choice.routes.items()}
        default = UNSET if choice.default is NO_DEFAULT else self.build(choice.default)
        return Router(self.build(choice.selector), routes, default=default)

    def _call(self, call: Call) -> Any:
        lazy = self._with_policies(call, self._called(call))
        for condition in call.conditions:
            lazy = lazy.run_if(self.build(condition), on_skip=call.on_skip)
        if not call.conditions and call.after and call.on_skip == "skip":
            lazy = lazy.run_if(True, on_skip="skip")
        for other in call.after:
            lazy = sequence([self.build(other), lazy])
        return lazy

    def _called(self, call: Call) -> Any:
        if isinstance(call.body, Signalled):
            default = REQUIRED if call.body.default is ... else call.body.default
            return signal(call.name, Any, default, call.body.timeout)
        made: Any = task_of(call)
        args = [self.build(argument) for argument in call.args]
        injected = {f"held_by_{scope}": inject(f"held_by_{scope}") for scope in call.terms.injects}
        if call.column is not None:
            fixed = {f"fixed_{place}": argument for place, argument in enumerate(args)}
            named = {} if call.terms.name is None else {"name": _of_items(call.terms.name)}
            mapped = made.partial(**fixed, **injected).map(item=self.build(call.column), **named)
            return mapped.with_errors("collect") if call.collects else mapped
        if isinstance(call.body, Turns):
            return made(call.body.count, *args)
        if call.terms.style == "partial":
            return made.partial(**injected)(*args)
        if call.terms.style == "pipeline" and args:
            return pipeline(args[0], [lambda first: made(first, *args[1:], **injected)])
        return made(*args, **injected)

    def _with_policies(self, call: Call, lazy: Any) -> Any:
        if call.terms.name is not None:
            lazy = lazy.with_name(call.terms.name)
        if call.terms.priority:
            lazy = lazy.with_priority(call.terms.priority)
        if call.terms.attempts > 1:
            lazy = lazy.with_retry(call.terms.attempts, delay=0.1)
        if call.terms.timeout is not None:
            lazy = lazy.with_timeout(call.terms.timeout)
        if call.terms.claims:
            lazy = lazy.with_constraints(
                **{name: self.build(amount) for name, amount in call.terms.claims.items()}
            )
        if call.terms.is_cached:
            cache = InputCache(MemoryCacheStore(), key=repr)  # the store is the call's own
            lazy = lazy.with_cache(cache)
        if call.terms.is_undone:
            lazy = lazy.with_undo(undo_of(call))
        return lazy


def undo_of(call: Call) -> Task[..., Any]:
    """A task that undoes *call*, where *call* itself runs: it does nothing."""

    def undo(value: Any) -> None: ...

    async def undo_on_the_loop(value: Any) -> None:
        await anyio.lowlevel.checkpoint()

    name = f"undo_{call.name}"
    if call.terms.mode == "async":
        return task(name=name)(undo_on_the_loop)
    return task(name=name, mode=call.terms.mode)(undo)


def task_of(call: Call) -> Task[..., Any]:
    """A task whose function does what *call* describes, where *call* says."""
    if isinstance(call.body, Turns):
        return _loop_of(call)

    def work(values: Iterable[Any]) -> Any:
        if current().attempt <= call.terms.flaky:
            raise BoomError(call.name)
        given = perform(call.body, call.name, tuple(values))
        return Builder().build(given) if parts(given) else given

    if call.column is not None:

        def for_item(item: Any, **fixed: Any) -> Any:
            _look_around(call, [fixed.pop(f"held_by_{scope}") for scope in call.terms.injects])
            return work((item, *fixed.values()))

        return task(name=call.name, mode="inline" if call.terms.mode == "async" else call.terms.mode)(for_item)
    if call.terms.mode == "async":

        async def on_the_loop(*values: Any, **held: Held) -> Any:
            _look_around(call, held.values())
            await _rest(call.terms.pause)
            return work(values)

        return task(name=call.name)(on_the_loop)

    def sync(*values: Any, **held: Held) -> Any:
        _look_around(call, held.values())
        return work(values)

    return task(name=call.name, mode=call.terms.mode)(sync)


def _loop_of(call: Call) -> Task[..., Any]:
    """A task that returns calls of itself, always the same one, so that turns can be hot."""

    def turn(left: int, *values: Any) -> Any:
        _look_around(call, ())
        return made(left - 1, *values) if left else perform(call.body, call.name, values)

    async def turn_on_the_loop(left: int, *values: Any) -> Any:
        return turn(left, *values)

    made: Any
    if call.terms.mode == "async":
        made = task(name=call.name)(turn_on_the_loop)
    else:
        made = task(name=call.name, mode=call.terms.mode)(turn)
    return made  # type: ignore[no-any-return]  # a task of any signature


def _look_around(call: Call, held: Iterable[Held]) -> None:
    """Tell who listens, and see that all is as it should be for a function that begins."""
    if heard := called.get():
        heard(current().node_id)
    seen = _passed_by.get()
    assert seen is None, f"{call.name} sees the context variable that {seen} has set"
    _passed_by.set(call.name)
    scopes = [each.scope for each in held if each.is_open]
    assert sorted(scopes) == sorted(call.terms.injects), f"{call.name} has {scopes} open"


def _of_items(name: str) -> str:
    return name.replace("{", "{{").replace("}", "}}") + " {item!r}"


async def _rest(pause: Pause | None) -> None:
    """Wait on the clock; some wait no longer when they are cancelled, and go on."""
    if pause is None:
        return
    try:
        await anyio.sleep(pause.seconds)
    except anyio.get_cancelled_exc_class():
        if not pause.swallows:
            raise
