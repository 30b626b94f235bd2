"""Rules for the runs of other processes, said over a connector."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import anyio
import attrs

from cascade.model.rules import ControlRule, Kind, checked_scope
from cascade.runtime.wire import (
    ACKS,
    CONSTRAINTS,
    ENGINES,
    Connector,
    Message,
    Subscription,
    acknowledgement,
    decode,
    read_constraint,
    rule_message,
    rule_topic,
)


@attrs.frozen
class Presence:
    """An engine that is connected.

    Attributes:
        name: Of the engine.
        runs: Ids of its runs.
    """

    name: str
    runs: tuple[str, ...]


@attrs.frozen
class Answer:
    """What came of saying something.

    Attributes:
        obeying: Runs that have said that they obey.
        silent: Runs that have not.
    """

    obeying: tuple[str, ...]
    silent: tuple[str, ...]


@attrs.frozen
class Remote:
    """The runs that a connector reaches. Between ``connect`` and ``disconnect`` of it.

    Attributes:
        connector: The connector.
    """

    connector: Connector

    async def rules(self) -> list[ControlRule]:
        """The rules that are retained and have not expired."""
        found = []
        async with self.connector.subscribe(f"{CONSTRAINTS}/#", latest_only=True) as stream:
            for message in _present(stream):
                with suppress(ValueError):
                    _, _, rule = read_constraint(message)
                    if rule is not None and not rule.has_expired:
                        found.append(rule)
        return sorted(found, key=lambda rule: (rule.scope, rule.kind))

    async def engines(self) -> list[Presence]:
        """The engines that are connected, with their runs."""
        found = []
        async with self.connector.subscribe(f"{ENGINES}/#", latest_only=True) as stream:
            for message in _present(stream):
                with suppress(ValueError):
                    found.append(_presence(message))
        return found

    async def say(
        self, rules: Iterable[ControlRule] = (), lifted: Iterable[tuple[str, Kind]] = (), *, patience: float = 5.0
    ) -> Answer:
        """Have *rules* stand, and those of the scopes and kinds *lifted* no longer.

        Returns when all runs that are connected have acknowledged it, or after *patience* seconds.

        Raises:
            OSError: If it could not be said.
        """
        messages = [rule_message(rule) for rule in rules]
        messages += [Message(rule_topic(kind, checked_scope(scope)), b"") for scope, kind in lifted]
        async with self.connector.subscribe(f"{ACKS}/#") as stream:
            engines = await self.engines()
            for message in messages:
                await self.connector.publish(message.topic, message.payload, retain=True)
            awaited = {
                (engine.name, str(mark["topic"]), str(mark["digest"])): engine
                for engine in engines
                for mark in map(acknowledgement, messages)
            }
            with anyio.move_on_after(patience):
                await _until_acknowledged(stream, awaited)
        silent = {engine.name for engine in awaited.values()}
        return Answer(
            tuple(run for engine in engines if engine.name not in silent for run in engine.runs),
            tuple(run for engine in engines if engine.name in silent for run in engine.runs),
        )


async def _until_acknowledged(stream: Subscription, awaited: dict[tuple[str, str, str], Presence]) -> None:
    while awaited:
        signal = await stream.receive()
        if isinstance(signal, Message):
            with suppress(ValueError):
                mark = decode(signal.payload)
                name = signal.topic.rpartition("/")[2]
                awaited.pop((name, str(mark.get("topic")), str(mark.get("digest"))), None)


def _present(stream: Subscription) -> Iterable[Message]:
    """What has arrived and is not empty."""
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while True:
            signal = stream.receive_nowait()
            if isinstance(signal, Message) and signal.payload:
                yield signal


def _presence(message: Message) -> Presence:
    runs = decode(message.payload).get("runs")
    if not isinstance(runs, list) or not all(isinstance(run, str) and run.isprintable() for run in runs):
        raise ValueError("the runs are a list of ids")
    return Presence(message.topic.rpartition("/")[2], tuple(runs))
