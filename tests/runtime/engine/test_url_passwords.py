"""Passwords and tokens in URLs are shown nowhere."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from leaks import texts_of_events
from observed import observe

import cascade
from cascade.runtime.context.settings import Settings


@cascade.task(mode="inline")
def fail(value: Any) -> Any:
    raise ValueError(f"refused: {value!r}")


@pytest.mark.parametrize(
    "settings",
    [
        {"state": "redis://:RPASSWORD@host/0"},
        {"state": "redis://host/0?password=RPASSWORD"},
        {"control": "mqtt://bob:RPASSWORD@host"},
        {"control": "mqtt://host?token=RPASSWORD"},
    ],
    ids=str,
)
def test_settings_are_shown_without_passwords(settings: dict[str, str]) -> None:
    assert "RPASSWORD" not in repr(Settings(**settings))  # type: ignore[arg-type]  # by name
    assert "***" in repr(Settings(**settings))  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    "settings",
    [
        {"state": "rediss//:RPASSWORD@host"},
        {"state": "ftp://bob:RPASSWORD@host"},
        {"state": "sqlite://bob:RPASSWORD@host/runs.db"},
        {"state": "sqlite:///runs.db?password=RPASSWORD"},
        {"state": b"redis://:RPASSWORD@host"},
        {"control": "amqp://bob:RPASSWORD@host"},
        {"control": "mqtt//bob:RPASSWORD@host"},
        {"control": b"mqtt://bob:RPASSWORD@host"},
    ],
    ids=str,
)
def test_a_url_that_means_nothing_is_refused_without_its_password(settings: dict[str, Any]) -> None:
    with pytest.raises((cascade.InputError, TypeError)) as caught:
        cascade.Engine(**settings)
    assert "RPASSWORD" not in str(caught.value)


@pytest.mark.parametrize("state", ["memory:", "memory:?password=RPASSWORD", "ftp://:RPASSWORD@h"])
async def test_reading_records_shows_no_password(state: str) -> None:
    with pytest.raises(cascade.InputError) as caught:
        await cascade.api.recorded_runs(state)
    assert "RPASSWORD" not in str(caught.value)


@pytest.mark.needs("paho")
async def test_the_password_of_a_url_is_hidden_in_what_the_run_tells() -> None:
    seen = await observe(fail("RPASSWORD"), control="mqtt://bob:RPASSWORD@localhost:9", cleanup_timeout=0.1)
    assert "RPASSWORD" not in texts_of_events(seen.recorded)


@pytest.mark.needs("redis")
def test_a_client_of_another_kind_is_refused_without_its_password() -> None:
    client = importlib.import_module("redis.asyncio").Redis.from_url("redis://:RPASSWORD@host/0")
    for given in (client, "redis://:RPASSWORD@host/0"):
        with pytest.raises(TypeError, match="the synchronous one") as caught:
            cascade.state.RedisStateBackend("x", given)
        assert "RPASSWORD" not in str(caught.value)


@pytest.mark.needs("redis", "paho")
def test_engines_backends_and_connectors_are_shown_without_passwords() -> None:
    redis = importlib.import_module("redis").Redis.from_url("redis://:RPASSWORD@host/0")
    connector = cascade.control.MqttConnector("host", username="bob", password="RPASSWORD")
    things = [
        cascade.Engine(state="redis://:RPASSWORD@host/0", control="mqtt://bob:RPASSWORD@host"),
        cascade.state.RedisStateBackend("x", redis),
        connector,
        cascade.control.ControlPlane(connector),
    ]
    assert "RPASSWORD" not in repr(things)
