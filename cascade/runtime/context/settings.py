"""The settings of a run, with checks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, TypeVar, get_args

import attrs

from cascade.graph.nodes import Graph
from cascade.model.inputs import Provider, Resource
from cascade.model.pages import Page, as_page
from cascade.model.shown.urls import shown_url
from cascade.model.typed.numbers import plain_number
from cascade.planning.solve import Plan
from cascade.runtime.foundation.executor import Executor
from cascade.runtime.foundation.remote_executor import RemoteExecutor
from cascade.runtime.observation.bus import EventBus, EventStream

Schedule = Literal["stages", "eager"]
OnError = Literal["first", "group", "continue"]
Durability = Literal["task", "stage", "exit"]
OnChange = Literal["error", "recompute", "fork"]
OnFinished = Literal["return", "rerun", "error"]
WhenIdle = Literal["wait", "suspend"]
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
    is_one = value is None or isinstance(value, (str, RemoteExecutor))
    if not is_one and not callable(getattr(value, "execute", None)):
        raise TypeError(
            f"executor is a URL, a RemoteExecutor, or an object with an async method execute(task, args, kwargs), "
            f"not {value!r:.100}"
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
    if sum(hasattr(observer, "trace_run") for observer in value) > 1:
        raise ValueError("more than one of the observers traces the run; give one open_telemetry()")


# More than 12 fields: they are the keyword arguments of ``run``, whose names are fixed and have no groups.
@attrs.frozen(kw_only=True)
class Settings:
    """All settings that ``run``, ``start``, ``run_sync``, ``serve`` and ``Engine`` take.

    Args:
        system_resources: Totals that tasks claim from: resource name to amount, a number from 0. A resource that
            is not named here is unlimited. ``None`` (default): no totals.
        state: Where outcomes are recorded. ``None`` (default): nowhere. Or a URL: ``memory:``,
            ``sqlite:///runs.db`` or ``redis://host:6379/0``. Or a function from run id to
            :class:`~cascade.state.StateBackend`.
        schedule: ``"stages"`` (default): a stage starts when the one before has ended. ``"eager"``: a node starts
            when its own inputs have ended.
        on_error: ``"first"`` (default): cancel the run at the first failure, and raise that failure itself.
            ``"group"``: the same, but raise :class:`~cascade.RunFailed`. ``"continue"``: run everything that does
            not depend on a failure, then raise :class:`~cascade.RunFailed`.
        providers: Resources, or bare generator functions that provide one. By default none.
        observers: Async functions that read the run's events. By default none. Each runs beside the run, is waited
            for at its end for ``cleanup_timeout`` seconds, and is cancelled after that. One that raises is
            detached and reported.
        control: Where control rules come from: a ``ControlPlane``, a ``Connector``, or a URL: ``local:``,
            ``local:PATH``, ``mqtt://HOST`` or ``mqtts://HOST``. ``None`` (default): a new plane without a
            connector.
        executor: What calls the functions of tasks. ``None`` (default): the event loop, worker threads and worker
            processes of this program, as each task's mode says. Or a remote executor, which takes the tasks with
            ``mode="remote"``: a URL, such as ``dask:local?workers=2``, ``dask://HOST:8786``, ``ray:local`` or
            ``ray://HOST:10001``, where ``?tasks=sync`` has it take all sync tasks; or a
            :class:`~cascade.executors.RemoteExecutor`. Or an :class:`~cascade.executors.Executor`, which calls
            all of them.
        solver: A function from graph to :class:`~cascade.Plan` that decides the stages. ``None`` (default): the
            plan with the fewest stages.
        bus: The bus on which events are published, to share it between engines. ``None`` (default): a new one.
        max_threads: Worker threads for sync tasks, at least 1; 40 by default.
        durability: When the outcome of a node must be in the store. ``"task"``: before anything that uses it
            starts. ``"stage"`` (default): before the next stage starts; with ``schedule="eager"``, after at most
            100 ms or 1 000 nodes. ``"exit"``: when the run ends. Without a state this has no effect.
        on_change: What to do if the run was recorded with another flow. ``"error"`` (default): raise
            :class:`~cascade.FlowChangedError`. ``"recompute"``: run what has changed and what depends on it.
            ``"fork"``: the same, as a new run whose id is the old one, ``~`` and a digest.
        on_finished: What to do if a run with this id has already succeeded. ``"return"`` (default): return the
            recorded result. ``"rerun"``: run it again from the start. ``"error"``: raise
            :class:`~cascade.StateError`.
        strict_state: What happens to a result that the store cannot take, for example because it cannot be
            pickled. False (default): a warning is published, and the node runs again on resume. True: its task
            fails.
        loop_record: How often a loop of tail calls is recorded: a pair of a number of turns, at least 1, and a
            number of seconds, at least 0, whichever comes first. (1000, 0.1) by default. With 1 turn or 0 seconds
            every turn is recorded. After a crash the loop goes on from the last recorded turn.
        when_idle: What to do when the run could go on only by signals. ``"wait"`` (default): wait for them.
            ``"suspend"``, which needs a state: end, holding nothing, and raise :class:`~cascade.RunSuspended`; the
            same call goes on with the run once a signal has come.
        cleanup_timeout: Seconds for each wait of the engine when a run ends: all undos together, closing a
            resource, the last write to the store, the last events, the observers. 10 by default, at least 0. What
            takes longer is cancelled and listed in the failures. With 0, whatever has to wait at all is cancelled;
            ``inf`` sets no limit. Tasks and threads are waited for without a limit; one that takes longer than
            this is reported.
        page: A page that shows the run in a browser and steers it, while it goes on. ``None`` (default): none. Or
            an address, such as ``"127.0.0.1:0"``, where port 0 takes a free one; ``Run.page_link()`` then gives
            links. Or a :class:`~cascade.Page`, which says more. A run inside a task has none of its own.

    Raises:
        TypeError: If a setting has a wrong type.
        ValueError: If a setting is out of range.
    """

    system_resources: Mapping[str, Any] | None = attrs.field(default=None, validator=_check_mapping)
    state: Any = attrs.field(default=None, repr=_shown)
    schedule: Schedule = attrs.field(default="stages", validator=_one_of(*get_args(Schedule)))
    on_error: OnError = attrs.field(default="first", validator=_one_of(*get_args(OnError)))
    providers: Sequence[Resource | Provider] = attrs.field(default=(), converter=_providers)
    observers: Sequence[Observer] = attrs.field(default=(), converter=_observers, validator=_check_observers)
    control: Any = attrs.field(default=None, repr=_shown)
    executor: Executor | RemoteExecutor | str | None = attrs.field(
        default=None, validator=_check_executor, repr=_shown
    )
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
    when_idle: WhenIdle = attrs.field(default="wait", validator=_one_of(*get_args(WhenIdle)))
    cleanup_timeout: float = attrs.field(default=10.0, converter=plain_number, validator=_check_budget)
    page: str | Page | None = attrs.field(default=None, converter=as_page)

    def __attrs_post_init__(self) -> None:
        if self.when_idle == "suspend" and self.state is None:
            raise ValueError('when_idle="suspend" needs a state, from which the run can go on; give state=')


class AsRun(TypedDict, total=False):
    """:class:`Settings` as keyword arguments, for type checkers."""

    system_resources: Mapping[str, Any] | None
    state: Any
    schedule: Schedule
    on_error: OnError
    providers: Sequence[Resource | Provider]
    observers: Sequence[Observer]
    control: Any
    executor: Executor | RemoteExecutor | str | None
    solver: Callable[[Graph], Plan] | None
    bus: EventBus | None
    max_threads: int
    durability: Durability
    on_change: OnChange
    on_finished: OnFinished
    strict_state: bool
    loop_record: tuple[int, float]
    when_idle: WhenIdle
    cleanup_timeout: float
    page: str | Page | None


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


# Checked once: nothing in it can be changed.
_DEFAULTS: Final = Settings()


def settings_of(words: Mapping[str, Any]) -> Settings:
    """The settings that *words* stand for, by name.

    Raises:
        TypeError: If there is no setting of such a name, or a value is of a wrong type.
        ValueError: If a value is out of range.
    """
    names = [field.name for field in attrs.fields(Settings)]
    for word in words:
        if word not in names:
            import difflib  # here, as it is needed for errors only

            alike = difflib.get_close_matches(word, names, n=1)
            remedy = f"did you mean {alike[0]!r}?" if alike else f"there are {', '.join(names)}"
            remedy = _ELSEWHERE.get(word, f"{remedy} (inputs of a flow go into params={{...}})")
            raise TypeError(f"there is no setting {word!r}; {remedy}")
    return Settings(**words) if words else _DEFAULTS


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
