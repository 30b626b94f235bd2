"""The names and shapes that programs outside the project are written against."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import pytest
from plain_tasks import one

import cascade
from cascade.runtime.context.settings import AsRun, Settings

# More may be added here; nothing may go, or change its meaning.
NAMES = [
    "AttemptStarted", "CapacityError", "CascadeError", "ConnectorConnected", "ConnectorDisconnected",
    "ControlChanged", "DeadlockError", "DependencyMissingError", "Done", "Engine", "EngineWarning", "Env", "Event",
    "EventBus", "EventsDropped", "Failed", "FlowChangedError", "GraphError", "InputError", "LazyResult",
    "LazyUseError", "LoopProgress", "MapFailed", "MappedLazyResult", "NodeEvent", "NodeNotFoundError",
    "NotDigestibleError", "OrElse", "Outcome", "OutcomeOf", "Page", "Param", "Partial", "Plan", "Race",
    "RaceFailed", "Resource", "ResourceAcquired", "ResourceNotFoundError", "ResourceReleased", "Retry",
    "RouteNotFoundError", "Router", "Run", "RunCancelled", "RunFailed", "RunFinished", "RunInProgressError",
    "RunResumed", "RunStarted", "RunSuspended", "SignalAwaited", "SignalReceived", "SkipReason", "Skipped",
    "StageFinished", "StageStarted",
    "StateError", "StateRecorded", "StaticAnalysisWarning", "Task", "TaskBlocked", "TaskCancelledError",
    "TaskContext", "TaskExecutionFinished", "TaskExecutionStarted", "TaskRetrying", "TaskSkipped",
    "TaskTimeoutError", "UndoFinished", "UndoStarted", "WorkerLost", "checkpoint", "current", "dry_run",
    "gather", "inject",
    "override_resource", "pipeline", "plan", "race", "resource", "run", "run_sync", "send", "sequence", "serve",
    "settled", "signal", "start", "task", "visualize",
]  # fmt: skip

# The modules of api.md that exist, and what they must hold.
MODULES = {
    "cascade.cache": [
        "CachePolicy", "CacheStore", "FileExistenceCache", "Hit", "InputCache", "MISS", "MemoryCacheStore",
        "register_digest",
    ],
    "cascade.control": [
        "Attentive", "AudienceChanged", "Concurrency", "Connector", "ConnectorError", "ConnectorRefused",
        "ControlPlane", "ControlRule", "Found", "LocalConnector", "Lost", "Message", "Missed", "MqttConnector",
        "Pause", "Rate", "Subscription",
    ],
    "cascade.events": [
        name
        for name in NAMES
        if isinstance(getattr(cascade, name), type) and issubclass(getattr(cascade, name), cascade.Event)
    ],
    "cascade.executors": [
        "AttemptInfo", "Earlier", "Executor", "KEEP_ABOVE", "KeptValue", "LocalExecutor", "NotMade",
        "ProcessExecutor",
        "Raised", "RemoteCall", "RemoteExecutor", "RemoteOutcome", "Returned", "Stayed", "ValuesLost",
    ],
    "cascade.observers": [
        "LogIds", "human_log", "json_lines", "on_failure", "on_finish", "open_telemetry", "progress", "report",
    ],
    "cascade.state": ["InMemoryStateBackend", "SQLiteStateBackend", "StateBackend"],
    "cascade.testing": ["FaultPlan", "flows", "record_events", "simulate", "virtual_backends"],
}  # fmt: skip

# Libraries that are imported only where they are asked for.
OPTIONAL = {
    "cattrs",
    "h11",
    "hypothesis",
    "opentelemetry",
    "paho",
    "pydantic",
    "redis",
    "rich",
    "sqlite3",
    "trio",
    "uvloop",
}


def test_cascade_exports_these_names_and_no_others() -> None:
    assert sorted(cascade.__all__) == sorted(NAMES)


def test_looking_into_cascade_shows_the_public_names_only() -> None:
    assert dir(cascade) == sorted([*NAMES, *(module.partition(".")[2] for module in MODULES)])


@pytest.mark.parametrize("name", NAMES)
def test_each_exported_name_is_there(name: str) -> None:
    assert getattr(cascade, name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_a_public_module_holds_what_the_contract_names(module: str) -> None:
    if module == "cascade.control":
        pytest.importorskip("paho.mqtt")  # one of its names is there only with that
    imported = importlib.import_module(module)

    assert set(imported.__all__) >= set(MODULES[module])
    for name in imported.__all__:
        assert getattr(imported, name) is not None


@pytest.mark.parametrize("name", [*NAMES, *MODULES])
def test_whatever_is_public_is_explained(name: str) -> None:
    thing = importlib.import_module(name) if name.startswith("cascade.") else getattr(cascade, name)

    # A union has no words of its own.
    parts = [get_origin(part) or part for part in get_args(thing)] or [thing]
    assert all(map(inspect.getdoc, parts))


@pytest.mark.parametrize("module", ["cascade", "cascade.control", "cascade.testing"])
def test_a_name_that_is_not_there_is_an_attribute_error(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
        importlib.import_module(module).nothing  # looking it up is the point


def test_the_types_of_the_package_are_shipped() -> None:
    assert (Path(cascade.__file__).parent / "py.typed").exists()


def imported_by(text: str) -> set[str]:
    """The modules that *text* imports in an interpreter of its own."""
    asking = f"import sys\nbefore = {{*sys.modules}}\n{text}\nprint(*(sys.modules.keys() - before))"
    root = str(Path(cascade.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", asking],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_cascade_imports_no_other_module_of_it_and_no_library() -> None:
    imported = imported_by("import cascade")

    assert {name for name in imported if name.startswith("cascade")} == {"cascade"}
    assert not imported & {"anyio", "asyncio", "attr", "attrs", "dataclasses", "inspect", "typing_extensions"}


def test_making_a_task_imports_nothing_that_runs_it() -> None:
    imported = imported_by("import cascade\n@cascade.task\ndef one() -> int:\n    return 1\none()")

    parts = {".".join(name.split(".")[:2]) for name in imported if name.startswith("cascade")}
    assert parts == {"cascade", "cascade.model"}
    assert not imported & {"asyncio", "difflib", "hashlib", "json", "random", "urllib.parse", *OPTIONAL}


@pytest.mark.parametrize("name", ["run", "Engine"])
def test_what_runs_a_flow_imports_no_event_loop_and_nothing_that_few_flows_need(name: str) -> None:
    imported = imported_by(f"import cascade\ncascade.{name}")

    assert not imported & {
        "anyio.streams.memory", "asyncio", "concurrent.futures", "ctypes", "difflib", "email", "http", "json",
        "logging", "multiprocessing", "pickle", "signal", "socket", "ssl", "subprocess", "tempfile", *OPTIONAL,
    }  # fmt: skip
    assert not {
        name for name in imported if name.startswith(("cascade.adapters", "cascade.testing", "cascade.cli"))
    }


def test_each_name_is_imported_once_from_where_it_is_made() -> None:
    for name in NAMES:
        thing = getattr(cascade, name)
        assert vars(cascade)[name] is thing
        assert thing is getattr(importlib.import_module(cascade._HOMES[name]), name)
    assert sorted(cascade._HOMES) == sorted(cascade.__all__)


# -- signatures --------------------------------------------------------------------------------------------------


def shape(function: Callable[..., Any]) -> str:
    """The signature without annotations, as api.md writes it."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    bare = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return str(bare).replace("<required>", "...").replace("<Unset.UNSET: 'unset'>", "...")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (cascade.plan, "(flow)"),
        (cascade.visualize, "(flow, format='mermaid')"),
        (cascade.dry_run, "(flow)"),
        (cascade.override_resource, "(engine, name, provider)"),
        (cascade.sequence, "(members)"),
        (cascade.pipeline, "(initial, steps)"),
        (cascade.gather, "(*lazies)"),
        (cascade.inject, "(name)"),
        (cascade.checkpoint, "()"),
        (cascade.current, "()"),
        (cascade.Router, "(selector, routes, default=...)"),
        (cascade.Param, "(name, default=..., type=None, description='', *, validate=None, secret=False)"),
        (cascade.Env, "(name, default=..., type=None, *, validate=None, secret=False)"),
        (cascade.LazyResult.with_retry, "(self, max_attempts=3, delay=0.0, backoff=1.0, **more)"),
        (cascade.LazyResult.with_timeout, "(self, seconds)"),
        (cascade.LazyResult.with_cache, "(self, policy)"),
        (cascade.LazyResult.with_constraints, "(self, **amounts)"),
        (cascade.LazyResult.with_cost, "(self, seconds)"),
        (cascade.LazyResult.with_undo, "(self, task)"),
        (cascade.LazyResult.run_if, "(self, condition, on_skip='pass')"),
        (cascade.LazyResult.after, "(self, *lazies)"),
        (cascade.MappedLazyResult.with_concurrency, "(self, limit)"),
        (cascade.Task.map, "(self, /, **columns)"),
        (cascade.Task.partial, "(self, /, **fixed)"),
        (cascade.EventBus.publish, "(self, event)"),
        (cascade.EventBus.subscribe, "(self, *kinds, buffer=256, policy='block')"),
        (cascade.Run.subscribe, "(self, *kinds, buffer=256, policy='block')"),
        (cascade.Run.status, "(self)"),
        (cascade.Run.explain, "(self)"),
        (cascade.Run.cancel, "(self)"),
        (cascade.Run.result, "(self)"),
        (cascade.Engine.register, "(self, provider)"),
        (cascade.Engine.set_capacity, "(self, totals)"),
        (cascade.Engine.run, "(self, flow, /, params=None, *, run_id=None)"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_a_signature_is_that_of_the_contract(function: Callable[..., Any], expected: str) -> None:
    assert shape(function) == expected


def test_the_fields_of_retry_and_their_defaults() -> None:
    defaults = {field.name: field.default for field in attrs.fields(cascade.Retry)}

    assert list(defaults) == ["max_attempts", "delay", "backoff", "max_delay", "jitter", "on"]
    assert cascade.Retry().on == (Exception,)
    assert (defaults["delay"], defaults["backoff"]) == (0.0, 1.0)


def test_a_param_has_name_default_type_and_description() -> None:
    param = cascade.Param("limit", 3, int, "how many")

    assert (param.name, param.default, param.type, param.description) == ("limit", 3, int, "how many")
    assert cascade.Param("word").type is str


# Settings of run, start, run_sync, serve and Engine, with their defaults.
SETTINGS: dict[str, Any] = {
    "system_resources": None,
    "state": None,
    "schedule": "stages",
    "on_error": "first",
    "providers": (),
    "observers": (),
    "control": None,
    "executor": None,
    "solver": None,
    "bus": None,
    "max_threads": 40,
    "durability": "stage",
    "on_change": "error",
    "on_finished": "return",
    "strict_state": False,
    "loop_record": (1000, 0.1),
    "when_idle": "wait",
    "cleanup_timeout": 10.0,
    "page": None,
}
TASK_SETTINGS: dict[str, Any] = {
    "name": None,
    "version": None,
    "mode": None,
    "pure": False,
    "retry": None,
    "timeout": None,
    "cache": None,
    "constraints": None,
    "abandon_on_cancel": False,
}


def defaults_of(function: Callable[..., Any], names: dict[str, Any]) -> dict[str, Any]:
    """Defaults of those of *names* that the signature shows."""
    parameters = inspect.signature(function).parameters
    return {name: parameters[name].default for name in names if name in parameters}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_has_the_default_of_the_contract(setting: str) -> None:
    assert getattr(cascade.Engine().settings, setting) == SETTINGS[setting]


@pytest.mark.parametrize("setting", SETTINGS)
async def test_run_and_start_take_each_setting(setting: str) -> None:
    settings = {setting: SETTINGS[setting]}
    async with cascade.start(one(), **settings) as run:
        started = await run.result()

    assert await cascade.run(one(), **settings) == started == 1


def test_type_checkers_know_every_setting_and_its_type() -> None:
    assert SETTINGS.keys() == attrs.fields_dict(Settings).keys()
    assert get_type_hints(AsRun) == get_type_hints(Settings)


def test_run_sync_takes_every_setting(backend_name: str) -> None:
    assert cascade.run_sync(one(), params={}, backend=backend_name, backend_options={}, **SETTINGS) == 1


@pytest.mark.parametrize("function", [cascade.run, cascade.run_sync, cascade.start, cascade.serve, cascade.Engine])
def test_settings_are_shown_to_those_who_ask_for_the_signature(function: Callable[..., Any]) -> None:
    assert defaults_of(function, SETTINGS) == SETTINGS


@pytest.mark.parametrize("function", [cascade.task])
def test_settings_of_a_task_are_shown_to_those_who_ask_for_the_signature(function: Callable[..., Any]) -> None:
    assert defaults_of(function, TASK_SETTINGS) == TASK_SETTINGS


def test_a_task_takes_every_setting_with_its_default() -> None:
    assert cascade.run_sync(cascade.task(**TASK_SETTINGS)(lambda: 1)()) == 1


@pytest.mark.parametrize("decorator", [cascade.task, cascade.resource])
def test_the_decorators_take_the_function_by_its_name(decorator: Callable[..., Any]) -> None:
    def twice() -> Any:
        return 2

    def numbers() -> Any:
        yield 1

    made: object = decorator(func=twice if decorator is cascade.task else numbers)

    assert isinstance(made, (cascade.Task, cascade.Resource))


async def test_an_unknown_setting_is_a_type_error() -> None:
    settings: dict[str, Any] = {"shcedule": "eager"}
    with pytest.raises(TypeError, match="shcedule"):
        await cascade.run(one(), **settings)


def test_an_unknown_setting_of_a_task_is_a_type_error() -> None:
    settings: dict[str, Any] = {"retires": 3}
    with pytest.raises(TypeError, match="retires"):
        cascade.task(**settings)(lambda: 1)


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("GraphError", ()),
        ("InputError", ()),
        ("LazyUseError", (TypeError, AttributeError)),
        ("NotDigestibleError", (TypeError,)),
        ("CapacityError", (ValueError,)),
        ("RouteNotFoundError", (LookupError, ValueError)),
        ("DependencyMissingError", ()),
        ("ResourceNotFoundError", ()),
        ("TaskTimeoutError", (TimeoutError,)),
        ("TaskCancelledError", (RuntimeError,)),
        ("NodeNotFoundError", (LookupError,)),
        ("DeadlockError", ()),
        ("RunFailed", (ExceptionGroup,)),
        ("RaceFailed", (ExceptionGroup,)),
        ("MapFailed", (ExceptionGroup,)),
        ("RunCancelled", ()),
        ("StateError", ()),
        ("RunInProgressError", ()),
        ("FlowChangedError", ()),
    ],
)
def test_an_error_is_a_cascade_error_and_what_else_the_contract_says(
    name: str, bases: tuple[type[BaseException], ...]
) -> None:
    mro = getattr(cascade, name).__mro__

    assert {cascade.CascadeError, *bases} <= set(mro)


def test_a_cascade_error_is_an_exception() -> None:
    assert issubclass(cascade.CascadeError, Exception)


@pytest.mark.parametrize(
    "reason",
    [
        "ConditionFalse", "UpstreamSkipped_Condition", "UpstreamSkipped_Data", "UpstreamSkipped_Sequence",
        "UpstreamSkipped_Route", "Pruned", "UpstreamFailed", "CacheHit",
    ],
)  # fmt: skip
def test_skip_reasons_are_stable_strings(reason: str) -> None:
    assert cascade.SkipReason(reason) == reason


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODULES if name.count(".") == 1])
def test_modules_are_attributes_of_the_package(name: str) -> None:
    code = f"import cascade; print({name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{name}\n"


def test_what_the_package_does_not_have_is_said_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'cascade' has no attribute 'tsak'"):
        _ = cascade.tsak  # type: ignore[attr-defined]
