"""pipefunc: functions that name what they take, and a map over an input; one after another, without processes.

To make a pipeline takes it the square of the number of functions, so it has no fan-out and no layers here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence

from measure import report
from pipefunc import PipeFunc, Pipeline


def function(name: str, sources: Sequence[str], mapspec: str | None = None) -> PipeFunc[..., int]:
    """A function that takes *sources* and does nothing."""

    def made(*_: int, **__: int) -> int:
        return 1

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    made.__signature__ = inspect.Signature([inspect.Parameter(source, kind) for source in sources])  # type: ignore[attr-defined]
    made.__name__ = made.__qualname__ = f"make_{name}"
    made.__annotations__ = {}
    return PipeFunc(made, output_name=name, mapspec=mapspec)


def chain(length: int) -> None:
    """Each takes the one before."""
    functions = [function(f"n{number}", [f"n{number - 1}" if number else "given"]) for number in range(length)]
    assert Pipeline(functions, validate_type_annotations=False).run(f"n{length - 1}", kwargs={"given": 1}) == 1


def mapped(size: int) -> None:
    """A map."""
    pipeline = Pipeline([function("y", ["x"], "x[i] -> y[i]")], validate_type_annotations=False)
    found = pipeline.map({"x": list(range(size))}, parallel=False, storage="dict", show_progress=False)
    assert len(found["y"].output) == size


if __name__ == "__main__":
    sys.setrecursionlimit(50_000)
    report({"a": chain, "c": mapped}, {}, smaller=10)
