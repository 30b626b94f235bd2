"""Secret inputs are shown as ``***`` in all that a run tells."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import process_tasks
import pytest
from leaks import notes_of, texts_in_sqlite, texts_of_events
from observed import observe
from plain_tasks import give

import cascade
from cascade.cache import Hit, InputCache, MemoryCacheStore
from cascade.model.events import as_record
from cascade.model.shown.secrets import redacted
from cascade.testing import MemoryConnector, record_events, simulate

SECRET = "hunter2-of-the-day"
token = cascade.Param("token", secret=True)
vault = cascade.inject("secret")


@cascade.task
def fail(value: Any) -> Any:
    raise ValueError(f"refused: {value!r}")


@cascade.task
async def fail_async(value: Any, label: str = "") -> Any:
    raise LookupError("refused", {"auth": [value]})


@cascade.task(mode="inline")
def late() -> Any:
    return fail(cascade.Param("token", secret=True))


@cascade.task(mode="inline")
def turn(left: int, value: Any) -> Any:
    return turn(left - 1, value) if left else fail(value)


@cascade.task
async def nested(value: Any) -> Any:
    return await cascade.run(fail(value))


@cascade.task(mode="inline")
def without_names(value: Any) -> Any:
    return give.map([value])  # type: ignore[call-arg]  # the mistake


@cascade.task
async def with_own_secret() -> Any:
    return await cascade.run(give(token), {"token": SECRET})


class Unkind:
    """A cache that tells what it was asked."""

    async def check(self, task_id: str, inputs: Any) -> Hit[Any]:
        raise OSError(f"no answer to {inputs}")

    async def save(self, task_id: str, inputs: Any, result: Any) -> None:
        raise OSError(f"no room for {result}")


@cascade.resource
async def opened(secret: Any = vault) -> AsyncIterator[str]:
    raise ConnectionError(f"no entry with {secret}")
    yield ""


@cascade.resource
def secret() -> Iterator[str]:
    yield SECRET


FLOWS: dict[str, Callable[[], Any]] = {
    "result": lambda: give(token),
    "result that contains it": lambda: give({"auth": [f"Bearer {SECRET}", token]}),
    "result that is cut": lambda: give(["." * 85, token, "." * 100]),
    "target": lambda: [token],
    "failure": lambda: fail(token),
    "retries": lambda: fail_async(token).with_retry(3),
    "failing item": lambda: fail.map(value=[token, 2]),
    "failure in a turn": lambda: turn(3, token),
    "failure of a later flow": lambda: late(),
    "failure in a run in a task": lambda: nested(token),
    "secret of a run in a task": lambda: [with_own_secret(), give(token)],
    "cache": lambda: give(token).with_cache(Unkind()),
    "kept in a cache": lambda: give(token).with_cache(InputCache(MemoryCacheStore())),
    "selector": lambda: cascade.Router(token, {"other": 1}),
    "amount": lambda: give(1).with_constraints(gpu=token),
    "resource": lambda: [give(cascade.inject("opened")), give(token)],
    "another parameter": lambda: [token, give(cascade.Param("url"))],
}


@pytest.mark.parametrize("flow", FLOWS)
async def test_nothing_that_a_run_tells_holds_a_secret(flow: str, schedule: Any, tmp_path: Path) -> None:
    params = {"token": SECRET} | ({"url": f"https://x/{SECRET}"} if flow == "another parameter" else {})
    path = tmp_path / "runs.db"
    seen = await observe(
        FLOWS[flow](), params, schedule=schedule, state=f"sqlite:///{path}", providers=[opened, secret]
    )

    shown = texts_of_events(seen.recorded) + notes_of(seen.error) + texts_in_sqlite(path)
    assert SECRET not in shown
    assert "***" in shown
    if isinstance(seen.error, cascade.CascadeError):
        assert SECRET not in str(seen.error)


async def test_the_traceback_from_a_worker_process_holds_no_secret() -> None:
    seen = await observe(process_tasks.fails(token), {"token": SECRET})
    assert "ValueError: ***" in notes_of(seen.error)
    assert SECRET not in texts_of_events(seen.recorded) + notes_of(seen.error)


@pytest.mark.parametrize("on_error", ["group", "continue"])
async def test_failures_that_are_raised_together_hold_no_secret_in_what_is_ours(on_error: Any) -> None:
    seen = await observe([fail(token), fail_async(token)], {"token": SECRET}, on_error=on_error)
    assert isinstance(seen.error, cascade.RunFailed)
    assert SECRET not in texts_of_events(seen.recorded) + notes_of(seen.error)
    # What a task has raised is its own, and reaches the caller as it is.
    assert any(SECRET in str(error) for error in seen.error.exceptions)


async def test_an_error_of_a_user_is_not_rewritten() -> None:
    with pytest.raises(ValueError, match=SECRET):
        await cascade.run(fail(token), {"token": SECRET})


@pytest.mark.parametrize(
    ("given", "pieces"),
    [
        (["a", SECRET], [SECRET]),
        ({"user": "robert", "password": SECRET}, ["robert", SECRET]),
        (SECRET.encode(), [SECRET, SECRET.encode()]),
        (4711, [4711, "4711"]),
    ],
    ids=["list", "mapping", "bytes", "number"],
)
async def test_what_is_in_a_structured_secret_is_hidden_too(given: Any, pieces: list[Any]) -> None:
    param: Any = cascade.Param("token", type=Any, secret=True)
    flow = [give(param), *(fail(piece) for piece in pieces)]
    seen = await observe(flow, {"token": given}, on_error="continue")
    events = seen.recorded.of(cascade.TaskExecutionFinished)
    shown = " ".join(str(event.error or event.result_preview) for event in events)
    assert not any(str(piece).strip("b'") in shown for piece in pieces)


async def test_a_short_secret_is_hidden_where_it_stands_itself() -> None:
    pin: Any = cascade.Param("pin", type=int, secret=True)
    seen = await observe(give(pin), {"pin": "42"})
    (started,) = seen.recorded.of(cascade.RunStarted)
    assert started.params == {"pin": "***"}


async def test_a_secret_environment_variable_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_TEST", SECRET)
    seen = await observe([fail(cascade.Env("CASCADE_TEST", secret=True))])
    assert SECRET not in texts_of_events(seen.recorded)


async def test_a_secret_default_is_hidden() -> None:
    seen = await observe([fail(cascade.Param("token", default=SECRET, secret=True))])
    assert SECRET not in texts_of_events(seen.recorded)


async def test_a_secret_is_hidden_as_it_was_given_and_as_it_was_converted() -> None:
    param: Any = cascade.Param("token", type=bytes.fromhex, secret=True)
    given = SECRET.encode().hex()
    seen = await observe([fail(param), fail(given)], {"token": given}, on_error="continue")
    shown = texts_of_events(seen.recorded)
    assert SECRET not in shown
    assert given not in shown


async def test_parameters_that_no_flow_has_asked_for_yet_are_not_shown() -> None:
    seen = await observe([late(), give(cascade.Param("n", 1))], {"token": SECRET})
    (started,) = seen.recorded.of(cascade.RunStarted)
    assert started.params == {"n": 1}


async def test_other_runs_of_the_engine_hide_nothing_of_it() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        async with engine:
            await engine.run(give(token), {"token": SECRET})
            await engine.run(give(SECRET))
    previews = [event.result_preview for event in recorded.of(cascade.TaskExecutionFinished)]
    assert previews == ["'***'", repr(SECRET)]


async def test_nothing_is_hidden_in_the_block_around_a_run() -> None:
    async with cascade.start(give(token), {"token": SECRET}) as run:
        assert redacted(SECRET) == SECRET
        await run.result()


async def test_a_literal_in_a_call_is_not_secret_of_itself() -> None:
    seen = await observe(give(SECRET))
    assert SECRET in texts_of_events(seen.recorded)


# -- problems of inputs ----------------------------------------------------------------------------------------

NO_INT = (
    "must be int (a whole number, such as 3); what was given is something else (it is secret, so it is not shown)"
)


@pytest.mark.parametrize(
    ("param", "given", "problem"),
    [
        (
            cascade.Param("token", type=int, secret=True),
            SECRET,
            f"parameter 'token' {NO_INT}",
        ),
        (
            cascade.Param("token", secret=True, validate=lambda text: text != SECRET),
            SECRET,
            "parameter 'token' must not be ***: <lambda> refuses it",
        ),
        (
            cascade.Param("token", secret=True, validate=lambda text: int(text, 3)),
            "42",
            "parameter 'token' must not be ***: invalid literal for int() with base 3: '***'",
        ),
        (
            cascade.Param("token", default=1.5, type=int, secret=True),
            None,
            f"the default of parameter 'token' {NO_INT}",
        ),
    ],
)
async def test_a_bad_secret_is_refused_and_not_shown(param: Any, given: str | None, problem: str) -> None:
    with pytest.raises(cascade.InputError) as caught:
        await cascade.run(param, {} if given is None else {"token": given})
    assert caught.value.problems == (problem,)


async def test_a_secret_given_to_the_wrong_parameter_too_is_not_shown() -> None:
    flow = [cascade.Param("limit", type=int), token]
    with pytest.raises(cascade.InputError, match=r"'\*\*\*'$") as caught:
        await cascade.run(flow, {"token": SECRET, "limit": SECRET})
    assert SECRET not in str(caught.value) + repr(caught.value.problems)


async def test_a_call_that_is_refused_inside_a_task_is_told_without_a_secret() -> None:
    with pytest.raises(TypeError, match=r"give\.map\(value=") as caught:
        await cascade.run(without_names(token), {"token": SECRET})
    assert SECRET not in str(caught.value)


async def test_params_that_are_no_mapping_are_not_shown() -> None:
    with pytest.raises(cascade.InputError, match="not of type list"):
        await cascade.run(token, [("token", SECRET)])  # type: ignore[call-overload]  # that is the mistake


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda secret: give(1).with_constraints(gpu=secret), "claim of *** 'gpu'"),
        (lambda secret: give(1).with_constraints(gpu=give(secret)), "claim of *** 'gpu'"),
        (lambda secret: give(1).with_constraints(gpu=give([secret])), "must be a finite number, not [***]"),
    ],
    ids=["amount", "computed amount", "no amount"],
)
async def test_a_claim_that_is_refused_is_told_without_a_secret(make: Callable[[Any], Any], said: str) -> None:
    number: Any = cascade.Param("number", type=int, secret=True)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        await cascade.run(make(number), {"number": 47114711}, system_resources={"gpu": 1})
    assert "47114711" not in str(caught.value)


# -- looking at a run ------------------------------------------------------------------------------------------


async def test_the_status_of_a_run_holds_no_secret() -> None:
    gate = anyio.Event()

    @cascade.task
    async def wait(value: Any) -> None:
        await gate.wait()

    async with cascade.start([fail(token), wait(token)], {"token": SECRET}, on_error="continue") as run:
        async with run.subscribe(cascade.TaskExecutionFinished) as events:
            await events.receive()
        status = run.status()
        gate.set()
        with pytest.raises(cascade.RunFailed):
            await run.result()
    assert status.failures == ("ValueError: refused: '***'",)


async def test_what_others_say_to_a_run_is_told_without_its_secrets() -> None:
    engine = cascade.Engine()
    await engine.control.pause(author=SECRET)
    with record_events(engine) as recorded:
        async with engine.start(give(token), {"token": SECRET}) as run:
            async with run.subscribe(cascade.TaskBlocked) as events:
                await events.receive()
            (why,) = run.explain()
            await run.pause(author=SECRET)
            await run.resume()
            await engine.control.resume()
    assert "***" in str(why)
    assert SECRET not in str(why) + texts_of_events(recorded)
    assert "***" in recorded.of(cascade.ControlChanged)[0].author


async def test_an_error_of_ours_holds_no_secret_where_a_run_is_awaited_by_its_handle() -> None:
    async with cascade.start(cascade.Router(token, {"other": 1}), {"token": SECRET}) as run:
        with pytest.raises(cascade.RouteNotFoundError) as caught:
            await run.result()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("format", ["text", "mermaid", "dot", "json"])
def test_pictures_hold_no_secret(format: Any) -> None:
    flow = [fail(cascade.Param("token", default=SECRET, secret=True)), cascade.Router(token, {1: give(2)})]
    assert SECRET not in cascade.visualize(fail(cascade.Param("token", default=SECRET, secret=True)), format)
    with pytest.raises(cascade.GraphError) as caught:
        cascade.visualize(flow, format)
    assert SECRET not in str(caught.value)


async def test_control_messages_hold_no_secret() -> None:
    connector = MemoryConnector()
    listener = MemoryConnector(connector.broker)
    await listener.connect()
    heard: list[str] = []
    async with listener.subscribe("cascade/#") as messages:
        with pytest.raises(ValueError, match=SECRET):
            await cascade.run(fail(token), {"token": SECRET}, control=connector)
        while not heard or "RunFinished" not in heard[-1]:
            message = await messages.receive()
            heard.append(str(getattr(message, "payload", b""), "utf-8"))
    await listener.disconnect()
    assert "refused: '***'" in "".join(heard)
    assert SECRET not in "".join(heard)


def test_a_trace_of_a_simulation_holds_no_secret() -> None:
    seen = simulate(fail(token).with_retry(2), {"token": SECRET}, seed=1)
    assert SECRET not in str(seen.trace)


async def test_an_observer_that_tells_one_is_reported_without_it() -> None:
    async def talkative(events: Any) -> None:
        raise RuntimeError(f"heard {SECRET}")

    seen = await observe(give(token), {"token": SECRET}, observers=[talkative])
    (warning,) = seen.recorded.of(cascade.EngineWarning)
    assert "RuntimeError: heard ***" in warning.message


# -- cost ------------------------------------------------------------------------------------------------------


async def test_without_secrets_events_hold_the_very_objects() -> None:
    @attrs.frozen
    class Thing:
        name: str

    thing = Thing("x")
    param: Any = cascade.Param("thing", type=Thing)
    seen = await observe(give(param), {"thing": thing})
    (started,) = seen.recorded.of(cascade.RunStarted)
    assert started.params["thing"] is thing
    assert json.loads(json.dumps(as_record(started)))["params"] == {"thing": repr(thing)}
