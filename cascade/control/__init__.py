"""Control of live runs: pauses and limits, the plane that holds them, and connectors to other processes."""

from typing import TYPE_CHECKING, Any

from cascade.model.rules import Concurrency, ControlRule, Pause, Rate
from cascade.runtime.control.connector import (
    Attentive,
    AudienceChanged,
    Connector,
    ConnectorError,
    ConnectorRefused,
    Found,
    Lost,
    Message,
    Missed,
    Subscription,
)
from cascade.runtime.control.plane import ControlPlane
from cascade.runtime.foundation.lazy_import import adapter

if TYPE_CHECKING:  # at run time they are imported when they are first used; see __getattr__
    from cascade.adapters.connectors.local import LocalConnector
    from cascade.adapters.connectors.mqtt import MqttConnector

__all__ = [
    "Attentive",
    "AudienceChanged",
    "Concurrency",
    "Connector",
    "ConnectorError",
    "ConnectorRefused",
    "ControlPlane",
    "ControlRule",
    "Found",
    "LocalConnector",
    "Lost",
    "Message",
    "Missed",
    "MqttConnector",
    "Pause",
    "Rate",
    "Subscription",
]

_ADAPTERS = {
    "LocalConnector": "connectors.local:LocalConnector",
    "MqttConnector": "connectors.mqtt:MqttConnector",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: one of them needs a library that may not be installed.
    if name in _ADAPTERS:
        return adapter(_ADAPTERS[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
