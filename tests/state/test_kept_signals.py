"""Signals in stores: what was accepted survives the process, and a run that goes on does not wait again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from virtual_time import in_virtual_time, pass_time

import cascade
from cascade.runtime.durability.signal_records import Unreadable, UnstorableError
from cascade.runtime.engine.sending import put_signal
from cascade.state import InMemoryStateBackend
from state.stores import StoreUnderTest

calls: list[str] = []


@cascade.task
async def step(name: str, *values: Any) -> tuple[Any, ...]:
    calls.append(name)
    return (name, *values)


@cascade.task
async def ask(name: str) -> Any:
    return cascade.signal(name, int)


@cascade.task
async def turn(n: int, value: int) -> Any:
    calls.append(f"turn {n}")
    return turn(n + 1, cascade.signal(f"s{n}", int)) if n < 3 else (n, value)


def flow() -> Any:
    return step("ship", step("build"), cascade.signal("n", int))


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


# -- stores by themselves ----------------------------------------------------------------------------------------


async def begun(store: StoreUnderTest, run_id: str = "r") -> Any:
    """The signals of a run that has begun in *store* and is not executed."""
    await cascade.run(step("first"), state=store.state, run_id=run_id)
    return store.open(run_id).signals


async def test_the_first_value_of_a_key_stands(store: StoreUnderTest) -> None:
    signals = await begun(store)
    assert await signals.accept("value:n", (None,)) == (None,)
    assert await signals.accept("value:n", (4,)) == (None,)
    assert await signals.accept("wanted:n", 1.5, replaces=True) == 1.5
    assert await signals.accept("wanted:n", 2.5, replaces=True) == 2.5
    assert await signals.all() == {"value:n": (None,), "wanted:n": 2.5}


async def test_runs_share_no_signals(store: StoreUnderTest) -> None:
    signals, others = await begun(store), await begun(store, "other")
    await signals.accept("value:n", (1,))
    assert await others.all() == {}


async def test_clearing_keeps_signals_which_are_forgotten_by_themselves(store: StoreUnderTest) -> None:
    signals = await begun(store)
    await signals.accept("value:n", (1,))
    await store.open("r").clear()
    assert await signals.all() == {"value:n": (1,)}
    await signals.forget()
    assert await signals.all() == {}


async def test_a_run_that_is_not_there_takes_none(durable: StoreUnderTest) -> None:
    signals = durable.open("unheard of").signals
    assert signals is not None
    with pytest.raises(cascade.StateError, match="no run 'unheard of'"):
        await signals.accept("value:n", (1,))
    assert await signals.all() == {}


async def test_what_cannot_be_pickled_is_refused(durable: StoreUnderTest) -> None:
    signals = await begun(durable)
    with pytest.raises(UnstorableError):
        await signals.accept("value:n", (lambda: None,))
    assert await signals.all() == {}


class Gone:
    """A class that a later process does not have."""


async def test_what_cannot_be_read_hides_nothing_else(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = await begun(durable)
    await signals.accept("value:n", (Gone(),))
    await signals.accept("value:m", (1,))
    monkeypatch.delitem(globals(), "Gone")
    found = await signals.all()
    assert isinstance(found["value:n"], Unreadable)
    assert found["value:m"] == (1,)


# -- runs that go on ---------------------------------------------------------------------------------------------


async def suspended(flow: Any, names: tuple[str, ...], **settings: Any) -> None:
    """Run *flow* until it waits for the signals *names*."""
    with pytest.raises(cascade.RunSuspended) as ended:
        await cascade.run(flow, run_id="r", when_idle="suspend", **settings)
    assert ended.value.signals == tuple(sorted(names))


async def test_a_run_that_waits_for_signals_only_is_suspended_and_goes_on(
    store: StoreUnderTest, schedule: Any
) -> None:
    settings: Any = {"state": store.state, "schedule": schedule}
    await suspended(flow(), ("n",), **settings)
    await suspended(flow(), ("n",), **settings)
    assert calls == ["build"]
    async with cascade.start(flow(), run_id="r", when_idle="suspend", **settings) as run:
        await run.send("n", 4)
        assert await run.result() == ("ship", ("build",), 4)
    assert await cascade.run(flow(), run_id="r", **settings) == ("ship", ("build",), 4)
    assert calls == ["build", "ship"]


async def test_a_suspended_run_says_so(store: StoreUnderTest, schedule: Any) -> None:
    engine = cascade.Engine(state=store.state, schedule=schedule, when_idle="suspend")
    async with engine.subscribe(cascade.RunFinished) as events:
        with pytest.raises(cascade.RunSuspended, match="run 'r' is suspended: it waits for signal 'n'"):
            async with engine.start(flow(), run_id="r") as run:
                with pytest.raises(cascade.RunSuspended):
                    await run.result()
                assert run.status().state == "Suspended"
                raise run.unreported() or cascade.RunSuspended("r", ["n"])
        finished = await events.receive()
    assert isinstance(finished, cascade.RunFinished)
    assert (finished.status, finished.failures, finished.counts["pending"]) == ("Suspended", (), 2)


@pytest.mark.parametrize(
    ("make", "names", "sent", "value"),
    [
        (lambda: step("a", ask("n")), ("n",), {"n": 1}, ("a", 1)),
        (lambda: step("a", *[ask(name) for name in "nm"]), ("n", "m"), {"n": 1, "m": 2}, ("a", 1, 2)),
        (lambda: ask.map(name=["n", "m"]), ("n", "m"), {"n": 1, "m": 2}, [1, 2]),
        (lambda: turn(0, 7), ("s0",), {"s0": 1}, None),
        (lambda: cascade.Router(cascade.signal("n", int), {1: step("a")}), ("n",), {"n": 1}, ("a",)),
    ],
    ids=["subflow", "subflows", "map", "loop", "router"],
)
async def test_flows_of_every_kind_are_suspended(
    make: Callable[[], Any], names: tuple[str, ...], sent: dict[str, Any], value: Any, schedule: Any
) -> None:
    store = InMemoryStateBackend("r")
    settings: Any = {"state": lambda _: store, "schedule": schedule, "loop_record": (1, 0.0)}
    await suspended(make(), names, **settings)
    async with cascade.start(make(), run_id="r", when_idle="suspend", **settings) as run:
        for name, given in sent.items():
            await run.send(name, given)
        if value is not None:
            assert await run.result() == value
            return
        with pytest.raises(cascade.RunSuspended) as ended:
            await run.result()
    assert ended.value.signals == ("s1",)
    assert calls == ["turn 0", "turn 1"]


async def test_a_run_is_not_suspended_while_anything_goes_on(schedule: Any) -> None:
    released = []

    @cascade.task
    async def work() -> int:
        await pass_a_while()
        released.append(1)
        return 1

    async def pass_a_while() -> None:
        from anyio.lowlevel import checkpoint

        for _ in range(50):
            await checkpoint()

    kept = InMemoryStateBackend("r")
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(
            [step("a", cascade.signal("n", int)), step("b", work().with_retry(3))],
            run_id="r", state=lambda _: kept, when_idle="suspend", schedule=schedule,
        )  # fmt: skip
    assert released == [1]
    assert calls == ["b"]


async def test_all_that_a_signal_sets_going_is_done_before_a_run_is_suspended(schedule: Any) -> None:
    kept = InMemoryStateBackend("r")
    settings: Any = {"run_id": "r", "state": lambda _: kept, "when_idle": "suspend", "schedule": schedule}
    flow = [step("c", step("b", ask("n"), ask("n"))), step("d", cascade.signal("m", int))]
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(flow, **settings)
    with pytest.raises(cascade.RunSuspended) as ended:
        async with cascade.start(flow, **settings) as run:
            await run.send("n", 4)
            await run.result()
    assert ended.value.signals == ("m",)
    assert calls == ["b", "c"]


async def test_an_accepted_value_is_written_before_the_sender_is_told(schedule: Any) -> None:
    store = InMemoryStateBackend("r")
    async with cascade.start(flow(), run_id="r", state=lambda _: store, schedule=schedule) as run:
        await run.send("n", "4")
        assert store.signals is not None
        assert (await store.signals.all())["value:n"] == (4,)


async def test_a_suspended_run_gets_values_by_way_of_its_store(durable: StoreUnderTest, schedule: Any) -> None:
    settings: Any = {"state": durable.state, "schedule": schedule}
    await suspended(flow(), ("n",), **settings)
    with pytest.raises(cascade.InputError, match="signal 'n' must be int"):
        await cascade.send("r", "n", "four", state=durable.state)
    run = await cascade.send("r", "n", "4", state=durable.state)
    assert run.status == "suspended"
    await cascade.send("r", "n", 4, state=durable.state)
    with pytest.raises(cascade.InputError, match="is 4 already, and cannot be 5"):
        await cascade.send("r", "n", 5, state=durable.state)
    assert await cascade.run(flow(), run_id="r", **settings) == ("ship", ("build",), 4)
    with pytest.raises(cascade.InputError, match="has succeeded"):
        await cascade.send("r", "n", 4, state=durable.state)
    assert calls == ["build", "ship"]


async def test_a_rerun_waits_again(store: StoreUnderTest, schedule: Any) -> None:
    settings: Any = {"state": store.state, "run_id": "r", "schedule": schedule}
    async with cascade.start(flow(), **settings) as run:
        await run.send("n", 4)
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(flow(), on_finished="rerun", when_idle="suspend", **settings)
    async with cascade.start(flow(), **settings) as run:
        await run.send("n", 5)
        assert await run.result() == ("ship", ("build",), 5)


async def test_a_signal_of_another_type_is_another_flow(store: StoreUnderTest) -> None:
    settings: Any = {"state": store.state, "run_id": "r", "when_idle": "suspend"}
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(step("a", cascade.signal("n", int)), **settings)
    other = step("a", cascade.signal("n", str))
    async with cascade.start(other, on_change="recompute", **settings) as run:
        await run.send("n", "four")
        assert await run.result() == ("a", "four")


@pytest.mark.parametrize("value", ["4", "four"])
async def test_a_value_must_fit_a_type_that_has_changed(store: StoreUnderTest, value: str) -> None:
    settings: Any = {"state": store.state, "run_id": "r", "on_change": "recompute"}

    @cascade.task
    async def fail(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with cascade.start(fail(cascade.signal("n", str)), **settings) as run:
            await run.send("n", value)
    with pytest.raises(cascade.StateError, match="the type of signal 'n' has changed"):
        await cascade.run(step("a", cascade.signal("n", int)), **settings)
    wider = cascade.signal("n", str | None)
    assert await cascade.run(step("a", wider), **settings) == ("a", value)


# -- time --------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_default_that_was_given_is_not_waited_for_again(schedule: Any) -> None:
    store = InMemoryStateBackend("r")
    settings: Any = {"state": lambda _: store, "run_id": "r", "schedule": schedule}

    @cascade.task
    async def fail(_: int) -> None:
        raise ZeroDivisionError

    flow = fail(cascade.signal("n", int, default=7, timeout=30))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await cascade.run(flow, **settings)
    assert store.signals is not None
    assert (await store.signals.all())["value:n"] == (7,)


@in_virtual_time
async def test_the_time_in_which_a_run_is_suspended_counts(schedule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryStateBackend("r")
    settings: Any = {"state": lambda _: store, "run_id": "r", "schedule": schedule, "when_idle": "suspend"}
    flow = step("a", cascade.signal("n", int, default=7, timeout=3600))
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(flow, **settings)
    assert store.signals is not None
    since = (await store.signals.all())["wanted:n"]
    await store.signals.accept("wanted:n", since - 3000, replaces=True)
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(flow, **settings)
    await store.signals.accept("wanted:n", since - 4000, replaces=True)
    assert await cascade.run(flow, **settings) == ("a", 7)


@in_virtual_time
async def test_after_a_timeout_without_default_the_time_starts_anew(schedule: Any) -> None:
    store = InMemoryStateBackend("r")
    settings: Any = {"state": lambda _: store, "run_id": "r", "schedule": schedule}
    flow = step("a", cascade.signal("n", int, timeout=30))
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(flow, **settings)
    async with cascade.start(flow, **settings) as run:
        await pass_time(29)
        await run.send("n", 4)
        assert await run.result() == ("a", 4)


@cascade.task
async def less(n: int) -> int:
    return n - 1


@cascade.task
async def give_back(n: int) -> None: ...


@cascade.task
async def pay(go: int) -> int:
    calls.append(f"pay {go}")
    if len(calls) == 1:
        raise ValueError("no money")
    return go


@cascade.task
async def paying(n: int, go: int = 0) -> Any:
    return paying(less(n).with_undo(give_back), cascade.signal("go", int)) if n else pay(go)


async def test_what_was_accepted_stands_when_a_loop_that_was_undone_begins_anew(durable: StoreUnderTest) -> None:
    settings: Any = {"state": durable.state, "run_id": "r", "when_idle": "suspend"}
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(paying(2), **settings)
    await cascade.send("r", "go", 7, state=durable.state)
    with pytest.raises(ValueError, match="no money"):
        await cascade.run(paying(2), **settings)
    with pytest.raises(cascade.InputError, match="is 7 already"):
        await cascade.send("r", "go", 8, state=durable.state)
    assert await cascade.run(paying(2), **settings) == 7
    assert calls == ["pay 7", "pay 7"]


# -- secrets -----------------------------------------------------------------------------------------------------


@cascade.task
async def reveal() -> Any:
    return step("later", cascade.Param("token", secret=True))


async def send(store: StoreUnderTest, value: object) -> None:
    """Send *value* for signal ``"n"`` to the run, which is not executed."""
    signals = store.open("r").signals
    assert signals is not None
    await put_signal(signals, "r", "n", value)


async def shown_value(store: StoreUnderTest) -> str | None:
    """The value of signal ``"n"`` in the record of the run."""
    (signal,) = (await cascade.api.recorded_run(store.state, "r")).signals
    assert signal.name == "n"
    return signal.value


async def test_the_value_of_a_signal_is_shown_in_the_record(durable: StoreUnderTest) -> None:
    await suspended(flow(), ("n",), state=durable.state)
    await send(durable, 41)
    assert await shown_value(durable) == "41"


async def test_the_value_of_a_signal_is_hidden_if_the_run_has_a_secret_of_the_environment(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_A_TEST", "hunter2-of-the-day")
    secret = cascade.Env("TOKEN_OF_A_TEST", secret=True)
    await suspended(step("ship", cascade.signal("n", str), secret), ("n",), state=durable.state)
    await send(durable, "hunter2-of-the-day")
    assert await shown_value(durable) is None


async def test_the_value_of_a_signal_is_hidden_once_a_flow_that_a_task_returned_has_a_secret(
    durable: StoreUnderTest,
) -> None:
    target = step("ship", reveal().after(cascade.signal("n", int)), cascade.signal("m", int))
    settings: Any = {"state": durable.state, "params": {"token": "hunter2-of-the-day"}}
    await suspended(target, ("m", "n"), **settings)
    await send(durable, 41)
    assert await shown_value(durable) == "41"  # no flow so far has a secret
    await suspended(target, ("m",), **settings)
    assert await shown_value(durable) is None


async def test_the_value_of_a_signal_of_a_later_flow_is_hidden_if_a_flow_before_has_a_secret(
    durable: StoreUnderTest,
) -> None:
    target = step("ship", ask("n"), cascade.Param("token", secret=True))
    settings: Any = {"state": durable.state, "params": {"token": "hunter2-of-the-day"}}
    await suspended(target, ("n",), **settings)
    await send(durable, 41)
    assert await shown_value(durable) is None
