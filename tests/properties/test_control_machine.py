"""The rules of control as a state machine: runs come, end and are cancelled while rules come and go."""

from __future__ import annotations

import fnmatch
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from typing import Any

import anyio
import attrs
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import cascade
from cascade.testing import virtual_backends

TASKS = ("fetch", "fetch_all", "parse")
scopes = st.sampled_from(["global", "task:fetch", "task:fetch*", "task:parse", "run:r1", "run:r2"])
numbers = st.integers(0, 50)


@attrs.define(eq=False)
class Member:
    """A run of one node, which ends when it is told to."""

    number: int
    task: str
    outcome: Future[Any] = attrs.field(init=False)
    may_end: anyio.Event = attrs.field(init=False)
    has_begun: bool = False


class Machine(RuleBasedStateMachine):
    """The engine, and beside it a model: who waits in which order, who runs, which rules stand."""

    backend = "asyncio"

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        # On asyncio, whoever waits for all tasks to be blocked looks again after 0.1 s: virtual ones.
        in_virtual_time = dict(dict(virtual_backends())[self.backend])
        self.portal = self.stack.enter_context(start_blocking_portal(self.backend, in_virtual_time))
        self.engine = cascade.Engine()
        self.stack.enter_context(self.portal.wrap_async_context_manager(self.engine))
        self.members: list[Member] = []
        self.waiting: list[Member] = []
        self.running: list[Member] = []
        self.paused: set[str] = set()
        self.limits: dict[str, int] = {}

    def teardown(self) -> None:
        """Lift all rules, let all end, and see that nothing is left."""
        for scope in {*self.paused, *self.limits}:
            self.portal.call(self.engine.control.clear, scope)
        self.paused.clear()
        self.limits.clear()
        try:
            for member in self.members:
                self.portal.call(member.may_end.set)
            for member in self.members:
                if not member.outcome.cancelled():
                    assert member.outcome.result(30) == member.number
            assert self.portal.call(self.engine.control.rules) == ()
        finally:
            self.stack.close()

    # -- what happens ------------------------------------------------------------------------------------------

    @rule(task=st.sampled_from(TASKS))
    def come(self, task: str) -> None:
        """A run of one node begins."""
        member = Member(len(self.members), task)
        member.may_end = self.portal.call(anyio.Event)

        async def body() -> int:
            member.has_begun = True
            await member.may_end.wait()
            return member.number

        flow = cascade.task(name=task)(body)()

        async def run() -> int:
            value: int = await self.engine.run(flow, run_id=f"r{member.number}")
            return value

        self.members.append(member)
        self.waiting.append(member)
        member.outcome = self.portal.start_task_soon(run)
        self.settle()

    @precondition(lambda self: self.running)
    @rule(number=numbers)
    def end(self, number: int) -> None:
        """A node ends."""
        member = self.running.pop(number % len(self.running))
        self.portal.call(member.may_end.set)
        assert member.outcome.result(30) == member.number
        self.settle()

    @precondition(lambda self: self.waiting or self.running)
    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        """Whoever started a run cancels it."""
        alive = [*self.waiting, *self.running]
        member = alive[number % len(alive)]
        (self.waiting if member in self.waiting else self.running).remove(member)
        member.outcome.cancel()
        with pytest.raises(CancelledError):
            member.outcome.result(30)
        self.settle()

    @rule(scope=scopes)
    def pause(self, scope: str) -> None:
        """Nothing in the scope starts from now on."""
        self.paused.add(scope)
        self.portal.call(self.engine.control.pause, scope)
        self.settle()

    @rule(scope=scopes)
    def resume(self, scope: str) -> None:
        """The pause of this scope is lifted."""
        self.paused.discard(scope)
        self.portal.call(self.engine.control.resume, scope)
        self.settle()

    @rule(scope=scopes, limit=st.sampled_from([1, 2, 3, None]))
    def limit(self, scope: str, limit: int | None) -> None:
        """So many at a time; the last word counts."""
        self.limits.pop(scope, None)
        if limit is not None:
            self.limits[scope] = limit

        async def say() -> None:
            await self.engine.control.limit(scope, concurrency=limit)

        self.portal.call(say)
        self.settle()

    @rule(scope=scopes)
    def clear(self, scope: str) -> None:
        """Nothing is said of this scope any more."""
        self.paused.discard(scope)
        self.limits.pop(scope, None)
        self.portal.call(self.engine.control.clear, scope)
        self.settle()

    # -- what should be ----------------------------------------------------------------------------------------

    def covers(self, scope: str, member: Member) -> bool:
        """Whether a rule of *scope* is about *member*."""
        kind, _, name = scope.partition(":")
        if kind == "task":
            return fnmatch.fnmatchcase(member.task, name)
        return kind == "global" or name == f"r{member.number}"

    def may_start(self, member: Member) -> bool:
        """Whether every rule that is about *member* lets it start."""
        if any(self.covers(scope, member) for scope in self.paused):
            return False
        return all(
            sum(self.covers(scope, other) for other in self.running) < limit
            for scope, limit in self.limits.items()
            if self.covers(scope, member)
        )

    def settle(self) -> None:
        """Let the model admit, in the order of arrival, and the engine come to rest."""
        for member in list(self.waiting):
            if self.may_start(member):
                self.waiting.remove(member)
                self.running.append(member)
        self.portal.call(anyio.wait_all_tasks_blocked)

    @invariant()
    def those_run_who_may(self) -> None:
        """Who has begun is who the model says; whoever was told to end is not asked."""
        alive = [*self.waiting, *self.running]
        begun = {member.number for member in alive if member.has_begun}
        assert begun == {member.number for member in self.running}


@pytest.mark.hypothesis  # which the functions that hypothesis decorates have by themselves
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_whoever_may_start_does_and_nobody_else(backend_name: str) -> None:
    machine = type("Machine", (Machine,), {"backend": backend_name})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=30))
