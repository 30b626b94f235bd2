"""Static analysis of tail calls: which tasks call each other, and whose next turn may have another shape.

The analysis reads source and advises; the engine never depends on it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from cascade.graph.code import function_tree, plain_function
from cascade.model.calls.callee import Callee
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

    callee: Callee
    varies: bool


_mentions: WeakKeyDictionary[Callee, tuple[Mention, ...]] = WeakKeyDictionary()


def mentions(task: Callee) -> tuple[Mention, ...]:
    """The task calls in the source of *task*."""
    known = _mentions.get(task)
    if known is None:
        known = _mentions[task] = tuple(_find_mentions(task))
    return known


# Stands for what a local name means, which is not known.
_COMPUTED: Final = object()
# Nodes of a syntax tree whose parts need not be gone through in every turn, or not once.
_Conditions = frozenset[ast.AST]


def _find_mentions(task: Callee) -> list[Mention]:
    tree = function_tree(task.func)
    if tree is None:
        return []
    names = _names(task, tree)
    found = [
        (node, above, callee)
        for node, above in _with_conditions(tree)
        if isinstance(node, ast.Call) and (callee := _callee(node, names)) is not None
    ]
    inner = {part for call, _, _ in found for part in ast.walk(call) if part is not call}
    shapes: dict[Callee, set[tuple[str, ...]]] = {}
    for call, _, callee in found:
        if call not in inner:
            shape = tuple(ast.unparse(lazy.func) for part in _parts(call) for lazy, _ in _lazy_calls(part, names))
            shapes.setdefault(callee, set()).add(shape)
    return [
        Mention(callee, _may_vary(call, above, tree, names) or len(shapes.get(callee, ())) > 1)
        for call, above, callee in found
    ]


def _with_conditions(tree: ast.AST) -> Iterator[tuple[ast.AST, _Conditions]]:
    """The nodes of *tree*, each with the conditions and loops that it is under."""
    pending: list[tuple[ast.AST, _Conditions]] = [(tree, frozenset())]
    while pending:
        node, above = pending.pop()
        yield node, above
        below = above | {node} if isinstance(node, (*_VARYING, ast.Try)) else above
        pending.extend((child, below) for child in ast.iter_child_nodes(node))


def _names(task: Callee, tree: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Mapping[str, object]:
    """What the names in *tree*, the source of *task*, stand for."""
    func = plain_function(task.func)
    names = dict(getattr(func, "__globals__", {}))
    owner = _owner(task, names)
    code = getattr(func, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(func, "__closure__", None) or (), strict=False
    ):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # still empty
            names.pop(name, None)
    stored = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    names.update(dict.fromkeys((node.id for node in stored), _COMPUTED))
    if owner is not None and tree.args.args:
        names[tree.args.args[0].arg] = owner
    return names


def _owner(task: Callee, names: Mapping[str, object]) -> object:
    """The class that has *task* as a method, if any."""
    *path, _ = task.__qualname__.split(".")
    owner: object = None
    for name in path:
        owner = names.get(name)
        names = _attributes(owner)
    return owner


def _callee(call: ast.Call, names: Mapping[str, object]) -> Callee | None:
    """The task that *call* calls, if its name stands for one."""
    func = call.func
    while True:
        if isinstance(func, ast.Call) and isinstance(func.func, ast.Attribute) and func.func.attr == "partial":
            func = func.func.value
        elif isinstance(func, ast.Attribute) and func.attr in ("map", "partial"):
            func = func.value
        else:
            break
    thing: object = None
    if isinstance(func, ast.Name):
        thing = names.get(func.id)
    elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        thing = _attributes(names.get(func.value.id)).get(func.attr)
    if isinstance(thing, Partial):
        return thing.task
    return thing if isinstance(thing, Task) else None


def _parts(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _may_vary(call: ast.Call, above: _Conditions, tree: ast.AST, names: Mapping[str, object]) -> bool:
    """Whether the arguments of *call* hold a task call that need not be the same one in every turn.

    Arguments may come in through local names, so assignments to these count as if written in place; they are
    conditional if they are under something that *call* is not under.
    """
    local = {node.id for part in _parts(call) for node in ast.walk(part) if isinstance(node, ast.Name)}
    for assigned, value, conditions in _assignments(tree):
        if assigned in local:
            calls = list(_lazy_calls(value, names))
            if calls and (not conditions <= above or any(varies for _, varies in calls)):
                return True
    return any(varies for part in _parts(call) for _, varies in _lazy_calls(part, names))


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.AST, _Conditions]]:
    """Names that get a value: by an assignment, or by a method of theirs such as ``append``."""
    for node, above in _with_conditions(tree):
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            targets, value = (node.targets if isinstance(node, ast.Assign) else [node.target]), node.value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            method = node.value.func
            targets, value = ([method.value] if isinstance(method, ast.Attribute) else []), node.value
        if value is not None:
            for target in targets:
                yield from ((part.id, value, above) for part in ast.walk(target) if isinstance(part, ast.Name))


def _lazy_calls(argument: ast.AST, names: Mapping[str, object]) -> Iterator[tuple[ast.Call, bool]]:
    """The task calls in an argument, and whether each may be there in one turn and not in another."""
    pending: list[tuple[ast.AST, bool]] = [(argument, False)]
    while pending:
        node, is_conditional = pending.pop()
        if isinstance(node, ast.Call) and _callee(node, names) is not None:
            has_spread = any(isinstance(inner, ast.Starred) for inner in node.args)
            yield node, is_conditional or has_spread
        elif isinstance(node, ast.Call) and _is_computed(node.func, names):
            yield node, True
        below = is_conditional or isinstance(node, (*_VARYING, *_COMPREHENSIONS, ast.Starred))
        pending.extend((child, below) for child in ast.iter_child_nodes(node))


def _is_computed(func: ast.expr, names: Mapping[str, object]) -> bool:
    if isinstance(func, ast.Name):
        return names.get(func.id) is _COMPUTED
    return isinstance(func, (ast.Subscript, ast.Call, ast.IfExp))


@attrs.frozen(eq=False)
class Recursion:
    """The tail-call structure of some tasks.

    Attributes:
        cycles: Task to the id of the cycle that it is in, from 0; tasks in none are left out.
        dynamic: Tasks whose recursive call may have another shape in the next turn.
    """

    cycles: Mapping[Callee, int]
    dynamic: tuple[Callee, ...]


def analyse(tasks: Iterable[Callee]) -> Recursion:
    """Find the cycles among *tasks* and all they call (strongly connected components: Tarjan, 1972)."""
    cycles: dict[Callee, int] = {}
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
    task: Callee
    number: int
    lowest: int
    pending: list[Callee]


def _components(tasks: Iterable[Callee]) -> Iterator[list[Callee]]:
    """Groups of tasks that call each other, and tasks that call themselves; without recursion of our own."""
    numbers: dict[Callee, int] = {}
    on_stack: dict[Callee, None] = {}
    for start in tasks:
        path = [_visit(start, numbers, on_stack)] if start not in numbers else []
        while path:
            if path[-1].pending:
                _go_on(path, numbers, on_stack)
                continue
            done = path.pop()
            if path:
                path[-1].lowest = min(path[-1].lowest, done.lowest)
            if done.lowest == done.number:
                yield from _recursive(_pop_until(done.task, on_stack))


def _go_on(path: list[_Visit], numbers: dict[Callee, int], on_stack: dict[Callee, None]) -> None:
    """Follow the next call of the task at the end of *path*."""
    top = path[-1]
    callee = top.pending.pop()
    if callee not in numbers:
        path.append(_visit(callee, numbers, on_stack))
    elif callee in on_stack:
        top.lowest = min(top.lowest, numbers[callee])


def _recursive(component: list[Callee]) -> Iterator[list[Callee]]:
    """*component*, if its tasks call each other, or its only task calls itself."""
    if len(component) > 1 or any(mention.callee is component[0] for mention in mentions(component[0])):
        yield component


def _visit(task: Callee, numbers: dict[Callee, int], on_stack: dict[Callee, None]) -> _Visit:
    number = numbers[task] = len(numbers)
    on_stack[task] = None
    return _Visit(task, number, number, [mention.callee for mention in mentions(task)])


def _pop_until(task: Callee, on_stack: dict[Callee, None]) -> list[Callee]:
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
    except Exception:  # it has no __dict__, or is a proxy with nothing behind it, which may raise anything
        return {}
