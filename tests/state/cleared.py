"""What tasks write down in globals of their module, so that runs of the same flow find it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def cleared(*notes: Any) -> Any:
    """A fixture for a module: *notes* are empty when a test begins, and when it has ended."""

    @pytest.fixture(autouse=True)
    def clear() -> Iterator[None]:
        for held in notes:
            held.clear()
        yield
        for held in notes:
            held.clear()

    return clear
