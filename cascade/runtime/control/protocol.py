"""What is said between processes: topics, and rules and acknowledgements as JSON."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from cascade.model.rules import KINDS, ControlRule, Kind, as_json, checked_scope, from_json
from cascade.runtime.control.connector import Message

CONSTRAINTS: Final = "cascade/constraints"
ENGINES: Final = "cascade/engines"
ACKS: Final = "cascade/acks"
COMMANDS: Final = "cascade/commands"
ANSWERS: Final = "cascade/answers"
TELEMETRY: Final = "cascade/telemetry"
# Values that are sent to runs; heard by whoever hears rules.
SIGNALS: Final = f"{CONSTRAINTS}/signal"
# Of presence and acknowledgements; raised when the meaning of a field changes or a field is removed.
WIRE_VERSION: Final = 1


def level(name: str) -> str:
    """*name* as one level of a topic, percent-encoded."""
    return quote(name, safe="")


def rule_topic(kind: str, scope: str) -> str:
    """The topic on which the rule of *scope* and *kind* is retained."""
    return f"{CONSTRAINTS}/{kind}/{level(scope)}"


def telemetry_topic(project: str, run_id: str) -> str:
    """The topic on which the events of a run are published."""
    return f"{TELEMETRY}/{level(project)}/{level(run_id)}/events"


def encode(data: Mapping[str, Any]) -> bytes:
    """*data* as JSON."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def decode(payload: bytes) -> dict[str, Any]:
    """The JSON object in *payload*, which may come from anybody.

    Raises:
        ValueError: If there is none.
    """
    try:
        data = json.loads(payload.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError(f"a message is an object, not {data!r:.100}")
    return data


def _refuse(word: str) -> None:
    raise ValueError(f"JSON has no {word}")


def rule_message(rule: ControlRule) -> Message:
    """The retained message that sets *rule*."""
    return Message(rule_topic(rule.kind, rule.scope), encode(as_json(rule)))


def read_constraint(message: Message) -> tuple[Kind, str, ControlRule | None]:
    """Kind, scope and rule of a *message*, which may come from anybody; the rule ``None`` lifts.

    Raises:
        ValueError: If it is no valid message about a rule.
    """
    levels = message.topic.split("/")
    cls = KINDS.get(levels[2]) if len(levels) == 4 else None
    if cls is None:
        raise ValueError(f"the topic is {CONSTRAINTS}/<{'|'.join(KINDS)}>/<scope>, not {message.topic!r:.100}")
    scope = checked_scope(unquote(levels[3], errors="strict"))
    if not message.payload:
        return cls.kind, scope, None
    rule = from_json(decode(message.payload))
    if (rule.kind, rule.scope) != (cls.kind, scope):
        raise ValueError(f"the topic is about {cls.kind} {scope!r:.100}, the message about {str(rule)!r:.100}")
    return cls.kind, scope, rule


def signal_message(run_id: str, name: str, value: str, author: str) -> Message:
    """The message that sends a value, as text, to a run. It is not retained, and each has a topic of its own."""
    topic = f"{SIGNALS}/{level(f'run:{run_id}')}/{secrets.token_hex(8)}"
    return Message(topic, encode({"schema": WIRE_VERSION, "name": name, "value": value, "author": author}))


def read_signal(message: Message) -> tuple[str, str, str]:
    """Run, name and value of a *message*, which may come from anybody.

    Raises:
        ValueError: If it is no valid message about a signal.
    """
    levels = message.topic.split("/")
    scope = unquote(levels[3], errors="strict") if len(levels) == 5 else ""
    data = decode(message.payload)
    name, value = data.get("name"), data.get("value")
    if not scope.startswith("run:") or not isinstance(name, str) or not isinstance(value, str):
        raise ValueError(
            f"a signal has a topic {SIGNALS}/run:<id>/<number>, and a name and a value that are texts"
        )
    return scope.removeprefix("run:"), name, value


def acknowledgement(message: Message) -> dict[str, Any]:
    """What an engine publishes when its runs obey *message*: the topic of it, and a hash of its content."""
    return {"schema": WIRE_VERSION, "topic": message.topic, "digest": hashlib.sha256(message.payload).hexdigest()}
