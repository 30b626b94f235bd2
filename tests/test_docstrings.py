"""Public docstrings say what a caller has to know: parameters, values, defaults, errors, cancellation.

Public is what the documented modules export, with all methods and properties whose names have no underscore, and
what those give and take (``GIVEN``). Each test collects everything that is missing, so that one run shows it all.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Final, Literal

import attrs
import docstrings
import pytest
from docstrings import Raised, class_docs, entries, is_ours, own_doc, raised_by_making, resolved, self_attributes

import cascade
from cascade.api import NodeRecord, RunRecord
from cascade.graph.canonical import NotDigestibleError
from cascade.runtime.context.failures import Failure
from cascade.runtime.context.settings import Settings
from cascade.runtime.durability.records import Batch, Closing, Continuation, Entry, Opening, Past, Record
from cascade.runtime.engine.diagnosis import Explanation, RunSnapshot
from cascade.runtime.observation.bus import EventStream, StreamStatistics
from cascade.runtime.observation.outcome_stream import OutcomeStream
from cascade.testing import Happening, RandomFlow, Recorded, Simulation, Trace

MODULES: Final = (
    "cascade", "cascade.api", "cascade.cache", "cascade.control", "cascade.events", "cascade.executors",
    "cascade.observers", "cascade.state", "cascade.testing",
)  # fmt: skip

# Not exported, and yet met by users: public functions return these, and a state backend is called with them.
GIVEN: Final = (
    Settings, EventStream, OutcomeStream, StreamStatistics, RunSnapshot, Explanation, Failure, NotDigestibleError,
    Entry, Continuation, Batch, Record, Opening, Past, Closing,
)  # fmt: skip

# Classes whose instances users get and do not make: their attributes are checked, how to make one is not.
MADE_BY_THE_LIBRARY: Final[Mapping[type, str]] = {
    cascade.Run: "start() makes it",
    cascade.Task: "task() makes it",
    cascade.Partial: "Task.partial() makes it",
    cascade.LazyResult: "the call of a task makes it",
    cascade.Plan: "plan() makes it",
    cascade.Resource: "resource() makes it",
    cascade.TaskContext: "current() makes it",
    cascade.Event: "the engine makes all events",
    BaseException: "the library raises its own errors",
    Enum: "its members are all there is",
    EventStream: "subscribe() makes it",
    OutcomeStream: "Run.stream() makes it",
    StreamStatistics: "EventStream.statistics() makes it",
    RunSnapshot: "Run.status() makes it",
    Explanation: "Run.explain() makes it",
    Failure: "the engine makes it",
    Entry: "the engine makes it",
    Continuation: "the engine makes it",
    Batch: "the engine makes it",
    Opening: "the engine makes it",
    Closing: "the engine makes it",
    RunRecord: "recorded_run() makes it",
    NodeRecord: "recorded_run() makes it",
    RandomFlow: "flows() makes it",
    Recorded: "record_events() makes it",
    Simulation: "simulate() makes it",
    Happening: "simulate() makes it",
    Trace: "simulate() makes it",
}

# Errors that the code seems to raise and cannot.
NEVER_RAISED: Final = {
    ("cascade.Engine.overriding", "ValueError"): "about a scope, which is that of a resource, so a valid one",
    ("cascade.Engine.register", "ValueError"): "about a scope, and none is given",
    ("cascade.dry_run", "ValueError"): "about the format, which is always 'text'",
    ("cascade.control.Rate.per_second", "ValueError"): "about the rate, which was checked when the rule was made",
}


# -- what is public -----------------------------------------------------------------------------------------------


@attrs.frozen
class Subject:
    """A function, a method, a property, or a class as it is called to make an instance.

    Attributes:
        name: As it is shown.
        function: What runs; for a class, the class.
        owner: The class whose method it is.
        docs: The docstrings that may tell of it.
    """

    name: str
    function: Callable[..., Any]
    owner: type | None
    docs: list[str]

    @property
    def is_async(self) -> bool:
        function = inspect.unwrap(self.function)
        if isinstance(function, type):
            return any(hasattr(function, name) for name in ("__aenter__", "__anext__"))
        gives = str(getattr(function, "__annotations__", {}).get("return"))
        return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function) or gives == "Observer"

    def parameters(self) -> Iterator[inspect.Parameter]:
        """What a caller gives. ``**settings`` stand for themselves: their names are those of ``Settings``."""
        function = self.function
        if isinstance(function, type):
            if is_made_elsewhere(function):
                return
            function = getattr(function, "__init__")  # noqa: B009  # mypy takes the plain access for unsound
        written = inspect.unwrap(function)
        if not isinstance(written, types.FunctionType):  # object.__init__
            return
        bare = types.FunctionType(
            written.__code__, written.__globals__, written.__name__, written.__defaults__, written.__closure__
        )
        bare.__kwdefaults__ = written.__kwdefaults__
        yield from (p for p in inspect.signature(bare).parameters.values() if p.name not in ("self", "cls"))

    def types(self) -> dict[str, Any]:
        """The annotations, resolved as far as that works."""
        function = inspect.unwrap(self.function)
        with suppress(NameError, TypeError):
            hints = typing.get_type_hints(function)
            if isinstance(function, type) and not attrs.has(function):
                hints.update(typing.get_type_hints(getattr(function, "__init__")))  # noqa: B009  # the same
            return hints
        return {}

    def errors(self) -> set[type[BaseException]]:
        """What it raises, as far as that can be seen in the code."""
        if isinstance(self.function, type):
            return set() if is_made_elsewhere(self.function) else raised_by_making(self.function)
        return Raised(inspect.unwrap(self.function), self.owner).errors()


def is_made_elsewhere(cls: type) -> bool:
    """Whether users do not make instances of *cls*."""
    return issubclass(cls, tuple(MADE_BY_THE_LIBRARY)) or getattr(cls, "_is_protocol", False)


def public_things() -> dict[str, Any]:
    """Classes and functions by their public name, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for module in MODULES:
        imported = importlib.import_module(module)
        for name in imported.__all__:
            try:
                thing = getattr(imported, name)
            except ImportError:  # an extra is not installed; what needs it is checked where it is
                continue
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found.setdefault(id(thing), (f"{module}.{name}", thing))
    for cls in GIVEN:
        found.setdefault(id(cls), (f"{cls.__module__}.{cls.__qualname__}", cls))
    return dict(found.values())


THINGS: Final = public_things()
CLASSES: Final = {name: thing for name, thing in THINGS.items() if isinstance(thing, type)}


def members(name: str, cls: type) -> Iterator[Subject]:
    """The public methods and properties of *cls*, those of base classes of ours included."""
    for member in dir(cls):
        if member.startswith("_") and member != "__call__":
            continue
        homes = [base for base in cls.__mro__ if member in vars(base)]
        if not homes or not is_ours(homes[0]):
            continue
        defined = vars(homes[0])[member]
        if isinstance(defined, (classmethod, staticmethod)):
            function: Any = defined.__func__
        else:
            function = defined.fget if isinstance(defined, property) else defined
        if inspect.isfunction(function):
            docs = [own_doc(getattr(vars(base)[member], "fget", vars(base)[member])) for base in homes]
            yield Subject(f"{name}.{member}", function, homes[0], [doc for doc in docs if doc][:1])


def subjects() -> Iterator[Subject]:
    """Everything public that can be called."""
    for name, thing in THINGS.items():
        if isinstance(thing, type):
            yield Subject(name, thing, None, class_docs(thing))
            yield from members(name, thing)
        else:
            yield Subject(name, thing, None, [own_doc(inspect.unwrap(thing))])


SUBJECTS: Final = tuple(subjects())


# -- what is said of a parameter ----------------------------------------------------------------------------------


def says_default(default: object, said: str) -> bool:
    """Whether *said* tells what a parameter is that is not given. ``False`` is obvious, all else is not."""
    if default is inspect.Parameter.empty or default is False:
        return True
    forms = ["default"]
    if isinstance(default, (bool, str, types.NoneType)):
        forms = [str(default)]
    elif isinstance(default, (int, float)):
        forms = [f"{default:g}", f"{default}", f"{default:,}".replace(",", " ")]
    return "default" in said.lower() and any(form in said for form in forms)


def unsaid_values(kind: object, said: str) -> list[object]:
    """The values of a ``Literal`` that *said* does not name, and ``None`` if it is one and is not named."""
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    values = [value for part in parts if typing.get_origin(part) is Literal for value in typing.get_args(part)]
    return [value for value in [*values, *([None] if types.NoneType in parts else [])] if str(value) not in said]


NUMBERS: Final = (int, float)


def is_number(kind: object) -> bool:
    parts = kind.__args__ if isinstance(kind, types.UnionType) else (kind,)
    return any(part in NUMBERS for part in parts)


def says_range(said: str) -> bool:
    """Whether *said* tells where a number begins or ends."""
    return any(character.isdigit() for character in said) or "positive" in said


def missing_of_parameters(subject: Subject) -> Iterator[str]:
    said = entries(subject.docs, "Args", "Attributes")
    kinds = subject.types()
    for parameter in subject.parameters():
        name, text = parameter.name.lstrip("_"), said.get(parameter.name.lstrip("_"))
        if text is None:
            yield f"{subject.name}: {name} is not described"
            continue
        if not says_default(parameter.default, text):
            yield f"{subject.name}: {name} has the default {parameter.default!r}, which is not explained"
        kind = kinds.get(parameter.name)
        for value in unsaid_values(kind, text):
            yield f"{subject.name}: {name} may be {value!r}, which is not explained"
        if is_number(kind) and not says_range(text):
            yield f"{subject.name}: the range of {name} is not said, nor what 0 means"


# -- the rules ----------------------------------------------------------------------------------------------------


def missing_attributes(name: str, cls: type) -> Iterator[str]:
    said = entries(class_docs(cls), "Args", "Attributes")
    yield from (
        f"{name}.{attribute} is not described" for attribute in self_attributes(cls) if attribute not in said
    )
    if issubclass(cls, Enum):
        yield from (
            f"{name}: {each.value} is not described" for each in cls if str(each.value) not in own_doc(cls)
        )


def named_errors(subject: Subject) -> dict[str, Any]:
    """What stands under *Raises*: the class for each name, or ``None`` if there is none of that name."""
    names = vars(importlib.import_module(inspect.unwrap(subject.function).__module__))
    return {name: resolved(name, names) for name in entries(subject.docs, "Raises")}


def missing_errors(subject: Subject) -> Iterator[str]:
    named = named_errors(subject)
    yield from (f"{subject.name}: there is no error {name!r}" for name, kind in named.items() if kind is None)
    told = tuple(kind for kind in named.values() if kind not in (None, Exception, BaseException))
    untold = {error.__name__ for error in subject.errors() if not issubclass(error, told)}
    for name in sorted(untold):
        if (subject.name, name) not in NEVER_RAISED:
            yield f"{subject.name} raises {name}, which is not said"


def is_silent_about_cancellation(subject: Subject) -> bool:
    return subject.is_async and "cancel" not in "\n".join(subject.docs).lower()


def test_everything_public_has_a_docstring() -> None:
    assert [subject.name for subject in SUBJECTS if not any(subject.docs)] == []


def test_parameters_are_described_with_values_defaults_and_ranges() -> None:
    assert [missing for subject in SUBJECTS for missing in missing_of_parameters(subject)] == []


def test_attributes_are_described() -> None:
    assert [missing for name, cls in CLASSES.items() for missing in missing_attributes(name, cls)] == []


def test_errors_are_named() -> None:
    assert [missing for subject in SUBJECTS for missing in missing_errors(subject)] == []


def test_whatever_awaits_says_what_a_cancellation_does() -> None:
    assert [subject.name for subject in SUBJECTS if is_silent_about_cancellation(subject)] == []


# -- the rules see what is missing --------------------------------------------------------------------------------


def _checked(limit: int) -> int:
    if limit < 1:
        raise ValueError(limit)
    return limit


class Undescribed:
    """A class of which everything is missing.

    Args:
        limit: How many.
        where: Where.
        kind: Of which kind.
    """

    def __init__(self, limit: int, where: str | None = None, kind: Literal["one", "two"] = "one") -> None:
        self.limit = _checked(limit)
        self.extra = (where, kind)

    async def wait(self, seconds: float) -> None:
        """Wait."""


SAMPLE: Final = Subject("Undescribed", Undescribed, None, [own_doc(Undescribed)])
WAIT: Final = Subject("wait", Undescribed.wait, Undescribed, [own_doc(Undescribed.wait)])


def test_a_parameter_that_is_not_explained_is_found() -> None:
    assert list(missing_of_parameters(SAMPLE)) == [
        "Undescribed: the range of limit is not said, nor what 0 means",
        "Undescribed: where has the default None, which is not explained",
        "Undescribed: where may be None, which is not explained",
        "Undescribed: kind has the default 'one', which is not explained",
        "Undescribed: kind may be 'one', which is not explained",
        "Undescribed: kind may be 'two', which is not explained",
    ]
    assert list(missing_of_parameters(WAIT)) == ["wait: seconds is not described"]


def test_an_error_of_a_helper_that_is_not_named_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "is_ours", lambda _: True)

    assert list(missing_errors(SAMPLE)) == ["Undescribed raises ValueError, which is not said"]


def test_silence_about_cancellation_is_found() -> None:
    assert is_silent_about_cancellation(WAIT)


def test_an_attribute_that_is_not_described_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "is_ours", lambda _: True)

    assert list(missing_attributes("Undescribed", Undescribed)) == ["Undescribed.extra is not described"]
