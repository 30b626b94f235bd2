"""The exceptions: what they are, what they carry, and that they travel."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from labels import label
from unshowable import MuteError

import cascade
from cascade.graph.canonical import NotDigestibleError
from cascade.model.errors import LazyUseError
from cascade.model.shown.raised import annotate, describe

ERRORS: list[cascade.CascadeError] = [
    cascade.GraphError("two of a kind"),
    cascade.InputError(["a is missing", "b is bad"]),
    cascade.CapacityError("resize#3", "gb", 8, 4),
    cascade.RouteNotFoundError("x", ["a", "b"], "'pick'"),
    cascade.DependencyMissingError("load", [("load", "UpstreamSkipped_Data"), ("fetch", "ConditionFalse")]),
    cascade.ResourceNotFoundError("db", "load", ["cache"]),
    cascade.TaskTimeoutError("load", 2.5),
    cascade.TaskCancelledError("load"),
    cascade.DeadlockError("inner", "gpu", 2, 1, ["outer", "inner"]),
    cascade.RunCancelled("nightly"),
    cascade.StateError("the disk is full", recorded=3, lost=["a"]),
    cascade.RunInProgressError("it runs", recorded=1),
    cascade.FlowChangedError("nightly", ["a", "b"]),
    cascade.RunFailed("2 failures", [ValueError("a"), KeyError("b")], {"load": 1}),
    NotDigestibleError("x[0]", object),
    LazyUseError("a lazy is no value"),
]
every_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (cascade.GraphError, ValueError),
        (cascade.InputError, ValueError),
        (cascade.CapacityError, ValueError),
        (cascade.RouteNotFoundError, LookupError),
        (cascade.RouteNotFoundError, ValueError),
        (cascade.ResourceNotFoundError, LookupError),
        (cascade.TaskTimeoutError, TimeoutError),
        (cascade.TaskCancelledError, RuntimeError),
        (cascade.DeadlockError, RuntimeError),
        (cascade.RunFailed, ExceptionGroup),
        (cascade.RunInProgressError, cascade.StateError),
        (cascade.FlowChangedError, cascade.StateError),
        (NotDigestibleError, TypeError),
        (LazyUseError, TypeError),
    ],
)
def test_an_error_is_a_builtin_one_too(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)


@every_error
def test_every_error_is_a_cascade_error(error: Exception) -> None:
    assert isinstance(error, cascade.CascadeError)


def _fields(error: BaseException) -> dict[str, Any]:
    return {name: repr(value) for name, value in vars(error).items()}


@every_error
@pytest.mark.parametrize(
    "send",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_an_error_travels_with_all_its_fields(error: Exception, send: Callable[[Any], Any]) -> None:
    arrived = send(error)
    assert (type(arrived), str(arrived), _fields(arrived)) == (type(error), str(error), _fields(error))


@pytest.mark.parametrize("make", [lambda: cascade.GraphError("x"), lambda: cascade.RunFailed("x", [ValueError()])])
def test_an_error_travels_with_its_notes(make: Callable[[], Exception]) -> None:
    error = make()
    error.add_note("in task 'load' of run 'nightly'")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["in task 'load' of run 'nightly'"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ERRORS[1], ["a is missing", "b is bad"]),
        (ERRORS[2], ["'resize#3'", "8 'gb'", "exceeds total system capacity (4)", "system_resources={'gb': ...}"]),
        (ERRORS[3], ["'pick'", "'x'", "'a', 'b'", "default="]),
        (
            ERRORS[4],
            [
                "'load' was skipped (Reason: UpstreamSkipped_Data): a call whose value it needs was skipped;",
                "'fetch' was skipped: its condition (run_if) was false (ConditionFalse)",
            ],
        ),
        (ERRORS[5], ["'load'", "'db'", "cache", "providers=["]),
        (ERRORS[6], ["'load'", "2.5 s"]),
        (ERRORS[8], ["'inner'", "2 'gpu'", "outer -> inner"]),
        (ERRORS[9], ["'nightly'"]),
        (ERRORS[12], ["'nightly'", "'a'", "'b'", 'on_change="recompute"']),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_message_says_what_where_and_what_to_do(error: Exception, words: list[str]) -> None:
    assert [word for word in words if word not in str(error)] == []


def test_a_long_list_of_changed_nodes_is_cut() -> None:
    assert "'n9' and 90 more" in str(cascade.FlowChangedError("r", [f"n{number}" for number in range(100)]))


def test_a_route_error_shows_a_long_key_in_part() -> None:
    assert len(str(cascade.RouteNotFoundError("x" * 10_000, ["a"], "'pick'"))) < 500


# -- RunFailed is a group --------------------------------------------------------------------------------------


def test_except_star_finds_what_is_in_run_failed() -> None:
    found: list[BaseException] = []
    try:
        raise cascade.RunFailed("2 failures", [ValueError("a"), KeyError("b")])
    except* ValueError as group:
        found.extend(group.exceptions)
    except* KeyError:
        pass
    assert [str(error) for error in found] == ["a"]


@pytest.mark.parametrize("part", [0, 1])
def test_both_parts_of_a_split_keep_class_and_results(part: int) -> None:
    failed = cascade.RunFailed("2 failures", [ValueError("a"), KeyError("b")], {"load": 1})
    half: Any = failed.split(ValueError)[part]
    assert (type(half), half.results, len(half.exceptions)) == (cascade.RunFailed, {"load": 1}, 1)


def test_run_failed_without_results_has_none() -> None:
    assert cascade.RunFailed("1 failure", [ValueError("a")]).results == {}


def test_the_results_of_run_failed_are_its_own() -> None:
    results = {"load": 1}
    failed = cascade.RunFailed("1 failure", [ValueError("a")], results)
    results.clear()
    assert failed.results == {"load": 1}


# -- describing and annotating ---------------------------------------------------------------------------------


class Untouchable(Exception):
    def add_note(self, note: str) -> None:
        raise TypeError("no notes")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (KeyError("k"), "KeyError: 'k'"),
        (cascade.GraphError("x"), "GraphError: x"),
    ],
    ids=label,
)
def test_an_error_is_described_by_type_and_message(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_an_error_that_cannot_be_printed_is_described_by_its_type() -> None:
    assert describe(MuteError()).startswith("MuteError: ")


def test_a_note_is_added_once() -> None:
    error = ValueError()
    annotate(error, "note")
    annotate(error, "note")
    assert error.__notes__ == ["note"]


def test_an_error_that_takes_no_notes_is_left_alone() -> None:
    error = Untouchable("x")
    annotate(error, "note")
    assert not hasattr(error, "__notes__")
