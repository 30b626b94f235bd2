"""What the code of a task can get at, and whether calls of it might return lazies."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, MethodType, ModuleType

from cascade.graph.code import codes_in
from cascade.graph.nested import LEAVES
from cascade.model import fallbacks, flow, inputs, lazies
from cascade.model.calls.callee import Callee
from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Partial, Task


def mentioned(func: FunctionType) -> Iterator[object]:
    """What the names in the code of *func* stand for at this moment, as far as they stand for anything.

    Attributes are looked up in the modules that the code names.
    """
    cells = dict(zip(func.__code__.co_freevars, func.__closure__ or (), strict=False))
    for code in codes_in(func.__code__):
        for name in {*code.co_names, *code.co_freevars}:
            try:
                thing = cells[name].cell_contents if name in cells else func.__globals__[name]
            except (KeyError, ValueError):  # an attribute, a builtin, or a cell that is still empty
                continue
            yield thing
            if isinstance(thing, ModuleType):
                yield from (vars(thing)[attribute] for attribute in code.co_names if attribute in vars(thing))


def may_grow(task: Callee, arguments: Iterable[object] = ()) -> bool:
    """Whether a call of *task* with *arguments* might return lazies, judged by what its code can get at.

    Follows names, containers and attributes, but not into the standard library.
    """
    seen: dict[int, object] = {}  # with the things, so that no other takes their place in memory
    pending: list[object] = [task.func, *arguments]
    while pending:
        thing = pending.pop()
        if type(thing) in LEAVES - {type} or isinstance(thing, Placeholder) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, (Task, Partial)) or _makes_lazies(thing):
            return True
        pending.extend(_within_reach(thing))
    return False


def _within_reach(thing: object) -> Iterator[object]:
    """What code that has *thing* can get from it."""
    match thing:
        case list() | tuple() | set() | frozenset():
            yield from thing
        case dict():
            yield from thing.values()
        case functools.partial():
            yield from (thing.func, thing.args, thing.keywords)
        case MethodType():
            yield from (thing.__func__, thing.__self__)
        case staticmethod() | classmethod():
            yield thing.__func__
        case property():
            yield thing.fget
        case FunctionType() | type() if _is_known(thing):
            return
        case FunctionType():
            yield from (thing.__defaults__, thing.__kwdefaults__)
            yield from mentioned(thing)
        case type():
            yield from (*thing.__bases__, *vars(thing).values())
        case ModuleType():
            return
        case _:
            yield type(thing)
            yield from getattr(thing, "__dict__", {}).values()


def _is_known(thing: FunctionType | type) -> bool:
    """Whether it is of the standard library or of cascade, which makes lazies where :func:`_makes_lazies` says."""
    package = (thing.__module__ or "").partition(".")[0]
    return package in sys.stdlib_module_names or package == __name__.partition(".")[0]


def _makes_lazies(thing: object) -> bool:
    makers = (fallbacks.__name__, flow.__name__, inputs.__name__, lazies.__name__)
    return getattr(thing, "__module__", None) in makers
