"""A call that has a cache: recall its value, wait for another that computes it, or compute and save it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs

from cascade.graph.canonical import NotDigestibleError
from cascade.graph.code import TaskNotDigestibleError
from cascade.model.events import EngineWarning
from cascade.model.outcomes import Done, NodeOutcome
from cascade.model.policies import MISS, CachePolicy, Hit
from cascade.model.shown.raised import describe
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.binding import Inputs, inputs
from cascade.runtime.execution.job import Job
from cascade.runtime.execution.returned import is_flow
from cascade.runtime.execution.single_flight import Flight, Placed, may_wait


@attrs.define(eq=False)
class CachedCall:
    """One call, with the cache that it is looked up in.

    Attributes:
        run_context: The run.
        job: The call.
        cache: The cache.
        flight: The computation that others may wait for, while this node makes it.
    """

    run_context: RunContext
    job: Job
    cache: CachePolicy
    flight: Flight | None = None

    async def outcome(self, compute: Callable[[], Awaitable[Any]]) -> NodeOutcome:
        """The value from the cache; otherwise what *compute* gives, which is saved."""
        named = inputs(self.job.task, self.job.bind({}))
        # Joined before the cache is asked: an answer that comes late would be about the time before.
        flight, is_own = self._join(named)
        if flight is not None and is_own:
            self.flight = flight
        elif flight is not None:
            await self._until_landed(flight)  # if the cache has nothing then, each computes it
        try:
            return await self._find_or_compute(named, compute)
        finally:
            if self.flight is not None:
                self.flight.land()

    def _join(self, named: Inputs) -> tuple[Flight | None, bool]:
        """The computation of the same entry that is under way, or a new one, which is this node's own."""
        admission, run_id, node_id = self.run_context.admission, self.run_context.run_id, self.job.node_id
        # Inside a task, whoever waits may hold what the other needs.
        if not isinstance(self.cache, Placed) or self.run_context.is_nested or not may_wait(run_id, node_id):
            return None, False
        try:
            place = self.cache.place_of(node_id, named)
        except Exception:  # user code; asked for the value, it raises the same, and that is reported
            return None, False
        flight, is_own = Flight.join(place, run_id, node_id, admission)
        return (flight, is_own) if flight.is_worth_waiting_for(admission) else (None, False)

    async def _until_landed(self, flight: Flight) -> None:
        joined, news = self.run_context.progress.joined, anyio.Event()
        joined[self.job.node_id] = (*flight.node, news)
        try:
            await flight.until_landed(news, self.run_context.admission)
        finally:
            del joined[self.job.node_id]

    async def _find_or_compute(self, named: Inputs, compute: Callable[[], Awaitable[Any]]) -> NodeOutcome:
        run_context, job = self.run_context, self.job
        hit = await self._recall(named)
        if hit is not None:
            return Done(hit.value, from_cache=True)
        if run_context.lifecycle.is_draining:
            raise DrainedError
        value = await compute()
        if job.use.save_later is not None and await is_flow(run_context, value, job.use.keep):
            # Without the node, which would keep its whole turn.
            job.use.save_later(functools.partial(_save, run_context, job.node_id, self.cache, named))
        else:
            await _save(run_context, job.node_id, self.cache, named, value)
        return Done(value)

    async def _recall(self, named: Inputs) -> Hit[Any] | None:
        node_id = self.job.node_id
        try:
            found = await self.cache.check(node_id, named)
        except TaskNotDigestibleError as error:
            message = f"{node_id!r} is not cached: {error}"
            self.run_context.events.emit(EngineWarning, code="not-digestible", message=message)
            return None
        except NotDigestibleError:
            raise  # the task was given what this cache cannot work with, and would never be found
        except Exception as error:  # the node can be computed without its cache
            _warn(self.run_context, node_id, "could not be asked", error)
            return None
        return None if found is MISS else found


async def _save(run_context: RunContext, node_id: str, cache: CachePolicy, named: Inputs, value: Any) -> None:
    try:
        await cache.save(node_id, named, value)
    except TaskNotDigestibleError:
        pass  # that has been told
    except Exception as error:  # the value is there, with or without its cache
        _warn(run_context, node_id, "did not take the result", error)


def _warn(run_context: RunContext, node_id: str, what: str, error: Exception) -> None:
    message = f"the cache of {node_id!r} {what}: {describe(error)}"
    run_context.events.emit(EngineWarning, code="cache-failed", message=message)
