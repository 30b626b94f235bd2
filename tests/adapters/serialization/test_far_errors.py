"""Exceptions on their way from one process to another."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import process_tasks
import pytest

import cascade
from cascade.adapters.serialization.errors import FarError


def arrived(error: Exception) -> BaseException:
    """*error* as it is after its way from one process to another."""
    far = pickle.loads(pickle.dumps(FarError.of(error)))
    assert isinstance(far, FarError)
    return far.near("work")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("plain"),
        ImportError("none", name="module"),
        FileNotFoundError(2, "no such file", "f"),
        cascade.TaskTimeoutError("n", 1),
        process_tasks.ApiError(1, "b"),
        process_tasks.CodeError(2),
        process_tasks.RefusedFileError(13, path="p"),
        process_tasks.LockedError(3),
        process_tasks.UnpicklableArgumentError(),
        process_tasks.SlotError(field="f"),
        ExceptionGroup("group", [process_tasks.ApiError(4, "b")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_keep_type_and_text_on_their_way(error: Exception) -> None:
    near = arrived(error)
    assert type(near) is type(error)
    assert str(near) == str(error)


def test_an_exception_whose_text_is_another_each_time_keeps_its_type() -> None:
    assert type(arrived(ValueError(process_tasks.Picklable()))) is ValueError


@pytest.mark.needs("distributed")
def test_exceptions_keep_their_fields_where_a_library_has_registered_another_way_to_pickle_them() -> None:
    import distributed  # noqa: F401  # and with it tblib, for all exception classes there are

    slotted = arrived(process_tasks.SlotError(field="f"))
    assert isinstance(slotted, process_tasks.SlotError)
    assert slotted.field == "f"


def test_exceptions_keep_their_fields_on_their_way() -> None:
    refused = arrived(process_tasks.RefusedFileError(13, path="p"))
    assert isinstance(refused, process_tasks.RefusedFileError)
    assert (refused.errno, refused.filename) == (13, "p")
    slotted = arrived(process_tasks.SlotError(field="f"))
    assert isinstance(slotted, process_tasks.SlotError)
    assert slotted.field == "f"
    locked = arrived(process_tasks.LockedError(3))
    assert isinstance(locked, process_tasks.LockedError)
    assert locked.code == 3
    assert not hasattr(locked, "lock")  # cannot be pickled


def test_an_exception_of_a_group_keeps_its_fields() -> None:
    group = arrived(ExceptionGroup("group", [process_tasks.ApiError(4, "b")]))
    assert isinstance(group, ExceptionGroup)
    (inner,) = group.exceptions
    assert isinstance(inner, process_tasks.ApiError)
    assert inner.body == "b"


def test_an_exception_may_say_what_stands_in_for_it() -> None:
    error = process_tasks.local_error(__reduce__=lambda self: (process_tasks.StandIn, self.args))
    near = arrived(error)
    assert type(near) is process_tasks.StandIn
    assert str(near) == "local text"


@pytest.mark.needs("cloudpickle")
def test_an_exception_of_a_local_class_keeps_it() -> None:
    error: Any = process_tasks.local_error()
    error.number = 1
    error.lock = threading.Lock()
    near: Any = arrived(error)
    assert type(near) is type(error)
    assert near.number == 1
    assert not hasattr(near, "lock")  # cannot be pickled


@pytest.mark.usefixtures("without_cloudpickle")
@pytest.mark.parametrize(
    "error",
    [process_tasks.local_error(), process_tasks.local_error(__reduce__=lambda _: (str, ("no exception",)))],
    ids=["local", "no exception"],
)
def test_what_does_not_arrive_as_an_exception_is_described(error: Exception) -> None:
    near = arrived(error)
    assert type(near) is RuntimeError
    assert "'work' raised LocalError: local text" in str(near)


def test_an_exception_that_only_the_worker_can_unpickle_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    far = FarError.of(process_tasks.ApiError(1, "b"))
    monkeypatch.delattr(process_tasks, "ApiError")
    near = far.near("work")
    assert type(near) is RuntimeError
    assert "'work' raised ApiError: 1: b" in str(near)
