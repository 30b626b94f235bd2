"""e. A layered graph: 50 layers of 100 nodes, three random parents each; and a loop whose shape always changes.

The baseline is a task of the event loop for each node, and a group for each layer.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import hand_written
from harness import Comparison, Figure, Work, eager_tasks, main, medians, sized

import cascade

LAYERS, WIDTH, PARENTS = 50, 100, 3
# Times a native task for each node, a group for each layer.
GOAL = 2.0
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


async def run_cold(turns: int) -> None:
    """Run the loop."""
    await cascade.run(cold(turns, []))


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Both kinds of task, both schedules; and the loop, which has a goal in microseconds."""
    layers, width, turns = sized(options, LAYERS), sized(options, WIDTH), sized(options, COLD_TURNS)
    parents = random_parents(layers, width)
    works: dict[str, Work] = {
        f"{kind}, {schedule}": partial(run_layers, node, parents, schedule)
        for kind, node in (("sync", sync_node), ("async", async_node))
        for schedule in ("stages", "eager")
    }
    native = partial(hand_written.layers, parents, async_node.func, hand_written.native_group(backend))
    by_hand: dict[str, Work] = {
        "native": native,
        **eager_tasks(backend, native),
        "AnyIO groups": partial(hand_written.layers, parents, async_node.func, hand_written.in_anyio_group),
    }
    taken = await medians(rounds, **works, cold=partial(run_cold, turns), **by_hand)
    compared = Comparison("e. layers", backend, taken, layers * width, by_hand)
    cold_nodes = sum(11 + turn % 41 for turn in range(1, turns + 1))
    us = taken["cold"] / cold_nodes * 1e6
    return [
        *[compared.figure(name, "native", GOAL) for name in works],
        Figure("e. layers", backend, "us", us, GOAL_COLD_US, variant="loop of new shapes"),
    ]


if __name__ == "__main__":
    main(cases)
