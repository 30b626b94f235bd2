"""The operator's side: sets and lifts rules for the runs of other processes, over a connector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import anyio
import attrs

from cascade.model.rules import ControlRule, Kind, checked_scope
from cascade.runtime.control.connector import Connector, Message, Signal, Subscription
from cascade.runtime.control.protocol import (
    ACKS,
    CONSTRAINTS,
    ENGINES,
    acknowledgement,
    decode,
    read_constraint,
    rule_message,
    rule_topic,
    signal_message,
)


@attrs.frozen
class Presence:
    """An engine that is connected.

    Attributes:
        name: Name of the engine, new for each connection.
        runs: Ids of its runs.
    """

    name: str
    runs: tuple[str, ...]


@attrs.frozen
class Answer:
    """Which runs have acknowledged a change of rules.

    Attributes:
        obeying: Runs whose engine has acknowledged it.
        silent: Runs whose engine has not, in the time that it had.
    """

    obeying: tuple[str, ...]
    silent: tuple[str, ...]


@attrs.frozen
class Remote:
    """The runs that a connector reaches.

    Attributes:
        connector: The connector; connected while methods are called.
    """

    connector: Connector

    async def rules(self) -> list[ControlRule]:
        """The rules that are retained and have not expired."""
        async with self.connector.subscribe(f"{CONSTRAINTS}/#", latest_only=True) as stream:
            rules = list(_rules(stream))
        return sorted(rules, key=lambda rule: (rule.scope, rule.kind))

    async def engines(self) -> list[Presence]:
        """The engines that are connected, with their runs."""
        async with self.connector.subscribe(f"{ENGINES}/#", latest_only=True) as stream:
            return list(_engines(stream))

    async def say(
        self, rules: Iterable[ControlRule] = (), lifted: Iterable[tuple[str, Kind]] = (), *, patience: float = 5.0
    ) -> Answer:
        """Set *rules*, and lift the rules of the scopes and kinds *lifted*.

        Returns when all connected engines that have runs have acknowledged it, or after *patience* seconds (0: at
        once). Does not wait for engines that disconnect meanwhile. If cancelled, some rules may have been set.

        Raises:
            OSError: If a rule could not be published.
            ValueError: If a scope is invalid.
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

    async def send(self, run_id: str, name: str, value: str, *, author: str, patience: float = 5.0) -> str | None:
        """Send a value for a signal to a run, and wait for its answer. If cancelled, it may have been accepted.

        Returns:
            Why the run refuses the value; ``None`` if it has accepted it.

        Raises:
            OSError: If the message could not be published.
            LookupError: If no connected engine has the run.
            TimeoutError: If there is no answer in *patience* seconds.
        """
        async with (
            self.connector.subscribe(f"{ACKS}/#") as acks,
            self.connector.subscribe(f"{ENGINES}/#", latest_only=True) as presences,
        ):
            if not any(run_id in engine.runs for engine in _engines(presences)):
                raise LookupError(f"no connected process executes run {run_id!r}")
            message = signal_message(run_id, name, value, author)
            await self.connector.publish(message.topic, message.payload)
            with anyio.move_on_after(patience):
                refused = await _answer(acks, message.topic)
                return None if refused is None else str(refused)
        raise TimeoutError(f"run {run_id!r} has not answered within {patience:g} s; send it again, which is safe")


async def _answer(acks: Subscription, topic: str) -> object:
    """Why the message on *topic* is refused; ``None`` if it is not.

    Raises:
        TimeoutError: If the stream ends before.
    """
    async for answer in acks:
        mark = _mark(answer)
        if mark.get("topic") == topic:
            return mark.get("refused")
    raise TimeoutError("the connection has ended before there was an answer")


def _mark(answer: Signal) -> Mapping[str, object]:
    """The acknowledgement in *answer*, which may come from anybody."""
    with suppress(ValueError):
        return decode(answer.payload) if isinstance(answer, Message) else {}
    return {}


@attrs.frozen(eq=False)
class _Waiting:
    """What engines have not acknowledged yet.

    Attributes:
        awaited: By name of the engine: topic and digest of each message that it has not acknowledged.
        obeying: Engines that have acknowledged everything.
    """

    awaited: dict[str, set[tuple[str, str]]]
    obeying: set[str] = attrs.field(factory=set)

    async def hear(self, stream: Subscription, scope: anyio.CancelScope) -> None:
        """Read acknowledgements, and which engines end; cancel *scope* when none is awaited any more."""
        while self.awaited:
            try:
                self._take(await stream.receive())
            except anyio.EndOfStream:
                break
        scope.cancel()

    def _take(self, signal: Signal) -> None:
        if not isinstance(signal, Message):
            return
        name = signal.topic.rpartition("/")[2]
        if signal.topic.startswith(f"{ENGINES}/"):
            if not signal.payload:
                self.awaited.pop(name, None)
            return
        with suppress(ValueError):  # it may come from anybody
            self._acknowledge(name, decode(signal.payload))

    def _acknowledge(self, name: str, mark: Mapping[str, object]) -> None:
        marks = self.awaited.get(name)
        if marks is not None:
            marks.discard((str(mark.get("topic")), str(mark.get("digest"))))
            if not marks:
                del self.awaited[name]
                self.obeying.add(name)


def _rules(stream: Subscription) -> Iterator[ControlRule]:
    for message in present(stream):
        with suppress(ValueError):
            _, _, rule = read_constraint(message)
            if rule is not None and not rule.has_expired:
                yield rule


def _engines(stream: Subscription) -> Iterator[Presence]:
    for message in present(stream):
        with suppress(ValueError):
            if message.payload:
                yield presence(message)


def present(stream: Subscription) -> Iterable[Message]:
    """The messages in *stream* that are unread now."""
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while True:
            signal = stream.receive_nowait()
            if isinstance(signal, Message):
                yield signal


def presence(message: Message) -> Presence:
    """The engine that published *message*, which may come from anybody.

    Raises:
        ValueError: If it does not list the runs of an engine.
    """
    runs = decode(message.payload).get("runs")
    if not isinstance(runs, list) or not all(isinstance(run, str) and run.isprintable() for run in runs):
        raise ValueError("the runs are a list of ids")
    return Presence(message.topic.rpartition("/")[2], tuple(runs))
