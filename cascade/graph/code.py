"""What a function says: its digest, and the tasks that its source mentions."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from cascade.graph.canonical import Canon, combine, type_name
from cascade.graph.nested import LEAVES
from cascade.model import flow, inputs, lazies
from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Partial, Task

_digests: WeakKeyDictionary[Callable[..., Any], bytes] = WeakKeyDictionary()
_MOST_TRIES: Final = 5


# Entered again by a finalizer that wants a tree while one is made.
_parsing = threading.RLock()


def _renew_parsing() -> None:
    """Forget who was parsing in the parent of a process that was forked: nobody is there to end it."""
    global _parsing  # one for the process
    _parsing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_parsing)


def plain_function(func: Callable[..., Any]) -> Callable[..., Any]:
    """*func* without the partials and bindings around it."""
    while isinstance(func, (functools.partial, MethodType, staticmethod)):
        func = func.func if isinstance(func, functools.partial) else func.__func__
    return func


def function_tree(func: Callable[..., Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None:
    """The syntax tree of *func*; ``None`` without source, or if it is not the only one on its lines."""
    return _tree(plain_function(func), getattr(func, "__name__", ""))


def _tree(
    source_of: Callable[..., Any] | CodeType, name: str
) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None:
    try:
        tree = _parsed(textwrap.dedent(inspect.getsource(source_of)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    wanted = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found = [
        node for node in ast.walk(tree)
        if isinstance(node, wanted) and getattr(node, "name", "<lambda>") == name
    ]  # fmt: skip
    return found[0] if found and (name != "<lambda>" or len(found) == 1) else None


def _parsed(source: str) -> ast.Module:
    """The syntax tree of *source*.

    Python 3.11 counts the depth of all trees that are being made in one place, and gives up over one if the count
    has changed meanwhile: by another thread that came in between, if a finalizer or a callback of the garbage
    collector gave up the interpreter (python/cpython#106905). Ours take turns; others are only met by chance.
    """
    for tries_left in range(_MOST_TRIES - 1, -1, -1):
        try:
            with _parsing:
                return ast.parse(source)
        except SystemError:
            if not tries_left:
                raise
    raise AssertionError  # pragma: no cover  # the last try returns or raises


def code_digest(task: Task[Any, Any]) -> bytes:
    """What the digest of *task* says about its code: its version, or its source without layout and comments."""
    if task.version is not None:
        return combine("version", [task.full_name.encode(), task.version.encode()])
    return combine("source", [task.full_name.encode(), *_callable_parts(task.func)])


def _callable_parts(func: Any) -> Iterator[bytes]:
    """Digests of the code behind *func*, and of what is bound to it on the way there."""
    while True:
        match func:
            case functools.partial():
                yield from (_BOUND.digest(func.args), _BOUND.digest(func.keywords))
                func = func.func
            case MethodType():
                yield _BOUND.digest(func.__self__)
                func = func.__func__
            case staticmethod():
                func = func.__func__
            case FunctionType():
                yield _BOUND.digest(func)
                return
            case _:
                yield from (_BOUND.digest(func), function_digest(func))
                func = inspect.getattr_static(type(func), "__call__", None)
                if not isinstance(func, FunctionType):
                    return


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
    # The code's own source: that of the function would be what it wraps, if it is a decorator's.
    code = getattr(func, "__code__", None)
    tree = _tree(code, code.co_name) if code else None
    if tree is not None:
        return combine("tree", [_normalised(tree).encode()])
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
        constants = tuple(constant for constant in part.co_consts if not isinstance(constant, CodeType))
        yield _BOUND.digest((part.co_names, part.co_varnames, constants))


def _may_change(value: object) -> bool:
    return type(value).__hash__ is None


# How the values that the function of a task holds are hashed. What a closure holds and what may change is the
# function's memory, not its code: a list in which it notes its calls, or the record that counts them, must not
# make each run another one.
_BOUND: Final = Canon(
    placeholder=lambda placeholder: type_name(type(placeholder)),
    function=lambda func: func.full_name.encode() if isinstance(func, Task) else function_digest(func),
    stranger=lambda value: type_name(type(value)),
    counts=lambda value: not _may_change(value),
    first=WeakKeyDictionary(),
)


def mentioned(func: FunctionType) -> Iterator[object]:
    """What the names in the code of *func* stand for at this moment, as far as they stand for anything.

    Attributes are looked up in the modules that the code names.
    """
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
    return getattr(thing, "__module__", None) in (flow.__name__, inputs.__name__, lazies.__name__)
