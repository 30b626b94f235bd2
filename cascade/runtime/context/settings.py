"""What can be set for a run, checked."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar, get_args

import attrs

from cascade.graph.nodes import Graph
from cascade.model.errors import shown_url
from cascade.model.inputs import Provider, Resource
from cascade.model.typed.numbers import plain_number
from cascade.planning.solve import Plan
from cascade.runtime.foundation.executor import Executor
from cascade.runtime.observation.bus import EventBus, EventStream

Schedule = Literal["stages", "eager"]
OnError = Literal["first", "group", "continue"]
Durability = Literal["task", "stage", "exit"]
OnChange = Literal["error", "recompute", "fork"]
OnFinished = Literal["return", "rerun", "error"]
Observer = Callable[[EventStream], Awaitable[object]]


def _one_of(*words: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in words:
            shown = ", ".join(map(repr, words))
            raise ValueError(f"{attribute.name} is one of {shown}, not {value!r}")

    return check


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is a list, not {value!r:.100}; write {name}=[...]")
    return tuple(value)


def _providers(value: Any) -> tuple[Any, ...]:
    return _listed("providers", value)


def _observers(value: Any) -> tuple[Any, ...]:
    return _listed("observers", value)


def _shown(value: object) -> str:
    return repr(shown_url(value) if isinstance(value, str) else value)


def _check_threads(_: object, __: object, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"max_threads is a whole number from 1, not {value!r}")


def _check_budget(_: object, __: object, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"cleanup_timeout is a number of seconds from 0, not {value!r}")


def _check_loop_record(_: object, __: object, value: Any) -> None:
    turns, seconds = value if isinstance(value, tuple) and len(value) == 2 else (0, 0)
    if not _is_number(turns, int) or turns < 1 or not _is_number(seconds, (int, float)) or not seconds >= 0:
        raise ValueError(
            f"loop_record is a pair of a number of turns from 1 and a number of seconds from 0, not {value!r}"
        )


def _plain_pair(value: Any) -> Any:
    return tuple(map(plain_number, value)) if isinstance(value, tuple) else value


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _check_mapping(_: object, __: object, value: Any) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"system_resources is a mapping from name to amount, not {value!r:.100}")
    for name in value or ():
        if not isinstance(name, str):
            raise TypeError(f"names in system_resources are strings, not {name!r:.100}")


def _check_executor(_: object, __: object, value: Any) -> None:
    if value is not None and not callable(getattr(value, "execute", None)):
        raise TypeError(
            f"executor is an object with an async method execute(task, args, kwargs), not {value!r:.100}"
        )


def _check_solver(_: object, __: object, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"solver is a function from graph to plan, not {value!r:.100}")


def _check_bus(_: object, __: object, value: Any) -> None:
    if value is not None and not isinstance(value, EventBus):
        raise TypeError(f"bus is a cascade.EventBus, not {value!r:.100}")


def _check_observers(_: object, __: object, value: tuple[object, ...]) -> None:
    for observer in value:
        if not callable(observer):
            raise TypeError(f"an observer is an async function over a stream of events, not {observer!r}")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that ``run`` takes besides flow, params and run id.

    Attributes:
        system_resources: Totals that tasks claim from: name to amount.
        state: Where outcomes are recorded: a URL, a factory from run id to backend, or ``None`` for nowhere.
        schedule: ``"stages"``: a stage starts when the one before has ended; ``"eager"``: a node starts when its
            inputs have settled.
        on_error: ``"first"``: abort and raise the first failure itself; ``"group"``: abort and raise
            ``RunFailed``; ``"continue"``: run what does not depend on a failure, then raise ``RunFailed``.
        providers: Resources, or bare generator functions that provide one.
        observers: Async functions over the run's events.
        control: Where rules come from: a ``ControlPlane``, a ``Connector``, or a URL.
        executor: What runs the tasks' functions instead of this process.
        solver: What makes the plan instead of the built-in one.
        bus: Where events are published, to share it between engines.
        max_threads: Worker threads for sync tasks, at least 1.
        durability: When outcomes must be in the store.
        on_change: What to do if a resumed run was recorded with another flow.
        on_finished: What to do if a run with this id has finished already.
        strict_state: Whether a result that cannot be stored fails its task.
        loop_record: After how many turns of a loop of tail calls, or how many seconds, the beginning of a turn is
            recorded, for a loop that is cut short to go on from.
        cleanup_timeout: Seconds for each of the awaits that the engine makes when a run ends.
    """

    system_resources: Mapping[str, Any] | None = attrs.field(default=None, validator=_check_mapping)
    state: Any = attrs.field(default=None, repr=_shown)
    schedule: Schedule = attrs.field(default="stages", validator=_one_of(*get_args(Schedule)))
    on_error: OnError = attrs.field(default="first", validator=_one_of(*get_args(OnError)))
    providers: Sequence[Resource | Provider] = attrs.field(default=(), converter=_providers)
    observers: Sequence[Observer] = attrs.field(default=(), converter=_observers, validator=_check_observers)
    control: Any = attrs.field(default=None, repr=_shown)
    executor: Executor | None = attrs.field(default=None, validator=_check_executor)
    solver: Callable[[Graph], Plan] | None = attrs.field(default=None, validator=_check_solver)
    bus: EventBus | None = attrs.field(default=None, validator=_check_bus)
    max_threads: int = attrs.field(default=40, converter=plain_number, validator=_check_threads)
    durability: Durability = attrs.field(default="stage", validator=_one_of(*get_args(Durability)))
    on_change: OnChange = attrs.field(default="error", validator=_one_of(*get_args(OnChange)))
    on_finished: OnFinished = attrs.field(default="return", validator=_one_of(*get_args(OnFinished)))
    strict_state: bool = False
    loop_record: tuple[int, float] = attrs.field(
        default=(1000, 0.1), converter=_plain_pair, validator=_check_loop_record
    )
    cleanup_timeout: float = attrs.field(default=10.0, converter=plain_number, validator=_check_budget)


class AsRun(TypedDict, total=False):
    """:class:`Settings` as keyword arguments, for type checkers."""

    system_resources: Mapping[str, Any] | None
    state: Any
    schedule: Schedule
    on_error: OnError
    providers: Sequence[Resource | Provider]
    observers: Sequence[Observer]
    control: Any
    executor: Executor | None
    solver: Callable[[Graph], Plan] | None
    bus: EventBus | None
    max_threads: int
    durability: Durability
    on_change: OnChange
    on_finished: OnFinished
    strict_state: bool
    loop_record: tuple[int, float]
    cleanup_timeout: float


F = TypeVar("F", bound=Callable[..., Any])


# What is said elsewhere, by the name under which it is looked for here.
_ELSEWHERE = {
    "backend": "it is an argument of run_sync, or of anyio.run(..., backend=...)",
    "capacity": "totals of resources are system_resources={...}",
    "concurrency": "say it of a map: .with_concurrency(...), or of a live run: limit(scope, concurrency=...)",
    "engine": "call the engine's own methods: engine.run(...), engine.start(...)",
    "params": "give it to run or start",
    "resources": "totals are system_resources={...}, providers are providers=[...]",
    "retries": "say it of a call: .with_retry(max_attempts=...)",
    "retry": "say it of a call: .with_retry(max_attempts=...)",
    "run_id": "give it to run or start",
    "timeout": "say it of a call: .with_timeout(...), or put the run into anyio.fail_after(...)",
}


def settings_of(words: Mapping[str, Any]) -> Settings:
    """The settings that *words* stand for, by name.

    Raises:
        TypeError: If there is no setting of such a name, or a value is of a wrong type.
        ValueError: If a value is out of range.
    """
    names = [field.name for field in attrs.fields(Settings)]
    for word in words:
        if word not in names:
            alike = difflib.get_close_matches(word, names, n=1)
            remedy = f"did you mean {alike[0]!r}?" if alike else f"there are {', '.join(names)}"
            remedy = _ELSEWHERE.get(word, f"{remedy} (inputs of a flow go into params={{...}})")
            raise TypeError(f"there is no setting {word!r}; {remedy}")
    return Settings(**words)


def shows_settings(function: F) -> F:
    """Have ``help`` show every setting and its default where *function* takes ``**settings``."""
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    settings = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in attrs.fields(Settings)
    ]
    shown: Any = function
    shown.__signature__ = signature.replace(parameters=[*own, *settings])
    return function
