"""Static analysis of tail calls: which tasks call each other, and whose next turn may have another shape.

The analysis reads source and advises; the engine never depends on it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from cascade.graph.code import function_tree, plain_function
from cascade.model.tasks import Partial, Task

DYNAMIC_RECURSION = "CS-W001"

_VARYING = (ast.IfExp, ast.BoolOp, ast.For, ast.AsyncFor, ast.While, ast.If, ast.Match)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@attrs.frozen(eq=False)
class Mention:
    """A call of a task in the source of another.

    Attributes:
        callee: The task.
        varies: Whether the shape of the call's arguments may differ from turn to turn.
    """

    callee: Task[Any, Any]
    varies: bool


_mentions: WeakKeyDictionary[Task[Any, Any], tuple[Mention, ...]] = WeakKeyDictionary()


def mentions(task: Task[Any, Any]) -> tuple[Mention, ...]:
    """The task calls in the source of *task*."""
    known = _mentions.get(task)
    if known is None:
        known = _mentions[task] = tuple(_find_mentions(task))
    return known


def _find_mentions(task: Task[Any, Any]) -> Iterator[Mention]:
    tree = function_tree(task.func)
    if tree is None:
        return
    names = _names(task)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            callee = _callee(node, names)
            if callee is not None:
                yield Mention(callee, _may_vary(node, tree, names))


def _names(task: Task[Any, Any]) -> Mapping[str, object]:
    func = plain_function(task.func)
    names = dict(getattr(func, "__globals__", {}))
    code = getattr(func, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(func, "__closure__", None) or (), strict=False
    ):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # still empty
            names.pop(name, None)
    return names


def _callee(call: ast.Call, names: Mapping[str, object]) -> Task[Any, Any] | None:
    """The task that *call* calls, if its name stands for one."""
    func = call.func
    while isinstance(func, ast.Attribute) and func.attr in ("map", "partial"):
        func = func.value
        if isinstance(func, ast.Call):
            func = func.func
    thing: object = None
    if isinstance(func, ast.Name):
        thing = names.get(func.id)
    elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        thing = _attributes(names.get(func.value.id)).get(func.attr)
    if isinstance(thing, Partial):
        return thing.task
    return thing if isinstance(thing, Task) else None


def _may_vary(call: ast.Call, tree: ast.AST, names: Mapping[str, object]) -> bool:
    """Whether the arguments of *call* hold a task call that need not be the same one in every turn.

    Arguments may come in through local names, so assignments to these count as if written in place.
    """
    arguments: list[ast.AST] = [*call.args, *(keyword.value for keyword in call.keywords)]
    local = {node.id for argument in arguments for node in ast.walk(argument) if isinstance(node, ast.Name)}
    for assigned, value, is_conditional in _assignments(tree):
        if assigned in local:
            calls = list(_lazy_calls(value, names))
            if calls and (is_conditional or any(varies for _, varies in calls)):
                return True
    return any(varies for argument in arguments for _, varies in _lazy_calls(argument, names))


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.AST, bool]]:
    pending: list[tuple[ast.AST, bool]] = [(tree, False)]
    while pending:
        node, is_conditional = pending.pop()
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        yield name.id, node.value, is_conditional
        below = is_conditional or isinstance(node, (*_VARYING, ast.Try))
        pending.extend((child, below) for child in ast.iter_child_nodes(node))


def _lazy_calls(argument: ast.AST, names: Mapping[str, object]) -> Iterator[tuple[ast.Call, bool]]:
    """The task calls in an argument, and whether each may be there in one turn and not in another."""
    pending: list[tuple[ast.AST, bool]] = [(argument, False)]
    while pending:
        node, is_conditional = pending.pop()
        if isinstance(node, ast.Call):
            if _callee(node, names) is not None:
                has_spread = any(isinstance(inner, ast.Starred) for inner in node.args)
                yield node, is_conditional or has_spread
            elif isinstance(node.func, (ast.Subscript, ast.Call, ast.IfExp)):
                yield node, True
        below = is_conditional or isinstance(node, (*_VARYING, *_COMPREHENSIONS, ast.Starred))
        pending.extend((child, below) for child in ast.iter_child_nodes(node))


@attrs.frozen(eq=False)
class Recursion:
    """The tail-call structure of some tasks.

    Attributes:
        cycles: Task to the id of the cycle that it is in, from 0; tasks in none are left out.
        dynamic: Tasks whose recursive call may have another shape in the next turn.
    """

    cycles: Mapping[Task[Any, Any], int]
    dynamic: tuple[Task[Any, Any], ...]


def analyse(tasks: Iterable[Task[Any, Any]]) -> Recursion:
    """Find the cycles among *tasks* and all they call (strongly connected components: Tarjan, 1972)."""
    cycles: dict[Task[Any, Any], int] = {}
    for number, component in enumerate(_components(tasks)):
        cycles.update(dict.fromkeys(component, number))
    dynamic = [
        task
        for task, number in cycles.items()
        if any(mention.varies and cycles.get(mention.callee) == number for mention in mentions(task))
    ]
    return Recursion(cycles, tuple(dynamic))


@attrs.define(eq=False)
class _Visit:
    task: Task[Any, Any]
    number: int
    lowest: int
    pending: list[Task[Any, Any]]


def _components(tasks: Iterable[Task[Any, Any]]) -> Iterator[list[Task[Any, Any]]]:
    """Groups of tasks that call each other, and tasks that call themselves; without recursion of our own."""
    numbers: dict[Task[Any, Any], int] = {}
    on_stack: dict[Task[Any, Any], None] = {}
    for start in tasks:
        path = [_visit(start, numbers, on_stack)] if start not in numbers else []
        while path:
            top = path[-1]
            if top.pending:
                callee = top.pending.pop()
                if callee not in numbers:
                    path.append(_visit(callee, numbers, on_stack))
                elif callee in on_stack:
                    top.lowest = min(top.lowest, numbers[callee])
                continue
            path.pop()
            if path:
                path[-1].lowest = min(path[-1].lowest, top.lowest)
            if top.lowest == top.number:
                component = _pop_until(top.task, on_stack)
                if len(component) > 1 or any(m.callee is top.task for m in mentions(top.task)):
                    yield component


def _visit(
    task: Task[Any, Any], numbers: dict[Task[Any, Any], int], on_stack: dict[Task[Any, Any], None]
) -> _Visit:
    number = numbers[task] = len(numbers)
    on_stack[task] = None
    return _Visit(task, number, number, [mention.callee for mention in mentions(task)])


def _pop_until(task: Task[Any, Any], on_stack: dict[Task[Any, Any], None]) -> list[Task[Any, Any]]:
    component = []
    while True:
        top, _ = on_stack.popitem()
        component.append(top)
        if top is task:
            return component


def _attributes(thing: object) -> Mapping[str, Any]:
    """What *thing* has by itself; a proxy may refuse to be looked at outside the situation it is made for."""
    try:
        return vars(thing)
    except Exception:
        return {}
