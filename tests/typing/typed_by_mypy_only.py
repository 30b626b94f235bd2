"""What mypy refuses and pyright does not, each with the reason; checked by both, never run.

Each ``type: ignore`` stands for an error that has to be there: mypy reports one that is not needed.
"""

from __future__ import annotations

from typed_tasks import number, parse

import cascade


def router_in_place() -> None:
    # Pyright takes it for a router of anything, because the argument asks for bytes. In a variable, it is refused.
    parse(cascade.Router(number(), {1: number()}))  # type: ignore[arg-type]
