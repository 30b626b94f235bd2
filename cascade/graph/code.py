"""What a function says: its digest, and the tasks that its source mentions."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from cascade.graph.canonical import combine
from cascade.model import flow, lazies
from cascade.model.tasks import Partial, Task

_digests: WeakKeyDictionary[Callable[..., Any], bytes] = WeakKeyDictionary()


def plain_function(func: Callable[..., Any]) -> Callable[..., Any]:
    """*func* without the partials and bindings around it."""
    while isinstance(func, (functools.partial, MethodType)):
        func = func.func if isinstance(func, functools.partial) else func.__func__
    return func


def function_tree(func: Callable[..., Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None:
    """The syntax tree of *func*; ``None`` without source, or if it is not the only one on its lines."""
    try:
        source = textwrap.dedent(inspect.getsource(plain_function(func)))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    wanted = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    name = getattr(func, "__name__", "")
    found = [
        node for node in ast.walk(tree)
        if isinstance(node, wanted) and getattr(node, "name", "<lambda>") == name
    ]  # fmt: skip
    return found[0] if found and (name != "<lambda>" or len(found) == 1) else None


def code_digest(task: Task[Any, Any]) -> bytes:
    """What the digest of *task* says about its code: its version, or its source without layout and comments."""
    if task.version is not None:
        return combine("version", [task.full_name.encode(), task.version.encode()])
    return combine("source", [task.full_name.encode(), function_digest(task.func)])


def function_digest(func: Callable[..., Any]) -> bytes:
    """Digest of a function's source without decorators, docstring, comments and layout.

    Where there is no source, the byte code stands for it, which differs between versions of Python.
    """
    func = plain_function(func)
    try:
        digest = _digests.get(func)
    except TypeError:  # not weakly referable, so nothing is kept
        return _function_digest(func)
    if digest is None:
        digest = _digests[func] = _function_digest(func)
    return digest


def _function_digest(func: Callable[..., Any]) -> bytes:
    tree = function_tree(func)
    if tree is not None:
        return combine("tree", [_normalised(tree).encode()])
    code = getattr(func, "__code__", None)
    name = f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', type(func).__qualname__)}"
    return combine("code", [name.encode(), *(_code_parts(code) if code else ())])


def _normalised(tree: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> str:
    if not isinstance(tree, ast.Lambda):
        tree.decorator_list = []
        if ast.get_docstring(tree, clean=False) is not None:
            tree.body = tree.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _code_parts(code: CodeType) -> Iterator[bytes]:
    for part in _codes(code):
        yield part.co_code
        constants = [constant for constant in part.co_consts if not isinstance(constant, CodeType)]
        yield repr((part.co_names, part.co_varnames, constants)).encode()


def mentioned(func: Callable[..., Any]) -> Iterator[object]:
    """What the names in the code of *func* stand for at this moment, as far as they stand for anything.

    Attributes are looked up in the modules that the code names.
    """
    func = plain_function(func)
    if not isinstance(func, FunctionType):
        return
    cells = dict(zip(func.__code__.co_freevars, func.__closure__ or (), strict=False))
    for code in _codes(func.__code__):
        for name in {*code.co_names, *code.co_freevars}:
            try:
                thing = cells[name].cell_contents if name in cells else func.__globals__[name]
            except (KeyError, ValueError):  # an attribute, a builtin, or a cell that is still empty
                continue
            yield thing
            if isinstance(thing, ModuleType):
                yield from (vars(thing)[attribute] for attribute in code.co_names if attribute in vars(thing))


def _codes(code: CodeType) -> Iterator[CodeType]:
    pending = [code]
    while pending:
        code = pending.pop()
        yield code
        pending.extend(constant for constant in code.co_consts if isinstance(constant, CodeType))


def may_grow(task: Task[Any, Any], arguments: Iterable[object] = ()) -> bool:
    """Whether a call of *task* with *arguments* might return lazies, judged by the names in its code.

    Looks through plain functions of the same module, and at tasks among the arguments. What cannot be looked
    into might.
    """
    if any(_brings_tasks(argument) for argument in arguments):
        return True
    seen: set[int] = set()
    pending: list[Callable[..., Any]] = [plain_function(task.func)]
    while pending:
        func = pending.pop()
        if id(func) in seen:
            continue
        seen.add(id(func))
        if not isinstance(func, FunctionType):
            return not inspect.isbuiltin(func)
        for thing in mentioned(func):
            if isinstance(thing, (Task, Partial)) or _makes_lazies(thing):
                return True
            if isinstance(thing, FunctionType) and thing.__module__ == func.__module__:
                pending.append(thing)
    return False


def _brings_tasks(argument: object) -> bool:
    if isinstance(argument, (Task, Partial)):
        return True
    return any(isinstance(member, Task) for member in vars(type(argument)).values())


def _makes_lazies(thing: object) -> bool:
    return getattr(thing, "__module__", None) in (flow.__name__, lazies.__name__)
