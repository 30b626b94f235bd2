"""Hamilton's driver, whose functions are made here and take what their parameters are called."""

from __future__ import annotations

import inspect
import sys
import time
import types
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hamilton import driver
from measure import FAILS_AFTER, SIBLINGS, Siblings, Trouble, outcome, parents, report


def function(module: types.ModuleType, name: str, sources: Sequence[str], body: Callable[[], int]) -> None:
    """Add a function to *module*."""

    def made(**_: int) -> int:
        return body()

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(source, kind, annotation=int) for source in sources]
    made.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    made.__annotations__ = {**dict.fromkeys(sources, int), "return": int}
    made.__name__ = made.__qualname__ = name
    made.__module__ = module.__name__
    setattr(module, name, made)


def new_module() -> types.ModuleType:
    """Where Hamilton looks for functions."""
    module = sys.modules["generated"] = types.ModuleType("generated")
    return module


def execute(module: types.ModuleType, wanted: list[str]) -> Any:
    """Run what is needed for *wanted*."""
    return driver.Builder().with_modules(module).build().execute(wanted)


def fan_out(size: int) -> None:
    """Functions that need nothing of each other."""
    module = new_module()
    names = [f"n{number}" for number in range(size)]
    for name in names:
        function(module, name, [], lambda: 1)
    assert len(execute(module, names)) == size


def chain(length: int) -> None:
    """Each takes the one before."""
    module = new_module()
    for number in range(length):
        function(module, f"n{number}", [f"n{number - 1}"] if number else [], lambda: 1)
    assert execute(module, [f"n{length - 1}"])[f"n{length - 1}"] == 1


def layers(nodes: int) -> None:
    """Three parents each."""
    module = new_module()
    graph = parents(nodes)
    for depth, layer in enumerate(graph):
        for place, sources in enumerate(layer):
            function(module, f"n{depth}_{place}", [f"n{depth - 1}_{source}" for source in sources], lambda: 1)
    last = [f"n{len(graph) - 1}_{place}" for place in range(len(graph[-1]))]
    assert len(execute(module, last)) == len(last)


def failing(siblings: Siblings) -> None:
    """Half of the siblings are named before the one that fails."""
    module = new_module()

    def fails() -> int:
        time.sleep(FAILS_AFTER)
        raise Trouble

    def waits() -> int:
        siblings.block()
        return 1

    names = [f"n{number}" for number in range(SIBLINGS)]
    for name in names:
        function(module, name, [], waits)
    function(module, "fails", [], fails)
    execute(module, [*names[: SIBLINGS // 2], "fails", *names[SIBLINGS // 2 :]])


if __name__ == "__main__":
    sys.setrecursionlimit(50_000)
    cases = {"a": chain, "b": fan_out, "e": layers}
    report(cases, {"one by one": partial(outcome, failing)})
