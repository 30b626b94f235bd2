"""e. A layered graph: 50 layers of 100 nodes, three random parents each; and a loop whose shape always changes."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import hand_written
from harness import Figure, main, medians

import cascade

LAYERS, WIDTH, PARENTS = 50, 100, 3
GOAL_US = 12.0
COLD_TURNS = 100
# For each node of each layer, the nodes of the layer before that it takes.
Parents = Sequence[Sequence[Sequence[int]]]
GOAL_COLD_US = 40.0


@cascade.task
def sync_node(*values: int) -> int:
    """Nothing, in a worker thread."""
    return 1


@cascade.task
async def async_node(*values: int) -> int:
    """Nothing, on the loop."""
    return 1


@cascade.task(mode="inline")
def count(values: Sequence[int]) -> int:
    """The one gather."""
    return len(values)


@cascade.task(mode="inline")
def cold(turn: int, values: Sequence[int]) -> object:
    """A turn of another shape than the one before: ever one node more, up to fifty."""
    del values
    if not turn:
        return "done"
    return cold(turn - 1, [async_node(turn) for _ in range(10 + turn % 41)])


def random_parents(layers: int = LAYERS, width: int = WIDTH, seed: int = 0) -> Parents:
    """Parents drawn by lot, in tuples: collections, which are part of what is measured, leave these out."""
    rng = random.Random(seed)
    first: list[tuple[int, ...]] = [() for _ in range(width)]
    return [first, *([tuple(rng.sample(range(width), PARENTS)) for _ in range(width)] for _ in range(layers - 1))]


def layered(node: cascade.Task[Any, int], parents: Parents) -> Any:
    """The flow of such a graph."""
    values: list[Any] = []
    for layer in parents:
        values = [node(*[values[source] for source in sources]) for sources in layer]
    return count(values)


async def run_layers(
    node: cascade.Task[Any, int], parents: Sequence[Sequence[Sequence[int]]], schedule: Any
) -> None:
    """Define the graph and run it."""
    assert await cascade.run(layered(node, parents), schedule=schedule) == len(parents[-1])


async def run_cold() -> None:
    """Run the loop."""
    await cascade.run(cold(COLD_TURNS, []))


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Both kinds of task, both schedules."""
    del options
    parents = random_parents()
    works: dict[str, Any] = {
        f"{node.name} {schedule}": partial(run_layers, node, parents, schedule)
        for node in (sync_node, async_node)
        for schedule in ("stages", "eager")
    }
    by_hand = partial(hand_written.layers, parents, async_node.func)
    taken = await medians(rounds, **works, cold=run_cold, anyio_groups=by_hand)
    nodes = LAYERS * WIDTH
    hand = {"anyio_groups": taken["anyio_groups"] / nodes * 1e6}
    figures = [
        Figure(f"e. layers, {name}", backend, "us/task", taken[name] / nodes * 1e6, GOAL_US, baselines=hand)
        for name in works
    ]
    cold_nodes = sum(11 + turn % 41 for turn in range(1, COLD_TURNS + 1))
    figures.append(Figure("e. cold loop", backend, "us/task", taken["cold"] / cold_nodes * 1e6, GOAL_COLD_US))
    return figures


if __name__ == "__main__":
    main(cases)
