"""What completion finds in files and stores. Nothing of the user's is imported, and no network is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio

from cascade import api
from cascade.cli.control import connector_of
from cascade.model.errors import CascadeError
from cascade.runtime.control.connector import Message
from cascade.runtime.control.protocol import ENGINES
from cascade.runtime.control.remote_client import presence, present

# Files that are looked into, bytes of one, runs and nodes that are offered.
_MOST_FILES: Final = 200
_LARGEST: Final = 1_000_000
MOST: Final = 200
# Seconds to wait for the runs of other processes.
_PATIENCE: Final = 0.5
# Calls that make no flow.
_NO_FLOW: Final = frozenset({"Param", "Env", "getLogger", "ContextVar", "Retry", "Engine", "signal"})


def targets(word: str) -> Iterator[str]:
    """Targets that *word* may become: files and modules with their names, and folders."""
    place, colon, _ = word.partition(":")
    if colon:
        path = Path(place if place.endswith(".py") else f"{place.replace('.', '/')}.py")
        yield from (f"{place}:{name}" for name in _flows(path))
        return
    folder = Path(place[: place.rfind("/") + 1] or ".")
    start = place[: place.rfind("/") + 1]
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")):
            continue
        if path.is_dir():
            yield f"{start}{path.name}/"
        elif path.suffix == ".py":
            yield f"{start}{path.name}:"


def _flows(path: Path) -> list[str]:
    """Names at the top level of a module that may be flows, or functions that return one."""
    found: dict[str, None] = {}
    for node in _body(path):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if _may_be_flow(value):
                found[name] = None
            case ast.FunctionDef(name=name, args=args) if len(args.args) == len(args.defaults):
                found[name] = None
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.pop(name, None)
    return [name for name in found if not name.startswith("_")]


def _may_be_flow(value: ast.expr) -> bool:
    if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        return any(map(_may_be_flow, value.elts))
    if isinstance(value, ast.Dict):
        return any(map(_may_be_flow, value.values))
    return isinstance(value, ast.Call) and _name(value.func) not in _NO_FLOW


def task_names() -> list[str]:
    """Names of the tasks that modules of this folder define."""
    found: dict[str, None] = {}
    for path in sorted(Path().glob("*.py"))[:_MOST_FILES]:
        for node in _body(path):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(
                _name(mark.func if isinstance(mark, ast.Call) else mark) == "task" for mark in node.decorator_list
            ):
                found[node.name] = None
    return list(found)


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _body(path: Path) -> list[ast.stmt]:
    try:
        if path.stat().st_size > _LARGEST:
            return []
        return ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # it is being written, or is no module
        return []


def stores() -> list[str]:
    """URLs of the files in this folder that may be state files."""
    return [f"sqlite:///{path.name}" for path in sorted(Path().glob("*.db"))[:_MOST_FILES]]


def run_ids(state: str | None) -> list[str]:
    """Ids of recorded runs, the latest first: of one store, or of the state files in this folder."""
    found: list[str] = []
    for url in stores() if state is None else [state]:
        if url.startswith("sqlite:"):
            try:
                found += [run.run_id for run in anyio.run(api.recorded_runs, url)][:MOST]
            except CascadeError:  # it is something else
                continue
    return found


def node_ids(state: str | None, run_id: str) -> list[str]:
    """Ids of the nodes of a recorded run, those that failed first."""
    for url in stores() if state is None else [state]:
        if url.startswith("sqlite:"):
            try:
                nodes = anyio.run(api.recorded_run, url, run_id).nodes
            except CascadeError:
                continue
            return [node.node_id for node in sorted(nodes, key=lambda node: node.status != "failed")][:MOST]
    return []


def live_runs(via: str) -> list[str]:
    """Ids of the runs that processes on this machine have."""
    return anyio.run(_live_runs, via) if via.startswith("local:") else []


async def _live_runs(via: str) -> list[str]:
    connector = connector_of(via)
    engines: list[Message] = []
    with anyio.move_on_after(_PATIENCE):
        await connector.connect()
        try:
            async with connector.subscribe(f"{ENGINES}/#", latest_only=True) as said:
                engines = [message for message in present(said) if message.payload]
        finally:
            await connector.disconnect()
    return sorted({run_id for message in engines for run_id in presence(message).runs})
