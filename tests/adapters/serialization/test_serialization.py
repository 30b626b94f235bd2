"""Functions, values, context variables and log records on their way to another process."""

from __future__ import annotations

import contextvars
import functools
import importlib
import io
import logging
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import carried
import pytest

import cascade
from cascade.adapters.serialization.calls import FarAttempt, Refusal, Returned, perform
from cascade.adapters.serialization.context import Variables, context_of, places_of, variables_of
from cascade.adapters.serialization.errors import FarError
from cascade.adapters.serialization.functions import check_function, refer, resolve
from cascade.adapters.serialization.logs import (
    Levels,
    apply_levels,
    dump_record,
    handle_record,
    present_levels,
    undoing_configuration,
)
from cascade.adapters.serialization.values import dump_arguments, dumps, named_arguments


def elsewhere(data: bytes, expression: str) -> str:
    """What *expression* gives in another process, where *data* has been unpickled as ``it``."""
    program = f"import pickle, sys; it = pickle.loads(sys.stdin.buffer.read()); print({expression}, end='')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=data,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    return (done.stdout or done.stderr).decode()


def nothing() -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call without arguments."""
    return (), {}


# -- functions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [carried.takes, carried.Holder.method, carried.Holder.static], ids=repr)
def test_a_function_with_a_name_is_sent_by_name(task: Any) -> None:
    reference = refer(task)
    assert reference == ("carried", task.__qualname__)
    assert resolve(reference) is task.func


def local(captured: object) -> cascade.Task[..., Any]:
    @cascade.task(mode="process")
    def hidden(x: int) -> object:
        return captured, x

    return hidden


@pytest.mark.needs("cloudpickle")
def test_a_function_without_importable_name_is_sent_with_its_code() -> None:
    reference = refer(local("captured"))
    assert isinstance(reference, bytes)
    assert elsewhere(reference, "it(1)") == "('captured', 1)"


@pytest.mark.needs("cloudpickle")
def test_tasks_that_such_a_function_uses_go_with_it() -> None:
    @cascade.task
    def inner(x: int) -> int:
        return outer.func(x - 1) if x else 7

    @cascade.task(mode="process")
    def outer(x: int) -> int:
        return inner.func(x)  # type: ignore[no-any-return]

    reference = refer(outer)
    assert isinstance(reference, bytes)
    assert elsewhere(reference, "it(3)") == "7"


@pytest.mark.needs("cloudpickle")
def test_a_function_that_cannot_be_sent_is_named_with_the_remedy() -> None:
    with pytest.raises(
        cascade.GraphError, match=r"^'hidden' cannot be sent .*lock.* pass what it uses as arg"
    ) as caught:
        refer(local(threading.Lock()))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_cloudpickle")
@pytest.mark.parametrize("task", [local(1), cascade.task(mode="process")(lambda: None)], ids=repr)
def test_without_cloudpickle_a_function_needs_an_importable_name(task: cascade.Task[..., Any]) -> None:
    with pytest.raises(
        cascade.GraphError, match=r"defined inside a function.*pip install 'cascade-anyio\[process\]'"
    ):
        check_function(task)
    with pytest.raises(cascade.GraphError, match="cannot run in a worker process"):
        refer(task)


def test_a_function_that_is_not_found_is_refused_with_the_reason() -> None:
    refusal = perform(("carried", "gone"), nothing, Variables(), None)
    assert refusal == Refusal("function", "AttributeError: module 'carried' has no attribute 'gone'")
    assert isinstance(perform(("no_such_module", "f"), nothing, Variables(), None), Refusal)


# -- values ----------------------------------------------------------------------------------------------------


def test_arguments_have_the_names_of_their_parameters() -> None:
    named = named_arguments(carried.takes, (1, 2, 3), {"key": 4, "other": 5})
    assert dict(named) == {"first": 1, "others[0]": 2, "others[1]": 3, "key": 4, "other": 5}


@pytest.mark.parametrize(
    ("args", "kwargs", "name"),
    [
        ((carried.Unpicklable(),), {}, "first"),
        ((1, 2, [carried.Unpicklable()]), {}, r"others\[1\]"),
        ((1,), {"key": carried.Unpicklable()}, "key"),
        ((1,), {"odd": threading.Lock()}, "odd"),
    ],
)
@pytest.mark.parametrize("shares_main", [True, False])
def test_an_argument_that_cannot_be_pickled_is_named_with_the_remedy(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, shares_main: bool
) -> None:
    with pytest.raises(
        TypeError, match=f"^argument '{name}' of 'takes' cannot be sent.*; pass plain data"
    ) as caught:
        dump_arguments(carried.takes, args, kwargs, shares_main=shares_main)
    assert "\n" not in str(caught.value)


def test_what_arguments_share_is_shared_when_they_arrive() -> None:
    shared: list[int] = []
    args, kwargs = pickle.loads(dump_arguments(carried.takes, (shared, shared), {"key": shared}))
    assert args[0] is args[1] is kwargs["key"]


@pytest.mark.needs("cloudpickle")
def test_functions_and_classes_without_importable_name_are_sent_with_their_code() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    data = dumps((lambda point: point.x + 1, Point(2), functools.partial(max, 3)))
    assert elsewhere(data, "it[0](it[1]), it[2](4)") == "3 4"


@pytest.mark.needs("cloudpickle")
def test_an_instance_that_comes_back_has_the_class_that_it_had() -> None:
    class Point: ...

    data = dumps([Point(), Point])
    back = pickle.loads(eval(elsewhere(data, "__import__('cloudpickle').dumps(it)")))
    assert type(back[0]) is back[1] is Point


@pytest.mark.usefixtures("without_cloudpickle")
def test_without_cloudpickle_the_remedy_names_it() -> None:
    with pytest.raises(TypeError, match=r"'first'.*pip install 'cascade-anyio\[process\]'"):
        dump_arguments(carried.takes, (lambda: None,), {})


def test_arguments_that_cannot_be_read_are_refused_with_the_reason() -> None:
    data = dumps(((carried.Unreadable(),), {}))
    refusal = perform(refer(carried.takes), functools.partial(pickle.loads, data), Variables(), None)
    assert refusal == Refusal("arguments", "ValueError: does not come back")


# -- calls -----------------------------------------------------------------------------------------------------


@cascade.task
def where() -> tuple[cascade.TaskContext, float]:
    cascade.checkpoint()
    return cascade.current(), cascade.current().remaining()


def test_a_call_knows_the_attempt_that_it_is() -> None:
    attempt = FarAttempt("run", "node", 2, (3,), float("inf"))
    answer = perform(refer(where), nothing, Variables(), attempt)
    assert isinstance(answer, Returned)
    context, remaining = answer.value
    assert (context.run_id, context.node_id, context.attempt) == ("run", "node", 2)
    assert context.idempotency_key == "run/node@3"
    assert remaining == float("inf")
    assert attempt.is_over


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_whatever_a_function_raises_comes_back(error: BaseException) -> None:
    answer = perform(pickle.dumps(_raise), lambda: ((error,), {}), Variables(), None)
    assert isinstance(answer, FarError)
    near = answer.near("fails")
    assert type(near) is type(error)
    assert near.args == error.args


def _raise(error: BaseException) -> None:
    raise error


# -- context variables -----------------------------------------------------------------------------------------


def test_context_variables_are_found_by_where_they_stand() -> None:
    context = contextvars.Context()
    context.run(carried.number.set, 7)
    sent = pickle.loads(pickle.dumps(variables_of(context)))
    assert context_of(sent)[carried.number] == 7
    assert places_of([carried.number]) == {carried.number: (("carried", "number"),)}


def test_what_cannot_be_sent_of_a_context_stays_and_the_rest_goes() -> None:
    nowhere: contextvars.ContextVar[int] = contextvars.ContextVar("nowhere")
    context = contextvars.Context()
    context.run(nowhere.set, 1)
    context.run(carried.choosy.set, carried.Unpicklable())
    context.run(carried.number.set, 2)
    sent = variables_of(context)
    assert sent.left == {"nowhere": "it is no global of a module", "choosy": "TypeError: stays at home"}
    assert dict(context_of(sent)) == {carried.number: 2}


def test_a_value_that_cannot_be_read_is_left_unset() -> None:
    context = contextvars.Context()
    context.run(carried.choosy.set, carried.Unreadable())
    sent = variables_of(context)
    assert dict(context_of(sent)) == {}
    assert sent.left == {"choosy": "ValueError: does not come back"}


def test_variables_that_are_about_the_event_loop_stay() -> None:
    sniffio = pytest.importorskip("sniffio")
    context = contextvars.Context()
    context.run(sniffio.current_async_library_cvar.set, "trio")
    assert variables_of(context) == Variables()


def test_a_variable_that_is_not_set_says_why_it_was_left() -> None:
    context = contextvars.Context()
    context.run(carried.choosy.set, carried.Unpicklable())
    answer = perform(pickle.dumps(_get_choosy), nothing, variables_of(context), None)
    assert isinstance(answer, FarError)
    error = answer.near("x")
    assert type(error) is LookupError
    assert any("'choosy'" in note and "stays at home" in note for note in error.__notes__)


def _get_choosy() -> object:
    return carried.choosy.get()


# -- log records -----------------------------------------------------------------------------------------------


def record_of(message: object, *args: object, **more: Any) -> logging.LogRecord:
    return logging.getLogger("carried").makeRecord("carried", logging.WARNING, "f", 1, message, args, **more)


def test_a_record_is_handled_by_the_logger_of_its_name(caplog: pytest.LogCaptureFixture) -> None:
    handle_record(dump_record(record_of("%s and %s", 1, carried.Holder, exc_info=None)))
    (record,) = caplog.records
    assert record.args == (1, carried.Holder)
    assert record.getMessage() == f"1 and {carried.Holder}"


@pytest.mark.parametrize("thing", [carried.Unpicklable(), carried.Unreadable(), threading.Lock()], ids=type)
def test_a_record_whose_arguments_do_not_travel_arrives_as_text(
    thing: object, caplog: pytest.LogCaptureFixture
) -> None:
    handle_record(dump_record(record_of("at %s", thing, exc_info=None, extra={"thing": thing, "number": 1})))
    (record,) = caplog.records
    assert record.getMessage() == f"at {thing}"
    assert vars(record)["thing"] == repr(thing)
    assert vars(record)["number"] == 1


def test_a_record_that_cannot_be_formatted_or_shown_arrives(caplog: pytest.LogCaptureFixture) -> None:
    class Silent:
        def __repr__(self) -> str:
            raise ValueError("no")

        def __reduce__(self) -> Any:
            raise TypeError("no")

    handle_record(dump_record(record_of("%s %s", Silent(), exc_info=None)))
    (record,) = caplog.records
    assert record.getMessage() == "'%s %s' with arguments <tuple: its __repr__ raised>"


def test_an_error_arrives_with_its_record(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise FileNotFoundError(2, "gone", "f")
    except FileNotFoundError:
        handle_record(dump_record(record_of("failed", exc_info=sys.exc_info())))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], FileNotFoundError)
    assert record.exc_info[1].filename == "f"
    assert "test_serialization.py" in caplog.text


def test_levels_are_those_of_the_other_process() -> None:
    logger = logging.getLogger("carried.levels")
    before = present_levels()
    try:
        apply_levels(Levels(0, {**before.levels, "carried.levels": logging.ERROR}), before)
        assert logger.level == logging.ERROR
        apply_levels(before, present_levels())
        assert logger.level == logging.NOTSET
    finally:
        apply_levels(before, present_levels())
    assert present_levels() == before


def test_configuration_is_undone() -> None:
    logger, stream = logging.getLogger("carried.configured"), logging.StreamHandler(io.StringIO())
    kept, before = logging.NullHandler(), list(logging.root.handlers)
    logging.root.addHandler(kept)
    try:
        with undoing_configuration():
            logger.addHandler(stream)
            logger.propagate = False
            logging.root.removeHandler(kept)
        assert logger.handlers == []
        assert logger.propagate
        assert kept in logging.root.handlers
    finally:
        logging.root.removeHandler(kept)
    assert logging.root.handlers == before


def test_a_function_is_found_in_a_module_that_another_thread_imports_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As workers do that begin several calls of one module at once."""
    lines = ["import cascade, threading", "threading.is_half.set(); threading.may_go_on.wait(30)"]
    lines += ["@cascade.task", "def count(): return 3"]
    (tmp_path / "half_imported.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    is_half, may_go_on, has_asked = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "is_half", is_half, raising=False)
    monkeypatch.setattr(threading, "may_go_on", may_go_on, raising=False)

    def import_module(name: str) -> Any:
        has_asked.set()
        return importlib.import_module(name)

    def find() -> Any:
        try:
            return resolve(("half_imported", "count"))()
        finally:
            has_asked.set()

    looked_in = SimpleNamespace(import_module=import_module)
    monkeypatch.setattr("cascade.adapters.serialization.functions.importlib", looked_in)
    with ThreadPoolExecutor(2) as pool:
        importing = pool.submit(importlib.import_module, "half_imported")
        assert is_half.wait(30)
        found = pool.submit(find)
        assert has_asked.wait(30)
        may_go_on.set()
        importing.result()
        assert found.result() == 3
