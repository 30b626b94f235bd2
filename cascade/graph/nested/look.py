"""Finds out at the speed of C whether there are placeholders in a value.

Most values are plain data, and there may be a lot of it, so the containers inside are not visited one by one. One
pass takes up to 128 containers, asks the garbage collector for everything that they refer to, and tests the set of
its *types*. A pass sees at least what :func:`~cascade.graph.nested.kinds.contents` gives, and sometimes more (dict
keys, attributes that are no fields). So "no placeholder" is certain, and "maybe" is confirmed by compiling the
value.

Large plain data is remembered while the run keeps it alive, so it is looked through once: see
:class:`~cascade.graph.nested.seen.Seen`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from gc import get_referents
from itertools import islice
from sys import getrefcount
from typing import Any, Final

import attrs

from cascade.graph.nested.kinds import LEAVES
from cascade.graph.nested.reach import BUILTINS, Reach, reach_of, reaches, size_of
from cascade.graph.nested.seen import Seen
from cascade.graph.nested.steps import Steps

# A container with more items than this is large: it is remembered, with everything in it.
LARGE: Final = 128
# A tree of more small containers than this is remembered as a whole; a smaller one is looked at each time.
MOST_LOOSE: Final = 32
# Leaves that are looked at in half a millisecond.
_MOST_FLAT: Final = 32_768


def _sort(kinds: set[type]) -> tuple[bool, set[type], set[type]]:
    """Whether placeholders are among *kinds*, and those that are sized, and open."""
    is_hit, sized, opened = False, set(), set()
    for cls in kinds:
        reach = reaches.get(cls) or reach_of(cls)
        if reach is Reach.SIZED:
            sized.add(cls)
            continue
        if reach is Reach.OPEN:
            opened.add(cls)
        elif reach is Reach.PLACEHOLDER:
            is_hit = True
    return is_hit, sized, opened


# -- a quick look ----------------------------------------------------------------------------------------------


def glance(value: Any) -> bool | None:
    """Whether *value* is plain data; ``None`` if it has too much inside to tell within some microseconds."""
    cls = type(value)
    if cls in LEAVES:
        return True
    reach = reaches.get(cls) or reach_of(cls)
    if reach is Reach.NOTHING or reach is Reach.PLACEHOLDER:
        return reach is Reach.NOTHING
    items = len(value) if reach is Reach.SIZED else 0
    if items > LARGE:
        return None
    referents = get_referents(value)
    if LEAVES.issuperset(map(type, referents)):
        return True
    return _glance_deeper(referents, items)


def is_flat(value: Any) -> bool:
    """Whether *value* has only leaves inside, and can be looked through in less than a millisecond."""
    if not 0 < size_of(value) <= _MOST_FLAT:
        return False
    return LEAVES.issuperset(map(type, get_referents(value)))


def _glance_deeper(referents: list[Any], items: int) -> bool | None:
    is_hit, boxes = False, 0
    while True:
        is_found, sized, opened = _sort(set(map(type, referents)) - LEAVES)
        is_hit = is_hit or is_found
        if not sized and not opened:
            return not is_hit
        followed = sized | opened
        level = [item for item in referents if type(item) in followed]
        boxes += len(level)
        items += sum([len(item) for item in level if type(item) in sized])
        if boxes > MOST_LOOSE or items > LARGE:
            return None
        referents = get_referents(*level)


# -- a thorough look -------------------------------------------------------------------------------------------

# Containers looked into at once, and items of a large one.
_AT_ONCE: Final = 128
_ITEMS_AT_ONCE: Final = 2048
# Referents looked at between two pauses; and how many of them take as long as what is done for each part.
_PAUSE_AFTER: Final = 4096
_COST_OF_PART: Final = 64


def _count_alone() -> int:
    """References to something in a list that is in one container, and nowhere else, as ``_fresh`` counts them."""
    container = [[0]]
    boxes = list(container)
    return max(map(getrefcount, boxes))


_ALONE: Final = _count_alone()


@attrs.frozen(eq=False)
class Look:
    """What a look has found.

    Attributes:
        is_plain: True if there is certainly no placeholder.
        large: The large plain containers to remember; empty if the look stopped early.
        suspects: The ``id`` of each container that may have a placeholder inside, at any depth; incomplete if the
            look stopped early.
    """

    is_plain: bool
    large: Sequence[Any]
    suspects: frozenset[int] = frozenset()


def look_steps(value: Any, seen: Seen, *, is_thorough: bool = False) -> Steps[Look]:
    """Look through *value*, pausing every fraction of a millisecond.

    Args:
        value: A container.
        seen: The large plain data that is already known, and not looked through again.
        is_thorough: True to find all suspects; False (the default) to stop at the first.
    """
    walk = _Walk(seen, is_thorough)
    yield from walk.steps(value)
    if walk.suspects:
        walk.suspect_shared()
        suspects = frozenset(id(box) for part in walk.suspects for box in part.boxes)
        large = [box for box in walk.large if id(box) not in suspects] if is_thorough else []
        return Look(False, large, suspects)
    if walk.loose > MOST_LOOSE and not seen.knows(value):
        walk.large.append(value)
    return Look(True, walk.large)


@attrs.define(eq=False)
class _Part:
    """Containers that one pass looks into.

    Attributes:
        boxes: The containers.
        parent: The part whose containers they are in; ``None`` at the top, and if the look is not thorough.
        is_covered: Whether they are in a large container, or are one.
        portions: For a single large container: its contents that have not been looked at yet, in portions.
        is_suspect: Whether a placeholder may be inside.
    """

    boxes: list[Any]
    parent: _Part | None
    is_covered: bool
    portions: Iterator[list[Any]] | None = None
    is_suspect: bool = False


@attrs.define(eq=False)
class _Walk:
    """The state of one look.

    A container with other containers inside is expanded once. Only those with more than one reference to them can
    be met twice, so only those are noted as expanded. A container of leaves is looked at as often as it is met.

    Attributes:
        seen: The large plain data that is already known.
        is_thorough: Whether to go on after the first suspect.
        suspects: Parts with a suspect, and the parts that lead to them.
        shared: Parts with containers that had already been expanded as a member of another part.
        large: Large containers that are not inside another large one, known ones included.
        loose: Number of small containers that are not inside a large one.
    """

    seen: Seen
    is_thorough: bool
    suspects: list[_Part] = attrs.field(factory=list)
    shared: list[_Part] = attrs.field(factory=list)
    large: list[Any] = attrs.field(factory=list)
    loose: int = 0
    _pending: list[_Part] = attrs.field(factory=list)
    _expanded: set[int] = attrs.field(factory=set)

    def steps(self, value: Any) -> Steps[None]:
        """Look through *value*."""
        self._go_on([value], None, is_sized=reach_of(type(value)) is Reach.SIZED)
        pending, looked_at = self._pending, 0
        while pending and (self.is_thorough or not self.suspects):
            part = pending[-1]
            if part.portions is None:
                pending.pop()
                referents = get_referents(*part.boxes)
            else:  # what is in one portion comes before the next, so that little is under way at a time
                referents = next(part.portions, _NO_MORE)
                if referents is _NO_MORE:
                    pending.pop()
            kinds = set(map(type, referents))
            kinds -= LEAVES
            if kinds:
                self._follow(part, referents, kinds)
            looked_at += len(referents) + _COST_OF_PART
            if looked_at > _PAUSE_AFTER:
                looked_at = 0
                yield

    def _follow(self, part: _Part, referents: list[Any], kinds: set[type]) -> None:
        """Queue those of *referents* (what the containers of *part* refer to) that have something inside."""
        is_hit, sized, opened = _sort(kinds)
        if is_hit:
            self._suspect(part)
        if not sized and not opened:
            return
        if part.portions is None:
            referents = self._fresh(part, referents)
        if sized:
            self._go_on([item for item in referents if type(item) in sized], part, is_sized=True)
        if opened:
            self._go_on([item for item in referents if type(item) in opened], part, is_sized=False)

    def _suspect(self, part: _Part | None) -> None:
        while part is not None and not part.is_suspect:
            part.is_suspect = True
            self.suspects.append(part)
            part = part.parent

    def suspect_shared(self) -> None:
        """Suspect the parts that lead to a shared container: its contents were noted where it was met first."""
        for part in self.shared:
            self._suspect(part)

    def _fresh(self, part: _Part, referents: list[Any]) -> list[Any]:
        """The contents of those containers of *part* that have not been expanded yet."""
        if max(map(getrefcount, part.boxes)) <= _ALONE:
            return referents  # nothing else leads to any of them
        boxes = {id(box): box for box in part.boxes}
        is_shared = not self._expanded.isdisjoint(boxes)
        if is_shared or len(boxes) < len(part.boxes):
            if is_shared:
                self.shared.append(part)
            referents = get_referents(*[box for key, box in boxes.items() if key not in self._expanded])
        self._expanded.update(boxes)
        return referents

    def _go_on(self, boxes: list[Any], part: _Part | None, *, is_sized: bool) -> None:
        """Queue *boxes*, which are in the containers of *part*."""
        is_covered = part is not None and part.is_covered
        parent = part if self.is_thorough else None  # else parts need not be kept
        fresh = self.seen.unknown(boxes)
        if len(fresh) < len(boxes) and not is_covered:
            self.large += [box for box in boxes if self.seen.knows(box)]
        if is_sized and fresh and max(map(len, fresh)) > LARGE:
            for box in fresh:
                if len(box) > LARGE:
                    self._go_on_with_large(box, parent, is_covered=is_covered)
            fresh = [box for box in fresh if len(box) <= LARGE]
        if not is_covered:
            self.loose += len(fresh)
        for start in range(0, len(fresh), _AT_ONCE):
            self._pending.append(_Part(fresh[start : start + _AT_ONCE], parent, is_covered))

    def _go_on_with_large(self, box: Any, parent: _Part | None, *, is_covered: bool) -> None:
        if id(box) not in self._expanded:
            self._expanded.add(id(box))
            if not is_covered:
                self.large.append(box)
            self._pending.append(_Part([box], parent, is_covered=True, portions=_portions(box)))
        elif parent is not None:
            self.shared.append(parent)


# Marks the end of the portions.
_NO_MORE: Final[list[Any]] = []


def _portions(box: Any) -> Iterator[list[Any]]:
    """The contents of a large container, in portions. Runs no code of its class."""
    base = next(base for base in BUILTINS if isinstance(box, base))
    if base is list or base is tuple:
        for start in range(0, base.__len__(box), _ITEMS_AT_ONCE):
            yield list(base.__getitem__(box, slice(start, start + _ITEMS_AT_ONCE)))
    elif base is dict:
        yield from _batches(lambda: dict.keys(box))
        yield from _batches(lambda: dict.values(box))
    else:
        yield from _batches(lambda: base.__iter__(box))


def _batches(iterate: Callable[[], Iterable[Any]]) -> Iterator[list[Any]]:
    items = iter(iterate())
    try:
        while batch := list(islice(items, _ITEMS_AT_ONCE)):
            yield batch
    except RuntimeError:  # it has changed between two portions
        yield list(iterate())
