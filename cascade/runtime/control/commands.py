"""Commands: what is said once to one run, and answered by it. Rules stay; a command is over when it is answered.

The operator makes a new topic for the answer, subscribes to it, and publishes the command on the topic of the run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import anyio
import attrs

from cascade.model.errors import CascadeError
from cascade.model.shown.text import one_line
from cascade.runtime.control.connector import Connector, Message, Subscription
from cascade.runtime.control.controlled_run import ControlledRun
from cascade.runtime.control.protocol import ANSWERS, COMMANDS, WIRE_VERSION, decode, encode, level

Verdict = Literal["done", "ended", "refused"]
# Letters of a topic for answers, and of a text that is shown.
_TOKEN: Final = 16
_MOST_LETTERS: Final = 500


@attrs.frozen
class Reply:
    """What a run has answered.

    Attributes:
        verdict: ``"done"``; ``"ended"`` if what the command is about has ended already; ``"refused"``, and nothing
            has changed.
        text: In words.
    """

    verdict: Verdict
    text: str


@attrs.frozen(eq=False)
class CommandListener:
    """Obeys commands, on the side of the runs.

    Attributes:
        connector: Carries the answers.
        runs: The runs that there are.
    """

    connector: Connector
    runs: Callable[[], list[ControlledRun]]

    async def listen(self, stream: Subscription) -> None:
        """Obey what comes over *stream*, until that ends."""
        async for signal in stream:
            if isinstance(signal, Message):
                with suppress(ValueError, OSError):  # it may come from anybody
                    await self._obey(decode(signal.payload))

    async def _obey(self, command: Mapping[str, Any]) -> None:
        token = command.get("answer")
        if not isinstance(token, str) or len(token) != _TOKEN or not token.isalnum():
            raise ValueError("a command says on which topic it is answered")
        for run in self.runs():
            if run.run_id == command.get("run"):
                reply = _reply(run, command)
                answer = {"schema": WIRE_VERSION, "verdict": reply.verdict, "text": reply.text[:_MOST_LETTERS]}
                await self.connector.publish(f"{ANSWERS}/{token}", encode(answer))


def _reply(run: ControlledRun, command: Mapping[str, Any]) -> Reply:
    match command:
        case {"command": "cancel", "node": str(node_id)}:
            try:
                is_cancelled = run.cancel_node(node_id)
            except CascadeError as error:
                return Reply("refused", one_line(str(error)))
            if is_cancelled:
                return Reply("done", f"{one_line(node_id)} of run {run.run_id} is being cancelled")
            return Reply("ended", f"{one_line(node_id)} of run {run.run_id} has ended")
        case {"command": "cancel-run"}:
            run.cancel()
            return Reply("done", f"run {run.run_id} is being cancelled")
        case _:
            return Reply("refused", f"this version of cascade knows no command {command.get('command')!r:.100}")


async def tell(connector: Connector, run_id: str, patience: float, **command: str) -> Reply | None:
    """Say *command* to a run of another process; returns its answer, or ``None`` if none came in time.

    If cancelled, the command may have been heard.

    Args:
        connector: Reaches the run; connected.
        run_id: The run.
        patience: Seconds to wait for the answer.
        command: Its fields; ``command`` is its name.

    Raises:
        OSError: If the connector cannot be used now.
    """
    token = secrets.token_hex(_TOKEN // 2)
    said = {"schema": WIRE_VERSION, "run": run_id, "answer": token, **command}
    async with connector.subscribe(f"{ANSWERS}/{token}") as answers:
        await connector.publish(f"{COMMANDS}/{level(run_id)}", encode(said))
        with anyio.move_on_after(patience):
            return await _first(answers)
    return None


async def _first(answers: Subscription) -> Reply | None:
    async for signal in answers:
        if isinstance(signal, Message):
            with suppress(ValueError):  # it may come from anybody
                return _read(signal)
    return None


def _read(message: Message) -> Reply:
    match decode(message.payload):
        case {"verdict": "done" | "ended" | "refused" as verdict, "text": str(text)}:
            return Reply(verdict, one_line(text))
    raise ValueError("an answer has a verdict and a text")
