"""Straight-line code for the turns of a loop: flows of one shape, whose nodes are called one after another.

The code is a generator. It checks that a flow has the shape and takes its arguments out, in one pass without a
dict. Then it yields call after call, each a function and a tuple of its arguments, and is sent what that gave.
So whoever drives it calls each node, in a context of its own, and can look in between whether the run goes on.
What the target gives is the flow of the next turn. The generator returns the first value that has not the shape.

While a node runs, the generator stands still: :meth:`TurnCode.values` tells what it has got so far, also to other
threads, and whoever goes on with the turn in another way closes it.
"""

from __future__ import annotations

import inspect
import itertools
import keyword
import linecache
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from types import FunctionType, GeneratorType
from typing import Any, Final, cast
from weakref import finalize

import attrs

from cascade.graph.nested import LEAVES
from cascade.graph.shapes import Sketch
from cascade.model.calls.callee import Callee
from cascade.model.lazies import NO_KWARGS, LazyResult

# Longer code would take longer to make than it saves.
MOST_NODES: Final = 256
MOST_ARGUMENTS: Final = 1024

# A function and its arguments.
Call = tuple[Callable[..., Any], tuple[Any, ...]]
Turns = Generator[Call, Any, Any]

_numbers: Final = itertools.count(1)
_FIELDS: Final = ("args_first", "args_second", "args_third")


@attrs.frozen(eq=False)
class TurnCode:
    """Code for flows of one shape.

    Attributes:
        begin: Makes the generator for a flow.
        tasks: By node, what is called.
        names: By node, its id within the flow.
        order: The nodes, in the order in which they are called.
        asyncs: Which of those are async, in that order.
        ahead: Those that are called before others of their stage.
        source: The code.
        is_plain: Whether there is certainly no placeholder in a value.
        keeps_values: Whether the value of the last turn is to be recorded.
    """

    begin: Callable[[Any], Turns]
    tasks: Sequence[Callee]
    names: Sequence[str]
    order: Sequence[int]
    asyncs: Sequence[bool]
    ahead: AbstractSet[int]
    source: str = attrs.field(repr=False)
    is_plain: Callable[[Any], bool] = attrs.field(repr=False)
    keeps_values: bool

    def calls(self, turns: Turns) -> list[LazyResult[Any]]:
        """The calls of the present turn, by node."""
        known = _locals_of(turns)
        return [known[f"c{index}"] for index in range(len(self.tasks))]

    def values(self, turns: Turns, count: int) -> list[tuple[int, Any]]:
        """By number, what the first *count* nodes of the present turn gave; ``None`` once nobody needs it."""
        known = _locals_of(turns)
        return [(index, known[f"v{index}"]) for index in self.order[:count]]


def _locals_of(turns: Turns) -> dict[str, Any]:
    found: dict[str, Any] = inspect.getgeneratorlocals(cast("GeneratorType[Any, Any, Any]", turns))
    return found


def write_turns(
    sketch: Sketch,
    names: Sequence[str],
    levels: Sequence[Sequence[int]],
    is_plain: Callable[[Any], bool],
    shared: Callable[[Any], Any],
    *,
    keeps_values: bool,
) -> TurnCode | None:
    """Code for flows like that of *sketch*; ``None`` if there can be none.

    All its calls have to be such that nothing is said of them or of their tasks, and its async functions have to
    be written as such.

    Args:
        sketch: The flow, taken apart.
        names: The ids of its nodes.
        levels: Its nodes, stage by stage. The last one is the target.
        is_plain: Whether there is certainly no placeholder in a value. Called in any thread.
        shared: A value in a form that several consumers can read.
        keeps_values: Whether :meth:`TurnCode.values` gives values also once nobody needs them.
    """
    if not all(map(_is_writable, sketch.calls)):
        return None
    size = sum(call.args_count + len(call.kwargs) for call in sketch.calls)
    size += sum(len(patch) for row in _rows(sketch) for patch in row[1:])
    if len(sketch.calls) > MOST_NODES or size > MOST_ARGUMENTS:
        return None
    order = [index for level in levels for index in level]
    writer = _Writer(sketch, order, keeps_values)
    source = "\n".join(writer.lines())
    filename = f"<turns of {sketch.calls[-1].task.name!r} {next(_numbers)}>"
    known: dict[str, Any] = {
        "LazyResult": LazyResult, "LEAVES": LEAVES, "NO_KWARGS": NO_KWARGS, "is_plain": is_plain,
        "shared": shared, "partial": partial,
    }  # fmt: skip
    for number, task in enumerate(writer.tasks):
        known[f"T{number}"], known[f"F{number}"] = task, task.func
    exec(compile(source, filename, "exec"), known)
    linecache.cache[filename] = (len(source), None, [f"{line}\n" for line in source.split("\n")], filename)
    finalize(known["turns"], linecache.cache.pop, filename, None)
    _show(sketch.calls[-1].task.name, source)
    ahead = {index for level in levels for index in level[:-1]}
    tasks = [call.task for call in sketch.calls]
    asyncs = [tasks[index].is_async for index in order]
    return TurnCode(known["turns"], tasks, names, order, asyncs, ahead, source, is_plain, keeps_values)


def _show(name: str, source: str) -> None:
    """Log the code, if somebody has set up logging for that."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("cascade.turns").debug("code for the turns of %r:\n%s", name, source)


def _rows(sketch: Sketch) -> tuple[tuple[Any, ...], ...]:
    """By call: its task, and where among its arguments calls are."""
    return cast("tuple[tuple[Any, ...], ...]", sketch.shape)


def _is_keyword(name: str) -> bool:
    """Whether *name* can stand before ``=`` in a call, and means itself there."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and name != "__debug__"


def _is_writable(call: LazyResult[Any]) -> bool:
    if type(call) is not LazyResult or not all(_is_keyword(name) for name in call.kwargs):
        return False
    func = call.task.func
    is_written_async = type(func) is FunctionType and bool(func.__code__.co_flags & inspect.CO_COROUTINE)
    return is_written_async or not call.task.is_async


@attrs.define(eq=False)
class _Writer:
    """Writes the code for one shape.

    In the code, ``c3`` is the call of node 3, ``a3_0`` its first argument, ``v3`` its value; ``T1`` and ``F1`` are
    a task and its function.
    """

    sketch: Sketch
    order: Sequence[int]
    keeps_values: bool
    # Each once, by number.
    tasks: dict[Callee, int] = attrs.field(factory=dict)
    # By node: what its function is called with, as text, "=" before what is given by name; and the nodes whose
    # values are in it.
    _arguments: list[list[str]] = attrs.field(factory=list)
    _sources: list[list[int]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        for call in self.sketch.calls:
            self.tasks.setdefault(call.task, len(self.tasks))
            self._arguments.append([])
            self._sources.append([])

    def lines(self) -> Iterator[str]:
        """The code, line by line."""
        target = len(self.sketch.calls) - 1
        kept = ["LazyResult", "LEAVES", "NO_KWARGS", "is_plain"]
        kept += [f"{letter}{number}" for number in self.tasks.values() for letter in "TF"]
        yield f"def turns(c{target}, {', '.join(f'{name}={name}' for name in kept)}):"
        yield "    while True:"
        for line in (*self._checks(target), *self._calls(target)):
            yield f"        {line}"

    # -- the shape -----------------------------------------------------------------------------------------

    def _checks(self, target: int) -> Iterator[str]:
        other = f"return c{target}"
        seen = {target}
        shape = _rows(self.sketch)
        for index in reversed(range(target + 1)):
            call = self.sketch.calls[index]
            yield (
                f"if type(c{index}) is not LazyResult or c{index}.task is not T{self.tasks[call.task]}"
                f" or c{index}.args_count != {call.args_count}"
                + (f" or c{index}.kwargs is not NO_KWARGS" if not call.kwargs else "")
                + f": {other}"
            )
            patches = {patch[0]: patch[1:] for patch in shape[index][1:]}
            for key, name, lines in self._taken_out(index, call, other):
                yield from lines
                text = yield from self._argument(index, name, patches.get(key), seen, other)
                self._arguments[index].append(text if isinstance(key, int) else f"={key}={text}")
        if target:
            every = ", ".join(f"c{index}" for index in range(target + 1))
            yield f"if len({{{every}}}) != {target + 1}: {other}"

    def _taken_out(
        self, index: int, call: LazyResult[Any], other: str
    ) -> Iterator[tuple[int | str, str, list[str]]]:
        """Each argument: its key, the name that it gets, and the code that gives it that name."""
        names = [f"a{index}_{place}" for place in range(call.args_count)]
        for place, name in enumerate(names):
            if call.args_count <= len(_FIELDS):
                yield place, name, [f"{name} = c{index}.{_FIELDS[place]}"]
            else:
                yield place, name, [] if place else [f"{', '.join(names)}, = c{index}.args_first"]
        if call.kwargs:
            keys = tuple(call.kwargs)
            named = [f"a{index}_{key}" for key in keys]
            for place, (key, name) in enumerate(zip(keys, named, strict=True)):
                first = [
                    f"if tuple(c{index}.kwargs) != {keys!r}: {other}",
                    f"{', '.join(named)}, = c{index}.kwargs.values()",
                ]
                yield key, name, [] if place else first

    def _argument(
        self, index: int, name: str, patch: tuple[Any, ...] | None, seen: set[int], other: str
    ) -> Generator[str, None, str]:
        """Check one argument; returns what stands for it in the call."""
        if patch is None:
            yield f"if type({name}) not in LEAVES and not is_plain({name}): {other}"
            return name
        if len(patch) == 1:
            (source,) = patch
            self._sources[index].append(source)
            yield f"if {name} is not c{source}: {other}" if source in seen else f"c{source} = {name}"
            seen.add(source)
            return f"v{source}"
        kind, *items = patch
        self._sources[index] += items
        yield f"if type({name}) is not {kind.__name__} or len({name}) != {len(items)}: {other}"
        fresh = dict.fromkeys(item for item in items if item not in seen)
        met: set[int] = set()
        places = []
        for place, item in enumerate(items):
            places.append(f"c{item}" if item in fresh and item not in met else f"x{place}")
            met.add(item)
        yield f"{', '.join(places)}, = {name}"
        again = [f"x{place} is not c{item}" for place, item in enumerate(items) if places[place] == f"x{place}"]
        if again:
            yield f"if {' or '.join(again)}: {other}"
        seen.update(items)
        inner = ", ".join(f"v{item}" for item in items)
        return f"[{inner}]" if kind is list else f"({inner},)"

    # -- the calls -----------------------------------------------------------------------------------------

    def _calls(self, target: int) -> Iterator[str]:
        last = {source: index for index in self.order for source in self._sources[index]}
        uses = Counter(source for sources in self._sources for source in set(sources))
        for index in self.order:
            func = f"F{self.tasks[self.sketch.calls[index].task]}"
            named = [text for text in self._arguments[index] if text.startswith("=")]
            plain = [text for text in self._arguments[index] if not text.startswith("=")]
            if named:
                func = f"partial({', '.join([func, *(text[1:] for text in named)])})"
            given = "".join(f"{text}, " for text in plain)
            yield f"{'c' if index == target else 'v'}{index} = yield {func}, ({given})"
            if uses[index] > 1:
                yield f"v{index} = shared(v{index})"
            yield from self._let_go([x for x in dict.fromkeys(self._sources[index]) if last[x] == index])

    def _let_go(self, gone: list[int]) -> list[str]:
        return [] if self.keeps_values or not gone else [" = ".join(f"v{source}" for source in gone) + " = None"]
