"""``cascade graph``: a flow as a picture, on standard output or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

from cascade import api
from cascade.cli.output import out_text
from cascade.cli.targets import UsageError
from cascade.graph.pictures.render import Format
from cascade.model.errors import GraphError
from cascade.model.shown.secrets import redacted

_BY_SUFFIX: Final[dict[str, Format]] = {
    ".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".json": "json",
    ".txt": "text",
}  # fmt: skip


def draw(flow: Any, format: str | None, output: str | None) -> None:
    """Draw *flow*.

    Args:
        flow: The flow.
        format: Kind of picture. ``None``: what the name of the file says, or mermaid without one.
        output: The file. ``None``: standard output.

    Raises:
        UsageError: If the flow makes no sense, or the file cannot be written.
        OutputLost: If standard output cannot be written.
    """
    kind = cast("Format", format) if format else _kind_of(output)
    try:
        picture = api.visualize(flow, kind)
    except GraphError as error:
        raise UsageError(str(error)) from error
    if output is None:
        out_text(picture)
        return
    try:
        Path(output).write_text(redacted(picture), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"cannot write {output!r}: {error.strerror or error}") from error


def _kind_of(output: str | None) -> Format:
    """The format that the name of a file asks for."""
    if output is None:
        return "mermaid"
    suffix = Path(output).suffix.lower()
    if suffix not in _BY_SUFFIX:
        known = ", ".join(_BY_SUFFIX)
        raise UsageError(f"the name of the file {output!r} says no format; end it in {known}, or give --format")
    return _BY_SUFFIX[suffix]
