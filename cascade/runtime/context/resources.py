"""Injected resources: opened when first needed, closed in reverse order, each by the task that opened it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
from anyio import CapacityLimiter

from cascade.model.errors import GraphError, ResourceNotFoundError
from cascade.model.inputs import Resource
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.context.open_resource import Host, Opened


def check_providers(providers: Mapping[str, Resource], needed: Mapping[str, str]) -> None:
    """See that all *needed* resources can be provided.

    Args:
        providers: By name.
        needed: Resource name to who injects it.

    Raises:
        ResourceNotFoundError: If one has no provider.
        GraphError: If providers need each other in a circle, or a run's resource injects a task's.
    """
    checked: set[str] = set()
    for name, user in needed.items():
        _check_with_injected(providers, name, user, checked)


def _check_with_injected(providers: Mapping[str, Resource], name: str, user: str, checked: set[str]) -> None:
    """Check the provider *name* and, depth first, those of the resources that it injects; adds to *checked*."""
    _check_provider(providers, name, user, ())
    # The names on the way to where we are, each with those that it injects and that are left to be checked.
    path = [] if name in checked else [(name, _injected_by(providers, name))]
    while path:
        user, left = path[-1]
        if not left:
            checked.add(user)
            path.pop()
            continue
        injected = left.pop()
        _check_provider(providers, injected, user, [step for step, _ in path])
        if injected not in checked:
            path.append((injected, _injected_by(providers, injected)))


def _injected_by(providers: Mapping[str, Resource], name: str) -> list[str]:
    return [inject.name for inject in providers[name].injects.values()]


def _check_provider(providers: Mapping[str, Resource], name: str, user: str, path: Sequence[str]) -> None:
    if name not in providers:
        raise ResourceNotFoundError(name, user, providers)
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise GraphError(f"resources need each other in a circle: {circle}")
    if path and providers[path[-1]].scope == "run" and providers[name].scope == "task":
        raise GraphError(
            f"the resource {path[-1]!r} lives as long as the run and injects {name!r}, which lives as long as a "
            'task; give both the scope "task", or both the scope "run"'
        )


@attrs.define(eq=False)
class Resources:
    """The resources of one run.

    Attributes:
        providers: By name, as they were when the run began.
        budget: Seconds that each closing may take.
        limiter: Of the threads of sync providers: each has its own, so there is no limit.
    """

    host: Host
    providers: Mapping[str, Resource]
    budget: float
    limiter: CapacityLimiter = attrs.field(factory=lambda: CapacityLimiter(float("inf")))
    _opened: dict[str, Opened] = attrs.field(factory=dict)
    _opening: dict[str, anyio.Event] = attrs.field(factory=dict)

    async def open_for_run(self, names: Iterable[str]) -> dict[str, Any]:
        """The run-scoped ones among *names*, opened if they are not yet.

        Raises:
            BaseException: Why one could not be opened; the same object for everybody who needs it.
        """
        found = {}
        for name in names:
            if self.providers[name].scope == "run":
                found[name] = await self._open_shared(name)
        return found

    async def _open_shared(self, name: str) -> Any:
        while name in self._opening:
            await self._opening[name].wait()
        opened = self._opened.get(name)
        if opened is None:
            self._opening[name] = anyio.Event()
            try:
                opened = await self._open(name)
                self._opened[name] = opened
            finally:
                self._opening.pop(name).set()
        if opened.error is not None:
            raise opened.error
        return opened.value

    async def _open(self, name: str) -> Opened:
        resource = self.providers[name]
        injected = await self._injected(resource)
        opened = Opened(self.host, resource, injected, self.budget, self.limiter)
        await opened.open()
        return opened

    async def _injected(self, resource: Resource) -> dict[str, Any]:
        return {parameter: await self._open_shared(inject.name) for parameter, inject in resource.injects.items()}

    def of_node(self, names: Iterable[str]) -> NodeResources:
        """The task-scoped ones among *names*, for one node."""
        needed = [name for name in names if self.providers[name].scope == "task"]
        return NodeResources(self, needed)

    async def close(self, ended_by: BaseException | None) -> None:
        """Close the run's resources in reverse order of their opening; never raises, failures are recorded."""
        for opened in reversed(self._opened.values()):
            if opened.error is None:
                await opened.close(ended_by)
            if opened.trouble is not None:
                self.host.fail(opened.trouble, opened.origin)
        self._opened.clear()


@attrs.define(eq=False)
class NodeResources:
    """The task-scoped resources of one node: opened before its first attempt, closed after its last.

    Attributes:
        run: The resources of the run.
        names: Those of the node.
        troubles: What went wrong in closing, and with what; for whoever records how the node ended.
    """

    run: Resources
    names: Sequence[str]
    troubles: list[tuple[BaseException, str]] = attrs.field(factory=list)
    _opened: dict[str, Opened] = attrs.field(factory=dict)

    async def open(self) -> dict[str, Any]:
        """Their values by name; opened now, unless they are open.

        Raises:
            BaseException: Why one could not be opened.
        """
        for name in self.names:
            await self._open(name)
        return {name: self._opened[name].value for name in self.names}

    async def _open(self, name: str) -> Any:
        """Open a resource after those it injects; check_providers has seen that they are in no circle."""
        if self.run.providers[name].scope == "run":
            return (await self.run.open_for_run([name]))[name]
        if name not in self._opened:
            resource = self.run.providers[name]
            injected = {key: await self._open(inject.name) for key, inject in resource.injects.items()}
            opened = Opened(self.run.host, resource, injected, self.run.budget, self.run.limiter)
            await opened.open()
            if opened.error is not None:
                raise opened.error
            self._opened[name] = opened
        return self._opened[name].value

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # That the run drains is between the engine and the node: for a resource, its scope just ends.
        ended_by = None if isinstance(error, DrainedError) else error
        for opened in reversed(self._opened.values()):
            await opened.close(ended_by)
            if opened.trouble is not None:
                self.troubles.append((opened.trouble, opened.origin))
