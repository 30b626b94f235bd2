"""Flows that nodes have returned, and whose values they wait for."""

from __future__ import annotations

from typing import Any

import anyio
import attrs

from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.frame.turn import Cut, Handles
from cascade.runtime.run.preparation import Preparation
from cascade.runtime.run.tail_loop import Halted, Loop


async def run_in_place(
    run_context: RunContext,
    preparation: Preparation,
    value: Any,
    node_id: str,
    handles: Handles,
    outer: Cut | None,
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
        outer: Says whether that node is cut short; ``None`` if it cannot be.

    Raises:
        BaseException: The failure that kept it from having a value.
    """
    cut = None if outer is None else Cut(outer)
    subflow = _Subflow(run_context, preparation, value, f"{node_id}/", handles, cut)
    assert run_context.tasks.work is not None  # nodes run inside it
    run_context.tasks.spawn(run_context.tasks.work, subflow.run)
    try:
        await subflow.done.wait()
    except anyio.get_cancelled_exc_class():
        if cut is not None and not run_context.lifecycle.is_halted:
            await subflow.cancel(cut)
        raise
    if subflow.error is not None:
        raise subflow.error
    return subflow.value


@attrs.define(eq=False)
class _Subflow:
    """A flow that a node asked for, on its way."""

    run_context: RunContext
    preparation: Preparation
    value: Any
    prefix: str
    handles: Handles
    cut: Cut | None
    done: anyio.Event = attrs.field(factory=anyio.Event)
    error: BaseException | None = None
    _scope: anyio.CancelScope | None = None

    async def cancel(self, cut: Cut) -> None:
        """Cancel it, and wait until nothing of it is left."""
        cut.make()
        if self._scope is not None:
            self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self.done.wait()

    async def run(self) -> None:
        if self.cut is None:
            await self._run()
            return
        try:
            with anyio.CancelScope() as self._scope:
                if not self.cut.is_made:
                    await self._run()
        finally:
            self.done.set()

    async def _run(self) -> None:
        loop = Loop(self.run_context, self.preparation, self.prefix, handles=self.handles, cut=self.cut)
        try:
            self.value = await loop.run(await loop.prepare(self.value))
        except Halted:
            if self.run_context.lifecycle.is_halted:
                return  # whoever waits is being cancelled
            self.error = DrainedError()
            self.done.set()
        except anyio.get_cancelled_exc_class():
            if self.cut is None or not self.cut.is_made:
                self.run_context.lifecycle.halt()
            raise
        except BaseException as error:  # whatever it is: the node that waits for the value raises it
            self.error = error
            self.done.set()
        else:
            self.done.set()
