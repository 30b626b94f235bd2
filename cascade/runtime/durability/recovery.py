"""What a run has from its store when it begins, and afterwards."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Container, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, Protocol

import attrs
from anyio import CancelScope

from cascade.graph.identity import Contents
from cascade.graph.nodes import Graph
from cascade.graph.pictures.outline import outline_text
from cascade.model.policies import Retry
from cascade.model.shown.secrets import MARK, redacted
from cascade.model.shown.text import preview
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Opening, Past, Record, roots
from cascade.runtime.durability.undo_log import RecordedUndos, recorded_undos
from cascade.runtime.foundation.fairness import paced, paced_dict, paced_list, portions

# Records and values that are asked for at once.
PORTION: Final = 500

# The command line that starts the run, as JSON: ``cascade resume`` reads it from the record of the run.
origin_var: ContextVar[str | None] = ContextVar("cascade_origin", default=None)


class ResumePolicy(Protocol):
    """What the settings of a run say about records of an earlier execution."""

    @property
    def on_finished(self) -> str:
        """If the run had succeeded: return its result, run it again, or refuse."""

    @property
    def on_change(self) -> str:
        """If the flow has changed: refuse, record it as another run, or run again what has changed."""

    @property
    def schedule(self) -> str:
        """When nodes start; only ``"eager"`` asks how long they took before."""


class RecordedFlow(Protocol):
    """A flow that is going to be recorded."""

    @property
    def graph(self) -> Graph:
        """Its graph."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Values of its inputs."""

    def params(self) -> dict[str, Any]:
        """Its parameters, as they may be shown."""


# Opens the backend of the run with an id; returns None if outcomes are not recorded.
OpenRun = Callable[[str], StateBackend | None]


@attrs.define(eq=False)
class Recovery:
    """What a run has from its store.

    Attributes:
        run_id: The run. After a fork, it is not the run that was asked for.
        backend: The store of the run.
        past: What the store knew when the run began.
        contents: The digests with which records are compared.
        restored: Number of nodes that were taken from the store instead of being run.
        durations: How long nodes took in earlier runs; see :meth:`StateBackend.durations`.
        undos: What is recorded of undos, which is not in *past*.
        ended: Of a run that has finished, by id, whether each recorded node of its flow was skipped; if that is
            to be told.
    """

    run_id: str
    backend: StateBackend
    past: Past
    contents: Contents
    restored: int = 0
    durations: Mapping[bytes, bytes] = attrs.field(factory=dict)
    undos: RecordedUndos = attrs.field(factory=RecordedUndos)
    ended: Mapping[str, bool] = attrs.field(factory=dict)
    _listed: Collection[str] | None = None
    _items: Mapping[str, Sequence[int]] | None = None
    _handled: Mapping[str, Sequence[str]] | None = None
    _attempts: dict[str, tuple[bytes | None, int]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._attempts.update(self.past.retrying)

    def attempts(self, name: str, digest: bytes | None, retry: Retry) -> int:
        """How many attempts at the node *name* were made before the run was cut short, and count now.

        The second time it is 0: in a loop, a later turn has another node of the same name.
        """
        if name not in self.past.retrying:
            return 0
        recorded, made = self._attempts.pop(name, (None, 0))
        return min(made, retry.max_attempts - 1) if recorded in (None, digest) or digest is None else 0

    def forget_attempts(self) -> None:
        """Let no earlier attempts count: everything runs again."""
        self._attempts.clear()

    async def records(self, names: Iterable[str | None]) -> dict[str, Record]:
        """The records of the nodes *names*; read in portions, as there may be very many."""
        listed, found = await self._names(), dict[str, Record]()
        wanted = await paced_list(name if listed is None or name in listed else None for name in names)
        for portion in portions(wanted, PORTION):
            found.update(await self.backend.recall(portion))
        return found

    async def _names(self) -> Collection[str] | None:
        if self._listed is None and self.past.nodes is not None:
            self._listed = await paced_dict((name, None) for name in self.past.nodes)
        return self._listed

    async def recorded_items(self) -> Mapping[str, Sequence[int]]:
        """The items of each map that have a record, as far as that is known; none if all have failed."""
        if self._items is None:
            self._items = await paced(_items(self.past.nodes or (), self.past.handled()))
        return self._items

    async def handled_below(self) -> Mapping[str, Sequence[str]]:
        """By node, the ids of what failed as a part of it, where that was handled."""
        if self._handled is None:
            self._handled = await paced(_by_root(self.past.handled()))
        return self._handled

    async def has_records(self, names: Iterable[str]) -> list[str]:
        """Those of *names* of which there is a record, as far as that is known."""
        listed = await self._names()
        return [] if listed is None else await paced_list(name if name in listed else None for name in names)

    async def leave(self, gone: Container[str]) -> None:
        """Count without the nodes *gone*, which the store has forgotten."""
        past, self._listed, self._items, self._handled = self.past, None, None, None
        items = past.failed.items()
        failed = await paced_dict(None if name in gone else (name, handled) for name, handled in items)
        self.past = attrs.evolve(past, failed=failed)
        if past.nodes is not None:
            nodes = await paced_list(None if name in gone else name for name in past.nodes)
            self.past = attrs.evolve(self.past, nodes=nodes)

    async def records_of(self, graph: Graph) -> tuple[dict[str, Record], dict[str, bytes]]:
        """The records of the nodes of *graph*, and the present digests of these nodes, by name."""
        digests = await paced_dict(
            (graph.name(index), digest) for index, digest in enumerate(self.contents.digests)
        )
        return await self.records(digests), digests

    async def let_go(self, graph: Graph | None) -> None:
        """Close the store of a run that has finished, having learnt how the nodes of *graph* ended, if given.

        That is for people only: what cannot be read is not known.
        """
        try:
            with suppress(Exception):
                records = {} if graph is None else (await self.records_of(graph))[0]
                self.ended = {name: record.reason is not None for name, record in records.items()}
        finally:
            with CancelScope(shield=True):
                await self.backend.aclose()


def _items(names: Iterable[str], failed: Iterable[str]) -> Generator[None, None, dict[str, array[int]]]:
    items: dict[str, array[int]] = {}
    for some, is_recorded in ((names, True), (failed, False)):
        for name in some:
            map_id, _, number = name.removesuffix("]").rpartition("[")
            if name.endswith("]") and number.isdecimal():
                numbers = items.setdefault(map_id, array("q"))
                if is_recorded:
                    numbers.append(int(number))
            yield
    return items


def _by_root(names: Iterable[str]) -> Generator[None, None, dict[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name in names:
        for root in roots(name):
            found.setdefault(root, []).append(name)
        yield
    return found


async def open_recovery(
    backend: StateBackend, flow: RecordedFlow, contents: Contents, *, is_new: bool
) -> Recovery:
    """Take the lease of the run of *backend*, and read what is known of the run."""
    graph = flow.graph
    opening = Opening(
        is_new,
        await paced_list(graph.name(member) for member in graph.members),
        contents.flow,
        {name: value if value is MARK else preview(value) for name, value in flow.params().items()},
        origin_var.get(),
        await paced(outline_text(graph, redacted)) if backend.can_resume else None,
    )
    undos, past = await recorded_undos(backend, await backend.begin(opening))
    if past.status == "succeeded":  # what such a run has done is not undone any more
        undos = RecordedUndos(times=undos.times)
    return Recovery(backend.run_id, backend, past, contents, undos=undos)
