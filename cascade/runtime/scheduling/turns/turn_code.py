"""Straight-line code for the turns of a loop: flows of one shape, whose nodes are called one after another.

The code is a generator. It checks that a flow has the shape and takes its arguments out, in one pass without a
dict. Then it calls node after node, each in a context of its own, and looks between them whether the gate is as it
was and whether others should have their turn. What the target gives is the flow of the next turn. The generator
returns the first value that has not the shape, with the number of the turn that would be made of it.

It yields when it stops: the place of a node, the number of the turn, and why. To go on, it is sent what the gate
is at, when it is to stop, and the turn that it is not to begin. :meth:`TurnCode.values` tells what it has got so
far, also to other threads, and whoever goes on with the turn in another way closes it.
"""

from __future__ import annotations

import inspect
import itertools
import keyword
import linecache
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextvars import copy_context
from functools import lru_cache
from types import CodeType, FunctionType, GeneratorType
from typing import Any, Final, cast
from weakref import finalize

import attrs

from cascade.graph.nested import LEAVES
from cascade.graph.shapes import Sketch
from cascade.model.calls.callee import Callee
from cascade.model.lazies import NO_KWARGS, LazyResult
from cascade.model.shown.tracebacks import WRITTEN
from cascade.runtime.foundation.step_in_context import awaiting_calls
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.scheduling.turns.turn_stops import Given, Looks, Stop, is_closed, raised, waits

# Longer code would take longer to make than it saves.
MOST_NODES: Final = 256
MOST_ARGUMENTS: Final = 1024

# Yields a place, the number of a turn, and why it stops there, if that is not for who drives it to find out; no
# place if something was raised between two turns.
Turned = tuple[int | None, int, Stop | Given | None]
Turns = Generator[Turned, tuple[int, float, float] | None, tuple[int, Any]]

# What the code knows, whatever the shape.
_KNOWN: Final[dict[str, Any]] = {
    "LazyResult": LazyResult, "LEAVES": LEAVES, "NO_KWARGS": NO_KWARGS, "inf": math.inf,
    "mark": attempt_var.set, "copy": copy_context,
    "awaiting_calls": awaiting_calls, "waits": waits, "is_closed": is_closed, "raised": raised,
}  # fmt: skip

_numbers: Final = itertools.count(1)
_FIELDS: Final = ("args_first", "args_second", "args_third")


@attrs.frozen(eq=False)
class TurnCode:
    """Code for flows of one shape.

    Attributes:
        begin: Makes the generator: for its steps, this code, the number of a turn, its flow; and other functions.
        tasks: By node, what is called.
        names: By node, its id within the flow.
        order: The nodes, in the order in which they are called.
        functions: Those of its tasks, by their names in the code.
        ahead: Those that are called before others of their stage.
        source: The code.
    """

    begin: Callable[..., Turns]
    tasks: Sequence[Callee]
    names: Sequence[str]
    order: Sequence[int]
    functions: Mapping[str, Callable[..., Any]]
    ahead: AbstractSet[int]
    source: str = attrs.field(repr=False)

    def calls(self, turns: Turns) -> list[LazyResult[Any]]:
        """The calls of the present turn, by node."""
        known = _locals_of(turns)
        return [known[f"c{index}"] for index in range(len(self.tasks))]

    def values(self, turns: Turns, count: int) -> list[tuple[int, Any]]:
        """By number, what the first *count* nodes of the present turn gave; ``None`` once nobody needs it."""
        known = _locals_of(turns)
        places = known.get("V")
        return [(index, known[f"v{index}"] if places is None else places[index]) for index in self.order[:count]]

    def number(self, turns: Turns) -> int | None:
        """The number of the present turn; ``None`` if there is none."""
        return _locals_of(turns).get("number")

    def leave(self, turns: Turns) -> None:
        """Let go of the present turn, which others go on with."""
        if inspect.getgeneratorstate(turns) == inspect.GEN_RUNNING:  # in another thread: it ends with its node
            places = _locals_of(turns)["V"]
            places[:] = [None] * len(places)
        else:
            turns.close()


def _locals_of(turns: Turns) -> dict[str, Any]:
    return inspect.getgeneratorlocals(cast("GeneratorType[Any, Any, Any]", turns))


def write_turns(
    sketch: Sketch,
    names: Sequence[str],
    levels: Sequence[Sequence[int]],
    looks: Looks,
    shared: Callable[[Any], Any],
    *,
    is_in_thread: bool,
) -> TurnCode | None:
    """Code for flows like that of *sketch*; ``None`` if there can be none.

    All its calls have to be such that nothing is said of them or of their tasks, and its async functions have to
    be written as such.

    Args:
        sketch: The flow, taken apart.
        names: The ids of its nodes.
        levels: Its nodes, stage by stage. The last one is the target.
        looks: Looks at values. If it keeps values, :meth:`TurnCode.values` gives them also once nobody needs them.
        shared: A value in a form that several consumers can read.
        is_in_thread: Whether it runs in another thread than who changes the gate or takes a turn from it.
    """
    if not all(map(_is_writable, sketch.calls)):
        return None
    size = sum(call.args_count + len(call.kwargs) for call in sketch.calls)
    size += sum(len(patch) for row in _rows(sketch) for patch in row[1:])
    if len(sketch.calls) > MOST_NODES or size > MOST_ARGUMENTS:
        return None
    order = [index for level in levels for index in level]
    writer = _Writer(sketch, order, looks.keeps_values, is_in_thread)
    source, name = "\n".join(writer.lines()), sketch.calls[-1].task.name
    functions = {f"F{number}": task.func for task, number in writer.tasks.items()}
    tasks = {f"T{number}": task for task, number in writer.tasks.items()}
    known = {
        **_KNOWN,
        **functions,
        **tasks,
        "is_plain": looks.is_plain,
        "looks": looks,
        "shared": shared,
        "clock": time.perf_counter,
    }
    exec(_compiled(source, name), known)
    _show(name, source)
    ahead = {index for level in levels for index in level[:-1]}
    return TurnCode(known["turns"], [call.task for call in sketch.calls], names, order, functions, ahead, source)


@lru_cache(maxsize=64)  # compiling takes longer than all else; many runs of a program have the same loops
def _compiled(source: str, name: str) -> CodeType:
    filename = f"{WRITTEN}turns of {name!r} {next(_numbers)}>"
    code = compile(source, filename, "exec")
    linecache.cache[filename] = (len(source), None, [f"{line}\n" for line in source.split("\n")], filename)
    finalize(code, linecache.cache.pop, filename, None)
    return code


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
    a task and its function. In a thread, the value is in ``V[3]``, so that others can let go of it.
    """

    sketch: Sketch
    order: Sequence[int]
    keeps_values: bool
    is_in_thread: bool
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
        kept = ["LazyResult", "LEAVES", "NO_KWARGS", "is_plain", "mark", "copy", "clock"]
        kept += [f"{letter}{number}" for number in self.tasks.values() for letter in "TF"]
        yield f"def turns(steps, code, number, c{target}, {', '.join(f'{name}={name}' for name in kept)}):"
        yield "    attempts, gate = steps.attempts, steps.attempts.run_context.gate"
        yield "    epoch, until, last = None, inf, inf"
        if any(call.task.is_async for call in self.sketch.calls):
            yield "    box, awaiting = awaiting_calls()"
            yield "    send = awaiting.send"
        if self.is_in_thread:
            yield f"    V = [None] * {target + 1}"
        yield "    place = None"
        yield "    try:"
        yield "        while True:"
        for line in (*self._checks(target), *self._turn(target)):
            yield f"            {line}"
        yield "    except BaseException as error:"
        yield "        if is_closed(error): raise"
        yield "        yield place, number, raised(error)"

    # -- the shape -----------------------------------------------------------------------------------------

    def _checks(self, target: int) -> Iterator[str]:
        other = f"return number, c{target}"
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
            return self._value(source)
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
        inner = ", ".join(map(self._value, items))
        return f"[{inner}]" if kind is list else f"({inner},)"

    # -- the calls -----------------------------------------------------------------------------------------

    def _turn(self, target: int) -> Iterator[str]:
        last = {source: index for index in self.order for source in self._sources[index]}
        uses = Counter(source for sources in self._sources for source in set(sources))
        for place, index in enumerate(self.order):
            yield from self._begun(place, index)
            value = "value" if index == target else self._value(index)
            yield from self._called(place, index, value)
            leaf, look = ("is not LazyResult", "last") if index == target else ("not in LEAVES", "odd")
            seen = "None" if self.sketch.calls[index].task.is_async else "context"
            yield f"if type({value}) {leaf} and (given := looks.{look}({value}, {seen})) is not None:"
            yield f"    yield {place}, number, given"
            if uses[index] > 1:
                yield f"if type({value}) not in LEAVES: {value} = shared({value})"
            yield from self._let_go([x for x in dict.fromkeys(self._sources[index]) if last[x] == index])
        # In one go as to interrupts, which come where something is called, and where the code goes back.
        yield f"place, c{target}, number = None, value, number + 1"

    def _begun(self, place: int, index: int) -> Iterator[str]:
        """The node is marked as the one that runs, if the gate is as it was."""
        yield f"place = {place}"
        # Crossing has been announced, in a thread, before the gate is read: so no node begins after a pause.
        changes = "gate.epoch != epoch or attempts.asked or clock() >= until"
        if not place:
            changes += " or number >= last"
        yield f"while {changes}: epoch, until, last = yield {place}, number, None"
        yield f"attempts.current = token = attempts, code, {index}, number"
        if self.is_in_thread:
            yield "steps.is_crossing = False"
        yield "mark(token)"
        yield "context = copy()"

    def _called(self, place: int, index: int, value: str) -> Iterator[str]:
        """The function is called, and has simply ended."""
        task, texts = self.sketch.calls[index].task, self._arguments[index]
        func, plain = f"F{self.tasks[task]}", [text for text in texts if not text.startswith("=")]
        named = [text[1:] for text in texts if text.startswith("=")]
        if task.is_async:
            by_name = f"dict({', '.join(named)})" if named else "NO_KWARGS"
            given = f"({''.join(f'{text}, ' for text in plain)}), {by_name}"
            yield f"{value} = context.run(send, ({func}, {given}))"
            yield f"if {value} is not box: yield {place}, number, waits(context, awaiting, {value}, box)"
            yield f"{value}, box[0] = box[0], None"
        else:
            yield f"{value} = context.run({', '.join([func, *plain, *named])})"
        if self.is_in_thread:
            # From here on the turn is up to whoever has taken it, or cannot be taken any more.
            yield "steps.is_crossing = True"
            yield f"if steps.is_taken: yield {place}, number, looks.taken({value}, context)"

    def _let_go(self, gone: list[int]) -> list[str]:
        return [] if self.keeps_values or not gone else [" = ".join(map(self._value, gone)) + " = None"]

    def _value(self, index: int) -> str:
        return f"V[{index}]" if self.is_in_thread else f"v{index}"
