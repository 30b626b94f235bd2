"""Runs under a real broker, driven by a client that is not ours."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from brokers import Broker, broker, find_server
from halting import stopped

import cascade
from cascade.control import ConnectorError, Message, Pause
from cascade.runtime.control.connector import Lost
from cascade.runtime.control.protocol import rule_message
from cascade.runtime.engine.urls import open_connector
from cascade.runtime.observation.bus import EventStream

pytestmark = [pytest.mark.needs("paho"), pytest.mark.slow]


@pytest.fixture(params=[False, True], ids=["plain", "secure"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path, is_secure=request.param) as running:
        yield running


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as running:
        yield running


class Gate:
    """Tasks that wait to be let through, and note that they began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.began = anyio.Event()
        self.opened = anyio.Event()

    def job(self, name: str) -> cascade.LazyResult[str]:
        async def work() -> str:
            self.begun.append(name)
            self.began.set()
            await self.opened.wait()
            return name

        return cascade.task(name=name)(work)()


async def until_changed(events: EventStream, scope: str, action: str = "set") -> None:
    """Wait until a rule of *scope* has changed."""
    with anyio.fail_after(30):
        async for event in events:
            assert isinstance(event, cascade.ControlChanged)
            if (event.scope, event.action) == (scope, action):
                return


async def say(server: Broker, topic: str, payload: str | bytes) -> None:
    await anyio.to_thread.run_sync(lambda: server.publish(topic, payload, retain=True))


async def test_a_stranger_pauses_a_run_in_the_middle_of_a_stage(server: Broker, schedule: str) -> None:
    gate = Gate()
    flow = [gate.job(name).with_constraints(slot=1) for name in "AB"]
    engine = cascade.Engine(control=server.url, system_resources={"slot": 1}, schedule=schedule)  # type: ignore[arg-type]  # a fixture's word
    async with engine.start(flow) as run, run.subscribe(cascade.ControlChanged) as events:
        await gate.began.wait()
        await say(
            server,
            "cascade/constraints/pause/global",
            '{"schema":1,"kind":"pause","scope":"global","author":"eve"}',
        )
        await until_changed(events, "global")
        async with run.subscribe(cascade.TaskExecutionFinished) as ends:
            gate.opened.set()
            await ends.receive()
        assert len(gate.begun) == 1
        assert "'eve'" in run.explain()[0].blockers[0]
        await say(server, "cascade/constraints/pause/global", "")
        assert await run.result() == ["A", "B"]


async def test_a_broker_that_is_killed_and_restarted_twenty_times_loses_no_rule_and_fails_no_run(
    plain: Broker,
) -> None:
    gate = Gate()
    engine = cascade.Engine(control=plain.url)
    with anyio.fail_after(100):
        async with engine.start(gate.job("B").after(gate.job("A"))) as run:
            async with run.subscribe(cascade.ControlChanged, buffer=1000) as events:
                held = rule_message(Pause(scope="task:B"))
                await say(plain, held.topic, held.payload)
                await until_changed(events, "task:B")
                for number in range(20):
                    plain.stop(kill=bool(number % 2))
                    await anyio.to_thread.run_sync(plain.start)
                    other = rule_message(Pause(scope=f"task:x{number}"))
                    await say(plain, other.topic, other.payload)
                    await until_changed(events, f"task:x{number}")
                assert len(engine.control.rules()) == 21
                gate.opened.set()
                async with run.subscribe(cascade.TaskBlocked) as blocked:
                    await blocked.receive()
                assert gate.begun == ["A"]
                await say(plain, held.topic, "")
                await until_changed(events, "task:B", "lifted")
            assert await run.result() == "B"


async def test_ten_thousand_messages_that_mean_nothing_leave_the_run_and_its_memory_as_they_are(
    plain: Broker,
) -> None:
    gate = Gate()
    engine = cascade.Engine(control=plain.url)
    async with engine.start(gate.job("B").after(gate.job("A"))) as run:
        async with run.subscribe(cascade.ControlChanged) as events:
            await gate.began.wait()
            await anyio.to_thread.run_sync(_flood, plain, 1000)
            await say(plain, "cascade/constraints/pause/task%3Ax1", rule_message(Pause(scope="task:x1")).payload)
            await until_changed(events, "task:x1")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await anyio.to_thread.run_sync(_flood, plain, 9000)
            await say(plain, "cascade/constraints/pause/task%3Ax2", rule_message(Pause(scope="task:x2")).payload)
            await until_changed(events, "task:x2")
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
            assert len(engine.control.rules()) == 2
        gate.opened.set()
        assert await run.result() == "B"


def _flood(server: Broker, count: int) -> None:
    """Publish *count* messages that mean nothing, by one stranger."""
    words = [find_server("mosquitto_pub"), "-h", "localhost", "-p", str(server.port), "-q", "0", "-V", "mqttv5"]
    lines = "".join(
        json.dumps({"schema": 1, "kind": "pause", "scope": "../" * (number % 50), "x": number}) + "\n"
        for number in range(count)
    )
    words += ["-t", "cascade/constraints/pause/global", "-l"]
    subprocess.run(words, input=lines.encode(), check=True, timeout=60)


async def test_a_stranger_hears_all_events_of_a_run(plain: Broker) -> None:
    words = [find_server("mosquitto_sub"), "-h", "localhost", "-p", str(plain.port), "-q", "1", "-d"]
    words += ["-t", "cascade/telemetry/#", "-F", "%p"]
    # Line by line, so that it can be followed; starting it takes a moment only.
    listener = subprocess.Popen(["stdbuf", "-oL", *words], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    with listener:
        assert listener.stdout is not None
        while "Subscribed" not in await anyio.to_thread.run_sync(listener.stdout.readline):
            pass
        gate = Gate()
        gate.opened.set()
        await cascade.run(gate.job("b").after(gate.job("a")), control=f"{plain.url}/mine", run_id="heard")
        heard: list[str] = []
        while "RunFinished" not in heard:
            line = await anyio.to_thread.run_sync(listener.stdout.readline)
            if line.startswith("{"):
                heard.append(json.loads(line)["type"])
        listener.terminate()
        listener.communicate()
    assert heard[0] == "RunStarted"
    assert heard.count("TaskExecutionFinished") == 2
    assert heard[-1] == "RunFinished"


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("server", [True], indirect=True, ids=["secure"])
async def test_a_wrong_password_and_an_unknown_certificate_are_reported_and_keep_no_run_from_starting(
    server: Broker,
) -> None:
    gate = Gate()
    gate.opened.set()
    for url in (server.url.replace("lovelace", "wrong"), server.url.partition("?")[0]):
        engine = cascade.Engine(control=url)
        async with engine.subscribe(cascade.ConnectorDisconnected, cascade.RunFinished, buffer=9) as events:
            assert await engine.run(gate.job("A")) == "A"
            assert isinstance(await events.receive(), cascade.ConnectorDisconnected)
    gc.collect()


# -- a broker that is gone, or does not answer -----------------------------------------------------------------


async def test_what_cannot_be_retained_is_an_error(plain: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = open_connector(plain.url)
    await connector.connect()
    async with connector.subscribe("a/#") as stream:
        await connector.publish("a/b", b"kept", retain=True)
        assert await stream.receive() == Message("a/b", b"kept")
        monkeypatch.setattr("cascade.adapters.connectors.mqtt_session.PATIENCE", 0.2)
        with stopped(plain), pytest.raises(ConnectorError, match="the broker has not answered"):
            await connector.publish("a/b", b"is not", retain=True)
        plain.stop(kill=True)
        with anyio.fail_after(50):
            while not isinstance(await stream.receive(), Lost):
                pass
        with pytest.raises(ConnectorError, match="the broker is out of reach"):
            await connector.publish("a/b", b"nor this", retain=True)
    await connector.disconnect()


async def test_a_broker_that_does_not_answer_is_waited_for_with_patience(
    plain: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade.adapters.connectors.mqtt_session.PATIENCE", 0.2)
    connector = open_connector(plain.url)
    with stopped(plain), pytest.raises(ConnectorError, match=f"no answer from localhost:{plain.port}"):
        await connector.connect()
    monkeypatch.undo()
    await connector.connect()
    await connector.disconnect()


async def test_a_topic_that_is_no_text_is_passed_over(plain: Broker) -> None:
    from paho.mqtt.client import MQTTMessage

    connector = open_connector(plain.url)
    await connector.connect()
    async with connector.subscribe("#") as stream:
        client = connector._session.client  # type: ignore[attr-defined]  # honest brokers let no such topic through
        client._on_message(client._paho, None, MQTTMessage(topic=b"a/\xff"))
        await connector.publish("a/b", b"heard")
        assert await stream.receive() == Message("a/b", b"heard")
    await connector.disconnect()


async def test_without_telemetry_rules_are_heard_and_no_events_are_sent(plain: Broker) -> None:
    listener = open_connector(plain.url)
    await listener.connect()
    gate = Gate()
    async with listener.subscribe("cascade/telemetry/#") as heard:
        engine = cascade.Engine(control=f"{plain.url}?telemetry=off")
        async with engine, engine.start(gate.job("quiet")) as run:
            await gate.began.wait()
            assert run._lifetime.run_context.bus.is_silent()
            message = rule_message(Pause(scope="task:other"))
            async with run.subscribe(cascade.ControlChanged, policy="drop") as events:
                await listener.publish(message.topic, message.payload, retain=True)
                await until_changed(events, "task:other")
            gate.opened.set()
            assert await run.result() == "quiet"
        with pytest.raises(anyio.WouldBlock):
            heard.receive_nowait()
    await listener.publish(message.topic, b"", retain=True)
    await listener.disconnect()
