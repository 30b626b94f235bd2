"""Names of parameters that are the same in every process, as parallel test runs need."""

from __future__ import annotations

import re


def label(value: object) -> str:
    """The ``repr`` of *value* without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
