"""Flows that nodes have returned, and whose values they wait for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import anyio
import attrs

from cascade.runtime.cancelling.scopes import NodeScope
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.frame.turn import Handles
from cascade.runtime.run.preparation import Preparation
from cascade.runtime.run.tail_loop import Halted, Loop

_NOT_TRACED: Final[AbstractContextManager[object]] = nullcontext()


async def run_in_place(
    run_context: RunContext, preparation: Preparation, value: Any, node_id: str, handles: Handles
) -> Any:
    """*value*, with the lazies that are in it run, under the same engine, limits and scope.

    Run by a task beside the nodes, not inside the one that asked: so scopes do not nest deeper with every level,
    however deep flows nest.

    Args:
        run_context: The run.
        preparation: Makes flows ready.
        value: What is run.
        node_id: The node that asked for it.
        handles: Whether a failure of that node is handled.

    Raises:
        BaseException: The failure that kept it from having a value.
    """
    subflow = _Subflow(run_context, preparation, value, f"{node_id}/", handles)
    assert run_context.tasks.work is not None  # nodes run inside it
    run_context.tasks.spawn(run_context.tasks.work, subflow.run)
    tracing = run_context.events.tracing
    with _NOT_TRACED if tracing is None else tracing.flow_of(node_id):
        await _until_done(subflow)
        if subflow.error is not None:
            raise subflow.error
    return subflow.value


async def _until_done(subflow: _Subflow) -> None:
    try:
        await subflow.done.wait()
    except anyio.get_cancelled_exc_class():
        # Of the node alone, it may be: then nobody else cancels the flow, and the node ends after it.
        subflow.scope.cancel()
        with anyio.CancelScope(shield=True):
            await subflow.ended.wait()
        raise


@attrs.define(eq=False)
class _Subflow:
    """A flow that a node asked for, on its way."""

    run_context: RunContext
    preparation: Preparation
    value: Any
    prefix: str
    handles: Handles
    # Set when there is a value or an error, and when nothing of it is alive.
    done: anyio.Event = attrs.field(factory=anyio.Event)
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    scope: NodeScope = attrs.field(init=False)
    error: BaseException | None = None

    def __attrs_post_init__(self) -> None:
        self.scope = self.run_context.lifecycle.nodes.scope()

    async def run(self) -> None:
        try:
            with self.scope:
                await self._run()
        finally:
            self.ended.set()

    async def _run(self) -> None:
        loop = Loop(self.run_context, self.preparation, self.prefix, handles=self.handles)
        try:
            self.value = await loop.run(await loop.prepare(self.value))
        except Halted:
            if self.run_context.lifecycle.is_halted:
                return  # whoever waits is being cancelled
            self.error = DrainedError()
            self.done.set()
        except anyio.get_cancelled_exc_class():
            if not self.run_context.lifecycle.nodes.is_part(self.prefix):
                self.run_context.lifecycle.halt()
            raise
        except BaseException as error:  # whatever it is: the node that waits for the value raises it
            self.error = error
            self.done.set()
        else:
            self.done.set()
