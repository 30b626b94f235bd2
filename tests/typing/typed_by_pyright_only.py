"""What pyright refuses and mypy does not, each with the reason; checked by both, never run.

Each ``pyright: ignore`` stands for an error that has to be there: pyright reports one that is not needed.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import cascade


@cascade.task
def fetch(url: str) -> bytes:
    return url.encode()


def input_in_place() -> None:
    # Mypy takes it for an Env of anything, because the argument asks for a str. In a variable, it is refused.
    fetch(cascade.Env("N", 3))  # pyright: ignore[reportArgumentType, reportCallIssue]
