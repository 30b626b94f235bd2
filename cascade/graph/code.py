"""What a function says: its digest, and the tasks that its source mentions."""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import os
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from operator import is_
from types import CodeType, FunctionType, MethodType
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from cascade.graph.canonical import (
    DIGEST_BYTES,
    Canon,
    NotDigestibleError,
    Parts,
    attributes_of,
    combine,
    held_by,
    home,
    is_written_in_python,
    namespace_of,
    qualified_name,
    record,
)
from cascade.model.calls.callee import Callee
from cascade.model.placeholders import Placeholder

_digests: WeakKeyDictionary[Callable[..., Any], bytes] = WeakKeyDictionary()
_MOST_TRIES: Final = 5
# Flags of code: what kind of function it is, and whether it takes any number of arguments.
_KINDS: Final = (
    inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)  # fmt: skip


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


class TaskNotDigestibleError(NotDigestibleError):
    """What a task holds has no canonical hash: the object that it is bound to, a default, part of its closure."""

    @property
    def remedy(self) -> str:
        return (
            "pass it as an argument, give the task a version= that stands for its code, or say what stands for "
            "the object with cascade.cache.register_digest"
        )


def code_digest(task: Callee) -> bytes:
    """What the digest of *task* says about its code: its version, or its source and what it holds.

    What it holds counts as it was when the task was first looked at, so that a task may take notes in a list that
    it holds. What is put in the place of a held value counts.

    Raises:
        TaskNotDigestibleError: If something that it holds has no canonical hash.
    """
    if task.version is not None:
        return combine("version", [qualified_name(task), task.version.encode()])
    return _known_or_made(task, _BOUND)


def code_digest_here(task: Callee) -> bytes:
    """As :func:`code_digest`, but objects without canonical hash count as themselves: in this process only.

    Raises:
        TaskNotDigestibleError: If one of them cannot be told from a later one, as nothing can refer to it weakly.
    """
    try:
        return code_digest(task)
    except TaskNotDigestibleError:
        return _known_or_made(task, _HERE)


def _known_or_made(task: Callee, canon: Canon) -> bytes:
    func = task.func
    while isinstance(func, staticmethod):
        func = func.__func__
    held = list(_holdings(func))
    known, digest = task.known_codes.get(canon, ((), b""))
    if len(known) == len(held) and all(map(is_, known, held)):
        return digest
    try:
        digest = combine("source", [qualified_name(task), *_callable_parts(func, task.name, canon)])
    except NotDigestibleError as error:
        raise TaskNotDigestibleError(error.path, error.kind, error.reason) from None
    task.known_codes[canon] = held, digest
    return digest


def code_home(task: Callee) -> bytes:
    """What tells the code of *task* from that of another program with a module of the same name.

    For a cache, which serves all programs; empty where the name of the module, or a ``version=``, is enough.
    """
    if task.version is not None:
        return b""
    found = home(task.__module__, namespace_of(task, task.__module__))
    return found.encode("utf-8", "surrogateescape") if isinstance(found, str) else found


def _holdings(func: Any) -> Iterator[object]:
    """*func*, and the objects that it holds itself."""
    while True:
        yield func
        match func:
            case functools.partial():
                yield from (*func.args, *func.keywords.values())
                func = func.func
            case MethodType():
                yield func.__self__
                func = func.__func__
            case FunctionType():
                yield from held_by(func).values()
                return
            case _:
                return


def _callable_parts(func: Any, name: str, canon: Canon) -> Iterator[bytes]:
    """Digests of what *func* is, and of the code that makes an object callable."""
    yield canon.digest(func, name)
    func = plain_function(func)
    call = inspect.getattr_static(type(func), "__call__", None)
    if not isinstance(func, FunctionType) and isinstance(call, FunctionType):
        yield function_digest(call)


def function_digest(func: Callable[..., Any]) -> bytes:
    """Digest of a function's source without decorators, annotations, docstrings, comments and layout.

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
    return combine("code", [qualified_name(func), *(_code_parts(code) if code else ())])


def _normalised(tree: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> str:
    if not isinstance(tree, ast.Lambda):
        tree.decorator_list = []
    return ast.unparse(_CodeOnly().visit(tree))


class _CodeOnly(ast.NodeTransformer):
    """Takes away docstrings and annotations, but for those in the bodies of classes, which make fields."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        vars(node).update(returns=None, type_params=[])  # Python 3.11 knows no type parameters, and ignores them
        _forget_docstring(node)
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        _forget_docstring(node)
        for place, statement in enumerate(node.body):
            if not isinstance(statement, ast.AnnAssign):
                node.body[place] = self.visit(statement)
        return node


def _forget_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]


def _code_parts(code: CodeType) -> Iterator[bytes]:
    """Byte code as it reads, without the places of constants, and without those that nothing reads."""
    for part in codes_in(code):
        yield _BOUND.digest((part.co_varnames, part.co_argcount, part.co_kwonlyargcount, part.co_flags & _KINDS))
        steps = ((step.opname, step.argval) for step in dis.get_instructions(part))
        read = [(name, value.co_name if isinstance(value, CodeType) else value) for name, value in steps]
        yield _BOUND.digest(read)


def _of_placeholder(placeholder: Placeholder) -> bytes:
    return combine("held", [qualified_name(type(placeholder)), str(getattr(placeholder, "name", "")).encode()])


def _of_stranger(value: Any) -> bytes | None:
    """An object of any class, if there is nothing in it."""
    cls = type(value)
    if not is_written_in_python(cls, object) or attributes_of(value, object):
        return None
    try:
        return combine("empty", [_BOUND.digest(cls)])
    except NotDigestibleError:  # a class without a name of its own, which holds something unknown
        return None


# What objects count by, while they live: a reference that is asked before their id is believed.
_tokens: dict[int, tuple[weakref.ref[Any], bytes]] = {}


def _of_this_object(value: Any) -> bytes | None:
    """What stands for *value* and for no other object, in this process or elsewhere."""
    empty = _of_stranger(value)
    if empty is not None:
        return empty
    key = id(value)
    known = _tokens.get(key)
    if known is None or known[0]() is not value:
        try:
            known = _tokens[key] = weakref.ref(value, lambda _: _tokens.pop(key, None)), os.urandom(DIGEST_BYTES)
        except TypeError:
            return None
    return known[1]


def _task_parts(task: Callee) -> Parts:
    """A task that is held by another, which is only described here: tasks may hold each other."""
    if task.version is not None:
        return Parts("task", (qualified_name(task), task.version.encode()))
    return record("task", {"func": task.func}, (qualified_name(task),))


# How what the function of a task holds is hashed.
_BOUND: Final = Canon(
    placeholder=_of_placeholder,
    function=function_digest,
    stranger=_of_stranger,
    task=_task_parts,
    first=WeakKeyDictionary(),
)
_HERE: Final = attrs.evolve(_BOUND, stranger=_of_this_object, first=WeakKeyDictionary())


def codes_in(code: CodeType) -> Iterator[CodeType]:
    pending = [code]
    while pending:
        code = pending.pop()
        yield code
        pending.extend(constant for constant in code.co_consts if isinstance(constant, CodeType))
