"""The order of slots within layers, and where each stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise


def positions(
    layers: list[list[int]],
    paths: Sequence[Sequence[int]],
    extents: Sequence[int],
    gap: int,
    sweeps: int,
) -> list[float]:
    """The center of each slot, across the layers; the first thing of the picture begins at 0.

    Args:
        layers: The slots of each layer. They are put into a better order.
        paths: The slots that each arrow passes.
        extents: How much room each slot takes.
        gap: The room between two slots, at least.
        sweeps: How often the layers are gone through, back and forth.
    """
    before: list[list[int]] = [[] for _ in extents]
    after: list[list[int]] = [[] for _ in extents]
    for path in paths:
        for source, target in pairwise(path):
            before[target].append(source)
            after[source].append(target)
    places = [0.0] * len(extents)
    for layer in layers:
        _number(layer, places)
    for _ in range(sweeps):
        for layer in layers[1:]:
            _order(layer, before, places)
        for layer in reversed(layers[:-1]):
            _order(layer, after, places)
    return _centers(layers, before, after, extents, gap, sweeps)


def _number(layer: Sequence[int], places: list[float]) -> None:
    # Relative to the middle, so that a short layer is compared with the middle of a long one.
    middle = (len(layer) - 1) / 2
    for place, slot in enumerate(layer):
        places[slot] = place - middle


def _order(layer: list[int], neighbours: Sequence[Sequence[int]], places: list[float]) -> None:
    """Put *layer* into the order of the mean places of the neighbours of its slots."""
    layer.sort(key=lambda slot: _mean(neighbours[slot], places, places[slot]))
    _number(layer, places)


def _mean(slots: Sequence[int], values: Sequence[float], otherwise: float) -> float:
    return sum(values[slot] for slot in slots) / len(slots) if slots else otherwise


def _centers(
    layers: Sequence[Sequence[int]],
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    extents: Sequence[int],
    gap: int,
    sweeps: int,
) -> list[float]:
    centers = [0.0] * len(extents)
    for layer in layers:
        _settle(layer, [0.0] * len(layer), extents, gap, centers)
    for _ in range(sweeps):
        for layer in layers[1:]:
            _settle(layer, [_mean(before[slot], centers, centers[slot]) for slot in layer], extents, gap, centers)
        for layer in reversed(layers[:-1]):
            _settle(layer, [_mean(after[slot], centers, centers[slot]) for slot in layer], extents, gap, centers)
    _spread_from_widest(layers, before, after, extents, gap, centers)
    start = min((centers[slot] - extents[slot] / 2 for slot in range(len(extents))), default=0.0)
    return [center - start for center in centers]


def _spread_from_widest(
    layers: Sequence[Sequence[int]],
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    extents: Sequence[int],
    gap: int,
    centers: list[float],
) -> None:
    """Have the widest layer, which cannot give way, decide: the others are drawn along, from it outward.

    After a sweep back, all would lie near the one box in which a flow ends, and far from what they need.
    """
    widest = max(range(len(layers)), key=lambda depth: sum(extents[slot] for slot in layers[depth]), default=0)
    for layer in layers[widest + 1 :]:
        _settle(layer, [_mean(before[slot], centers, centers[slot]) for slot in layer], extents, gap, centers)
    for layer in reversed(layers[:widest]):
        _settle(layer, [_mean(after[slot], centers, centers[slot]) for slot in layer], extents, gap, centers)


def _settle(
    layer: Sequence[int], wanted: Sequence[float], extents: Sequence[int], gap: int, centers: list[float]
) -> None:
    """Put each slot of *layer* as near to where it is *wanted* as their order and the room between them allow.

    That is isotonic regression: least squares, by pooling neighbours that are too near (Ayer and others, 1955).
    """
    offsets, offset = [0.0], 0.0
    for one, other in pairwise(layer):
        offset += (extents[one] + extents[other]) / 2 + gap
        offsets.append(offset)
    pools: list[tuple[float, int]] = []  # the sum of what is wanted, and how many want it
    for place, want in enumerate(wanted):
        total, count = want - offsets[place], 1
        while pools and pools[-1][0] * count >= total * pools[-1][1]:
            total, count = total + pools[-1][0], count + pools[-1][1]
            pools.pop()
        pools.append((total, count))
    for slot, offset, position in zip(layer, offsets, _spread(pools), strict=True):
        centers[slot] = position + offset


def _spread(pools: Iterable[tuple[float, int]]) -> Iterable[float]:
    for total, count in pools:
        yield from [total / count] * count
