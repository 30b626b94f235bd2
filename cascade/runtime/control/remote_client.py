"""Rules for the runs of other processes, said over a connector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import anyio
import attrs

from cascade.model.rules import ControlRule, Kind, checked_scope
from cascade.runtime.control.protocol import (
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
            for message in present(stream):
                with suppress(ValueError):
                    _, _, rule = read_constraint(message)
                    if rule is not None and not rule.has_expired:
                        found.append(rule)
        return sorted(found, key=lambda rule: (rule.scope, rule.kind))

    async def engines(self) -> list[Presence]:
        """The engines that are connected, with their runs."""
        async with self.connector.subscribe(f"{ENGINES}/#", latest_only=True) as stream:
            return list(_engines(stream))

    async def say(
        self, rules: Iterable[ControlRule] = (), lifted: Iterable[tuple[str, Kind]] = (), *, patience: float = 5.0
    ) -> Answer:
        """Have *rules* stand, and those of the scopes and kinds *lifted* no longer.

        Returns when all runs that are connected have acknowledged it, or after *patience* seconds. Runs that end
        meanwhile are not waited for.

        Raises:
            OSError: If it could not be said.
        """
        messages = [rule_message(rule) for rule in rules]
        messages += [Message(rule_topic(kind, checked_scope(scope)), b"") for scope, kind in lifted]
        async with (
            self.connector.subscribe(f"{ACKS}/#") as acks,
            self.connector.subscribe(f"{ENGINES}/#", latest_only=True) as presences,
        ):
            engines = list(_engines(presences))
            for message in messages:
                await self.connector.publish(message.topic, message.payload, retain=True)
            marks = {(str(mark["topic"]), str(mark["digest"])) for mark in map(acknowledgement, messages)}
            waiting = _Waiting({engine.name: set(marks) for engine in engines if engine.runs})
            with anyio.move_on_after(patience):
                async with anyio.create_task_group() as group:
                    group.start_soon(waiting.hear, presences, group.cancel_scope)
                    await waiting.hear(acks, group.cancel_scope)
        return Answer(
            tuple(run for engine in engines if engine.name in waiting.obeying for run in engine.runs),
            tuple(run for engine in engines if engine.name in waiting.awaited for run in engine.runs),
        )


@attrs.frozen(eq=False)
class _Waiting:
    """What engines have not acknowledged yet, by topic and digest."""

    awaited: dict[str, set[tuple[str, str]]]
    obeying: set[str] = attrs.field(factory=set)

    async def hear(self, stream: Subscription, scope: anyio.CancelScope) -> None:
        """Take in acknowledgements and the end of engines; cancel *scope* when there is nothing to wait for."""
        if self.awaited:
            async for signal in stream:
                if isinstance(signal, Message):
                    with suppress(ValueError):
                        self._take(signal)
                if not self.awaited:
                    break
        scope.cancel()

    def _take(self, message: Message) -> None:
        name = message.topic.rpartition("/")[2]
        if message.topic.startswith(f"{ENGINES}/"):
            if not message.payload:
                self.awaited.pop(name, None)
            return
        mark = decode(message.payload)
        marks = self.awaited.get(name)
        if marks is not None:
            marks.discard((str(mark.get("topic")), str(mark.get("digest"))))
            if not marks:
                del self.awaited[name]
                self.obeying.add(name)


def _engines(stream: Subscription) -> Iterator[Presence]:
    for message in present(stream):
        with suppress(ValueError):
            if message.payload:
                yield presence(message)


def present(stream: Subscription) -> Iterable[Message]:
    """The messages that have arrived."""
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while True:
            signal = stream.receive_nowait()
            if isinstance(signal, Message):
                yield signal


def presence(message: Message) -> Presence:
    """What an engine says of itself.

    Raises:
        ValueError: If it says no such thing.
    """
    runs = decode(message.payload).get("runs")
    if not isinstance(runs, list) or not all(isinstance(run, str) and run.isprintable() for run in runs):
        raise ValueError("the runs are a list of ids")
    return Presence(message.topic.rpartition("/")[2], tuple(runs))
