"""What two processes race for: it ends when whoever has started them says so."""

from __future__ import annotations

import sys

import cascade


@cascade.task
def race() -> str:
    sys.stdin.readline()
    return "raced"


flow = race()
