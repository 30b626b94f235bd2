"""Control of live runs: pauses and limits, the plane that holds them, and connectors to other processes."""

from collections.abc import Callable
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
from cascade.runtime.foundation.lazy_import import adapters_of

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

# Imported when asked for: one of them needs a library that may not be installed.
__getattr__: Callable[[str], Any] = adapters_of(
    __name__,
    {"LocalConnector": "connectors.local:LocalConnector", "MqttConnector": "connectors.mqtt:MqttConnector"},
)
