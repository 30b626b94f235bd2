"""Rules that come through a connector, and what goes out: acknowledgements, presence, events."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.control import AudienceChanged, ControlPlane, ControlRule, Pause, Rate
from cascade.model.rules import as_json
from cascade.runtime.control.connector import ConnectorError, Message, Missed, Subscription
from cascade.runtime.control.protocol import rule_message, rule_topic
from cascade.runtime.control.remote_client import Presence, Remote
from cascade.testing import MemoryBroker, MemoryConnector, record_events

anyio_backend = virtual_loops


def say(broker: MemoryBroker, rule: ControlRule) -> None:
    message = rule_message(rule)
    broker.publish(message.topic, message.payload, retain=True)


def lift(broker: MemoryBroker, kind: str, scope: str) -> None:
    broker.publish(rule_topic(kind, scope), b"", retain=True)


class Starts(list[str]):
    def job(self, name: str, seconds: float = 1.0) -> cascade.LazyResult[str]:
        async def work() -> str:
            self.append(name)
            await pass_time(seconds)
            return name

        return cascade.task(name=name)(work)()


async def test_rules_in_force_when_a_run_starts_apply_to_its_first_task(schedule: Any) -> None:
    broker, starts = MemoryBroker(), Starts()
    say(broker, Pause(scope="task:a", author="ada"))
    engine = cascade.Engine(control=MemoryConnector(broker), schedule=schedule)
    async with engine.start(starts.job("a")):
        await pass_time(10)
        assert starts == []
        assert [rule.author for rule in engine.control.rules()] == ["ada"]
        lift(broker, "pause", "task:a")
    assert starts == ["a"]
    assert engine.control.rules() == ()


async def test_what_is_lifted_while_there_is_no_run_holds_no_later_one() -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker))
    async with engine:
        async with engine.start(starts.job("a", 10)):
            await pass_time(1)
            say(broker, Pause(scope="task:b"))
        await engine.control.pause("task:c")
        lift(broker, "pause", "task:b")
        await engine.run(starts.job("b"))
        assert [rule.scope for rule in engine.control.rules()] == ["task:c"]


async def test_a_pause_in_the_middle_of_a_stage(schedule: Any) -> None:
    broker, starts = MemoryBroker(), Starts()
    flow = [starts.job(name, 10).with_constraints(slot=1) for name in "AB"]
    settings: dict[str, Any] = {"system_resources": {"slot": 1}, "schedule": schedule}
    async with cascade.start(flow, control=MemoryConnector(broker), **settings) as run:
        await pass_time(1)
        say(broker, Pause(scope="global", author="ada"))
        await pass_time(50)
        assert len(starts) == 1
        assert "'ada'" in run.explain()[0].blockers[0]
        lift(broker, "pause", "global")
        await run.result()


async def test_a_time_to_live_is_a_moment(schedule: Any) -> None:
    broker, starts = MemoryBroker(), Starts()
    say(broker, Pause(scope="global", expires_at=time.time() + 30))
    say(broker, Pause(scope="task:b", expires_at=time.time() - 1))
    began = anyio.current_time()
    await cascade.run([starts.job("a"), starts.job("b")], control=MemoryConnector(broker), schedule=schedule)
    assert 29 <= anyio.current_time() - began <= 32


async def test_whoever_obeys_says_so_with_its_runs() -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker, project="p/q"))
    async with engine.start(starts.job("a", 5), run_id="one"), engine.start(starts.job("a", 5), run_id="two"):
        await pass_time(1)
        (presence,) = broker.retained.values()
        assert json.loads(presence)["runs"] == ["one", "two"]
        rule = Rate(scope="global", rate="3/s")
        say(broker, rule)
        lift(broker, "rate", "global")
        await pass_time(1)
    acks = [json.loads(message.payload) for message in broker.published if "/acks/" in message.topic]
    assert [ack["runs"] for ack in acks] == [["one", "two"]] * len(acks)
    assert {ack["topic"] for ack in acks} == {"cascade/constraints/rate/global"}
    assert acks[-1]["digest"] == hashlib.sha256(b"").hexdigest()
    assert not any("engines" in topic for topic in broker.retained)


async def test_every_event_is_sent_in_order_and_the_last_one_too(schedule: Any) -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker, project="p/q"), schedule=schedule)
    with record_events(engine) as recorded:
        await engine.run(starts.job("b").after(starts.job("a")), run_id="r 1")
        with pytest.raises(ZeroDivisionError):
            await engine.run(cascade.task(name="fails")(lambda: 1 / 0)())
    sent = [json.loads(m.payload) for m in broker.published if m.topic == "cascade/telemetry/p%2Fq/r%201/events"]
    assert [(event["type"], event["seq"]) for event in sent] == [
        (type(event).__name__, event.seq) for event in recorded.events if event.run_id == "r 1"
    ]
    assert sent[-1]["type"] == "RunFinished"
    events = [json.loads(m.payload) for m in broker.published if m.topic.endswith("/events")]
    assert events[-1]["status"] == "Failed"


class Attentive(MemoryConnector):
    """A connector that knows how many listen."""

    listeners = 0

    async def has_audience(self, topic: str) -> bool:
        await checkpoint()
        if self.listeners < 0:
            raise ConnectorError("who knows")
        return bool(self.listeners) and topic.startswith("cascade/telemetry/default/")

    def change(self, listeners: int) -> None:
        self.listeners = listeners
        for subscription in self._subscriptions:
            subscription.put(AudienceChanged())

    def sent(self) -> list[Any]:
        messages = [message for message in self.broker.published if message.topic.endswith("/events")]
        return [json.loads(message.payload)["type"] for message in messages]


async def test_events_are_made_for_other_processes_only_while_any_of_them_listens(schedule: Any) -> None:
    connector, starts = Attentive(), Starts()
    flow = starts.job("a", 10)
    for name in "bcde":
        flow = starts.job(name, 10).after(flow)
    async with cascade.start(flow, control=connector, schedule=schedule) as run:
        bus = run._lifetime.run_context.bus
        await pass_time(5)
        assert bus.is_silent()
        await pass_time(10)
        assert connector.sent() == []
        connector.change(1)
        await pass_time(10)
        assert not bus.is_silent()
        is_stages = schedule == "stages"
        assert connector.sent()[:1] == ["TaskExecutionFinished"]  # of b
        assert "TaskExecutionStarted" in connector.sent()  # of c
        connector.change(0)
        await pass_time(10)  # the next event is sent still: only then is it seen that nobody listens
        told = connector.sent()
        assert bus.is_silent()
        await pass_time(10)
        assert connector.sent() == told
        assert is_stages == ("StageFinished" in told)
    assert connector.sent() == told
    assert starts == list("abcde")


async def test_who_listens_when_a_run_ends_hears_of_it(schedule: Any) -> None:
    connector, starts = Attentive(), Starts()
    async with cascade.start(starts.job("a", 10), control=connector, schedule=schedule):
        await pass_time(5)
        connector.change(1)
    assert connector.sent()[-1] == "RunFinished"
    assert "RunStarted" not in connector.sent()


async def test_who_listens_when_a_run_ends_hears_of_it_though_the_engine_has_not_been_told(schedule: Any) -> None:
    connector, starts = Attentive(), Starts()
    async with cascade.start(starts.job("a", 10), control=connector, schedule=schedule):
        await pass_time(5)
        connector.listeners = 1
    assert connector.sent() == ["RunFinished"]


async def test_who_listens_before_a_run_begins_hears_all_of_it(schedule: Any) -> None:
    connector, starts = Attentive(), Starts()
    connector.listeners = 1
    engine = cascade.Engine(control=connector, schedule=schedule)
    with record_events(engine) as recorded:
        async with engine, engine.start(starts.job("a", 10), run_id="one"):
            await engine.run(starts.job("b"), run_id="two")
    kinds = [type(event).__name__ for event in recorded.events]
    assert sorted(connector.sent()) == sorted(kinds)


async def test_where_nobody_can_say_who_listens_all_is_sent() -> None:
    connector, starts = Attentive(), Starts()
    connector.listeners = -1
    await cascade.run(starts.job("a"), control=connector)
    assert connector.sent()[0] == "RunStarted"
    assert connector.sent()[-1] == "RunFinished"


async def test_a_cancelled_run_to_which_nobody_listened_ends_at_once() -> None:
    connector, starts = Attentive(), Starts()
    with anyio.move_on_after(5) as scope:
        await cascade.run(starts.job("a", 50), control=connector)
    assert scope.cancelled_caught
    assert anyio.current_time() == 5
    assert connector.sent() == []


async def test_events_that_nobody_takes_are_dropped_and_counted() -> None:
    broker = MemoryBroker()

    @cascade.task(mode="inline")
    def tick(number: int) -> int:
        return number

    await cascade.run(tick.map(number=range(5000)), control=MemoryConnector(broker))
    sent = [json.loads(m.payload) for m in broker.published if m.topic.endswith("/events")]
    dropped = sum(event["count"] for event in sent if event["type"] == "EventsDropped")
    kept = [event for event in sent if event["type"] != "EventsDropped"]
    assert dropped
    assert dropped + len(kept) == kept[-1]["seq"]


async def test_a_cancelled_run_says_goodbye() -> None:
    broker, starts = MemoryBroker(), Starts()
    with anyio.move_on_after(5):
        await cascade.run(starts.job("a", 100), control=MemoryConnector(broker))
    sent = [json.loads(m.payload) for m in broker.published if m.topic.endswith("/events")]
    assert sent[-1]["status"] == "Cancelled"
    assert broker.connectors == []


async def test_a_run_goes_on_without_its_broker_and_catches_up(schedule: Any) -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker), schedule=schedule)
    flow = starts.job("c").after(starts.job("b", 5).after(starts.job("a", 5)))
    say(broker, Pause(scope="task:c"))
    with record_events(engine) as recorded:
        async with engine.start(flow) as run:
            await pass_time(1)
            broker.stop()
            await pass_time(20)
            assert starts == ["a", "b"]
            lift(broker, "pause", "task:c")
            await pass_time(20)
            assert starts == ["a", "b"]
            broker.start()
            await run.result()
    assert [type(event).__name__ for event in recorded.events if type(event).__name__.startswith("Connector")] == [
        "ConnectorConnected",
        "ConnectorDisconnected",
        "ConnectorConnected",
    ]


async def test_a_broker_that_is_not_there_keeps_no_run_from_starting() -> None:
    broker, starts = MemoryBroker(), Starts()
    broker.stop()
    engine = cascade.Engine(control=MemoryConnector(broker))
    with record_events(engine) as recorded:
        async with engine.start(starts.job("b", 100).after(starts.job("a", 10))):
            await pass_time(1)
            assert starts == ["a"]
            say(broker, Pause(scope="task:b"))
            broker.start()
            await pass_time(50)
            assert starts == ["a"]
            lift(broker, "pause", "task:b")
    (lost,) = recorded.of(cascade.ConnectorDisconnected)
    assert isinstance(lost, cascade.ConnectorDisconnected)
    assert "not there" in lost.reason


class Fragile(MemoryConnector):
    """Is connected without complaint, and cannot subscribe at first."""

    def __init__(self, broker: MemoryBroker, failures: int) -> None:
        super().__init__(broker)
        self.failures = failures

    async def begin(self, subscription: Subscription) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectorError("subscribing was refused")
        await super().begin(subscription)


async def test_a_connection_that_breaks_at_once_is_reported_and_made_again(schedule: Any) -> None:
    broker, starts = MemoryBroker(), Starts()
    say(broker, Pause(scope="task:b"))
    engine = cascade.Engine(control=Fragile(broker, failures=2), schedule=schedule)
    with record_events(engine) as recorded:
        async with engine.start(starts.job("b").after(starts.job("a", 10))):
            await pass_time(50)
            assert starts == ["a"]
            lift(broker, "pause", "task:b")
    assert starts == ["a", "b"]
    lost = recorded.of(cascade.ConnectorDisconnected)
    assert ["subscribing was refused" in event.reason for event in lost] == [True, True]
    assert len(recorded.of(cascade.ConnectorConnected)) == 1
    assert broker.connectors == []


async def test_a_connector_that_somebody_disconnects_is_connected_again() -> None:
    broker, starts = MemoryBroker(), Starts()
    connector = MemoryConnector(broker)
    engine = cascade.Engine(control=connector)
    async with engine.start(starts.job("b").after(starts.job("a", 5))):
        await pass_time(1)
        say(broker, Pause(scope="task:b"))
        await pass_time(1)
        await connector.disconnect()
        await pass_time(50)
        assert starts == ["a"]
        lift(broker, "pause", "task:b")
    assert starts == ["a", "b"]
    assert broker.connectors == []


async def test_another_run_takes_over_when_the_one_that_kept_the_connection_ends() -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker))
    async with engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, starts.job("short", 2))
        await pass_time(1)
        group.start_soon(engine.run, starts.job("late").after(starts.job("long", 10)))
        await pass_time(5)
        say(broker, Pause(scope="task:late"))
        await pass_time(50)
        assert starts == ["short", "long"]
        lift(broker, "pause", "task:late")
    assert starts[-1] == "late"
    assert broker.connectors == []


HOSTILE: list[tuple[str, bytes]] = [
    ("cascade/constraints/pause/global", b"not json"),
    ("cascade/constraints/pause/global", b"\xff\xfe"),
    ("cascade/constraints/pause/global", b"[" * 60_000),
    ("cascade/constraints/pause/global", b"null"),
    ("cascade/constraints/pause/global", b'{"schema":1,"kind":"pause","scope":"global","set_at":NaN}'),
    ("cascade/constraints/pause/global", b"9" * 60_000),
    ("cascade/constraints/pause/global", b'{"schema":1,"kind":"pause","scope":"task:other"}'),
    ("cascade/constraints/pause/global", b'{"schema":1,"kind":"rate","scope":"global","rate":"1/h"}'),
    ("cascade/constraints/pause/global", b'{"schema":1,"kind":"pause","scope":"global","__class__":"os"}'),
    ("cascade/constraints/explode/global", b"{}"),
    ("cascade/constraints/pause/..%2F..%2Fetc%2Fpasswd", b""),
    ("cascade/constraints/pause/global/../../more", b"{}"),
    ("cascade/constraints/pause/%FF%FE", b""),
    ("cascade/constraints/pause", b""),
    ("cascade/constraints/concurrency/global", b'{"schema":1,"kind":"concurrency","scope":"global","limit":0}'),
    ("cascade/constraints/rate/global", b'{"schema":1,"kind":"rate","scope":"global","rate":"__import__(1)/s"}'),
    ("cascade/constraints/pause/global", b"x" * 200_000),
]


async def test_messages_that_mean_nothing_are_reported_and_change_nothing() -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker))
    with record_events(engine) as recorded:
        async with engine.start(starts.job("b", 10).after(starts.job("a", 10))):
            await pass_time(1)
            for topic, payload in HOSTILE:
                broker.publish(topic, payload)
                await pass_time(0.1)
            assert engine.control.rules() == ()
    warnings = recorded.of(cascade.EngineWarning)
    assert len(warnings) == len(HOSTILE)
    assert all(isinstance(event, cascade.EngineWarning) and len(event.message) < 500 for event in warnings)
    assert starts == ["a", "b"]


async def test_ten_thousand_messages_that_mean_nothing_leave_the_run_as_it_is() -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker))
    async with engine.start(starts.job("b", 10).after(starts.job("a", 10))):
        await pass_time(1)
        for number in range(10_000):
            topic, payload = HOSTILE[number % len(HOSTILE)]
            broker.publish(f"{topic}{number}", payload)
            if number % 100 == 0:
                await checkpoint()
                broker.published.clear()
        say(broker, Pause(scope="task:b"))
        await pass_time(100)
        assert [rule.scope for rule in engine.control.rules()] == ["task:b"]
        assert starts == ["a"]
        lift(broker, "pause", "task:b")
    assert starts == ["a", "b"]


async def test_strangers_can_set_a_thousand_rules_and_no_more() -> None:
    broker, starts = MemoryBroker(), Starts()
    engine = cascade.Engine(control=MemoryConnector(broker))
    async with engine.start(starts.job("a", 10)):
        await pass_time(1)
        for number in range(1100):
            say(broker, Pause(scope=f"run:{number}"))
        await pass_time(1)
        assert len(engine.control.rules()) == 1000
        say(broker, Pause(scope="run:7", author="later"))
        await pass_time(1)
        assert "later" in {rule.author for rule in engine.control.rules()}


@pytest.mark.parametrize("control", ["nonsense:", "mqtt:", "mqtt://", "mqtt://host?x=1", 3, object()])
def test_what_stands_for_no_control_is_refused(control: Any) -> None:
    with pytest.raises((cascade.InputError, TypeError)):
        cascade.Engine(control=control)


def test_the_json_of_a_rule_is_as_documented() -> None:
    rule = Pause(scope="task:a", author="ada", set_at=1.0, expires_at=None)
    assert as_json(rule) == {
        "schema": 1,
        "kind": "pause",
        "scope": "task:a",
        "author": "ada",
        "set_at": 1.0,
        "expires_at": None,
    }


async def test_a_plane_with_a_connector_serves_too() -> None:
    broker, starts = MemoryBroker(), Starts()
    plane = ControlPlane(MemoryConnector(broker))
    say(broker, Pause(scope="global"))
    async with cascade.start(starts.job("a"), control=plane):
        await pass_time(5)
        lift(broker, "pause", "global")
        await checkpoint()
    assert starts == ["a"]


# -- the connector in memory -----------------------------------------------------------------------------------


async def test_of_messages_that_nobody_reads_ten_thousand_are_kept_and_the_others_counted() -> None:
    broker = MemoryBroker()
    connector = MemoryConnector(broker)
    await connector.connect()
    async with connector.subscribe("a/#") as stream:
        for number in range(10_003):
            broker.publish("a/b", str(number).encode())
        signals = [stream.receive_nowait() for _ in range(10_001)]
        assert signals[-2:] == [Message("a/b", b"9999"), Missed(3)]
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()
    await connector.disconnect()


async def test_without_its_broker_a_connector_says_that_it_cannot_retain_and_drops_the_rest() -> None:
    broker = MemoryBroker()
    connector = MemoryConnector(broker)
    await connector.connect()
    broker.stop()
    with pytest.raises(ConnectorError, match="not there"):
        await connector.publish("a", b"rule", retain=True)
    await connector.publish("a", b"event")
    assert broker.published == []
    await connector.disconnect()


async def test_a_presence_that_means_nothing_is_passed_over() -> None:
    broker = MemoryBroker()
    connector = MemoryConnector(broker)
    await connector.connect()
    for number, payload in enumerate([b'{"runs": ["one"]}', b'{"runs": 3}', b'{"runs": ["\\n"]}', b"no"]):
        broker.publish(f"cascade/engines/{number}", payload, retain=True)
    assert await Remote(connector).engines() == [Presence("0", ("one",))]
    await connector.disconnect()
